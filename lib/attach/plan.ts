import { addressOf, type Invocation, type IpConfig, type Result, type Route } from "../cni/index.ts";
import { type Address, formatAddress, formatMac, parseAddress, parseCidr, parseMac } from "../ip/index.ts";
import type { Namespace } from "../sys/index.ts";
import type { PodInterfacePlan, PodRoute } from "../veth/index.ts";
import { hostNetwork } from "./endpoint.ts";
import { type Host, netnsOf } from "./host.ts";
import type { Identity } from "./identity.ts";

const DEFAULT_ROUTES: readonly string[] = ["0.0.0.0/0", "::/0"];

/**
 * The destinations routed inside the pod. As upstream: everything, and only for Kubernetes pods with host-local its
 * `routes` instead, or with `include_default_routes` as well. Their gateways do not count on a point-to-point link.
 */
export function podRoutes(call: Invocation, identity: Identity): PodRoute[] {
  const { ipam, includeDefaultRoutes } = call.config;
  const isCustom = identity.orchestrator === "k8s" && ipam.type === "host-local" && ipam.routes.length > 0;
  const destinations: string[] = [];
  if (!isCustom || includeDefaultRoutes) destinations.push(...DEFAULT_ROUTES);
  if (isCustom) for (const { dst } of ipam.routes) if (!destinations.includes(dst)) destinations.push(dst);
  const routes: PodRoute[] = [];
  for (const text of destinations) routes.push({ destination: parseCidr(text) });
  return routes;
}

/** What lib/veth shall make, or find. */
export function interfacePlan(
  call: Invocation,
  host: Host,
  identity: Identity,
  facts: { readonly addresses: readonly string[]; readonly mac: string; readonly mtu: number; readonly owner?: string },
): PodInterfacePlan {
  const addresses: Address[] = [];
  for (const address of facts.addresses) addresses.push(parseAddress(address));
  return {
    netns: netnsOf(call, host),
    containerInterface: identity.ifName,
    hostInterface: identity.hostInterface,
    owner: facts.owner ?? identity.owner,
    mtu: facts.mtu,
    mac: parseMac(facts.mac),
    numQueues: call.config.numQueues,
    deviceType: call.config.deviceType,
    addresses,
    routes: podRoutes(call, identity),
    hostRoutes: true,
    allowIpForwarding: call.config.allowIpForwarding,
    ...hostSide(host),
  };
}

/** What tells lib/veth which namespace the host's end is in. */
export function hostSide(host: Host): { hostNetns?: Namespace } {
  return host.hostNetns === undefined ? {} : { hostNetns: host.hostNetns };
}

/** A random unicast, locally administered MAC, as the kernel would choose one. */
export function randomMac(): string {
  const mac = crypto.getRandomValues(new Uint8Array(6));
  mac[0] = (mac[0]! & 0xfe) | 0x02;
  return formatMac(mac);
}

/**
 * The result of an ADD: the host's interface, then the pod's, which all addresses belong to. Addresses are /32 and /128
 * whatever the IPAM plugin said, and gateways are gone: neither is of use on a point-to-point link.
 */
export function attachmentResult(
  call: Invocation,
  identity: Identity,
  facts: {
    readonly addresses: readonly string[];
    readonly mac: string;
    readonly mtu: number;
    readonly ipam?: Result | undefined;
  },
): Result {
  const { dns } = call.config;
  const hasDns = dns.nameservers.length + dns.search.length + dns.options.length > 0 || dns.domain !== "";
  const ips: IpConfig[] = [];
  for (const address of facts.addresses) ips.push({ address: hostNetwork(address), interface: 1 });
  return {
    interfaces: [
      { name: identity.hostInterface },
      { name: identity.ifName, mac: facts.mac, mtu: facts.mtu, sandbox: call.environment.netns },
    ],
    ips,
    routes: facts.ipam?.routes ?? resultRoutes(call, ips),
    dns: hasDns ? dns : (facts.ipam?.dns ?? dns),
  };
}

/**
 * calico-ipam answers with one route an address: the host's, to the pod. For other plugins, on an ADD that is repeated
 * and does not ask them again, it is what host-local would have said.
 */
function resultRoutes(call: Invocation, ips: readonly IpConfig[]): readonly Route[] {
  const { ipam } = call.config;
  const routes: Route[] = [];
  if (ipam.type === "calico-ipam") for (const { address } of ips) routes.push({ dst: address });
  else for (const { dst, gw } of ipam.routes) routes.push(gw === "" ? { dst } : { dst, gw });
  return routes;
}

/** The addresses of a result, canonical, without their lengths. */
export function addressesOf(result: Result): string[] {
  return result.ips.map((ip) => formatAddress(addressOf(ip)));
}
