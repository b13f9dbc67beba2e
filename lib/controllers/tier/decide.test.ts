import { describe, expect, test } from "vitest";
import { API_VERSION } from "../../api/meta.ts";
import type { Tier } from "../../api/tier.ts";
import { decideTier, FINALIZER, type PolicyCounts } from "./decide.ts";

const NOW = Date.parse("2026-03-04T05:06:07.890Z");
const tier = (metadata: Partial<Tier["metadata"]> = {}, status?: Tier["status"]): Tier => ({
  apiVersion: API_VERSION,
  kind: "Tier",
  metadata: { name: "security", ...metadata },
  spec: { order: 10, defaultAction: "Deny" },
  ...(status && { status }),
});
const counts = (global: number, local = 0, stagedGlobal = 0, staged = 0): PolicyCounts => [
  ["GlobalNetworkPolicy", global],
  ["NetworkPolicy", local],
  ["StagedGlobalNetworkPolicy", stagedGlobal],
  ["StagedNetworkPolicy", staged],
];
const deletionTimestamp = "2026-03-01T00:00:00Z";
const ending = { deletionTimestamp, finalizers: ["other", FINALIZER] };

describe("a tier", () => {
  test("is kept as long as it is not deleted, whatever is in it", () => {
    expect(FINALIZER).toBe("projectcalico.org/tier-controller");
    expect(decideTier(tier(), counts(0), NOW)).toEqual({ finalizers: [FINALIZER] });
    expect(decideTier(tier({ finalizers: ["other"] }), counts(1), NOW)).toEqual({ finalizers: ["other", FINALIZER] });
    expect(decideTier(tier({ finalizers: [FINALIZER] }), counts(1), NOW)).toEqual({});
  });

  test("that is deleted says what it waits for, in upstream's words, and says it once", () => {
    const decision = decideTier(tier(ending), counts(3, 1, 0, 2), NOW);
    const conditions = [
      {
        type: "Ready",
        status: "False" as const,
        reason: "Terminating",
        message:
          "Waiting for policies to be removed: 3 GlobalNetworkPolicies, 1 NetworkPolicy, 2 StagedNetworkPolicies",
        lastTransitionTime: "2026-03-04T05:06:07Z",
      },
    ];
    expect(decision).toEqual({ conditions });
    expect(decideTier(tier(ending, { conditions }), counts(3, 1, 0, 2), NOW + 5000)).toEqual({});
    expect(decideTier(tier(ending, { conditions }), counts(2, 1, 0, 2), NOW).conditions).toHaveLength(1);
  });

  test("goes when nothing is left in it; what others keep it for stays", () => {
    expect(decideTier(tier(ending), counts(0), NOW)).toEqual({ finalizers: ["other"] });
    expect(decideTier(tier({ deletionTimestamp, finalizers: ["other"] }), counts(4), NOW)).toEqual({});
  });
});
