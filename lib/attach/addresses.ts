import { CniError, errorCode, executeDelegate, type Invocation, parseResult, type Result } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { formatAddress, tryParseAddress } from "../ip/index.ts";
import type { Attributes } from "../ipam/index.ts";
import { type FileLock, folderOf, lockFileSync, makeFolder } from "../sys/index.ts";
import type { Host } from "./host.ts";
import type { Identity } from "./identity.ts";

/** How long the allocator, or another IPAM plugin, may take once it is its turn; upstream's bound. */
export const IPAM_TIMEOUT_MS = 90_000;

/** How long to wait for the lock: longer than any assignment takes unless whoever holds it was stopped. */
const LOCK_PATIENCE_MS = 60_000;

/** Whether addresses come from the allocator in this process rather than from another plugin. */
export function isOwnIpam(call: Invocation): boolean {
  return call.config.ipam.type === "calico-ipam";
}

/** The last work of this process that was queued under each lock file: waiting in flock(2) for oneself would never end. */
const queues = new Map<string, Promise<unknown>>();

/**
 * Runs the allocator under the host-wide lock, which keeps the plugins of one node from racing for its block. The wait is
 * bounded, because whoever holds the lock may have been stopped, and the time of the work counts from its end. As upstream, a lock
 * that cannot be had is no reason to fail: every write is a compare-and-swap anyway.
 */
export function underLock<T>(
  call: Invocation,
  host: Host,
  work: () => Promise<T>,
  patience = LOCK_PATIENCE_MS,
): Promise<T> {
  if (host.agent) return within(IPAM_TIMEOUT_MS, work());
  const path = call.config.ipamLockFile || host.files.ipamLock;
  const locked = async (): Promise<T> => {
    const lock = takeLock(path, host, patience);
    try {
      return await within(IPAM_TIMEOUT_MS, work());
    } finally {
      lock?.release();
    }
  };
  const before = queues.get(path);
  const turn = before === undefined ? locked() : before.then(locked, locked);
  queues.set(path, turn);
  const leave = (): void => {
    if (queues.get(path) === turn) queues.delete(path);
  };
  turn.then(leave, leave);
  return turn;
}

function takeLock(path: string, host: Host, timeout: number): FileLock | undefined {
  for (let attempt = 0; attempt < 2; attempt++) {
    try {
      return lockFileSync(path, { timeout });
    } catch (error) {
      const missing = (error as { code?: string }).code === "ENOENT";
      if (attempt > 0 || !missing || !tryMakeFolder(folderOf(path))) {
        host.log.warning("the IPAM lock cannot be taken; going on without", {
          file: path,
          error: (error as Error).message,
        });
        return undefined;
      }
    }
  }
  return undefined;
}

function tryMakeFolder(folder: string): boolean {
  try {
    makeFolder(folder);
    return true;
  } catch {
    return false;
  }
}

async function within<T>(milliseconds: number, work: Promise<T>): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(
        new CniError(errorCode.tryAgainLater, `no address was assigned or released within ${milliseconds / 1000} s`),
      );
    }, milliseconds);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** How many addresses of each family: one IPv4 address unless told otherwise, and IPv6 only when asked for (upstream's defaults). */
export function familiesWanted(call: Invocation): { num4: number; num6: number } {
  const { assignIpv4, assignIpv6 } = call.config.ipam;
  const num4 = assignIpv4 === false ? 0 : 1;
  const num6 = assignIpv6 === true ? 1 : 0;
  if (num4 + num6 === 0) {
    throw new CniError(
      errorCode.invalidConfiguration,
      '"ipam.assign_ipv4" and "ipam.assign_ipv6" are both false: the pod would get no address',
    );
  }
  return { num4, num6 };
}

/** The address of `IP=` in CNI_ARGS, canonical. */
export function requestedAddress(identity: Identity): string {
  const address = tryParseAddress(identity.requestedIp);
  if (!address) {
    throw new CniError(
      errorCode.invalidEnvironment,
      `CNI_ARGS has IP=${JSON.stringify(identity.requestedIp.slice(0, 80))}, which is no IP address`,
    );
  }
  return formatAddress(address);
}

/** What is kept with an allocation, by upstream's names. */
export function attributesOf(identity: Identity, host: Host): Attributes {
  return {
    node: identity.node,
    timestamp: goTime(host.now()),
    ...(identity.pod === "" ? {} : { pod: identity.pod, namespace: identity.namespace }),
  };
}

/** "2024-10-19 20:50:00.035 +0000 UTC": what Go's Time.String prints, without trailing zeros of the fraction. */
export function goTime(milliseconds: number): string {
  const iso = new Date(milliseconds).toISOString(); // 2024-10-19T20:50:00.035Z
  let end = 23;
  while (iso[end - 1] === "0" && end > 20) end--;
  return `${iso.slice(0, 10)} ${iso.slice(11, end === 20 ? 19 : end)} +0000 UTC`;
}

/** Where the pod networks of a node are to be found. */
export interface PodNetworks {
  readonly client: Client;
  readonly identity: Identity;
}

/** Executes the configured IPAM plugin for one of its verbs. ADD needs `networks`, for host-local's `usePodCidr`. */
export async function callIpamPlugin(
  call: Invocation,
  host: Host,
  command: Invocation["environment"]["command"],
  networks?: PodNetworks,
): Promise<unknown> {
  const { ipam } = call.config;
  const usesPodCidr = ipam.type === "host-local" && /usepodcidr/i.test(call.stdin);
  return executeDelegate({
    type: ipam.type,
    command,
    path: call.environment.path,
    // As upstream: other plugins must not trip over Kubernetes' arguments.
    env: { ...call.env, CNI_ARGS: ["IgnoreUnknown=1", call.environment.args].filter((part) => part !== "").join(";") },
    stdin: usesPodCidr ? await (await import("./pod-cidr.ts")).withPodCidrs(call, host, networks) : call.stdin,
    timeoutMs: IPAM_TIMEOUT_MS,
    stderr: (text) => process.stderr.write(text),
  });
}

/** The addresses another plugin assigned, with what else it said. Gateways go: the pod's link is point to point. */
export async function assignByPlugin(call: Invocation, host: Host, networks: PodNetworks): Promise<Result> {
  const answer = await callIpamPlugin(call, host, "ADD", networks);
  const result = parseResult(answer, call.config.cniVersion, `the result of the plugin "${call.config.ipam.type}"`);
  if (result.ips.length === 0) {
    throw new CniError(
      errorCode.addresses,
      `the plugin "${call.config.ipam.type}" returned no IP addresses in its result`,
    );
  }
  return result;
}
