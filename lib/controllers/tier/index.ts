/**
 * Tiers whose objects are projectcalico.org/v3 itself (kube-controllers/pkg/controllers/tier): a finalizer keeps one that is deleted until no
 * policy is left in it, and its status says for how many it waits. Policies go by their owners' hands.
 *
 *     tiers, policies -> decideTier (pure), one tier at a time -> finalizers or conditions
 *
 * As for pools not to be run for crd.projectcalico.org/v1. Before a tier is let go its policies are read anew; it is kept while one of any
 * tier cannot be read.
 */
import { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import type { Kind } from "../../api/kind.ts";
import type { Resource } from "../../api/meta.ts";
import { NetworkPolicy } from "../../api/networkpolicy.ts";
import { StagedGlobalNetworkPolicy } from "../../api/stagedglobalnetworkpolicy.ts";
import { StagedNetworkPolicy } from "../../api/stagednetworkpolicy.ts";
import { Tier } from "../../api/tier.ts";
import { KubernetesError, type ResourcePath } from "../../kubernetes/index.ts";
import type { Controller, ControllerContext } from "../controller.ts";
import { inCommon, type Mirror, mirror } from "../mirror.ts";
import { WorkQueue } from "../queue.ts";
import { decideTier, FINALIZER, type PolicyCounts } from "./decide.ts";

export { FINALIZER as TIER_FINALIZER } from "./decide.ts";

const TIERS: ResourcePath = { group: "projectcalico.org", version: "v3", plural: "tiers" };
/** Until what a mirror is behind of is looked at again, or a policy that cannot be read, in milliseconds. */
const BEHIND = 1_000;
const UNREADABLE = 30_000;

type Policy = Resource<string, { tier?: string }>;
const plain = <R extends Policy>(kind: Kind<R>): Kind<Policy> => kind as unknown as Kind<Policy>;

/** Those that are in tiers, in upstream's order. */
const POLICY_KINDS: readonly Kind<Policy>[] = [
  plain(GlobalNetworkPolicy),
  plain(NetworkPolicy),
  plain(StagedGlobalNetworkPolicy),
  plain(StagedNetworkPolicy),
];

const tierOf = ({ spec }: Policy): string => spec.tier || "default";

/** The controller of tiers' finalizers. */
export function tierController(context: ControllerContext): Controller {
  return { name: "tier", run: (signal) => run(context, signal) };
}

async function run(context: ControllerContext, ended: AbortSignal): Promise<void> {
  const { client, kubernetes, log, time } = context;
  const stop = new AbortController();
  const signal = AbortSignal.any([ended, stop.signal]);
  const { report, common } = inCommon(context, signal);
  const queue = new WorkQueue({
    time,
    work: (name) => sync(name),
    onFailure: (tier, error, attempt) =>
      log.warning("a tier is not as it should be; tried again", { tier, attempt, error: (error as Error).message }),
  });
  const tiers = mirror({ ...common("tiers"), kind: Tier, onChange: (name) => queue.add(name) });
  const isEnding = (name: string) => Boolean(tiers.items.get(name)?.metadata.deletionTimestamp);
  const policies: readonly Mirror<string>[] = POLICY_KINDS.map((kind) =>
    mirror<Policy, string>({
      ...common(kind.plural),
      kind,
      transform: tierOf,
      onChange: (_, now, before) => {
        for (const tier of new Set([now, before])) if (tier !== undefined && isEnding(tier)) queue.add(tier);
      },
    }),
  );
  const mirrors: readonly Mirror<unknown>[] = [tiers, ...policies];

  async function sync(name: string): Promise<number | undefined> {
    const tier = tiers.items.get(name);
    if (!tier) return undefined;
    // Nobody counts the policies of a tier that stays.
    let decision = decideTier(tier, isEnding(name) ? heard(name) : [], time.now());
    if (isEnding(name) && decision.finalizers) {
      const counts = await read(name);
      if (!counts) return UNREADABLE;
      decision = decideTier(tier, counts, time.now());
    }
    const { resourceVersion } = tier.metadata;
    const { finalizers, conditions } = decision;
    try {
      if (conditions) {
        const path = { ...TIERS, name, subresource: "status" };
        await kubernetes.patch(path, "merge", { metadata: { resourceVersion }, status: { conditions } }, { signal });
        log.info("a tier waits for its policies", { tier: name });
      }
      if (finalizers) {
        const path = { ...TIERS, name };
        await kubernetes.patch(path, "merge", { metadata: { resourceVersion, finalizers } }, { signal });
        log.info(finalizers.includes(FINALIZER) ? "a tier is kept" : "a tier is let go", { tier: name });
      }
      return undefined;
    } catch (error) {
      const isRace = error instanceof KubernetesError && ["CONFLICT", "NOT_FOUND"].includes(error.code);
      if (isRace && !error.resourceMissing) return BEHIND;
      throw error;
    }
  }

  function heard(tier: string): PolicyCounts {
    return POLICY_KINDS.map(({ kind }, i) => {
      let count = 0;
      for (const one of policies[i]!.items.values()) if (one === tier) count++;
      return [kind, count] as const;
    });
  }

  /** Undefined: a policy cannot be read, so that its tier is not known. */
  async function read(tier: string): Promise<PolicyCounts | undefined> {
    const counts: [string, number][] = [];
    for (const kind of POLICY_KINDS) {
      const { items, unreadable } = await client.list(kind);
      if (unreadable.length > 0) {
        log.warning("a tier is kept, as a policy cannot be read", { tier, policy: unreadable[0]!.key });
        return undefined;
      }
      counts.push([kind.kind, items.filter((one) => tierOf(one) === tier).length]);
    }
    return counts;
  }

  try {
    const ends = mirrors.map(({ done }) => done);
    await Promise.race([Promise.all(mirrors.map((one) => one.whenSynced())), ...ends]);
    if (signal.aborted) return;
    report();
    for (const name of tiers.items.keys()) queue.add(name);
    await queue.run(signal);
  } finally {
    stop.abort();
    await Promise.all(mirrors.map(({ done }) => done));
  }
}
