import { type Address, type Cidr, compareAddresses, containsAddress, parseAddress } from "../../ip/index.ts";
import type { LoadBalancerConfig } from "../config/index.ts";
import { isManaged, type Request, requestOf, type Service } from "./service.ts";

/** A pool whose `allowedUses` have LoadBalancer, and which is not being deleted. */
export interface LoadBalancerPool {
  readonly name: string;
  readonly cidr: Cidr;
  /** Only for those who ask for it. */
  readonly manual: boolean;
}

export type Assignment =
  | { readonly address: string }
  /** Any of a family; of these pools (CIDRs) when there are some. */
  | { readonly version: 4 | 6; readonly pools: readonly string[] };

/** What to do about the addresses of one Service. */
export type Plan =
  /** Nothing here is its own, and nothing should be: its status is another's. */
  | { readonly kind: "leave" }
  /** All it holds goes back: out of its status first, so that nobody uses what is another's by then. */
  | { readonly kind: "withdraw" }
  /** What is not asked for any more goes back, what is missing is assigned, and the status says what it holds then. */
  | { readonly kind: "serve"; readonly release: readonly string[]; readonly assign: readonly Assignment[] };

type Ingress = NonNullable<NonNullable<NonNullable<Service["status"]>["loadBalancer"]>["ingress"]>;

/**
 * What a Service that exists should have. `held`: what its handle holds, canonical texts. `poolsKnown` is false when a pool cannot be read:
 * then no address goes for want of a pool. Throws RequestProblem: what it has stays.
 */
export function decideService(
  service: Service,
  held: readonly string[],
  config: LoadBalancerConfig,
  pools: readonly LoadBalancerPool[],
  poolsKnown = true,
): Plan {
  const nothing: Plan = held.length === 0 ? { kind: "leave" } : { kind: "withdraw" };
  if (!isManaged(service, config)) return nothing;
  if (pools.length === 0) return poolsKnown ? nothing : { kind: "leave" };
  const request = requestOf(service, new Map(pools.map(({ name, cidr }) => [name, cidr])));
  const addresses = held.map((text): Held => ({ text, address: parseAddress(text) }));
  const kept = request.addresses
    ? addresses.filter(({ text }) => request.addresses!.includes(text))
    : keptOfAny(service, addresses, request, pools, poolsKnown);
  const names = new Set(kept.map(({ text }) => text));
  const assign = request.addresses
    ? request.addresses.filter((address) => !names.has(address)).map((address): Assignment => ({ address }))
    : familiesOf(service)
        .filter((version) => !kept.some(({ address }) => address.version === version))
        .map((version): Assignment => {
          const wanted = (version === 4 ? request.pools4 : request.pools6) ?? [];
          return { version, pools: wanted.map(({ text }) => text) };
        });
  return { kind: "serve", release: held.filter((text) => !names.has(text)), assign };
}

interface Held {
  readonly text: string;
  readonly address: Address;
}

/** One of each family that the Service has: what its status has already, as clients may use that. */
function keptOfAny(
  service: Service,
  held: readonly Held[],
  request: Request,
  pools: readonly LoadBalancerPool[],
  poolsKnown: boolean,
): Held[] {
  const shown = new Set((service.status?.loadBalancer?.ingress ?? []).map(({ ip }) => ip));
  return familiesOf(service).flatMap((version) => {
    const wanted = version === 4 ? request.pools4 : request.pools6;
    const right = held.filter(({ address }) => {
      if (address.version !== version) return false;
      if (wanted) return wanted.some(({ cidr }) => containsAddress(cidr, address));
      const pool = pools.find(({ cidr }) => containsAddress(cidr, address));
      return pool ? !pool.manual : !poolsKnown;
    });
    right.sort((a, b) => {
      const first = Number(shown.has(b.text)) - Number(shown.has(a.text));
      return first || compareAddresses(a.address, b.address);
    });
    return right.slice(0, 1);
  });
}

/** In the Service's order. An API server always says them. */
function familiesOf({ spec }: Service): (4 | 6)[] {
  const families = (spec?.ipFamilies ?? ["IPv4"]).map((family) => (family === "IPv6" ? 6 : 4));
  return [...new Set(families)] as (4 | 6)[];
}

/**
 * `status.loadBalancer.ingress` of a Service that holds these addresses: they and nothing else, the first family's first. Undefined when it says
 * so already, in whatever order.
 */
export function ingressOf(service: Service, held: readonly string[]): Ingress | undefined {
  const { ingress = [] } = service.status?.loadBalancer ?? {};
  const wanted = new Set(held);
  if (ingress.length === wanted.size && ingress.every(({ ip }) => ip !== undefined && wanted.has(ip))) return undefined;
  const families = familiesOf(service);
  const rank = (version: 4 | 6) => (families.includes(version) ? families.indexOf(version) : families.length);
  return [...wanted]
    .map((text): Held => ({ text, address: parseAddress(text) }))
    .sort((a, b) => rank(a.address.version) - rank(b.address.version) || compareAddresses(a.address, b.address))
    .map(({ text }) => ingress.find(({ ip }) => ip === text) ?? { ip: text });
}

/** The same without these addresses, of a Service that is another's now; undefined when it has none of them, or is no load balancer. */
export function ingressWithout(service: Service, withdrawn: readonly string[]): Ingress | undefined {
  if (service.spec?.type !== "LoadBalancer") return undefined;
  const { ingress = [] } = service.status?.loadBalancer ?? {};
  const others = ingress.filter(({ ip }) => ip === undefined || !withdrawn.includes(ip));
  return others.length === ingress.length ? undefined : others;
}
