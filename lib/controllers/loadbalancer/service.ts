import { createHash } from "node:crypto";
import type { V1Service } from "@kubernetes/client-node";
import type { IPAMBlock } from "../../api/ipamblock.ts";
import {
  addressAt,
  type Cidr,
  formatAddress,
  formatCidr,
  parseCidr,
  tryParseAddress,
  tryParseCidr,
} from "../../ip/index.ts";
import type { Wire } from "../../kubernetes/index.ts";
import type { LoadBalancerConfig } from "../config/index.ts";

/** A Service as the API server has it. Of one that is no load balancer only what tells that. */
export type Service = Wire<V1Service>;

const POOLS4 = "projectcalico.org/ipv4pools";
const POOLS6 = "projectcalico.org/ipv6pools";
const ADDRESSES = "projectcalico.org/loadBalancerIPs";
const CLASS = "calico";
const MAX_NAME = 253;

/** `namespace/name`. */
export const keyOf = ({ metadata }: Service): string => `${metadata?.namespace}/${metadata?.name}`;

/** Under what a Service's addresses are held, as upstream calls it. It is another one for a Service that is made again. */
export function handleOf({ metadata }: Service): string {
  const who = `${metadata?.name}-${metadata?.namespace}-${metadata?.uid}`.toLowerCase();
  const hash = createHash("sha256").update(who).digest("base64url").replace(/[-_.]/g, "");
  return `lb-${hash}`.slice(0, MAX_NAME);
}

/** Whether a Service gets its addresses here. */
export function isManaged({ metadata, spec }: Service, { assignIPs }: LoadBalancerConfig): boolean {
  if (spec?.type !== "LoadBalancer") return false;
  const { loadBalancerClass, loadBalancerIP } = spec;
  if (loadBalancerClass !== undefined && loadBalancerClass !== CLASS) return false;
  if (assignIPs === "AllServices" || loadBalancerClass === CLASS) return true;
  const { annotations = {} } = metadata ?? {};
  return Boolean(annotations[POOLS4] || annotations[POOLS6] || annotations[ADDRESSES] || loadBalancerIP);
}

/** A pool that a request names. */
export interface NamedPool {
  /** As the allocator takes it: canonical text. */
  readonly text: string;
  readonly cidr: Cidr;
}

/** What a Service asks for. */
export interface Request {
  /** Exactly these, canonical text. */
  readonly addresses?: readonly string[];
  readonly pools4?: readonly NamedPool[];
  readonly pools6?: readonly NamedPool[];
}

/** What a Service asks for cannot be understood. */
export class RequestProblem extends Error {}

/** Pools by name: those for load balancers. Throws {@link RequestProblem}. */
export function requestOf({ metadata, spec }: Service, pools: ReadonlyMap<string, Cidr>): Request {
  const { annotations = {} } = metadata ?? {};
  const given = annotations[ADDRESSES];
  const texts = given === undefined ? [] : listOf(ADDRESSES, given);
  const isAnnotated = texts.length > 0;
  if (!isAnnotated && spec?.loadBalancerIP) texts.push(spec.loadBalancerIP);
  const where = isAnnotated ? ADDRESSES : "spec.loadBalancerIP";
  const addresses = texts.map((text) => {
    const address = tryParseAddress(text);
    if (!address) throw new RequestProblem(`${where}: ${JSON.stringify(text)} is not an address`);
    return address;
  });
  for (const version of [4, 6] as const) {
    const count = addresses.filter((address) => address.version === version).length;
    if (count > 1) throw new RequestProblem(`${where}: ${count} IPv${version} addresses; a Service has one at most`);
  }
  const pools4 = poolsOf(POOLS4, 4, annotations, pools);
  const pools6 = poolsOf(POOLS6, 6, annotations, pools);
  return {
    ...(addresses.length === 0 ? {} : { addresses: addresses.map(formatAddress) }),
    ...(pools4 && { pools4 }),
    ...(pools6 && { pools6 }),
  };
}

function poolsOf(
  name: string,
  version: 4 | 6,
  annotations: Readonly<Record<string, string>>,
  pools: ReadonlyMap<string, Cidr>,
): NamedPool[] | undefined {
  const text = annotations[name];
  if (text === undefined) return undefined;
  const named = listOf(name, text).map((one) => {
    const cidr = tryParseCidr(one) ?? pools.get(one);
    if (!cidr) {
      const must = "is neither a CIDR nor the name of an IPPool that allows LoadBalancer";
      throw new RequestProblem(`${name}: ${JSON.stringify(one)} ${must}`);
    }
    if (cidr.version !== version) throw new RequestProblem(`${name}: ${JSON.stringify(one)} is not IPv${version}`);
    return { text: formatCidr(cidr), cidr };
  });
  return named.length === 0 ? undefined : named;
}

function listOf(name: string, text: string): string[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (Array.isArray(value) && value.every((one): one is string => typeof one === "string")) return value;
  throw new RequestProblem(`${name}: ${JSON.stringify(text)} must be a JSON list of texts`);
}

/** One address that a Service holds, as a block tells it. */
export interface HeldAddress {
  /** `namespace/name` of the Service. */
  readonly service: string;
  readonly handle: string;
  readonly address: string;
}

/** The addresses of Services in a block, whoever the block is affine to by now. Undefined when there are none. */
export function heldIn({ spec }: IPAMBlock): readonly HeldAddress[] | undefined {
  const held: HeldAddress[] = [];
  for (const [ordinal, index] of spec.allocations.entries()) {
    const attributes = index === null ? undefined : spec.attributes[index];
    if (!attributes || attributes.releasedAt) continue;
    const { handle_id: handle, secondary: { namespace, service } = {} } = attributes;
    if (!handle?.startsWith("lb-") || !namespace || !service) continue;
    const { version, base: value } = parseCidr(spec.cidr);
    const address = formatAddress(addressAt({ version, value }, ordinal));
    held.push({ service: `${namespace}/${service}`, handle, address });
  }
  return held.length === 0 ? undefined : held;
}
