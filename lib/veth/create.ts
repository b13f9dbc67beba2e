import { formatCidr, formatMac, hostCidr, parseMac } from "../ip/index.ts";
import {
  addressAdd,
  type BatchResult,
  IFA_F,
  type LinkInfo,
  linkDelete,
  linkGet,
  linkSet,
  type Netlink,
  type NetlinkError,
  neighbourTableSet,
  openNetlink,
  pairAdd,
  type Request,
  type RouteChange,
  RT_SCOPE,
  RT_TABLE,
  routeAdd,
  routes,
} from "../netlink/index.ts";
import {
  currentNamespace,
  inNamespace,
  type Namespace,
  openNamespace,
  readSysctl,
  SysError,
  writeSysctl,
} from "../sys/index.ts";
import { findHostEnd, findLink, isGone, judge, markOf, openPodSide, ownerOf, UNFINISHED } from "./ownership.ts";
import { type PodInterface, type PodInterfacePlan, VethError } from "./plan.ts";
import {
  GATEWAY,
  HOST_INET_CONF,
  hostMacOf,
  hostSysctls,
  ipv6Gateway,
  podRoutes,
  podSysctls,
  type Sysctl,
  validatePlan,
  versionsOf,
} from "./settings.ts";

/** How long the kernel may take to show the host's MAC that it accepted (udev may set its own meanwhile), and how often we look. */
const MAC_PATIENCE = 5000;
const MAC_PAUSE = 100;

/**
 * Makes the pod's interface as planned. What the same owner left over under the same names is replaced first; what is somebody
 * else's is refused. When a step fails, the interface is removed again, and with it its addresses and routes; the pod's namespace-wide
 * sysctls stay.
 *
 * Throws {@link VethError}.
 */
export function createPodInterface(plan: PodInterfacePlan): PodInterface {
  validatePlan(plan);
  const home = currentNamespace();
  let pod: Namespace | undefined;
  let host: Netlink | undefined;
  try {
    pod = openPod(plan, home);
    host = openNetlink(plan.hostNetns);
    return createIn(plan, home, host, pod);
  } finally {
    host?.close();
    pod?.close();
    home.close();
  }
}

function createIn(plan: PodInterfacePlan, home: Namespace, host: Netlink, pod: Namespace): PodInterface {
  const notes: string[] = [];
  const { kind, link } = makePair(plan, host, pod, notes);
  try {
    return configure(plan, home, host, pod, kind, link, notes);
  } catch (error) {
    const undone = host.batch([linkDelete({ index: link.index })])[0]!;
    const left =
      undone.error && !isGone(undone.error) ? ` (and removing it again failed: ${undone.error.message})` : "";
    if (error instanceof VethError && left === "") throw error;
    throw new VethError(error instanceof VethError ? error.code : "KERNEL", (error as Error).message + left, {
      cause: error,
    });
  }
}

/** Opens the pod's namespace and refuses the host's own. */
export function openPod(plan: PodInterfacePlan, home: Namespace): Namespace {
  let pod: Namespace;
  try {
    pod = openNamespace(plan.netns);
  } catch (error) {
    throw new VethError("NETNS", (error as Error).message, { cause: error });
  }
  if (pod.inode !== (plan.hostNetns ?? home).inode) return pod;
  pod.close();
  throw new VethError("NETNS", `${plan.netns} is the host's own network namespace, not a pod's`);
}

interface Pair {
  readonly kind: "veth" | "netkit";
  readonly link: LinkInfo;
}

function makePair(plan: PodInterfacePlan, host: Netlink, pod: Namespace, notes: string[]): Pair {
  let kind = plan.deviceType;
  let mac: Uint8Array | undefined = hostMacOf(plan);
  let cleared = false;
  for (;;) {
    const add = pairAdd({
      kind,
      name: plan.hostInterface,
      peerName: plan.containerInterface,
      peerNetnsFd: pod.fd,
      mtu: plan.mtu,
      queues: plan.numQueues,
      group: UNFINISHED,
      ...(mac && { mac }),
      ...(plan.mac && { peerMac: plan.mac }),
    });
    // Reading the link in the same system call is harmless when it was not made: then it tells who has the name.
    const [added, read] = host.batch([add, linkGet({ name: plan.hostInterface })]) as [
      BatchResult,
      BatchResult<LinkInfo>,
    ];
    const { error } = added;
    if (!error) return { kind, link: read.reply ?? fail(read.error ?? added) };
    if (error.code === "EEXIST" && !cleared) {
      clearLeftover(plan, host, pod, read.reply, notes);
      cleared = true;
    } else if (error.code === "EOPNOTSUPP" && kind === "netkit") {
      kind = "veth";
      notes.push("this kernel has no netkit devices: a veth pair is used instead");
    } else if (mac && (error.code === "EADDRNOTAVAIL" || error.code === "EOPNOTSUPP")) {
      notes.push(
        `the MAC ${formatMac(mac)} of ${plan.hostInterface} was refused (${error.code}): the kernel's choice is used`,
      );
      mac = undefined;
    } else {
      throw pairError(plan, pod, error);
    }
  }
}

/** EINVAL alone does not tell whether the namespace is none; entering it does. */
function pairError(plan: PodInterfacePlan, pod: Namespace, error: NetlinkError): VethError {
  using entered = error.code === "EINVAL" ? openPodSide(pod) : undefined;
  if (error.code === "EINVAL" && !entered) {
    return new VethError("NETNS", `${plan.netns} is not a network namespace, or no longer one`, { cause: error });
  }
  return new VethError("KERNEL", error.message, { cause: error });
}

/** Removes what this owner left behind under the plan's names, and refuses what is another's. */
function clearLeftover(
  plan: PodInterfacePlan,
  host: Netlink,
  namespace: Namespace,
  hostLink: LinkInfo | undefined,
  notes: string[],
): void {
  using pod = openPodSide(namespace);
  let leftover = hostLink;
  if (hostLink) {
    const verdict = judge(host, hostLink, plan.owner, plan.containerInterface, pod);
    if (!verdict.mine) {
      throw new VethError(
        "HOST_INTERFACE_TAKEN",
        `the host interface ${plan.hostInterface} exists and ${verdict.reason}; it is left alone: delete what it belongs to first`,
      );
    }
  } else {
    const podLink = pod && findLink(pod.netlink, { name: plan.containerInterface });
    leftover = podLink && findHostEnd(host, pod, podLink);
    // Neither name is taken (any more): the other end went away meanwhile.
    if (!podLink) return;
    if (!leftover || ownerOf(leftover) !== plan.owner) {
      throw new VethError(
        "CONTAINER_INTERFACE_TAKEN",
        `the pod ${plan.netns} has an interface ${plan.containerInterface} already, which is not of this attachment`,
      );
    }
  }
  if (!leftover) return;
  const { error } = host.batch([linkDelete({ index: leftover.index })])[0]!;
  if (error && !isGone(error)) throw new VethError("KERNEL", error.message, { cause: error });
  notes.push(`replaced the interface ${leftover.name} that an earlier attempt had left over`);
}

function configure(
  plan: PodInterfacePlan,
  home: Namespace,
  host: Netlink,
  pod: Namespace,
  kind: "veth" | "netkit",
  made: LinkInfo,
  notes: string[],
): PodInterface {
  const { v6 } = versionsOf(plan);
  if (plan.hostNetns) inNamespace(plan.hostNetns, () => apply(hostSysctls(plan), v6, notes), home);
  else apply(hostSysctls(plan), v6, notes);
  const podNetlink = inNamespace(
    pod,
    () => {
      apply(podSysctls(plan), v6, notes);
      return openNetlink();
    },
    home,
  );
  try {
    const hostMac = parseMac(made.mac ?? fail(`${plan.hostInterface} has no MAC address`));
    const hostLink = settle(plan, host, bringUpHost(plan, host, made, hostMac), hostMac, notes);
    const podLink = bringUpPod(plan, podNetlink, made, hostMac);
    return {
      deviceType: kind,
      containerInterface: plan.containerInterface,
      containerIndex: podLink.index,
      containerMac: podLink.mac ?? fail(`${plan.containerInterface} has no MAC address`),
      hostInterface: plan.hostInterface,
      hostIndex: hostLink.index,
      hostMac: hostLink.mac ?? "",
      notes,
    };
  } finally {
    podNetlink.close();
  }
}

function apply(sysctls: readonly Sysctl[], v6: boolean, notes: string[]): void {
  for (const { name, value, optional } of sysctls) {
    try {
      writeSysctl(name, value);
    } catch (error) {
      const missing = error instanceof SysError && error.code === "ENOENT";
      if (v6 && missing && readSysctl("net/ipv6/conf/all/disable_ipv6") === undefined) {
        const remedy = "take an IPv4 pool, or boot without ipv6.disable=1";
        throw new VethError("NO_IPV6", `the pod has an IPv6 address and this kernel has no IPv6: ${remedy}`, {
          cause: error,
        });
      }
      if (!optional) throw new VethError("KERNEL", (error as Error).message, { cause: error });
      notes.push(`${(error as Error).message}: left as it is`);
    }
  }
}

function bringUpHost(plan: PodInterfacePlan, host: Netlink, made: LinkInfo, hostMac: Uint8Array): LinkInfo {
  const { index } = made;
  const { v4, v6 } = versionsOf(plan);
  const settings: Request<unknown>[] = [
    linkSet({ index }, { alias: markOf(plan.owner), group: 0, ...(v4 && { inetConf: HOST_INET_CONF }) }),
  ];
  // The kernel would wait for a random part of 0.8 s before it answers for the gateway.
  if (v4) settings.push(neighbourTableSet(index, 4, { proxyDelay: 0 }));
  settings.push(linkSet({ index }, { up: true }));
  if (v6) {
    // The kernel makes the same link-local address from the MAC, but only once the carrier is there, and not at all when
    // it is told to make another kind: the pod's gateway must not depend on either.
    settings.push(
      addressAdd({ index, address: ipv6Gateway(hostMac), length: 64, scope: RT_SCOPE.LINK, flags: IFA_F.NODAD }),
    );
  }
  const requests = [...settings];
  const hostRoutes: RouteChange[] = [];
  for (const address of plan.hostRoutes ? plan.addresses : []) {
    const route = { destination: hostCidr(address), index, scope: RT_SCOPE.LINK };
    hostRoutes.push(route);
    requests.push(routeAdd(route));
  }
  requests.push(linkGet({ index }));
  const results = host.batch(requests);
  for (let position = 0; position < results.length; position++) {
    const { error } = results[position]!;
    if (!error) continue;
    const route = hostRoutes[position - settings.length];
    if (route && error.code === "EEXIST") acceptOwnRoute(host, route, error);
    else throw new VethError("KERNEL", error.message, { cause: error });
  }
  return results[results.length - 1]!.reply as LinkInfo;
}

/** A route that is there already is fine when it is this very one, set by Felix meanwhile. */
function acceptOwnRoute(host: Netlink, wanted: RouteChange, error: NetlinkError): void {
  const there = host
    .dump(routes({ version: wanted.destination.version, table: RT_TABLE.MAIN }))
    .filter((route) => formatCidr(route.destination) === formatCidr(wanted.destination));
  if (there.some((route) => route.index === wanted.index && route.gateway === undefined)) return;
  const other = there.find((route) => route.index !== undefined);
  const name = other && findLink(host, { index: other.index! })?.name;
  throw new VethError(
    "ROUTE_CONFLICT",
    `the host has a route to ${formatCidr(wanted.destination)} already, ${name ? `through ${name}` : "through no interface"}: ` +
      "another pod holds the address, or was not cleaned up",
    { cause: error },
  );
}

/** Sees to it that the host end has the MAC it was made with. */
function settle(plan: PodInterfacePlan, host: Netlink, read: LinkInfo, mac: Uint8Array, notes: string[]): LinkInfo {
  const wanted = formatMac(mac);
  const deadline = performance.now() + MAC_PATIENCE;
  let link = read;
  while (link.mac !== wanted) {
    if (performance.now() > deadline) {
      throw new VethError("KERNEL", `${plan.hostInterface} has the MAC ${link.mac} and does not keep ${wanted}`);
    }
    if (link !== read) Bun.sleepSync(MAC_PAUSE);
    else notes.push(`something changed the MAC of ${plan.hostInterface} to ${link.mac}: set again`);
    host.execute([linkSet({ index: link.index }, { mac })]);
    link = host.request(linkGet({ index: link.index }));
  }
  return link;
}

function bringUpPod(plan: PodInterfacePlan, netlink: Netlink, made: LinkInfo, hostMac: Uint8Array): LinkInfo {
  const index = made.peerIndex ?? netlink.request(linkGet({ name: plan.containerInterface })).index;
  const requests: Request<unknown>[] = [linkSet({ index }, { up: true })];
  if (versionsOf(plan).v4) {
    requests.push(routeAdd({ destination: hostCidr(GATEWAY), index, scope: RT_SCOPE.LINK }));
  }
  for (const destination of podRoutes(plan)) {
    const gateway = destination.version === 4 ? GATEWAY : ipv6Gateway(hostMac);
    requests.push(routeAdd({ destination, index, gateway }));
  }
  for (const address of plan.addresses) {
    const v6 = address.version === 6;
    requests.push(addressAdd({ index, address, length: v6 ? 128 : 32, ...(v6 && { flags: IFA_F.NODAD }) }));
  }
  requests.push(linkGet({ index }));
  const results = netlink.batch(requests);
  for (const { error } of results) {
    if (error) throw new VethError("KERNEL", `in the pod ${plan.netns}: ${error.message}`, { cause: error });
  }
  const link = results[results.length - 1]!.reply as LinkInfo;
  if (plan.mac && link.mac !== formatMac(plan.mac)) {
    const wanted = formatMac(plan.mac);
    throw new VethError(
      "KERNEL",
      `${plan.containerInterface} has the MAC ${link.mac} instead of ${wanted}, which was asked for`,
    );
  }
  return link;
}

function fail(reason: unknown): never {
  if (reason instanceof Error) throw new VethError("KERNEL", reason.message, { cause: reason });
  throw new VethError("KERNEL", typeof reason === "string" ? reason : "the kernel gave no answer");
}
