import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newIPPool } from "../api/ippool.ts";
import { type Cidr, cidrContains, cidrSize, formatCidr, parseCidr, subnetAt } from "../ip/index.ts";
import { blockLimit, isOldEnough, parseOwner } from "./affinity.ts";
import { blockCount, candidates, fnv1, rotated, startIndex } from "./candidates.ts";
import { configProblem } from "./config.ts";
import { decrement, increment } from "./handle.ts";
import { type Pool, readPools } from "./pools.ts";
import { DEFAULT_CONFIG } from "./reads.ts";
import { noReservations, Reservations, readReservations } from "./reservations.ts";

const pool = (cidr: string, blockSize: number): Pool => readPools([newIPPool("p", { cidr, blockSize })])[0]!;

describe("where a host begins to look", () => {
  test("the hash is Go's FNV-1", () => {
    expect(fnv1("node1")).toBe(3957252814);
    expect(fnv1("node-2")).toBe(568266916);
    expect(fnv1("kind-worker")).toBe(801257890);
    expect(fnv1("ip-10-0-0-1.ec2.internal")).toBe(1440555195);
    expect(fnv1("k8s-master")).toBe(3076233826);
  });

  test("the same host always begins at the same block", () => {
    const p = pool("10.0.0.0/8", 26);
    expect(startIndex(p, "node1", Math.random)).toBe(startIndex(p, "node1", Math.random));
  });

  test.each([4, 64, 1024])("1,000 hosts spread evenly over %i blocks", (count) => {
    const p = pool(`10.0.0.0/${26 - Math.log2(count)}`, 26);
    const hits = new Array<number>(count).fill(0);
    for (let host = 0; host < 1000; host++) hits[Number(startIndex(p, `node-${host}`, () => 0))]!++;
    // Chi-squared of an even spread has mean count - 1 and variance 2 (count - 1); six deviations are allowed.
    const expected = 1000 / count;
    const chi = hits.reduce((sum, hit) => sum + (hit - expected) ** 2 / expected, 0);
    expect(Math.abs(chi - (count - 1))).toBeLessThan(6 * Math.sqrt(2 * (count - 1)) + 6);
  });

  test("in a pool of 2^74 blocks as well", () => {
    const p = pool("fd00::/48", 122);
    const starts = new Set(Array.from({ length: 1000 }, (_, i) => startIndex(p, `n${i}`, () => 0)));
    expect(starts.size).toBe(1000);
    expect([...starts].some((start) => start > 1n << 70n)).toBe(true);
  });

  test("blocks of one address are tried from anywhere", () => {
    const p = pool("10.0.0.0/24", 32);
    expect(startIndex(p, "n", () => 0.1)).not.toBe(startIndex(p, "n", () => 0.7));
  });
});

describe("candidates", () => {
  const arbitraryReserved = fc.array(
    fc.record({ offset: fc.integer({ min: 0, max: 1023 }), length: fc.integer({ min: 22, max: 32 }) }),
    { maxLength: 5 },
  );

  test("are every block once, beginning at the start, without those that are reserved as a whole", () => {
    fc.assert(
      fc.property(fc.integer({ min: 24, max: 30 }), fc.nat(), arbitraryReserved, (blockSize, seed, reserved) => {
        const p = pool("10.0.0.0/22", blockSize);
        const start = BigInt(seed) % blockCount(p);
        const cidrs = reserved
          .map(({ offset, length }) => subnetAt(parseCidr("10.0.0.0/22"), length, 0).base + BigInt(offset))
          .map(
            (value, i): Cidr =>
              parseCidr(`10.0.${Number((value >> 8n) & 255n)}.${Number(value & 255n)}/${reserved[i]!.length}`),
          );
        const addresses = new Set<bigint>();
        for (const cidr of cidrs) for (let v = cidr.base; v < cidr.base + cidrSize(cidr); v++) addresses.add(v);
        const naive: string[] = [];
        for (let i = 0n; i < blockCount(p); i++) {
          const block = subnetAt(p.cidr, blockSize, (start + i) % blockCount(p));
          let whole = true;
          for (let v = block.base; v < block.base + cidrSize(block); v++) whole &&= addresses.has(v);
          if (!whole) naive.push(formatCidr(block));
        }
        expect([...candidates(p, start, new Reservations(cidrs))].map(formatCidr)).toEqual(naive);
      }),
      { numRuns: 60 },
    );
  });

  test("a reservation of nearly a whole /48 is stepped over, not through", () => {
    const p = pool("fd00::/48", 122);
    const reserved = new Reservations([parseCidr("fd00::/49")]);
    expect(formatCidr(candidates(p, 5n, reserved).next().value!)).toBe("fd00:0:0:8000::/122");
  });

  test("a pool smaller than its blocks has none", () => {
    expect([...candidates(pool("10.0.0.0/28", 26), 0n, noReservations)]).toEqual([]);
  });

  test("blocks of a pool can be walked from the same start", () => {
    const items = ["10.0.0.0/26", "10.0.0.192/26", "10.0.0.64/26"].map((text) => ({ cidr: parseCidr(text) }));
    const order = rotated(items, pool("10.0.0.0/24", 26), 1n).map(({ cidr }) => formatCidr(cidr));
    expect(order).toEqual(["10.0.0.64/26", "10.0.0.192/26", "10.0.0.0/26"]);
  });
});

describe("reservations", () => {
  test("count every address once, however they nest, touch and repeat", () => {
    fc.assert(
      fc.property(
        fc.array(fc.record({ base: fc.integer({ min: 0, max: 255 }), length: fc.integer({ min: 24, max: 32 }) }), {
          maxLength: 8,
        }),
        fc.record({ base: fc.integer({ min: 0, max: 255 }), length: fc.integer({ min: 24, max: 32 }) }),
        (list, asked) => {
          const cidr = ({ base, length }: { base: number; length: number }) => parseCidr(`10.0.0.${base}/${length}`);
          const reservations = new Reservations(list.map(cidr));
          const target = cidr(asked);
          let naive = 0n;
          for (let value = target.base; value < target.base + cidrSize(target); value++) {
            const covered = list.some((one) => cidrContains(cidr(one), { version: 4, base: value, length: 32 }));
            expect(reservations.covers(4, value)).toBe(covered);
            if (covered) naive++;
          }
          expect(reservations.count(target)).toBe(naive);
          expect(reservations.overlaps(target)).toBe(naive > 0n);
          expect(reservations.coverEnd(target) !== undefined).toBe(naive === cidrSize(target));
        },
      ),
      { numRuns: 200 },
    );
  });

  test("are read from addresses and CIDRs, and text that is neither is passed over", () => {
    const read = readReservations([
      {
        apiVersion: "",
        kind: "IPReservation",
        metadata: { name: "r" },
        spec: { reservedCIDRs: [" 10.0.0.1 ", "fd00::/127", "x", ""] },
      },
    ]);
    expect(read.count(parseCidr("10.0.0.0/24"))).toBe(1n);
    expect(read.count(parseCidr("fd00::/64"))).toBe(2n);
  });
});

describe("small rules", () => {
  test("the block limit is the smaller of request and configuration, and 20 when there is neither", () => {
    expect([blockLimit(0, 0), blockLimit(5, 0), blockLimit(0, 7), blockLimit(9, 7), blockLimit(3, 7)]).toEqual([
      20, 5, 7, 7, 3,
    ]);
  });

  test("a block can be reclaimed a minute after it was claimed, one without a time at once", () => {
    const now = Date.parse("2026-01-01T00:01:00Z");
    expect(isOldEnough("2026-01-01T00:00:01Z", now)).toBe(false);
    expect(isOldEnough("2026-01-01T00:00:00Z", now)).toBe(true);
    expect(isOldEnough(undefined, now)).toBe(true);
  });

  test("owners are read from blocks", () => {
    expect(parseOwner("host:a:b")).toEqual({ type: "host", name: "a:b" });
    expect(parseOwner("virtual:load-balancer")).toEqual({ type: "virtual", name: "load-balancer" });
    expect(parseOwner("other:x")).toBeUndefined();
  });

  test("a handle's count never goes below none", () => {
    const spec = { handleID: "h", block: {} as Record<string, number>, deleted: false };
    increment(spec, "10.0.0.0/26", 2);
    decrement(spec, "10.0.0.0/26", 1);
    expect(spec.block).toEqual({ "10.0.0.0/26": 1 });
    decrement(spec, "10.0.0.0/26", 5);
    decrement(spec, "10.1.0.0/26", 1);
    expect(spec.block).toEqual({});
  });

  test("settings that contradict each other are named", () => {
    expect(configProblem(DEFAULT_CONFIG)).toBeUndefined();
    expect(configProblem({ ...DEFAULT_CONFIG, autoAllocateBlocks: false })).toMatch(/^autoAllocateBlocks/);
    expect(configProblem({ ...DEFAULT_CONFIG, maxBlocksPerHost: 3 })).toMatch(/^maxBlocksPerHost/);
    expect(configProblem({ ...DEFAULT_CONFIG, strictAffinity: true, maxBlocksPerHost: 3 })).toBeUndefined();
    expect(configProblem({ ...DEFAULT_CONFIG, ipCooldownSeconds: 1201 })).toMatch(/^ipCooldownSeconds/);
  });
});
