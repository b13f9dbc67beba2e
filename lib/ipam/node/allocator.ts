import type { Client } from "../../datastore/index.ts";
import { Turns } from "../../wait/turns.ts";
import { autoAssign, count } from "../assign.ts";
import { cleanHandle } from "../block.ts";
import { createContext, isUnreadable } from "../context.ts";
import { IpamError } from "../errors.ts";
import { createIpam } from "../ipam.ts";
import { readHandle } from "../reads.ts";
import { releaseByHandle } from "../release.ts";
import type { Assigned, AutoAssignRequest, Ipam, Owner, ReleaseByHandleOptions, Released } from "../types.ts";
import { Known } from "./known.ts";
import { Lane } from "./lane.ts";
import type { NodeAllocator, NodeAllocatorOptions } from "./types.ts";
import { Warm } from "./warm.ts";

/** See openNodeAllocator. */
export function startNodeAllocator(client: Client, options: NodeAllocatorOptions): NodeAllocator & Pick<Warm, "facts"> {
  const ctx = createContext(client, options);
  const ipam = createIpam(client, options);
  const owner: Owner = { type: "host", name: options.node };
  const stop = new AbortController();
  const known = new Known();
  const warm = new Warm(ctx, options.node, stop.signal);
  const lane = new Lane(ctx, owner, known, warm);
  /** One request for a handle at a time, and one at a time of what goes the direct way. */
  const turns = { handles: new Turns(), direct: new Turns() };
  options.signal?.addEventListener("abort", () => stop.abort(), { once: true });
  if (options.signal?.aborted) stop.abort();

  /** What goes the direct way, one after the other as under the plugins' lock: at the same moment it would be for the same blocks. */
  const direct = <T>(work: () => Promise<T>): Promise<T> => turns.direct.run([""], work);
  const assignAlone = async (request: AutoAssignRequest): Promise<Assigned> => {
    try {
      const assigned = await direct(() => autoAssign(ctx, request));
      for (const { block } of [...assigned.v4, ...assigned.v6]) known.dropBlock(block);
      return assigned;
    } finally {
      if (request.handle !== undefined) known.dropHandle(cleanHandle(request.handle));
    }
  };
  const assign = (request: AutoAssignRequest): Promise<Assigned> => {
    const wanted = { 4: count(request.num4, "num4"), 6: count(request.num6, "num6") };
    const handleId = request.handle === undefined ? undefined : cleanHandle(request.handle);
    const isOrdinary =
      request.host === options.node &&
      request.use !== "LoadBalancer" &&
      wanted[4] + wanted[6] > 0 &&
      !stop.signal.aborted &&
      // Without one, what an unanswered write has assigned could not be told from what the next has.
      handleId !== undefined &&
      handleId !== "" &&
      // What the handle has already counts.
      known.handle(handleId) === undefined &&
      warm.facts() !== undefined;
    if (!isOrdinary) return assignAlone(request);
    return new Promise((resolve, reject) => {
      const alone = () => assignAlone(request).then(resolve, failing(reject));
      lane.add({ kind: "assign", request, wanted, handleId, resolve, reject, alone, conflicts: 0, followed: false });
    });
  };

  const releaseAlone = async (handle: string, more?: ReleaseByHandleOptions): Promise<Released> => {
    try {
      return await direct(() => releaseByHandle(ctx, handle, more));
    } finally {
      known.dropHandle(cleanHandle(handle));
      known.dropBlocks();
    }
  };
  const release = async (id: string, more: ReleaseByHandleOptions): Promise<Released> => {
    if (stop.signal.aborted || warm.facts() === undefined) return releaseAlone(id, more);
    const remembered = known.handle(id);
    const [handle, extra] = await Promise.all([
      remembered ??
        readHandle(ctx, id).catch((error: unknown) => {
          if (!isUnreadable(error)) throw error;
          return "unreadable" as const;
        }),
      more.alsoWrite?.() ?? [],
    ]);
    if (handle === undefined && !more.alsoWrite) return { addresses: [], found: false };
    if (handle === undefined || handle === "unreadable") return releaseAlone(id, more);
    return new Promise((resolve, reject) => {
      const released = new Set<string>();
      const resolveAll = (answer: Released) =>
        resolve({ addresses: [...new Set([...released, ...answer.addresses])], found: true });
      const alone = () => releaseAlone(id, more).then(resolveAll, failing(reject));
      lane.add({
        ...{ kind: "release", handleId: id, handle, extra, released },
        ...{ resolve, reject, alone, conflicts: 0 },
      });
    });
  };

  /** Whatever else changes blocks makes what is known of them useless. */
  const changing = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await direct(work);
    } finally {
      known.dropBlocks();
    }
  };
  const others: Ipam = {
    ...ipam,
    assignIp: (request) => changing(() => ipam.assignIp(request)),
    releaseAddresses: (requests) => changing(() => ipam.releaseAddresses(requests)),
    claimAffinity: (cidr, by) => changing(() => ipam.claimAffinity(cidr, by)),
    releaseOwner: (of, more) => changing(() => ipam.releaseOwner(of, more)),
    releaseAffinities: (cidr, more) => changing(() => ipam.releaseAffinities(cidr, more)),
    ensureBlock: (request) => changing(() => ipam.ensureBlock(request)),
    collectCooled: () => changing(() => ipam.collectCooled()),
    repair: (more) => changing(() => ipam.repair(more)),
    splitPool: (pool, parts) => changing(() => ipam.splitPool(pool, parts)),
  };
  return {
    ...others,
    inSync: warm.inSync,
    facts: () => warm.facts(),
    autoAssign: (request) =>
      turns.handles.run(request.handle ? [cleanHandle(request.handle)] : [], () => assign(request)),
    releaseByHandle: async (handle, more = {}) => {
      const id = cleanHandle(handle);
      if (id === "") throw new IpamError("IPAM_INVALID", "handle: must not be empty");
      return turns.handles.run([id], () => release(id, more));
    },
    close: async () => {
      stop.abort();
      await lane.idle();
    },
  };
}

const failing =
  (reject: (error: unknown) => void) =>
  (error: unknown): unknown => {
    reject(error);
    return error;
  };
