/** The calculation against the oracle: what the messages make a dataplane do, and what the resources mean. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Input } from "./calc/index.ts";
import {
  anyInput,
  EXPANDERS,
  fromScratch,
  type Mirror,
  NODE,
  type Packet,
  packets,
  play,
  STATES,
  STRATEGIES,
  walks,
} from "./calc/testing/index.ts";
import { evaluateEndpoint, makeState, type State } from "./naive/index.ts";

/** Every endpoint of the node, in both directions and for all kinds of traffic. */
function compare(mirror: Mirror, state: State, flows: readonly Packet[]): void {
  const local = state.endpoints.filter(({ node }) => node === NODE);
  const found = [...mirror.workloads.keys(), ...mirror.hosts.keys()].length;
  expect(found).toBe(local.length);
  for (const endpoint of local) {
    for (const direction of ["ingress", "egress"] as const) {
      for (const flow of flows) {
        const say = (
          lists: Parameters<Mirror["verdict"]>[0],
          profiles: readonly string[],
          traffic: "normal" | "forward" | "untracked" | "preDNAT",
        ) => {
          if (traffic === "preDNAT" && direction === "egress") return;
          const ours = mirror.verdict(lists, profiles, direction, traffic, flow);
          const wanted = evaluateEndpoint(state, endpoint, direction, flow, traffic);
          if (ours !== wanted.verdict) {
            throw new Error(
              `${endpoint.name} ${direction} ${traffic} ${JSON.stringify(flow)}: ${ours}, but should be ${JSON.stringify(wanted)}`,
            );
          }
        };
        if (endpoint.kind === "WorkloadEndpoint") {
          const workload = [...mirror.workloads.values()].find(
            (one) => one.id.workload === `${endpoint.namespace}/${podOf(endpoint.name)}`,
          )!;
          say(workload.tiers, workload.profiles, "normal");
          continue;
        }
        const host = mirror.hosts.get(endpoint.name)!;
        say(host.tiers, host.profiles, "normal");
        say(host.forwardTiers, host.profiles, "forward");
        say(host.untrackedTiers, host.profiles, "untracked");
        say(host.preDnatTiers, host.profiles, "preDNAT");
      }
    }
  }
}

const podOf = (name: string): string => /^.+-k8s-(.+)-eth0$/.exec(name)![1]!.replaceAll("--", "-");

const names = Object.keys(STATES);
const ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "192.0.2.7", "fd00::1", "fd00::2"];

const atOnce = new Map(names.map((name) => [name, fromScratch(STATES[name]!).snapshot()]));

/** Every pair of addresses, with the protocols and ports that the states are about. */
const someOfEach: Packet[] = ADDRESSES.flatMap((source) =>
  ADDRESSES.filter((destination) => source.includes(":") === destination.includes(":")).flatMap((destination) => [
    ...[80, 53, 55].map((destinationPort) => ({ source, destination, protocol: 6, sourcePort: 1234, destinationPort })),
    { source, destination, protocol: 17, sourcePort: 53, destinationPort: 53 },
    { source, destination, protocol: 132, sourcePort: 80, destinationPort: 80 },
    { source, destination, protocol: source.includes(":") ? 58 : 1, icmp: { type: 8, code: 0 } },
    { source, destination, protocol: source.includes(":") ? 58 : 1, icmp: { type: 3, code: 1 } },
  ]),
);

describe("a state that is about one thing", () => {
  test.each(names)("%s: does what the resources mean", (name) => {
    compare(fromScratch(STATES[name]!), makeState(STATES[name]!), someOfEach);
  });

  describe.each(Object.keys(EXPANDERS))("%s", (expander) => {
    test.each(STRATEGIES)(
      "flushed %s, ends as if it had been told at once, also when it comes after another",
      (strategy) => {
        for (const [i, name] of names.entries()) {
          // Before it: nothing; a neighbour in the table and one far away.
          const before = [STATES[names.at((i * 7 + 3) % names.length)!]!, STATES[names.at(i - 1)!]!];
          for (const states of [[STATES[name]!], [...before, STATES[name]!]]) {
            const told = EXPANDERS[expander]!(states);
            const snapshot = play(told, strategy, [0, 1, told.length][i % 3]).snapshot();
            const wanted = atOnce.get(name)!;
            if (!Bun.deepEquals(snapshot, wanted)) expect(snapshot, name).toEqual(wanted);
          }
        }
      },
    );
  });
});

const seed = process.env.SEED === undefined ? {} : { seed: Number(process.env.SEED) };

describe("a random world, told in whatever way", () => {
  test("does what the resources mean", () => {
    fc.assert(
      fc.property(
        fc.array(anyInput, { maxLength: 30 }),
        fc.array(packets, { minLength: 10, maxLength: 30 }),
        (inputs, flows) => {
          compare(fromScratch(inputs), makeState(inputs), flows);
        },
      ),
      { numRuns: 400, ...seed },
    );
  });

  test.each(Object.keys(EXPANDERS))("%s", (name) => {
    fc.assert(
      fc.property(
        walks(anyInput),
        fc.constantFrom(...STRATEGIES),
        fc.nat(3),
        fc.array(packets, { minLength: 3, maxLength: 8 }),
        (states, strategy, inSyncAfter, flows) => {
          const last: readonly Input[] = states.at(-1)!;
          const mirror = play(EXPANDERS[name]!(states), strategy, inSyncAfter);
          expect(mirror.snapshot()).toEqual(fromScratch(last).snapshot());
          compare(mirror, makeState(last), flows);
        },
      ),
      { numRuns: 60, ...seed },
    );
  });
});
