import { type Address, type Cidr, formatAddress, formatCidr, formatMac, hostCidr } from "../ip/index.ts";
import {
  type AddressInfo,
  addresses,
  IFA_F,
  type LinkInfo,
  type Netlink,
  openNetlink,
  type RouteInfo,
  RT_TABLE,
  routes,
} from "../netlink/index.ts";
import { currentNamespace, inNamespace, type Namespace, readSysctl } from "../sys/index.ts";
import { openPod } from "./create.ts";
import { CONDEMNED, findLink, isPair, openPodSide, ownerOf, type PodSide, UNFINISHED } from "./ownership.ts";
import { type Finding, type PodInterfacePlan, VethError } from "./plan.ts";
import {
  GATEWAY,
  HOST_INET_CONF,
  hostSysctls,
  podRoutes,
  podSysctls,
  type Sysctl,
  validatePlan,
  versionsOf,
} from "./settings.ts";

/**
 * What is not as planned (another Calico's interface carries no mark, and is the pod's when it leads there): empty when the pod's interface works. It reads both sides and changes nothing. What the pod has beyond the
 * plan (more addresses, more routes) is its own business and no finding.
 *
 * Throws {@link VethError} only when it cannot look: an impossible plan, or a kernel that refuses to be read.
 */
export function checkPodInterface(plan: PodInterfacePlan): Finding[] {
  validatePlan(plan);
  using home = currentNamespace();
  const findings: Finding[] = [];
  try {
    using host = openNetlink(plan.hostNetns);
    const hostLink = findLink(host, { name: plan.hostInterface });
    if (hostLink) checkHost(plan, host, hostLink, home, findings);
    else findings.push(missing("host", plan.hostInterface, "on the host"));
    using namespace = openChecked(plan, home, findings);
    using pod = namespace && openPodSide(namespace);
    if (namespace && !pod) findings.push(namespaceFinding(`${plan.netns} is not a network namespace`));
    if (pod) checkPod(plan, host, hostLink, pod, home, findings);
    return findings;
  } catch (error) {
    if (error instanceof VethError) throw error;
    throw new VethError("KERNEL", (error as Error).message, { cause: error });
  }
}

function openChecked(plan: PodInterfacePlan, home: Namespace, findings: Finding[]): Namespace | undefined {
  try {
    return openPod(plan, home);
  } catch (error) {
    if (!(error instanceof VethError)) throw error;
    findings.push(namespaceFinding(error.message));
    return undefined;
  }
}

function namespaceFinding(message: string): Finding {
  return { side: "pod", kind: "namespace", message };
}

function missing(side: "pod" | "host", name: string, where: string): Finding {
  return { side, kind: "interface", message: `the interface ${name} is missing ${where}` };
}

function checkHost(plan: PodInterfacePlan, host: Netlink, link: LinkInfo, home: Namespace, findings: Finding[]): void {
  const { name, index } = link;
  const add = (kind: Finding["kind"], message: string): void => void findings.push({ side: "host", kind, message });
  const owner = ownerOf(link);
  if (owner === undefined && link.group === UNFINISHED) {
    add("owner", `the host interface ${name} was left unfinished`);
  } else if (owner !== undefined && owner !== plan.owner) {
    add("owner", `the host interface ${name} belongs to ${owner}, expected ${plan.owner}`);
  } else if (link.group === CONDEMNED) {
    add("owner", `the host interface ${name} is about to be deleted`);
  }
  if (plan.hostMac && link.mac !== formatMac(plan.hostMac)) {
    add("mac", `the host interface ${name} has the MAC ${link.mac}, expected ${formatMac(plan.hostMac)}`);
  }
  checkLink(link, plan.mtu, `the host interface ${name}`, add);
  const { v4 } = versionsOf(plan);
  const settings: Sysctl[] = v4
    ? [
        ...Object.entries(HOST_INET_CONF).map(([key, value]) => ({
          name: `net/ipv4/conf/${name}/${key}`,
          value: String(value),
        })),
        { name: `net/ipv4/neigh/${name}/proxy_delay`, value: "0" },
        ...hostSysctls(plan),
      ]
    : hostSysctls(plan);
  const look = (): void => checkSysctls(settings, "on the host", add);
  if (plan.hostNetns) inNamespace(plan.hostNetns, look, home);
  else look();
  if (plan.hostRoutes) checkHostRoutes(plan, host.dump(routes({ table: RT_TABLE.MAIN, index })), name, add);
}

type Add = (kind: Finding["kind"], message: string) => void;

function checkLink(link: LinkInfo, mtu: number, what: string, add: Add): void {
  if (link.mtu !== mtu) add("mtu", `${what} has the MTU ${link.mtu}, expected ${mtu}`);
  if (!link.up) add("state", `${what} is down, expected up`);
}

function checkSysctls(list: readonly Sysctl[], where: string, add: Add): void {
  for (const { name, value, optional } of list) {
    const found = readSysctl(name);
    if (found === value || (optional && found === undefined)) continue;
    add("sysctl", `the sysctl ${name} is ${found ?? "missing"} ${where}, expected ${value}`);
  }
}

function checkHostRoutes(plan: PodInterfacePlan, there: readonly RouteInfo[], name: string, add: Add): void {
  for (const address of plan.addresses) {
    const wanted = hostCidr(address);
    const found = there.some((route) => sameDestination(route, wanted) && route.gateway === undefined);
    if (!found) add("route", `the host has no route to ${formatCidr(wanted)} through ${name}`);
  }
}

function sameDestination(route: RouteInfo, wanted: Cidr): boolean {
  return route.type === "unicast" && formatCidr(route.destination) === formatCidr(wanted);
}

function checkPod(
  plan: PodInterfacePlan,
  host: Netlink,
  hostLink: LinkInfo | undefined,
  pod: PodSide,
  home: Namespace,
  findings: Finding[],
): void {
  const name = plan.containerInterface;
  const where = `in the pod ${plan.netns}`;
  const add: Add = (kind, message) => void findings.push({ side: "pod", kind, message });
  inNamespace(pod.namespace, () => checkSysctls(podSysctls(plan), where, add), home);
  const link = findLink(pod.netlink, { name });
  if (!link) {
    findings.push(missing("pod", name, where));
    return;
  }
  const what = `the interface ${name} ${where}`;
  if (hostLink && !isPair(host, hostLink, pod, link)) {
    add("peer", `${what} is not the other end of the host interface ${hostLink.name}`);
  }
  if (plan.mac && link.mac !== formatMac(plan.mac)) {
    add("mac", `${what} has the MAC ${link.mac}, expected ${formatMac(plan.mac)}`);
  }
  checkLink(link, plan.mtu, what, add);
  checkAddresses(plan, pod.netlink.dump(addresses({ index: link.index })), what, add);
  const gateways = hostLink
    ? host.dump(addresses({ index: hostLink.index, version: 6 })).map((info) => info.address)
    : [];
  checkPodRoutes(plan, pod.netlink.dump(routes({ table: RT_TABLE.MAIN, index: link.index })), gateways, what, add);
}

function checkAddresses(plan: PodInterfacePlan, there: readonly AddressInfo[], what: string, add: Add): void {
  for (const address of plan.addresses) {
    const wanted = formatCidr(hostCidr(address));
    const same = there.filter((info) => formatAddress(info.address) === formatAddress(address));
    const found = same.find((info) => info.length === (address.version === 4 ? 32 : 128));
    if (!found) {
      const instead = same[0]
        ? `has ${formatAddress(address)}/${same[0].length}, expected ${wanted}`
        : `lacks the address ${wanted}`;
      add("address", `${what} ${instead}`);
    } else if (found.flags & (IFA_F.TENTATIVE | IFA_F.DADFAILED)) {
      const state =
        found.flags & IFA_F.DADFAILED ? "failed duplicate address detection" : "is still being probed for duplicates";
      add("address", `the address ${wanted} of ${what} ${state}`);
    }
  }
}

function checkPodRoutes(
  plan: PodInterfacePlan,
  there: readonly RouteInfo[],
  hostAddresses: readonly Address[],
  what: string,
  add: Add,
): void {
  const gateway = hostCidr(GATEWAY);
  if (versionsOf(plan).v4 && !there.some((route) => sameDestination(route, gateway) && route.gateway === undefined)) {
    add("route", `${what} has no route to its gateway ${formatCidr(gateway)}`);
  }
  const reachable = [GATEWAY, ...hostAddresses].map(formatAddress);
  for (const destination of podRoutes(plan)) {
    const same = there.filter((route) => sameDestination(route, destination));
    if (same.some((route) => route.gateway && reachable.includes(formatAddress(route.gateway)))) continue;
    const via = same[0]?.gateway ? ` (it has one via ${formatAddress(same[0].gateway)}, which is not the host's)` : "";
    add("route", `${what} has no route to ${formatCidr(destination)} through the host${via}`);
  }
}
