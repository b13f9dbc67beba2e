import { IPPool } from "../../api/ippool.ts";
import type { Client } from "../../datastore/index.ts";
import { createExtra } from "../fixture.suite.ts";
import type { MakeIpam, Scenario } from "../interleaving.suite.ts";
import { describeInterleavings, prepare, SCENARIOS } from "../interleavings.suite.ts";
import { createIpam } from "../ipam.ts";
import { startNodeAllocator } from "./allocator.ts";

/**
 * Each player has an allocator for every node, except that every `direct`th works as createIpam does. Their watches take no steps: what they
 * tell comes at once or, with `frozen`, never after the beginning, as from a server that cannot be reached.
 */
function nodeAllocators(options: { readonly frozen: boolean; readonly direct?: number }): MakeIpam {
  return async ({ player, client, plain, options: common, signal }) => {
    if (options.direct !== undefined && player % options.direct === options.direct - 1)
      return createIpam(client, common);
    const watching = watchedBy(client, plain, options.frozen);
    const open = async (node: string) => {
      const allocator = startNodeAllocator(watching, { ...common, node, signal });
      await allocator.inSync;
      return allocator;
    };
    const first = await open("n1");
    const nodes = new Map([["n1", Promise.resolve(first)]]);
    const of = (node: string) => nodes.get(node) ?? nodes.set(node, open(node)).get(node)!;
    return { ...first, autoAssign: async (request) => (await of(request.host)).autoAssign(request) };
  };
}

/** A client whose watches are another's. */
function watchedBy(client: Client, plain: Client, frozen: boolean): Client {
  const watch: Client["watch"] = async function* (kind, options) {
    for await (const event of plain.watch(kind, options)) {
      yield event;
      if (event.type !== "synced" || !frozen) continue;
      await new Promise((resolve) => options?.signal?.addEventListener("abort", resolve));
      return;
    }
  };
  return {
    name: client.name,
    capabilities: client.capabilities,
    get: (kind, ref) => client.get(kind, ref),
    exists: (kind, ref) => client.exists(kind, ref),
    list: (kind, index) => client.list(kind, index),
    create: (kind, resource) => client.create(kind, resource),
    update: (kind, resource) => client.update(kind, resource),
    delete: (kind, ref, options) => client.delete(kind, ref, options),
    batch: (operations) => client.batch(operations),
    commit: (operations) => client.commit(operations),
    watch,
    close: () => client.close(),
  };
}

const all = (...work: readonly Promise<void>[]): Promise<void> => Promise.all(work).then(() => {});

/** What only an allocator that commits several requests at once can get wrong. Players 0, 1… as above. */
const BATCHES: readonly Scenario[] = [
  {
    name: "two batches of one node, and one request of a third process, meet in a block",
    setup: (world) => prepare(world, [["10.0.0.0/28", 29]], (p) => p.assign("n1", "old")),
    players: [
      (p) => all(p.assign("n1", "a"), p.assign("n1", "b")),
      (p) => all(p.assign("n1", "c"), p.release("old")),
      (p) => p.assign("n1", "d"),
    ],
    plenty: true,
    capacity: { num4: 16 },
  },
  {
    name: "a batch assigns and releases while the node's blocks are collected",
    setup: (world) => prepare(world, [["10.0.0.0/29", 31]], (p) => p.assign("n1", "old", { num4: 2 })),
    players: [
      async (p) => {
        await all(p.assign("n1", "a"), p.release("old"));
        await all(p.assign("n1", "b"), p.release("a"));
      },
      (p) => p.releaseNode("n1"),
    ],
    plenty: true,
    capacity: { num4: 8 },
  },
  {
    name: "a batch finds the block full, and one request claims for the others",
    setup: (world) => prepare(world, [["10.0.0.0/29", 31]], (p) => p.assign("n1", "old")),
    players: [
      (p) => all(p.assign("n1", "a"), p.assign("n1", "b"), p.assign("n1", "c")),
      (p) => all(p.assign("n2", "d"), p.release("old")),
    ],
    plenty: true,
    capacity: { num4: 8 },
  },
  {
    name: "what one of a batch adds is refused, and the others keep theirs",
    setup: (world) =>
      prepare(world, [["10.0.0.0/29", 30]], async (p) => {
        await p.assign("n1", "old");
        await p.client.batch([createExtra("taken")]);
      }),
    players: [
      (p) =>
        all(
          p.assign("n1", "a", { alsoWrite: () => [createExtra("mine")] }),
          p.assign("n1", "b", { alsoWrite: () => [createExtra("taken")] }).then(failed, ignoreTaken),
          p.assign("n1", "c"),
        ),
      (p) => p.release("old"),
    ],
    plenty: true,
    capacity: { num4: 8 },
  },
  {
    name: "both families in one batch, one block of which changes",
    setup: (world) =>
      prepare(
        world,
        [
          ["10.0.0.0/29", 30],
          ["fd00::/126", 126],
        ],
        (p) => p.assign("n1", "old", { num6: 1 }),
      ),
    players: [
      (p) => all(p.assign("n1", "a", { num6: 1 }), p.assign("n1", "b", { num6: 1 })),
      (p) => p.releaseStale("old"),
      (p) => p.assign("n1", "c", { num4: 0, num6: 1 }),
    ],
    plenty: true,
    capacity: { num4: 8, num6: 4 },
  },
  {
    name: "requests for one handle come at once, and a repair looks at them",
    setup: (world) => prepare(world, [["10.0.0.0/29", 30]], (p) => p.assign("n1", "old")),
    players: [
      (p) => {
        // Which of them the address is for in the end is not for the world to say, as it does not know their order.
        const assign = () => p.ipam.autoAssign({ num4: 1, host: "n1", handle: "h", use: "Workload" });
        const release = () => p.ipam.releaseByHandle("h");
        return all(...[assign, release, assign].map((one) => one().then(() => {})), p.release("old"));
      },
      (p) => p.repair(),
    ],
    plenty: true,
    capacity: { num4: 8 },
  },
  {
    name: "a pool is disabled, and its blocks are given up, while a batch takes from them",
    setup: (world) => prepare(world, [["10.0.0.0/30", 31]], (p) => p.assign("n1", "old")),
    players: [
      (p) => all(p.assign("n1", "a").catch(ignoreNoPools), p.release("old")),
      async (p) => {
        await setDisabled(p.client, true);
        await p.ipam.releaseAffinities("10.0.0.0/30");
      },
    ],
    tidy: (client) => setDisabled(client, false),
    capacity: { num4: 4 },
  },
];

async function setDisabled(client: Client, disabled: boolean): Promise<void> {
  const pool = (await client.get(IPPool, { name: "p0" }))!;
  await client.update(IPPool, { ...pool, spec: { ...pool.spec, disabled } }).catch(ignoreConflict);
}

function ignoreConflict(error: { code?: string }): void {
  if (error.code !== "CONFLICT") throw error;
}

function failed(): never {
  throw new Error("was granted though its own operation cannot be carried out");
}

/** The last refusal may be one that the test has made. */
function ignoreTaken(error: { code?: string }): void {
  if (error.code !== "EXISTS" && error.code !== "CONFLICT") throw error;
}

function ignoreNoPools(error: { code?: string }): void {
  if (error.code !== "IPAM_NO_POOLS") throw error;
}

/** Of the direct path's scenarios those in which others touch the node's blocks; all when IPAM_SCHEDULES asks for more. */
const OTHERS = SCENARIOS.filter(
  ({ name }) =>
    process.env.IPAM_SCHEDULES !== undefined ||
    /released while others|reclaimed while it assigns|deleted and cleaned up|counts too much|repair runs/.test(name),
);

describeInterleavings({
  title: " of node allocators",
  scenarios: BATCHES,
  make: nodeAllocators({ frozen: false }),
  together: true,
  limit: 20,
});

describeInterleavings({
  title: " of node allocators that are told nothing, beside direct ones",
  scenarios: OTHERS,
  make: nodeAllocators({ frozen: true, direct: 2 }),
  together: true,
  limit: 20,
});
