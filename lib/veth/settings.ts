/**
 * What Calico sets on either side of a pod's interface (upstream: cni-plugin/pkg/dataplane/linux). Pure: one place for what
 * `create.ts` makes so and `check.ts` expects.
 *
 * Plain loops here and in the rest of the way of an ADD, which is a new process each time: there the first `Array.from` costs 0.4 ms,
 * the first for-of over bytes 0.2, the first `map`, `some` or regular expression 0.05 each.
 */
import { type Address, type Cidr, eui64LinkLocal, formatMac, hostCidr, sameCidr } from "../ip/index.ts";
import { type PodInterfacePlan, VethError } from "./plan.ts";

/** The pod's IPv4 gateway: no interface has it, the host answers for it by proxy ARP. */
export const GATEWAY: Address = { version: 4, value: 0xa9fe0101n }; // 169.254.1.1

/** The host end's MAC where the kernel lets us: the same on every host, so that a pod's ARP entry survives its host end. */
const HOST_MAC = 0xee; // six times

/** Names are IFNAMSIZ - 1 bytes at most. */
const LONGEST_NAME = 15;
/** An alias is IFALIASZ - 1 bytes at most; the mark's prefix takes a part of it. */
const LONGEST_OWNER = 240;
/** RFC 8200: IPv6 works on no link with less, and the kernel then turns it off for the link. */
const LEAST_IPV6_MTU = 1280;
const LEAST_MTU = 68; // RFC 791; what the kernel takes for veth
const LARGEST_MTU = 65535;

export interface Sysctl {
  /** Path below /proc/sys. */
  readonly name: string;
  readonly value: string;
  /** A kernel or namespace that lacks it is no failure. */
  readonly optional?: true;
}

/** What of the plan concerns each IP version. */
export interface Versions {
  readonly v4: boolean;
  readonly v6: boolean;
}

export function versionsOf(plan: PodInterfacePlan): Versions {
  let v4 = false;
  let v6 = false;
  for (const { version } of plan.addresses) {
    if (version === 4) v4 = true;
    else v6 = true;
  }
  return { v4, v6 };
}

export function hostMacOf(plan: PodInterfacePlan): Uint8Array {
  return plan.hostMac ?? new Uint8Array(6).fill(HOST_MAC);
}

/** IPv4 settings of the host end that netlink can set: see `hostSysctls` for the rest. */
export const HOST_INET_CONF = { route_localnet: 1, proxy_arp: 1, forwarding: 1 } as const;

/** The host end's settings under /proc/sys, beside {@link HOST_INET_CONF} and the proxy delay, in the order in which they are made. */
export function hostSysctls(plan: PodInterfacePlan): Sysctl[] {
  const conf = `net/ipv6/conf/${plan.hostInterface}`;
  const list: Sysctl[] = [];
  if (versionsOf(plan).v6) {
    list.push(
      { name: `${conf}/accept_dad`, value: "0" },
      { name: `${conf}/disable_ipv6`, value: "0" },
      { name: `${conf}/proxy_ndp`, value: "1" },
      { name: `${conf}/forwarding`, value: "1" },
    );
  }
  list.push({ name: `${conf}/accept_ra`, value: "0", optional: true });
  return list;
}

/** The pod's settings under /proc/sys, in the order in which they are made. Duplicate address detection ends before the link is up. */
export function podSysctls(plan: PodInterfacePlan): Sysctl[] {
  const { v4, v6 } = versionsOf(plan);
  const forwarding = plan.allowIpForwarding ? "1" : "0";
  const list: Sysctl[] = [];
  if (v6) {
    list.push(
      { name: `net/ipv6/conf/${plan.containerInterface}/accept_dad`, value: "0" },
      { name: "net/ipv6/conf/all/disable_ipv6", value: "0" },
      { name: "net/ipv6/conf/default/disable_ipv6", value: "0" },
      { name: "net/ipv6/conf/lo/disable_ipv6", value: "0" },
      { name: "net/ipv6/conf/all/forwarding", value: forwarding },
    );
  }
  if (v4) list.push({ name: "net/ipv4/ip_forward", value: forwarding });
  return list;
}

/** What the pod reaches through the host: the plan's routes of the versions that the pod has, each once. */
export function podRoutes(plan: PodInterfacePlan): Cidr[] {
  const versions = versionsOf(plan);
  const wanted: Cidr[] = [];
  const known: Cidr[] = [hostCidr(GATEWAY)]; // has a route of its own
  for (const { destination } of plan.routes) {
    if (destination.version === 4 ? !versions.v4 : !versions.v6) continue;
    let again = false;
    for (const each of known) again ||= sameCidr(each, destination);
    if (again) continue;
    wanted.push(destination);
    known.push(destination);
  }
  return wanted;
}

/** The pod's IPv6 gateway, given the MAC that the host end has. */
export function ipv6Gateway(hostMac: Uint8Array): Address {
  return eui64LinkLocal(hostMac);
}

/** Refuses what no kernel would take, with words that name the field. */
export function validatePlan(plan: PodInterfacePlan): void {
  checkName("container interface", plan.containerInterface);
  checkName("host interface", plan.hostInterface);
  checkOwner(plan.owner);
  if (plan.addresses.length === 0) throw new VethError("INVALID", `the pod of ${plan.hostInterface} has no address`);
  const least = versionsOf(plan).v6 ? LEAST_IPV6_MTU : LEAST_MTU;
  if (!Number.isInteger(plan.mtu) || plan.mtu < least || plan.mtu > LARGEST_MTU) {
    const reason = least === LEAST_IPV6_MTU ? " for a pod with an IPv6 address" : "";
    throw new VethError("INVALID", `the MTU ${plan.mtu} is not between ${least} and ${LARGEST_MTU}${reason}`);
  }
  if (!Number.isInteger(plan.numQueues) || plan.numQueues < 1 || plan.numQueues > 4096) {
    throw new VethError("INVALID", `the number of queues ${plan.numQueues} is not between 1 and 4096`);
  }
  if (plan.mac) checkMac(plan.mac);
}

/** dev_valid_name in net/core/dev.c. */
export function checkName(what: string, name: string): void {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > LONGEST_NAME) {
    throw new VethError("INVALID", `the ${what}'s name "${name}" has ${bytes} bytes, more than ${LONGEST_NAME}`);
  }
  if (name === "" || name === "." || name === ".." || hasForbidden(name)) {
    throw new VethError(
      "INVALID",
      `"${name}" cannot be the ${what}'s name: it is empty, dots, or contains "/", ":" or space`,
    );
  }
}

function hasForbidden(name: string): boolean {
  for (let i = 0; i < name.length; i++) if (name[i]! <= " " || name[i] === "/" || name[i] === ":") return true;
  return false;
}

export function checkOwner(owner: string): void {
  const bytes = new TextEncoder().encode(owner).length;
  if (bytes === 0 || bytes > LONGEST_OWNER || owner.includes("\0")) {
    throw new VethError("INVALID", `an interface's owner has 1 to ${LONGEST_OWNER} bytes, not ${bytes}, and no NUL`);
  }
}

function checkMac(mac: Uint8Array): void {
  let sum = 0;
  for (let i = 0; i < mac.length; i++) sum += mac[i]!;
  if (mac.length === 6 && !(mac[0]! & 1) && sum !== 0) return;
  throw new VethError(
    "INVALID",
    `${formatMac(mac)} cannot be an interface's MAC address: it is no unicast address of six bytes`,
  );
}
