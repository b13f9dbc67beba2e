import { describe, expect, test } from "vitest";
import { Node } from "../api/node.ts";
import {
  explore,
  type FaultAt,
  type MakeIpam,
  type Player,
  type RunOptions,
  run,
  type Scenario,
  seeded,
  uninterrupted,
  type World,
} from "./interleaving.suite.ts";
import { addNode, addPool } from "./testing.ts";

/** The interleavings of the allocator, as they are tried on createIpam and on what else is an Ipam. */

/** Three nodes; the first assignments of a scenario are made before the others begin. */
export async function prepare(
  world: World,
  pools: [string, number][],
  before: (player: Player) => Promise<void> = async () => {},
) {
  const client = world.client();
  for (const [index, [cidr, blockSize]] of pools.entries()) await addPool(client, `p${index}`, cidr, { blockSize });
  for (const name of ["n1", "n2", "n3"]) await addNode(client, name);
  await before(world.player(client));
  world.clock.advance(120);
}

export const SCENARIOS: readonly Scenario[] = [
  {
    name: "two processes of one node want its first block",
    setup: (world) => prepare(world, [["10.0.0.0/29", 31]]),
    players: [(p) => p.assign("n1", "a"), (p) => p.assign("n1", "b")],
    plenty: true,
    capacity: { num4: 8 },
  },
  {
    name: "two nodes want the only block, and borrow",
    setup: (world) => prepare(world, [["10.0.0.0/31", 31]]),
    players: [(p) => p.assign("n1", "a"), (p) => p.assign("n2", "b")],
    plenty: true,
    owned: true,
    capacity: { num4: 2 },
  },
  {
    name: "an address is released while others are assigned, and released again by somebody with old knowledge",
    setup: (world) => prepare(world, [["10.0.0.0/31", 31]], (p) => p.assign("n1", "old", { num4: 2 })),
    players: [
      (p) => p.release("old"),
      (p) => p.assign("n1", "new").catch(ignoreExhausted),
      (p) => p.releaseStale("old"),
    ],
    capacity: { num4: 2 },
  },
  {
    name: "a handle gets the same address again while somebody releases it from old knowledge",
    setup: (world) => prepare(world, [["10.0.0.0/32", 32]], (p) => p.assign("n1", "h")),
    players: [
      async (p) => {
        await p.release("h");
        await p.assign("n1", "h");
      },
      (p) => p.releaseStale("h"),
    ],
    plenty: true,
    capacity: { num4: 1 },
  },
  {
    name: "a block is claimed and given up at the same time",
    setup: (world) =>
      prepare(world, [["10.0.0.0/31", 31]], async (p) => {
        await p.ipam.claimAffinity("10.0.0.0/31", { type: "host", name: "n1" });
      }),
    players: [
      (p) => p.ipam.claimAffinity("10.0.0.0/31", { type: "host", name: "n1" }).then(() => {}),
      (p) => p.releaseNode("n1"),
      (p) => p.ipam.claimAffinity("10.0.0.0/31", { type: "host", name: "n2" }).then(() => {}),
    ],
    plenty: true,
    capacity: { num4: 2 },
  },
  {
    name: "a node's empty block is reclaimed while it assigns from it",
    setup: (world) =>
      prepare(world, [["10.0.0.0/31", 31]], async (p) => {
        await p.assign("n2", "gone");
        await p.release("gone");
      }),
    players: [(p) => p.assign("n3", "a"), (p) => p.assign("n2", "b")],
    plenty: true,
    owned: true,
    capacity: { num4: 2 },
  },
  {
    name: "two nodes reclaim the same block",
    setup: (world) =>
      prepare(world, [["10.0.0.0/31", 31]], async (p) => {
        await p.assign("n1", "gone");
        await p.release("gone");
      }),
    players: [(p) => p.assign("n2", "a"), (p) => p.assign("n3", "b")],
    plenty: true,
    owned: true,
    capacity: { num4: 2 },
  },
  {
    name: "a node is deleted and cleaned up while one of its processes assigns and another releases",
    setup: (world) => prepare(world, [["10.0.0.0/30", 31]], (p) => p.assign("n1", "old")),
    players: [
      async (p) => {
        while (await p.client.get(Node, { name: "n1" }))
          await p.client.delete(Node, { name: "n1" }).catch(ignoreConflict);
        await p.releaseNode("n1");
      },
      (p) => p.assign("n1", "a"),
      (p) => p.release("old"),
    ],
    plenty: true,
    capacity: { num4: 4 },
  },
  {
    name: "two ask for both families, and there is IPv6 for one",
    setup: (world) =>
      prepare(world, [
        ["10.0.0.0/30", 31],
        ["fd00::/128", 128],
      ]),
    players: ["a", "b"].map((handle, i) => (p: Player) => p.assign(`n${i + 1}`, handle, { num6: 1 })),
    capacity: { num4: 4, num6: 1 },
  },
  {
    name: "an attempt is made again while its release is under way",
    setup: (world) => prepare(world, [["10.0.0.0/31", 31]], (p) => p.assign("n1", "h")),
    players: [
      (p) => p.release("h"),
      (p) => p.ipam.autoAssign({ num4: 1, host: "n1", handle: "h", use: "Workload", reuse: true }).then(() => {}),
    ],
    plenty: true,
    capacity: { num4: 2 },
  },
  {
    name: "a handle that counts too much is released while it is assigned to",
    setup: (world) =>
      prepare(world, [["10.0.0.0/31", 31]], async (p) => {
        await p.assign("n1", "other");
        const { IPAMBlock } = await import("../api/ipamblock.ts");
        const { IPAMHandle, newIPAMHandle } = await import("../api/ipamhandle.ts");
        const [block] = (await p.client.list(IPAMBlock)).items;
        await p.client.create(IPAMHandle, newIPAMHandle("h", { [block!.spec.cidr]: 1 }));
      }),
    players: [
      (p) => p.ipam.releaseByHandle("h").then(() => {}),
      (p) => p.ipam.autoAssign({ num4: 1, host: "n1", handle: "h", use: "Workload" }).then(() => {}),
    ],
    capacity: { num4: 2 },
  },
  {
    name: "a repair runs beside an assignment and a release",
    setup: (world) => prepare(world, [["10.0.0.0/30", 31]], (p) => p.assign("n1", "old")),
    players: [(p) => p.repair(), (p) => p.assign("n2", "a"), (p) => p.release("old")],
    plenty: true,
    capacity: { num4: 4 },
  },
  {
    name: "one address is asked for by name while another process may get it",
    setup: (world) => prepare(world, [["10.0.0.0/31", 31]]),
    players: [(p) => p.give("n1", "a", "10.0.0.0"), (p) => p.assign("n1", "b"), (p) => p.give("n2", "c", "10.0.0.0")],
    capacity: { num4: 2 },
  },
];

function ignoreConflict(error: { code?: string }): void {
  if (error.code !== "CONFLICT") throw error;
}

function ignoreExhausted(error: { code?: string }): void {
  if (error.code !== "IPAM_POOL_EXHAUSTED") throw error;
}

const BACKENDS = [
  ["with transactions", true],
  ["write by write", false],
] as const;

/** Schedules of one scenario without faults, beside all with one preemption; and random runs. IPAM_SCHEDULES asks for more. */
const LIMIT = 100;

/** Every way in which one operation of one player can go wrong. */
async function faultsOf(scenario: Scenario, atomic: boolean, make: MakeIpam | undefined): Promise<FaultAt[]> {
  const { operations } = await run(scenario, { atomic, make, choose: uninterrupted });
  return operations.flatMap(({ read, write }, player) => [
    ...range(read + write + 1).map((number): FaultAt => ({ player, type: "any", number, fault: "crash" })),
    ...range(write).flatMap((number) =>
      (["crash-after", "conflict", "unavailable", "lost"] as const).map(
        (fault): FaultAt => ({ player, type: "write", number, fault }),
      ),
    ),
  ]);
}

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

const told = (
  scenario: Scenario,
  faults: readonly FaultAt[],
  violations: readonly string[],
  schedule: readonly number[],
) => `${scenario.name}: ${violations.join("; ")} (schedule ${schedule.join("")}, faults ${JSON.stringify(faults)})`;

/** Several players, each with a few random things to do. */
function randomScenario(random: () => number, together: boolean): Scenario {
  const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)]!;
  const host = () => pick(["n1", "n2", "n3"]);
  const script = (name: string) => {
    const todo = range(1 + Math.floor(random() * 3)).map((i) => {
      const [node, other] = [host(), host()];
      const address = `10.0.0.${Math.floor(random() * 8)}`;
      return pick<(p: Player) => Promise<void>>([
        (p) => p.assign(node, `${name}${i}`, { num6: pick([0, 1]) }),
        (p) => p.assign(node, `${name}${i}`, { num4: 2 }),
        (p) => p.give(node, `${name}${i}`, address),
        Object.assign((p: Player) => p.release(`${name}${i - 1}`), { after: true }),
        (p) => p.releaseStale("old"),
        (p) => p.release("old"),
        (p) => p.releaseNode(other),
        (p) => p.repair(),
      ]);
    });
    return async (player: Player) => {
      const begun: Promise<void>[] = [];
      for (const one of todo) {
        // What releases a handle comes after what assigned to it.
        if (!together || "after" in one) await Promise.all(begun);
        begun.push(one(player).catch(ignoreRefused));
      }
      await Promise.all(begun);
    };
  };
  const players = range(2 + Math.floor(random() * 4)).map((index) => script("abcdefg"[index]!));
  return {
    name: "random",
    setup: (world) =>
      prepare(
        world,
        [
          ["10.0.0.0/29", 31],
          ["fd00::/125", 127],
        ],
        async (p) => {
          await p.assign("n1", "old", { num4: 2, num6: 1 });
          await p.assign("n2", "idle");
          await p.release("idle");
        },
      ),
    players,
    capacity: { num4: 8, num6: 8 },
  };
}

function ignoreRefused(error: { code?: string }): void {
  if (!["IPAM_POOL_EXHAUSTED", "IPAM_ADDRESS_IN_USE"].includes(error.code ?? "")) throw error;
}

export interface Interleavings {
  /** Completes the names of the tests. */
  readonly title: string;
  readonly scenarios: readonly Scenario[];
  readonly make?: MakeIpam;
  /** A player does its random things at once, and not one after the other. */
  readonly together?: boolean;
  /** How many schedules, beside all with one preemption; 100 when absent. */
  readonly limit?: number;
}

/** Every scenario in many orders and with every fault, and random ones. */
export function describeInterleavings({ title, scenarios, make, together = false, ...more }: Interleavings): void {
  const limit = Number(process.env.IPAM_SCHEDULES ?? more.limit ?? LIMIT);
  describe.each(BACKENDS)(`interleavings${title}, %s`, (_, atomic) => {
    test.each(scenarios.map((scenario) => [scenario.name, scenario] as const))("%s", async (_name, scenario) => {
      const found: string[] = [];
      const report = (faults: readonly FaultAt[]) => (violations: readonly string[], schedule: readonly number[]) =>
        void found.push(told(scenario, faults, violations, schedule));
      await explore(scenario, { atomic, make, preemptions: 2, limit }, report([]));
      for (const fault of await faultsOf(scenario, atomic, make)) {
        const options = { atomic, make, faults: [fault], choose: uninterrupted };
        const { violations, steps } = await run(scenario, options);
        if (violations.length > 0)
          report([fault])(
            violations,
            steps.map(({ chosen }) => chosen),
          );
      }
      expect(found.slice(0, 5)).toEqual([]);
    });
  });

  describe.each(BACKENDS)(`random interleavings${title}, %s`, (_, atomic) => {
    const first = process.env.IPAM_SEED ? Number(process.env.IPAM_SEED) : Math.floor(Math.random() * 1e9);
    test(`${limit} from seed ${first} (IPAM_SEED repeats them)`, async () => {
      for (let index = 0; index < limit; index++) {
        const random = seeded(first + index);
        const scenario = randomScenario(random, together);
        const faults = range(Math.floor(random() * 3)).map(
          (): FaultAt => ({
            player: Math.floor(random() * scenario.players.length),
            type: "write",
            number: Math.floor(random() * 8),
            fault: (["conflict", "crash", "crash-after", "lost", "unavailable"] as const)[Math.floor(random() * 5)]!,
          }),
        );
        const choose: RunOptions["choose"] = (ready, current) =>
          current !== undefined && random() < 0.5 ? current : ready[Math.floor(random() * ready.length)]!;
        const { violations, steps } = await run(scenario, { atomic, make, faults, choose });
        const schedule = steps.map(({ chosen }) => chosen);
        expect(violations, `${told(scenario, faults, violations, schedule)}, seed ${first + index}`).toEqual([]);
      }
    });
  });
}
