/**
 * `npm run bench:ipam [assignments]`: assignments per second, for 1, 10 and 100 allocators at once, on sqlite and on etcd; then the
 * cost of one assignment in a pool that holds the blocks of 0, 100 and 1,000 other nodes. Each allocator is a node with
 * a connection and a block of its own, as in a cluster; medians, nothing is passed or failed.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { IPPool, newIPPool } from "../lib/api/ippool.ts";
import { type Client, type DatastoreConfig, openClient } from "../lib/datastore/index.ts";
import { startEtcd } from "../lib/datastore/testing.ts";
import { createIpam } from "../lib/ipam/index.ts";
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
  process.stdout.write(`${markdownTable(["blocks of other nodes", "p50 ms", "p99"], costs)}\n`);
} finally {
  await etcd.stop();
  rmSync(folder, { recursive: true, force: true });
}
