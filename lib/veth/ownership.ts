/**
 * Whose a host interface is. The mark is its alias, `calico:<owner>`. The kernel takes no alias at creation, so an
 * interface whose maker died between two system calls has none: then it is its pod's if the kernel says that its other end is the
 * pod's interface. Nothing else proves ownership, a name least of all.
 */
import {
  type LinkInfo,
  type LinkSelector,
  linkGet,
  type Netlink,
  NetlinkError,
  netnsId,
  openNetlink,
} from "../netlink/index.ts";
import { type Namespace, SysError } from "../sys/index.ts";

const MARK = "calico:";

/**
 * The interface group (IFLA_GROUP) of interfaces whose owner has asked for their deletion. Everything in it may be deleted by
 * anybody. A number that nobody picks by hand.
 */
export const CONDEMNED = 0xca11de1;

/**
 * The group of interfaces that are being made: the kernel takes a group at creation, and no alias. It is left in the same
 * message that sets the mark, so an interface that stays in it is one whose maker died in between.
 */
export const UNFINISHED = 0xca11de2;

export function markOf(owner: string): string {
  return MARK + owner;
}

/** The owner that an interface is marked with; undefined without a mark. */
export function ownerOf(link: LinkInfo): string | undefined {
  return link.alias?.startsWith(MARK) ? link.alias.slice(MARK.length) : undefined;
}

/** The pod's side, when there is a pod: a namespace that is none (any more) reads as undefined. */
export interface PodSide extends Disposable {
  readonly namespace: Namespace;
  readonly netlink: Netlink;
}

/** Opens netlink in the pod; undefined when `namespace` turns out to be no namespace. */
export function openPodSide(namespace: Namespace): PodSide | undefined {
  try {
    const netlink = openNetlink(namespace);
    return { namespace, netlink, [Symbol.dispose]: () => netlink.close() };
  } catch (error) {
    if (error instanceof SysError && error.call === "setns" && error.code === "EINVAL") return undefined;
    throw error;
  }
}

/** The link, or undefined when there is none. */
export function findLink(netlink: Netlink, selector: LinkSelector): LinkInfo | undefined {
  const { error, reply } = netlink.batch([linkGet(selector)])[0]!;
  if (error && !isGone(error)) throw error;
  return reply as LinkInfo | undefined;
}

/** Whether the kernel says that a link does not exist. */
export function isGone(error: unknown): boolean {
  return error instanceof NetlinkError && (error.code === "ENODEV" || error.code === "ESRCH");
}

/** Whether the other end of `hostLink` is the link `podLink` in the pod. */
export function isPair(host: Netlink, hostLink: LinkInfo, pod: PodSide, podLink: LinkInfo): boolean {
  if (hostLink.peerIndex !== podLink.index || hostLink.peerNetnsId === undefined) return false;
  if (hostLink.kind !== podLink.kind || (hostLink.kind !== "veth" && hostLink.kind !== "netkit")) return false;
  return host.request(netnsId(pod.namespace.fd)) === hostLink.peerNetnsId;
}

/** The host's end of a link in the pod; undefined when its other end is elsewhere. */
export function findHostEnd(host: Netlink, pod: PodSide, podLink: LinkInfo): LinkInfo | undefined {
  if (podLink.peerIndex === undefined) return undefined;
  const hostLink = findLink(host, { index: podLink.peerIndex });
  return hostLink && isPair(host, hostLink, pod, podLink) ? hostLink : undefined;
}

export type Verdict =
  | { readonly mine: true }
  /** `reason` completes the sentence "the interface X …". */
  | { readonly mine: false; readonly reason: string };

/** Whether `owner` may delete the host link, which was found by its name. */
export function judge(
  host: Netlink,
  hostLink: LinkInfo,
  owner: string,
  containerInterface: string,
  pod: PodSide | undefined,
): Verdict {
  if (hostLink.group === CONDEMNED) return { mine: true };
  const marked = ownerOf(hostLink);
  if (marked === owner) return { mine: true };
  if (marked !== undefined) return { mine: false, reason: `belongs to ${marked}` };
  const podLink = pod && findLink(pod.netlink, { name: containerInterface });
  if (pod && podLink && isPair(host, hostLink, pod, podLink)) return { mine: true };
  return { mine: false, reason: `carries no owner's mark and does not lead to ${containerInterface} in this pod` };
}
