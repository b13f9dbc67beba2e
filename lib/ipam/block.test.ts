import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type IPAMBlockSpec, newIPAMBlock } from "../api/ipamblock.ts";
import { parseCidr } from "../ip/index.ts";
import {
  addressText,
  allocate,
  allocateOrdinal,
  attributesAt,
  blockProblems,
  collectCooled,
  freeCount,
  isAllocated,
  isEmpty,
  mendBlock,
  ordinalsOfHandle,
  release,
  sequenceOf,
  timestamp,
} from "./block.ts";
import { noReservations, Reservations } from "./reservations.ts";

const cidr = parseCidr("10.0.0.0/28");
const make = (text = "10.0.0.0/28"): IPAMBlockSpec =>
  newIPAMBlock({ cidr: text, sequenceNumber: 1_700_000_000_000_000_000n }).spec;
const T = Date.parse("2026-01-01T00:00:00Z");

describe("allocation in a block", () => {
  test("takes addresses in the order in which they became free, and gives the longest free one first", () => {
    const spec = make();
    expect(allocate(spec, cidr, 2, "a", {}, noReservations)).toEqual([0, 1]);
    release(spec, [0], 0, T);
    expect(allocate(spec, cidr, 14, "b", {}, noReservations)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
    expect(allocate(spec, cidr, 2, "c", {}, noReservations)).toEqual([0]);
    expect(allocate(spec, cidr, 1, "d", {}, noReservations)).toEqual([]);
  });

  test("skips reserved addresses and leaves them where they are in the queue", () => {
    const spec = make();
    const reserved = new Reservations([parseCidr("10.0.0.0/31"), parseCidr("10.0.0.3/32")]);
    expect(freeCount(spec, cidr, reserved)).toBe(13);
    expect(allocate(spec, cidr, 2, "a", {}, reserved)).toEqual([2, 4]);
    expect(spec.unallocated.slice(0, 4)).toEqual([0, 1, 3, 5]);
  });

  test("stores equal attributes once, and omits empty ones", () => {
    const spec = make();
    allocate(spec, cidr, 1, "a", { pod: "x" }, noReservations);
    allocate(spec, cidr, 1, "a", { pod: "x" }, noReservations);
    allocate(spec, cidr, 1, "a", { pod: "y" }, noReservations);
    allocate(spec, cidr, 1, undefined, {}, noReservations);
    expect(spec.allocations.slice(0, 4)).toEqual([0, 0, 1, 2]);
    expect(spec.attributes).toEqual([
      { handle_id: "a", secondary: { pod: "x" } },
      { handle_id: "a", secondary: { pod: "y" } },
      {},
    ]);
  });

  test("never joins an allocation to an attribute with an alternate owner", () => {
    const spec = make();
    allocate(spec, cidr, 1, "a", {}, noReservations);
    spec.attributes[0]!.alternateOwnerAttrs = { pod: "z" };
    allocate(spec, cidr, 1, "a", {}, noReservations);
    expect(spec.allocations.slice(0, 2)).toEqual([0, 1]);
  });

  test("remembers the sequence number the block has when the address is assigned", () => {
    const spec = make();
    allocateOrdinal(spec, 5, "a", {});
    spec.sequenceNumber += 1n;
    allocateOrdinal(spec, 6, "a", {});
    expect(spec.sequenceNumberForAllocation).toEqual({
      "5": 1_700_000_000_000_000_000n,
      "6": 1_700_000_000_000_000_001n,
    });
    expect(allocateOrdinal(spec, 6, "b", {})).toBe(false);
    expect(spec.unallocated).not.toContain(6);
  });

  test("does not hand out an ordinal that is listed as free twice, or is allocated", () => {
    const spec = make();
    allocateOrdinal(spec, 3, "a", {});
    spec.unallocated = [3, 4, 4, 99, 5];
    expect(freeCount(spec, cidr, noReservations)).toBe(3);
    expect(allocate(spec, cidr, 5, "b", {}, noReservations)).toEqual([4, 5]);
  });
});

describe("release", () => {
  test("without cooldown frees at once, and drops and renumbers attributes", () => {
    const spec = make();
    allocate(spec, cidr, 1, "a", {}, noReservations);
    allocate(spec, cidr, 1, "b", {}, noReservations);
    release(spec, [0], 0, T);
    expect(spec.allocations.slice(0, 2)).toEqual([null, 0]);
    expect(spec.attributes).toEqual([{ handle_id: "b" }]);
    expect(spec.unallocated.at(-1)).toBe(0);
    expect(Object.keys(spec.sequenceNumberForAllocation)).toEqual(["1"]);
  });

  test("with cooldown keeps the address, without a handle, until the time has passed", () => {
    const spec = make();
    allocate(spec, cidr, 1, "a", { pod: "x" }, noReservations);
    spec.sequenceNumber += 1n;
    release(spec, [0], 60, T);
    expect(attributesAt(spec, 0)).toEqual({ releasedAt: "2026-01-01T00:00:00Z" });
    expect(sequenceOf(spec, 0)).toBe(spec.sequenceNumber);
    expect(ordinalsOfHandle(spec, "a")).toEqual([]);
    expect(isEmpty(spec)).toBe(false);
    expect(allocateOrdinal(spec, 0, "b", {})).toBe(false);
    expect(collectCooled(spec, 60, T + 59_000)).toBe(false);
    expect(collectCooled(spec, 60, T + 60_000)).toBe(true);
    expect(isEmpty(spec)).toBe(true);
    expect(spec.attributes).toEqual([]);
    expect(blockProblems(spec)).toEqual([]);
  });

  test("a handle that an old migration wrote with a carriage return is found by what precedes it", () => {
    const spec = make();
    allocateOrdinal(spec, 0, "cid\reth0", {});
    expect(ordinalsOfHandle(spec, "cid")).toEqual([0]);
  });

  test("addresses set aside for Windows do not keep a block in use", () => {
    const spec = make();
    allocateOrdinal(spec, 0, "Windows-Reserved-IPAM-Handle", {});
    expect(isEmpty(spec)).toBe(true);
    allocateOrdinal(spec, 1, "x", {});
    expect(isEmpty(spec)).toBe(false);
  });

  test("times are written in whole seconds, as Go writes them", () => {
    expect(timestamp(T + 999)).toBe("2026-01-01T00:00:00Z");
  });

  test("IPv6 ordinals", () => {
    expect(addressText(parseCidr("fd00:10::40/122"), 63)).toBe("fd00:10::7f");
  });
});

/** The same rules, kept in the plainest way: who holds what, since when, and the order of the free ones. */
class Naive {
  readonly holder = new Map<number, { handle: string; at: bigint }>();
  readonly cooling = new Map<number, number>();
  free: number[];
  sequence: bigint;
  constructor(size: number, sequence: bigint) {
    this.free = Array.from({ length: size }, (_, i) => i);
    this.sequence = sequence;
  }
  assign(count: number, handle: string, reserved: ReadonlySet<number>): number[] {
    const taken = this.free.filter((ordinal) => !reserved.has(ordinal)).slice(0, count);
    for (const ordinal of taken) this.holder.set(ordinal, { handle, at: this.sequence });
    this.free = this.free.filter((ordinal) => !taken.includes(ordinal));
    return taken;
  }
  release(handle: string, cooldown: number, now: number): void {
    for (const [ordinal, holder] of [...this.holder].sort(([a], [b]) => a - b)) {
      if (holder.handle !== handle) continue;
      this.holder.delete(ordinal);
      this.cooling.set(ordinal, Math.floor(now / 1000));
    }
    this.collect(cooldown, now);
  }
  collect(cooldown: number, now: number): void {
    for (const [ordinal, since] of [...this.cooling].sort(([a], [b]) => a - b)) {
      if (since * 1000 > now - cooldown * 1000) continue;
      this.cooling.delete(ordinal);
      this.free.push(ordinal);
    }
  }
}

const step = fc.oneof(
  fc.record({
    do: fc.constant("assign" as const),
    count: fc.integer({ min: 1, max: 5 }),
    handle: fc.integer({ max: 4, min: 0 }),
  }),
  fc.record({ do: fc.constant("release" as const), handle: fc.integer({ max: 4, min: 0 }) }),
  fc.record({ do: fc.constant("wait" as const), milliseconds: fc.integer({ min: 0, max: 4000 }) }),
);

describe("properties", () => {
  test("any sequence of assignments, releases and waits leaves what the naive allocator says, and a sound block", () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 40 }),
        fc.integer({ min: 0, max: 3 }),
        fc.uniqueArray(fc.integer({ min: 0, max: 15 }), { maxLength: 4 }),
        (steps, cooldown, reservedOrdinals) => {
          const spec = make();
          const naive = new Naive(16, spec.sequenceNumber);
          const reserved = new Reservations(reservedOrdinals.map((ordinal) => parseCidr(`10.0.0.${ordinal}/32`)));
          let now = T;
          for (const one of steps) {
            collectCooled(spec, cooldown, now);
            naive.collect(cooldown, now);
            if (one.do === "wait") now += one.milliseconds;
            else if (one.do === "assign") {
              const handle = `h${one.handle}`;
              expect(allocate(spec, cidr, one.count, handle, { n: handle }, reserved)).toEqual(
                naive.assign(one.count, handle, new Set(reservedOrdinals)),
              );
            } else {
              const handle = `h${one.handle}`;
              release(spec, ordinalsOfHandle(spec, handle), cooldown, now);
              naive.release(handle, cooldown, now);
            }
            spec.sequenceNumber += 1n;
            naive.sequence += 1n;
            expect(blockProblems(spec)).toEqual([]);
            expect(spec.unallocated).toEqual(naive.free);
            for (const [ordinal, holder] of naive.holder) {
              expect(attributesAt(spec, ordinal)?.handle_id).toBe(holder.handle);
              expect(sequenceOf(spec, ordinal)).toBe(holder.at);
            }
            for (const ordinal of naive.cooling.keys()) expect(attributesAt(spec, ordinal)?.releasedAt).toBeDefined();
            expect(isEmpty(spec)).toBe(naive.free.length === 16);
          }
        },
      ),
      { numRuns: 300 },
    );
  });

  test("a mended block is sound, keeps every allocation, and loses no address", () => {
    fc.assert(
      fc.property(
        fc.array(fc.option(fc.integer({ min: 0, max: 4 }), { nil: null }), { minLength: 10, maxLength: 16 }),
        fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 20 }),
        fc.integer({ min: 0, max: 3 }),
        (allocations, unallocated, attributes) => {
          const spec = make();
          spec.allocations = [...allocations];
          spec.unallocated = unallocated;
          spec.attributes = Array.from({ length: attributes }, (_, i) => ({ handle_id: `h${i}` }));
          const before = allocations.map((index) => (index === null ? null : `h${index}`));
          mendBlock(spec);
          expect(blockProblems(spec)).toEqual([]);
          for (const [ordinal, handle] of before.entries()) {
            expect(isAllocated(spec, ordinal)).toBe(handle !== null);
            const known = handle !== null && Number(handle.slice(1)) < attributes;
            expect(attributesAt(spec, ordinal)?.handle_id).toBe(known ? handle : undefined);
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
