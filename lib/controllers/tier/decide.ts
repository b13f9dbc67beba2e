import type { Tier } from "../../api/tier.ts";
import { type Condition, withCondition } from "../conditions.ts";

/** Keeps a tier that is deleted until it has no policies (api/pkg/apis/projectcalico/v3/tier.go). */
export const FINALIZER = "projectcalico.org/tier-controller";

/** How many policies of each kind a tier has, in the order in which they are told. */
export type PolicyCounts = readonly (readonly [kind: string, count: number])[];

/** What is to be done to a tier; each list is the whole one. Nothing when all is right. */
export interface TierDecision {
  readonly finalizers?: readonly string[];
  readonly conditions?: readonly Condition[];
}

/** A tier has the finalizer; one that is deleted says what it waits for, and loses it when that is nothing. `now` is in milliseconds since 1970. */
export function decideTier({ metadata, status }: Tier, counts: PolicyCounts, now: number): TierDecision {
  const { finalizers = [], deletionTimestamp } = metadata;
  const has = finalizers.includes(FINALIZER);
  if (!deletionTimestamp) return has ? {} : { finalizers: [...finalizers, FINALIZER] };
  if (!has) return {};
  const left = counts.filter(([, count]) => count > 0);
  if (left.length === 0) return { finalizers: finalizers.filter((one) => one !== FINALIZER) };
  const message = `Waiting for policies to be removed: ${left.map(textOf).join(", ")}`;
  const wanted = { type: "Ready", status: "False", reason: "Terminating", message } as const;
  const conditions = withCondition(status?.conditions, wanted, now);
  return conditions ? { conditions } : {};
}

/** 1 NetworkPolicy, 2 NetworkPolicies */
const textOf = ([kind, count]: PolicyCounts[number]): string =>
  `${count} ${count === 1 ? kind : kind.replace(/y$/, "ies")}`;
