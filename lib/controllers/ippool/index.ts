/**
 * Pools whose objects are projectcalico.org/v3 itself (kube-controllers/pkg/controllers/ippool): which of them may assign, as the condition
 * Allocatable, and a finalizer that keeps one that is deleted until its blocks are released.
 *
 *     pools, blocks -> decidePools (pure), all pools at once, as they may overlap -> conditions, then finalizers
 *
 * In crd.projectcalico.org/v1 objects' metadata is not Kubernetes' own, so nothing there can wait for a finalizer: not to be run there, as
 * upstream does not. Statuses and finalizers are merge patches that name the revision: what else is in a pool stays as it is, right or wrong.
 *
 * While a pool cannot be read nothing is decided, as it may share addresses with any other. Before a pool is let go its blocks are read anew.
 */
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPPool } from "../../api/ippool.ts";
import { type Cidr, tryParseCidr } from "../../ip/index.ts";
import { createIpam } from "../../ipam/index.ts";
import { KubernetesError, type ResourcePath } from "../../kubernetes/index.ts";
import type { Controller, ControllerContext } from "../controller.ts";
import { inCommon, mirror } from "../mirror.ts";
import { WorkQueue } from "../queue.ts";
import { decidePools, hasBlocks, type PoolDecision, withoutFinalizer } from "./decide.ts";

export { FINALIZER as IPPOOL_FINALIZER } from "./decide.ts";

const POOLS: ResourcePath = { group: "projectcalico.org", version: "v3", plural: "ippools" };
/** They overlap, so all are looked at together. */
const ALL = "pools";
/** How often everything is looked at, and what a pool that ends waits for, in milliseconds. */
const EVERYTHING = 300_000;
const BEHIND = 1_000;

/** The controller of pools' conditions and finalizers. */
export function ippoolController(context: ControllerContext): Controller {
  return { name: "ippool", run: (signal) => run(context, signal) };
}

async function run(context: ControllerContext, ended: AbortSignal): Promise<void> {
  const { client, kubernetes, log, time } = context;
  const stop = new AbortController();
  const signal = AbortSignal.any([ended, stop.signal]);
  const ipam = createIpam(client, { clock: () => time.now(), log });
  const { report, common } = inCommon(context, signal);
  const queue = new WorkQueue({
    time,
    workers: 1,
    work: () => sync(),
    onFailure: (_, error, attempt) =>
      log.warning("pools are not as they should be; tried again", { attempt, error: (error as Error).message }),
  });
  /** The revision from which a pool was written last: for as long as the mirror has that one, it is behind. */
  const written = new Map<string, string>();
  const pools = mirror({ ...common("ippools"), kind: IPPool, onChange: () => queue.add(ALL) });
  const blocks = mirror<IPAMBlock, Cidr>({
    ...common("ipamblocks"),
    kind: IPAMBlock,
    transform: ({ spec }) => tryParseCidr(spec.cidr),
    onChange: (_, now) => {
      if (now === undefined) queue.add(ALL);
    },
  });

  async function sync(): Promise<number> {
    if (pools.unreadable.size > 0)
      throw new Error([...pools.unreadable.values()].map(({ message }) => message).join("; "));
    const failures: unknown[] = [];
    let isBehind = false;
    for (const decision of decidePools([...pools.items.values()], time.now())) {
      const { name, resourceVersion = "" } = decision.pool.metadata;
      try {
        if (written.get(name) === resourceVersion || !(await carryOut(decision))) isBehind = true;
      } catch (error) {
        failures.push(error);
      }
    }
    for (const name of written.keys()) if (!pools.items.has(name)) written.delete(name);
    if (failures.length > 0) throw failures[0];
    return isBehind ? BEHIND : EVERYTHING;
  }

  /** False: the mirror is behind. */
  async function carryOut({ pool, conditions, finalizers, isEnding }: PoolDecision): Promise<boolean> {
    const { name } = pool.metadata;
    let { resourceVersion } = pool.metadata;
    try {
      if (conditions) {
        const patched = await patch(name, "status", { metadata: { resourceVersion }, status: { conditions } });
        resourceVersion = remember(pool, patched);
        const { reason } = conditions.find(({ type }) => type === "Allocatable")!;
        log.info("a pool's condition Allocatable has changed", { pool: name, reason });
      }
      const wanted = isEnding ? await ending(pool) : finalizers;
      if (!wanted) return true;
      remember(pool, await patch(name, undefined, { metadata: { resourceVersion, finalizers: wanted } }));
      log.info(wanted.length > (pool.metadata.finalizers ?? []).length ? "a pool is kept" : "a pool is let go", {
        pool: name,
      });
      return true;
    } catch (error) {
      if (error instanceof KubernetesError && !error.resourceMissing && ["CONFLICT", "NOT_FOUND"].includes(error.code))
        return false;
      throw error;
    }
  }

  function remember({ metadata }: IPPool, now: IPPool): string | undefined {
    const { resourceVersion } = now.metadata;
    if (resourceVersion !== metadata.resourceVersion) written.set(metadata.name, metadata.resourceVersion ?? "");
    return resourceVersion;
  }

  /** Gives up the affinities of a pool that is deleted, so that nothing new is assigned; its finalizers, once nothing is left. */
  async function ending(pool: IPPool): Promise<string[] | undefined> {
    await ipam.releaseAffinities(pool.spec.cidr);
    if (blocks.unreadable.size > 0 || hasBlocks(pool, blocks.items.values())) return undefined;
    const { items, unreadable } = await client.list(IPAMBlock, { overlapping: pool.spec.cidr });
    return items.length + unreadable.length > 0 ? undefined : withoutFinalizer(pool);
  }

  function patch(name: string, subresource: string | undefined, body: object): Promise<IPPool> {
    return kubernetes.patch({ ...POOLS, name, subresource }, "merge", body, {
      signal,
    }) as Promise<object> as Promise<IPPool>;
  }

  try {
    await Promise.race([Promise.all([pools.whenSynced(), blocks.whenSynced()]), pools.done, blocks.done]);
    if (signal.aborted) return;
    report();
    queue.add(ALL);
    await queue.run(signal);
  } finally {
    stop.abort();
    await Promise.all([pools.done, blocks.done]);
  }
}
