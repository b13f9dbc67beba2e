import { describe, expect, test } from "vitest";
import { explore, type FaultAt, GRACE, type Player, run, type Scenario } from "./interleaving.suite.ts";

const BACKENDS = [
  ["write by write", false],
  ["atomic batches", true],
] as const;
/** COLLECTOR_SCHEDULES=100000 for a long search. */
const LIMIT = Number(process.env.COLLECTOR_SCHEDULES ?? 120);

/** Node n1 with two pods, n2 with one; the third pod of n1 has left an address behind. */
async function twoNodes(player: Player): Promise<void> {
  for (const node of ["n1", "n2"]) await player.createNode(node);
  for (const [pod, node] of [
    ["d/a", "n1"],
    ["d/b", "n1"],
    ["d/c", "n2"],
    ["d/lost", "n1"],
  ] as const) {
    await player.createPod(pod, node);
    await player.add(pod, `c-${pod.slice(2)}`);
  }
  await player.deletePod("d/lost");
}

const collectNode = async (player: Player): Promise<void> => {
  await player.hear();
  await player.reclaim("n1");
  await player.hear();
  await player.reclaim("n1");
};

const collectLeaks = async (player: Player): Promise<void> => {
  await player.hear();
  await player.scan();
  await player.wait(GRACE);
  await player.hear();
  await player.scan();
};

const SCENARIOS: readonly Scenario[] = [
  {
    name: "a node goes, then its pods, while another is filled",
    setup: twoNodes,
    players: [
      collectNode,
      async (player) => {
        await player.deleteNode("n1");
        await player.deletePod("d/a");
        await player.deletePod("d/b");
      },
      async (player) => {
        await player.createPod("d/e", "n2");
        await player.add("d/e", "c-e");
      },
    ],
  },
  {
    name: "a node goes and comes back with a new pod",
    setup: async (player) => {
      await twoNodes(player);
      await player.deletePod("d/a");
      await player.deletePod("d/b");
      await player.deleteNode("n1");
    },
    players: [
      collectNode,
      async (player) => {
        await player.createNode("n1");
        await player.createPod("d/new", "n1");
        await player.add("d/new", "c-new");
      },
    ],
  },
  {
    name: "two collectors, and a DEL that comes late",
    setup: async (player) => {
      await twoNodes(player);
      await player.deletePod("d/a");
      await player.deletePod("d/b");
      await player.deleteNode("n1");
    },
    players: [collectNode, collectNode, async (player) => player.del("d/a", "c-a")],
  },
  {
    name: "a leaked address, and a StatefulSet's pod that is made again under its name",
    setup: twoNodes,
    players: [
      collectLeaks,
      async (player) => {
        await player.createPod("d/lost", "n1");
        await player.add("d/lost", "c-lost-again");
      },
    ],
  },
  {
    name: "a pod that moves while it is observed",
    setup: twoNodes,
    players: [
      collectLeaks,
      async (player) => {
        await player.deletePod("d/a");
        await player.createPod("d/a", "n2");
        await player.add("d/a", "c-a-moved");
      },
    ],
  },
  {
    name: "a pod of which no watch has told",
    setup: twoNodes,
    players: [
      async (player) => {
        await player.hear();
        await player.scan();
        await player.wait(GRACE);
        await player.hear("blocks");
        await player.scan();
      },
      async (player) => {
        await player.createPod("d/new", "n1");
        await player.add("d/new", "c-new");
      },
    ],
  },
  {
    name: "a node of which no watch has told",
    setup: twoNodes,
    players: [
      async (player) => {
        await player.hear();
        await player.hear("blocks");
        await player.reclaim("n3");
        await player.hear("blocks");
        await player.reclaim("n3");
      },
      async (player) => {
        await player.createNode("n3");
        await player.tunnel("n3");
      },
    ],
  },
  {
    name: "a node goes with a pod of which no watch has told",
    setup: twoNodes,
    players: [
      async (player) => {
        await player.hear();
        await player.reclaim("n1");
        await player.hear("nodes");
        await player.hear("blocks");
        await player.reclaim("n1");
      },
      async (player) => {
        await player.createPod("d/new", "n1");
        await player.add("d/new", "c-new");
        await player.deleteNode("n1");
      },
    ],
  },
  {
    name: "blocks become empty and are filled again",
    setup: async (player) => {
      await twoNodes(player);
      // A block has four addresses: these are in the second.
      for (const name of ["f", "g", "h"]) {
        await player.createPod(`d/${name}`, "n1");
        await player.add(`d/${name}`, `c-${name}`);
      }
      for (const name of ["f", "g", "h"]) {
        await player.del(`d/${name}`, `c-${name}`);
        await player.deletePod(`d/${name}`);
      }
    },
    players: [
      collectLeaks,
      async (player) => {
        for (const name of ["x", "y"]) {
          await player.createPod(`d/${name}`, "n1");
          await player.add(`d/${name}`, `c-${name}`);
        }
      },
    ],
  },
];

const told = (violations: readonly string[], schedule: readonly number[]): string =>
  `${violations.join("; ")}; schedule ${schedule.join("")}`;

describe.each(BACKENDS)("interleavings, %s", (_, atomic) => {
  test.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))("%s", async (_name, scenario) => {
    const runs = await explore(scenario, { atomic, preemptions: 2, limit: LIMIT }, (violations, schedule) => {
      expect.fail(told(violations, schedule));
    });
    expect(runs).toBeGreaterThan(20);
  });

  test.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))(
    "a collector that dies at any write of: %s",
    async (_name, scenario) => {
      const base = await run(scenario, { atomic, choose: (ready, current) => current ?? ready.at(-1)! });
      expect(base.violations).toEqual([]);
      for (let write = 0; write <= base.writes[0]!; write++) {
        for (const fault of ["crash", "crash-after", "unavailable", "lost", "conflict"] as const) {
          const faults: FaultAt[] = [{ player: 0, write, fault }];
          // The cluster's changes first, and in turns.
          for (const choose of [
            (ready: readonly number[], current: number | undefined) => current ?? ready.at(-1)!,
            (ready: readonly number[], _current: number | undefined, step: number) => ready[step % ready.length]!,
          ]) {
            const { violations, steps } = await run(scenario, { atomic, faults, choose });
            expect(
              violations,
              `${fault} at write ${write}; ${told(
                violations,
                steps.map(({ chosen }) => chosen),
              )}`,
            ).toEqual([]);
          }
        }
      }
    },
  );
});
