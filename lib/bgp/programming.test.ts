import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatAddress, formatCidr, parseAddress, parseCidr } from "../ip/index.ts";
import type { KernelPolicy } from "./policy/index.ts";
import { Programming } from "./programming.ts";
import { type Best, createRib, type Prefix, prefixOf, type RibPeer } from "./rib/index.ts";
import { Receiver, updatesOf } from "./rib/testing.ts";
import type { Negotiated, PathAttributes } from "./wire/index.ts";

const prefix = (index: number): Prefix => prefixOf(parseCidr(`10.${index >> 8}.${index & 255}.0/24`));
const accept = {
  decide: ({ attributes }: { attributes: PathAttributes }) => ({ attributes }),
  ignoresPrefix: true,
  key: "",
};

const attributes = (localPref: number, nextHop: string): PathAttributes => ({
  origin: 0,
  asPath: [],
  nextHop: parseAddress(nextHop),
  localPref,
  atomicAggregate: false,
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  clusterList: [],
  unknown: [],
});

const best = (index: number): Best => ({
  prefix: prefix(index),
  paths: [{ peer: 1, attributes: attributes(100, "10.0.0.2"), preference: 100 }],
});

/** Policies that differ in metric and in which prefixes are the kernel's. */
const policy =
  (number: number): KernelPolicy =>
  ({ words }) =>
    ((words[0] >>> 8) + number) % 3 === 0 ? undefined : { metric: number, overridesLocal: false };

describe("another kernel policy", () => {
  /** Slices wait until they are called. */
  function waiting() {
    const slices: (() => void)[] = [];
    return { slices, defer: (slice: () => void) => void slices.push(slice) };
  }

  test("is applied in slices that are bounded by their number of routes", () => {
    const { slices, defer } = waiting();
    const all = Array.from({ length: 12_345 }, (_, index) => best(index));
    let programmed = 0;
    const programming = new Programming({
      entries: (family) => (family === 4 ? all : []),
      program: () => void programmed++,
      defer,
    });
    programming.setPolicy(4, policy(1), true);
    expect(programmed, "nothing is done where it is asked for").toBe(0);
    let number = 0;
    for (; slices.length > 0; number++) {
      const before = programmed;
      slices.shift()!();
      expect(programmed - before).toBeLessThanOrEqual(5_000);
      expect(slices.length).toBeLessThanOrEqual(1);
    }
    expect(programmed).toBe(all.length);
    expect(number).toBeGreaterThan(2);
  });

  test("gives way to a later one, and to tables that begin anew", async () => {
    const { slices, defer } = waiting();
    const metrics = new Map<string, number | undefined>();
    const programming = new Programming({
      entries: () => Array.from({ length: 6_000 }, (_, index) => best(index)),
      program: (destination, route) => void metrics.set(formatCidr(destination), route?.metric),
      defer,
    });
    programming.setPolicy(4, () => ({ metric: 1, overridesLocal: false }), true);
    slices.shift()!();
    programming.setPolicy(4, () => ({ metric: 2, overridesLocal: false }), true);
    let settled = false;
    const done = programming.settled().then(() => {
      settled = true;
    });
    while (slices.length > 0) slices.shift()!();
    await done;
    expect(settled).toBe(true);
    expect(new Set(metrics.values())).toEqual(new Set([2]));
    metrics.clear();
    programming.setPolicy(4, () => ({ metric: 3, overridesLocal: false }), true);
    programming.beginAnew();
    while (slices.length > 0) slices.shift()!();
    expect(metrics.size).toBe(0);
    await programming.settled();
  });

  const NEGOTIATED: Negotiated = {
    fourOctetAsn: true,
    extendedMessages: false,
    families: [4],
    addPathReceive: [],
    addPathSend: [],
    extendedNextHop: false,
  };

  const session = (number: number): RibPeer => ({
    name: `peer${number}`,
    type: "ibgp",
    address: parseAddress(`10.0.0.${number}`),
    routerId: number,
    asn: 64512,
    localAsn: 64512,
    localAddress: { 4: parseAddress("10.0.0.1") },
    negotiated: NEGOTIATED,
    nextHop: "auto",
    allowedOwnAsns: 0,
    importPolicy: accept,
    exportPolicy: accept,
    send: new Receiver(NEGOTIATED).send,
  });

  type Step =
    | { readonly kind: "reach" | "withdraw"; readonly peer: number; readonly index: number; readonly pref: number }
    | { readonly kind: "policy"; readonly number: number }
    | { readonly kind: "turn" };

  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constantFrom("reach" as const, "withdraw" as const),
        peer: fc.constantFrom(2, 3, 4),
        index: fc.nat(39),
        pref: fc.constantFrom(100, 200, 300),
      }),
    },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("policy" as const), number: fc.nat(9) }) },
    { weight: 2, arbitrary: fc.constant({ kind: "turn" as const }) },
  );

  test("whatever changes while it is applied, the kernel has in the end what it would have from scratch", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 120, size: "max" }), async (steps) => {
        const kernel = new Map<string, string>();
        /** Slices of the walk, each of few routes, have their turn among everything else. */
        const { slices, defer } = waiting();
        const programming = new Programming({
          entries: (family) => rib.entries(family),
          program: (destination, route) => {
            const key = formatCidr(destination);
            if (route) kernel.set(key, `${route.nextHops.map(formatAddress).join()} ${route.metric}`);
            else kernel.delete(key);
          },
          defer,
          sliceRoutes: 7,
        });
        const rib = createRib({
          routerId: 1,
          asn: 64512,
          onBest: (changes) => programming.told(changes),
          sliceMs: 0,
        });
        const peers = new Map([2, 3, 4].map((number) => [number, rib.addPeer(session(number))]));
        let now = policy(0);
        programming.setPolicy(4, now, false);
        // So that a walk takes several slices.
        for (let index = 0; index < 40; index++) tell(2, index, 100);
        await rib.settled();
        for (const one of steps) {
          switch (one.kind) {
            case "reach":
              tell(one.peer, one.index, one.pref);
              break;
            case "withdraw":
              for (const update of updatesOf(session(one.peer), 4, { withdraw: [[prefix(one.index)]] }))
                rib.update(peers.get(one.peer)!, update);
              break;
            case "policy":
              now = policy(one.number);
              programming.setPolicy(4, now, true);
              break;
            case "turn":
              slices.shift()?.();
              await new Promise((resolve) => setImmediate(resolve));
          }
        }
        while (slices.length > 0) slices.shift()!();
        await rib.settled();
        await programming.settled();
        const naive = new Map<string, string>();
        for (let index = 0; index < 40; index++) {
          const explained = rib.explain(prefix(index)).find(({ best }) => best);
          const verdict = explained && now(prefix(index), explained.attributes, undefined);
          const key = `10.0.${index}.0/24`;
          if (verdict) naive.set(key, `${formatAddress(explained.attributes.nextHop)} ${verdict.metric}`);
        }
        expect(new Map([...kernel].toSorted())).toEqual(new Map([...naive].toSorted()));
        rib.close();

        function tell(number: number, index: number, pref: number): void {
          const reach = {
            reach: [[prefix(index)]] as const,
            attributes: attributes(pref + number, `10.0.0.${number}`),
          };
          for (const update of updatesOf(session(number), 4, reach)) rib.update(peers.get(number)!, update);
        }
      }),
      { numRuns: 200 },
    );
  });
});
