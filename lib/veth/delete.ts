import { formatCidr } from "../ip/index.ts";
import {
  type LinkInfo,
  linkDelete,
  linkDeleteGroup,
  linkSet,
  type Netlink,
  openNetlink,
  RT_TABLE,
  routes,
} from "../netlink/index.ts";
import {
  currentNamespace,
  type FileLock,
  lockFileSync,
  type Namespace,
  openNamespace,
  SysError,
} from "../sys/index.ts";
import {
  CONDEMNED,
  findHostEnd,
  findLink,
  isGone,
  judge,
  openPodSide,
  ownerOf,
  type PodSide,
  UNFINISHED,
} from "./ownership.ts";
import { type DeleteOutcome, type DeletePlan, VethError } from "./plan.ts";

const LOCK_TIMEOUT = 10_000;

/**
 * Takes down a pod's interface. Succeeds however much is already gone; never touches an interface of another owner.
 *
 * The kernel deletes a veth in about 30 ms, nearly all of it RCU grace periods that any number of interfaces can share. So
 * the interface is first put into the group of the condemned; then whoever gets the lock deletes the whole group with one
 * message, while those who wait find theirs gone. An interface that was condemned by a process that died goes with the next one.
 *
 * Throws {@link VethError}.
 */
export function deletePodInterface(plan: DeletePlan): DeleteOutcome {
  const notes: string[] = [];
  const host = openNetlink(plan.hostNetns);
  try {
    const named = findLink(host, { name: plan.hostInterface });
    const unfinished = plan.owner === "" && named?.group === UNFINISHED;
    const marked = named && (named.group === CONDEMNED || unfinished || ownerOf(named) === plan.owner);
    // The usual case ends here: the mark says it all, and the pod need not be entered.
    const found = marked ? { link: named } : findElsewhere(plan, host, named, notes);
    if (!found.link) {
      const owner = found.foreign && named && ownerOf(named);
      const result = found.foreign ? "foreign" : "absent";
      return { result, notes, kernelDeletions: 0, ...(owner === undefined || owner === false ? {} : { owner }) };
    }
    return { result: "deleted", notes, kernelDeletions: remove(plan, host, found.link, notes) };
  } catch (error) {
    if (error instanceof VethError) throw error;
    throw new VethError("KERNEL", (error as Error).message, { cause: error });
  } finally {
    host.close();
  }
}

interface Found {
  readonly link?: LinkInfo;
  readonly foreign?: boolean;
}

/** For a host interface that is missing, unmarked or another's: the pod may still have one that leads to one of ours. */
function findElsewhere(plan: DeletePlan, host: Netlink, named: LinkInfo | undefined, notes: string[]): Found {
  using namespace = openGivenNamespace(plan, notes);
  using pod = namespace && openPodSide(namespace);
  if (namespace && !pod) notes.push(`${plan.netns} is no network namespace any more`);
  if (named) {
    const verdict = judge(host, named, plan.owner, plan.containerInterface, pod);
    if (verdict.mine || isRecorded(plan, host, named)) return { link: named };
    notes.push(`the host interface ${plan.hostInterface} ${verdict.reason}: it is left alone`);
  }
  const own = pod && ownHostEnd(plan, host, pod);
  return own ? { link: own } : { foreign: named !== undefined };
}

/** Whether an interface without a mark is the one that a record of the owner describes. */
function isRecorded({ recorded }: DeletePlan, host: Netlink, { index, kind, group, alias }: LinkInfo): boolean {
  if (!recorded || alias !== undefined || (kind !== "veth" && kind !== "netkit")) return false;
  if (group === UNFINISHED) return true;
  return host
    .dump(routes({ table: RT_TABLE.MAIN, index }))
    .some(({ destination, gateway }) => gateway === undefined && recorded.includes(formatCidr(destination)));
}

/** The host's end of the pod's interface, when it is marked as this owner's under whatever name. */
function ownHostEnd(plan: DeletePlan, host: Netlink, pod: PodSide): LinkInfo | undefined {
  const podLink = findLink(pod.netlink, { name: plan.containerInterface });
  const hostEnd = podLink && findHostEnd(host, pod, podLink);
  return hostEnd && ownerOf(hostEnd) === plan.owner ? hostEnd : undefined;
}

/** Undefined when no path was given, nothing is there, or the path leads to the host itself (a process id that was used again). */
function openGivenNamespace(plan: DeletePlan, notes: string[]): Namespace | undefined {
  if (plan.netns === undefined || plan.netns === "") return undefined;
  let namespace: Namespace;
  try {
    namespace = openNamespace(plan.netns);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    notes.push(`${error.message}: taken as gone`);
    return undefined;
  }
  using home = currentNamespace();
  if (namespace.inode !== (plan.hostNetns ?? home).inode) return namespace;
  namespace.close();
  notes.push(`${plan.netns} is the host's own network namespace: the pod's is taken as gone`);
  return undefined;
}

/** Deletes the link, alone or in company; the number of deletions asked of the kernel. */
function remove(plan: DeletePlan, host: Netlink, link: LinkInfo, notes: string[]): number {
  const { index } = link;
  if (plan.lockFile === undefined) return removeOne(host, index);
  const condemned = host.batch([linkSet({ index }, { group: CONDEMNED })])[0]!;
  if (condemned.error) {
    if (isGone(condemned.error)) return 0;
    throw condemned.error;
  }
  const gone = (): boolean => findLink(host, { index }) === undefined;
  let lock: FileLock | undefined;
  try {
    lock = lockFileSync(plan.lockFile, { timeout: plan.lockTimeout ?? LOCK_TIMEOUT, abandon: gone });
    // Between condemning and getting the lock another one's deletion may have taken ours along.
    if (!lock || gone()) return 0;
    const { error } = host.batch([linkDeleteGroup(CONDEMNED)])[0]!;
    if (!error || isGone(error)) return error ? 0 : 1;
    notes.push(`${error.message}: deleted alone`);
  } catch (error) {
    if (!(error instanceof SysError)) throw error;
    notes.push(`${error.message}: deleted without it`);
  } finally {
    lock?.release();
  }
  return removeOne(host, index);
}

function removeOne(host: Netlink, index: number): number {
  const { error } = host.batch([linkDelete({ index })])[0]!;
  if (error && !isGone(error)) throw error;
  return error ? 0 : 1;
}
