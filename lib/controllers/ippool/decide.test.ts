import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type IPPool, type IPPoolSpec, newIPPool } from "../../api/ippool.ts";
import { cidrOverlaps, parseCidr } from "../../ip/index.ts";
import { decidePools, FINALIZER, hasBlocks, withoutFinalizer } from "./decide.ts";

const NOW = Date.parse("2026-03-04T05:06:07.890Z");
const DELETED = "2026-03-01T00:00:00Z";

interface More {
  readonly spec?: Partial<IPPoolSpec>;
  readonly age?: number;
  readonly allocatable?: "True" | "False";
  readonly deleted?: boolean;
  readonly finalizers?: string[];
}

function pool(name: string, cidr: string, { spec = {}, age = 0, allocatable, deleted, finalizers }: More = {}): IPPool {
  const made = newIPPool(name, { cidr, ...spec });
  const creationTimestamp = new Date(Date.parse("2026-01-31T00:00:00Z") - age * 86_400_000).toISOString();
  return {
    ...made,
    metadata: {
      ...made.metadata,
      creationTimestamp,
      ...(deleted && { deletionTimestamp: DELETED }),
      ...(finalizers && { finalizers }),
    },
    ...(allocatable && {
      status: { conditions: [{ type: "Allocatable", status: allocatable, reason: "Before", message: "" }] },
    }),
  };
}

/** Name, reason, and what becomes of the finalizers. */
const decided = (...pools: IPPool[]) =>
  decidePools(pools, NOW).map(({ pool, conditions, finalizers, isEnding }) => [
    pool.metadata.name,
    conditions?.find(({ type }) => type === "Allocatable")?.reason ?? "same",
    isEnding ? "ending" : (finalizers ?? "same"),
  ]);

/** The pool after its decision is carried out. */
function carriedOut(pools: readonly IPPool[]): IPPool[] {
  return decidePools(pools, NOW).map(({ pool, conditions, finalizers }) => ({
    ...pool,
    metadata: { ...pool.metadata, ...(finalizers && { finalizers: [...finalizers] }) },
    ...(conditions && { status: { conditions: conditions.map((one) => ({ ...one })) } }),
  }));
}

describe("which pools may assign", () => {
  test("one by itself, as upstream says it", () => {
    expect(decidePools([pool("a", "10.0.0.0/16")], NOW)).toMatchObject([
      {
        conditions: [
          {
            type: "Allocatable",
            status: "True",
            reason: "OK",
            message: "IPPool is available for IP allocation.",
            lastTransitionTime: "2026-03-04T05:06:07Z",
          },
        ],
        finalizers: [FINALIZER],
        isEnding: false,
      },
    ]);
    expect(FINALIZER).toBe("projectcalico.org/ippool-finalizer");
  });

  test("of those that share addresses the one that already does, else the oldest, else by name", () => {
    const cidrs = ["10.0.0.0/16", "10.0.1.0/24"] as const;
    const winner = (a: More, b: More) =>
      decided(pool("a", cidrs[0], a), pool("b", cidrs[1], b)).find(([, reason]) => reason === "OK")?.[0];
    expect(winner({}, {})).toBe("a");
    expect(winner({}, { age: 1 })).toBe("b");
    expect(winner({ age: 9 }, { allocatable: "True" })).toBe("b");
    expect(winner({}, { age: 9, allocatable: "False" })).toBe("b");
    expect(decided(pool("a", cidrs[0]), pool("b", cidrs[1]), pool("c", "fd00::/64"))).toEqual([
      ["a", "OK", [FINALIZER]],
      ["b", "CIDROverlap", "same"],
      ["c", "OK", [FINALIZER]],
    ]);
  });

  test("one that is being deleted keeps others out until it is gone; a disabled one does not", () => {
    const next = pool("next", "10.0.0.0/24");
    const ending = pool("ending", "10.0.0.0/16", { deleted: true, finalizers: [FINALIZER], allocatable: "True" });
    expect(decided(next, ending)).toEqual([
      ["ending", "Terminating", "ending"],
      ["next", "CIDROverlap", "same"],
    ]);
    expect(decided(next)).toEqual([["next", "OK", [FINALIZER]]]);
    const disabled = pool("off", "10.0.0.0/16", { spec: { disabled: true }, finalizers: ["other", FINALIZER] });
    expect(decided(next, disabled)).toEqual([
      ["next", "OK", [FINALIZER]],
      ["off", "PoolDisabled", ["other"]],
    ]);
  });

  test("one that is deleted without the finalizer is nobody's to keep", () => {
    expect(decided(pool("a", "10.0.0.0/16", { deleted: true, finalizers: ["other"] }))).toEqual([
      ["a", "Terminating", "same"],
    ]);
    expect(withoutFinalizer(pool("a", "10.0.0.0/16", { finalizers: ["x", FINALIZER, "y"] }))).toEqual(["x", "y"]);
  });

  test("other conditions stay", () => {
    const one = pool("a", "10.0.0.0/16");
    one.status = { conditions: [{ type: "Other", status: "Unknown", reason: "Why", message: "" }] };
    expect(carriedOut([one])[0]?.status?.conditions?.map(({ type, status }) => `${type}=${status}`)).toEqual([
      "Other=Unknown",
      "Allocatable=True",
    ]);
  });

  test("whatever there is: no two that may assign overlap, every loser has a reason, and once is enough", () => {
    const cidr = fc.constantFrom("10.0.0.0/16", "10.0.0.0/24", "10.0.1.0/24", "10.1.0.0/16", "fd00::/64", "fd00::/120");
    const more = fc.record(
      {
        spec: fc.record({ disabled: fc.boolean() }),
        age: fc.nat(3),
        allocatable: fc.constantFrom("True" as const, "False" as const),
        deleted: fc.boolean(),
        finalizers: fc.constantFrom<string[]>([FINALIZER], ["other"], ["other", FINALIZER]),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(fc.array(fc.tuple(cidr, more), { maxLength: 6 }), fc.nat(5), (rows, shift) => {
        const pools = rows.map(([text, one], i) => pool(`p${i}`, text, one));
        const now = carriedOut(pools);
        const allocatable = (one: IPPool) => one.status?.conditions?.[0]?.status === "True";
        const active = now.filter(allocatable);
        for (const [i, a] of active.entries()) {
          expect(a.metadata.finalizers).toContain(FINALIZER);
          expect(a.metadata.deletionTimestamp ?? a.spec.disabled ?? false).toBe(false);
          for (const b of active.slice(i + 1))
            expect(cidrOverlaps(parseCidr(a.spec.cidr), parseCidr(b.spec.cidr))).toBe(false);
        }
        for (const one of now) {
          if (one.metadata.deletionTimestamp || one.spec.disabled || allocatable(one)) continue;
          const others = now.filter(
            (other) => allocatable(other) || (other.metadata.deletionTimestamp && !other.spec.disabled),
          );
          expect(others.some((other) => cidrOverlaps(parseCidr(one.spec.cidr), parseCidr(other.spec.cidr)))).toBe(true);
        }
        expect(decided(...now).every(([, reason, finalizers]) => reason === "same" && finalizers !== undefined)).toBe(
          true,
        );
        for (const [, , finalizers] of decided(...now)) expect(["same", "ending"]).toContain(finalizers);
        // The order in which they are read does not count.
        const turned = [...pools.slice(shift), ...pools.slice(0, shift)];
        expect(decided(...turned)).toEqual(decided(...pools));
      }),
    );
  });
});

test("blocks in a pool", () => {
  const one = pool("a", "10.0.0.0/24");
  expect(hasBlocks(one, [parseCidr("10.0.1.0/26"), parseCidr("fd00::/122")])).toBe(false);
  expect(hasBlocks(one, [parseCidr("10.0.1.0/26"), parseCidr("10.0.0.192/26")])).toBe(true);
});
