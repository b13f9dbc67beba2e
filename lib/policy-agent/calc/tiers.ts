import { type EndpointTier, type PolicyId, policyKey } from "./messages.ts";
import { comparePolicies, DO_NOT_TRACK, EGRESS, INGRESS, ON_FORWARD, type PolicyFacts, PRE_DNAT } from "./policy.ts";

/** What is known of a tier. */
export interface TierFacts {
  /** Infinity: none. */
  readonly order: number;
  readonly defaultAction: "Deny" | "Pass";
}

/** The policies of an endpoint by kind of traffic; a workload has `normal` only. */
export interface TierLists {
  readonly normal: readonly EndpointTier[];
  readonly forward: readonly EndpointTier[];
  readonly untracked: readonly EndpointTier[];
  readonly preDnat: readonly EndpointTier[];
}

/**
 * Orders the policies of an endpoint. Tiers come by order, then name; those that there are not come last, and deny. Untracked and preDNAT
 * policies have no default action: what they do not decide is for the others (felix/calc/event_sequencer.go).
 */
export function tierLists(policies: Iterable<PolicyFacts>, tiers: ReadonlyMap<string, TierFacts>): TierLists {
  const byTier = new Map<string, PolicyFacts[]>();
  for (const policy of policies) {
    const list = byTier.get(policy.tier);
    if (list === undefined) byTier.set(policy.tier, [policy]);
    else list.push(policy);
  }
  const names = [...byTier.keys()].sort((a, b) => compareTiers(a, b, tiers));
  const lists = {
    normal: [] as EndpointTier[],
    forward: [] as EndpointTier[],
    untracked: [] as EndpointTier[],
    preDnat: [] as EndpointTier[],
  };
  for (const name of names) {
    const sorted = byTier.get(name)!.sort(comparePolicies);
    const defaultAction = tiers.get(name)?.defaultAction ?? "Deny";
    const add = (
      to: EndpointTier[],
      action: EndpointTier["defaultAction"],
      some: readonly PolicyFacts[],
      egress = true,
    ) => {
      const ingress = idsOf(some, INGRESS);
      const tier = { name, defaultAction: action, ingress, egress: egress ? idsOf(some, EGRESS) : [] };
      if (tier.ingress.length > 0 || tier.egress.length > 0) to.push(tier);
    };
    const tracked = sorted.filter(({ flags }) => !(flags & (DO_NOT_TRACK | PRE_DNAT)));
    add(lists.normal, defaultAction, tracked);
    add(
      lists.forward,
      defaultAction,
      tracked.filter(({ flags }) => flags & ON_FORWARD),
    );
    add(
      lists.untracked,
      "Pass",
      sorted.filter(({ flags }) => flags & DO_NOT_TRACK),
    );
    const preDnat = sorted.filter(({ flags }) => flags & PRE_DNAT && !(flags & DO_NOT_TRACK));
    add(lists.preDnat, "Pass", preDnat, false);
  }
  return lists;
}

/** Whether two lists say the same; ids of policies are mostly the same objects. */
export function sameTiers(a: readonly EndpointTier[], b: readonly EndpointTier[]): boolean {
  return (
    a === b ||
    (a.length === b.length &&
      a.every((tier, i) => {
        const other = b[i]!;
        return (
          tier.name === other.name &&
          tier.defaultAction === other.defaultAction &&
          sameItems(tier.ingress, other.ingress) &&
          sameItems(tier.egress, other.egress)
        );
      }))
  );
}

export const sameLists = (a: TierLists, b: TierLists): boolean =>
  a === b ||
  (sameTiers(a.normal, b.normal) &&
    sameTiers(a.forward, b.forward) &&
    sameTiers(a.untracked, b.untracked) &&
    sameTiers(a.preDnat, b.preDnat));

const sameItems = (a: readonly PolicyId[], b: readonly PolicyId[]): boolean =>
  a.length === b.length && a.every((id, i) => id === b[i] || policyKey(id) === policyKey(b[i]!));

const idsOf = (policies: readonly PolicyFacts[], flag: number): PolicyId[] =>
  policies.filter(({ flags }) => flags & flag).map(({ id }) => id);

function compareTiers(a: string, b: string, tiers: ReadonlyMap<string, TierFacts>): number {
  const [left, right] = [tiers.get(a), tiers.get(b)];
  if ((left === undefined) !== (right === undefined)) return left === undefined ? 1 : -1;
  if (left !== undefined && right !== undefined && left.order !== right.order) return left.order < right.order ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}
