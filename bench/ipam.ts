/**
 * `npm run bench:ipam [assignments]`: assignments per second, for 1, 10 and 100 allocators at once, on sqlite and on etcd; then the
 * cost of one assignment in a pool that holds the blocks of 0, 100 and 1,000 other nodes. Each allocator is a node with
 * a connection and a block of its own, as in a cluster. Then one node to which all come, 1 and 100 at once: as plugins do it, one after the
 * other under the node's lock file, and by the node's allocator; on Kubernetes (where scripts/setup-kubernetes has built an API server)
 * with the requests that one assignment cost, of its audit log. Medians, nothing is passed or failed.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IPPool, newIPPool } from "../lib/api/ippool.ts";
import { type Client, type DatastoreConfig, openClient } from "../lib/datastore/index.ts";
import { startEtcd } from "../lib/datastore/testing.ts";
import { createIpam, type Ipam } from "../lib/ipam/index.ts";
import { openNodeAllocator } from "../lib/ipam/node/index.ts";
import { type ApiServer, apiServerMissing, startApiServer } from "../lib/kubernetes/testing/index.ts";
import { machine, markdownTable, median, ms, percentile } from "./stats.ts";

const total = Number(process.argv[2] ?? 500);
const folder = mkdtempSync(join(tmpdir(), "bench-ipam-"));
const etcd = await startEtcd();

/** A fresh, empty datastore of each type; etcd's is emptied by taking another part of the address space and other hosts. */
const stores: readonly (readonly [string, (round: number) => DatastoreConfig])[] = [
  ["sqlite", (round) => ({ type: "sqlite", file: join(folder, `${round}.db`) })],
  ["etcd", () => ({ type: "etcdv3", endpoints: [etcd.endpoint] })],
];

let rounds = 0;

/** `allocators` nodes assign until `total` is reached; answers the time of each assignment and of all together. */
async function race(config: DatastoreConfig, round: number, allocators: number) {
  const clients: Client[] = [];
  for (let index = 0; index < allocators; index++) clients.push(await openClient(config));
  const poolName = `pool-${round}`;
  await clients[0]!.create(IPPool, newIPPool(poolName, { cidr: `10.${round}.0.0/16`, blockSize: 26 }));
  const times: number[] = [];
  const each = Math.ceil(total / allocators);
  const before = performance.now();
  await Promise.all(
    clients.map(async (client, index) => {
      const ipam = createIpam(client);
      for (let count = 0; count < each; count++) {
        const start = performance.now();
        await ipam.autoAssign({
          ...{ num4: 1, host: `node-${round}-${index}`, handle: `bench.${round}-${index}-${count}` },
          ...{ use: "Workload", pools4: [poolName] },
        });
        times.push(performance.now() - start);
      }
    }),
  );
  const elapsed = performance.now() - before;
  for (const client of clients) await client.close();
  return { times, rate: (1000 * times.length) / elapsed };
}

/** One node assigns while the pool holds a block of each of `others` nodes. */
async function beside(config: DatastoreConfig, round: number, others: number): Promise<number[]> {
  const client = await openClient(config);
  const ipam = createIpam(client);
  const poolName = `pool-${round}`;
  await client.create(IPPool, newIPPool(poolName, { cidr: `10.${round}.0.0/16`, blockSize: 26 }));
  for (let node = 0; node < others; node++) {
    await ipam.ensureBlock({ host: `other-${round}-${node}`, versions: [4], pools4: [poolName] });
  }
  const times: number[] = [];
  for (let count = 0; count < 100; count++) {
    const start = performance.now();
    await ipam.autoAssign({
      ...{ num4: 1, host: `node-${round}`, handle: `bench.${round}-${count}`, use: "Workload", pools4: [poolName] },
    });
    times.push(performance.now() - start);
  }
  await client.close();
  return times;
}

/** All on one node, `atOnce` at a time; without and with the node's allocator. Answers the row of each. */
async function onOneNode(name: string, config: DatastoreConfig, round: number, atOnce: number, server?: ApiServer) {
  const client = await openClient(config);
  const node = `node-${round}`;
  const pools4 = [`pool-${round}`];
  await client.create(IPPool, newIPPool(pools4[0]!, { cidr: `10.${round}.0.0/16`, blockSize: 26 }));
  const allocator = await openNodeAllocator(client, { node });
  await allocator.inSync;
  let turn: Promise<unknown> = Promise.resolve();
  const rows: string[][] = [];
  for (const [how, ipam] of [["direct", createIpam(client)] as const, ["node allocator", allocator] as const]) {
    const add = (ipam: Ipam, handle: string): Promise<unknown> => {
      const assign = () => ipam.autoAssign({ num4: 1, host: node, handle, use: "Workload", reuse: true, pools4 });
      if (how !== "direct") return assign();
      turn = turn.then(assign);
      return turn;
    };
    for (const warmUp of ["a", "b"]) await add(ipam, `bench.${round}-${warmUp}-${how.slice(0, 4)}`);
    const before = server ? (await server.audit()).length : 0;
    const times: number[] = [];
    let left = total;
    const start = performance.now();
    const one = async () => {
      while (left > 0) {
        const handle = `bench.${round}-${left--}-${how.slice(0, 4)}`;
        const began = performance.now();
        await add(ipam, handle);
        times.push(performance.now() - began);
      }
    };
    await Promise.all(Array.from({ length: atOnce }, one));
    const rate = (1000 * total) / (performance.now() - start);
    const events = server ? (await server.audit()).slice(before).filter(({ verb }) => verb !== "watch") : [];
    const per = (wanted: (verb: string, resource: string) => boolean) =>
      server ? (events.filter(({ verb, resource }) => wanted(verb, resource ?? "")).length / total).toFixed(2) : "";
    rows.push([
      ...[`${atOnce} on ${name}`, how, rate.toFixed(0), ms(median(times)), ms(percentile(times, 0.99))],
      per((verb) => verb === "get" || verb === "list"),
      per((verb, resource) => verb === "update" && resource.startsWith("ipamblocks")),
      per((verb) => verb !== "get" && verb !== "list"),
    ]);
  }
  await allocator.close();
  await client.close();
  return rows;
}

try {
  process.stdout.write(`bench:ipam, ${total} assignments, on ${machine()}\n\n`);
  const rates: string[][] = [];
  for (const allocators of [1, 10, 100]) {
    for (const [name, config] of stores) {
      const round = ++rounds;
      const { times, rate } = await race(config(round), round, allocators);
      rates.push([`${allocators} on ${name}`, rate.toFixed(0), ms(median(times)), ms(percentile(times, 0.99))]);
    }
  }
  process.stdout.write(`${markdownTable(["allocators", "assignments/s", "p50 ms", "p99"], rates)}\n\n`);

  const costs: string[][] = [];
  for (const others of [0, 100, 1000]) {
    for (const [name, config] of stores) {
      const round = ++rounds;
      const times = await beside(config(round), round, others);
      costs.push([`${others} on ${name}`, ms(median(times)), ms(percentile(times, 0.99))]);
    }
  }
  process.stdout.write(`${markdownTable(["blocks of other nodes", "p50 ms", "p99"], costs)}\n\n`);

  const shared: string[][] = [];
  const missing = apiServerMissing();
  if (missing) process.stdout.write(`without Kubernetes: ${missing}\n\n`);
  const server = missing ? undefined : await startApiServer({ crds: "v1", audit: true });
  try {
    for (const atOnce of [1, 100]) {
      for (const [name, config] of stores) {
        const round = ++rounds;
        shared.push(...(await onOneNode(name, config(round), round, atOnce)));
      }
      if (!server) continue;
      const kubernetes: DatastoreConfig = { type: "kubernetes", kubeconfig: server.kubeconfig("admin-token") };
      shared.push(...(await onOneNode("Kubernetes", kubernetes, ++rounds, atOnce, server)));
    }
  } finally {
    await server?.stop();
  }
  const titles = [
    "at once on one node",
    "how",
    "assignments/s",
    "p50 ms",
    "p99",
    "reads each",
    "block writes",
    "all writes",
  ];
  process.stdout.write(`${markdownTable(titles, shared)}\n`);
} finally {
  await etcd.stop();
  rmSync(folder, { recursive: true, force: true });
}
