/**
 * `npm run bench:gc [nodes [blocks [addresses]]]`: how long the node controller takes to give back what deleted nodes had, and how many requests the API
 * server gets for it. By default 100 nodes with 1,000 blocks of 4 addresses each, deleted at once, beside 10 nodes that stay. A real
 * kube-apiserver (scripts/setup-kubernetes); requests are of its audit log, watches not counted. Nothing is passed or failed.
 */
import { createNodeController, DEFAULT_NODE_SETTINGS, Setting } from "../lib/controllers/index.ts";
import { countIpam, deleteNodes, fillCluster, runController } from "../lib/controllers/testing.ts";
import { openClient, openCluster } from "../lib/datastore/index.ts";
import { apiServerMissing, startApiServer, summarise } from "../lib/kubernetes/testing/index.ts";
import { machine, markdownTable, ms } from "./stats.ts";

const [nodeCount = 100, blockCount = 1000, addressesPerBlock = 4] = process.argv.slice(2).map(Number);
const missing = apiServerMissing();
if (missing) {
  process.stderr.write(`bench:gc needs a kube-apiserver: ${missing}\n`);
  process.exit(1);
}
const blocksPerNode = Math.round(blockCount / nodeCount);
const gone = Array.from({ length: nodeCount }, (_, index) => `gone-${index}`);
const stays = Array.from({ length: 10 }, (_, index) => `stays-${index}`);

await using server = await startApiServer({ crds: "v1", audit: true });
const admin = await openClient({ type: "kubernetes", kubeconfig: server.kubeconfig("admin") });
const config = { type: "kubernetes", kubeconfig: server.kubeconfig("controllers") } as const;
const [client, kubernetes] = [await openClient(config), await openCluster(config)];
await fillCluster(server, admin, { nodes: [...gone, ...stays], blocksPerNode, addressesPerBlock });
const before = await countIpam(server);
const controller = runController((context) => createNodeController(context, new Setting(DEFAULT_NODE_SETTINGS)), {
  client,
  kubernetes,
});
const poll = async (holds: () => Promise<boolean> | boolean): Promise<void> => {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 20));
};
await poll(() => controller.state.ready);

const account = "system:serviceaccount:kube-system:calico-kube-controllers";
const requests = async () => (await server.audit()).filter(({ user, verb }) => user === account && verb !== "watch");
const first = (await requests()).length;
const cpu = process.cpuUsage();
const start = performance.now();
await deleteNodes(server, gone);
const deleted = performance.now();
const kept = { blocks: stays.length * blocksPerNode, handles: stays.length * blocksPerNode * addressesPerBlock };
await poll(async () => {
  const { affinities, handles } = await countIpam(server);
  return affinities <= kept.blocks && handles <= kept.handles;
});
const end = performance.now();
const { user, system } = process.cpuUsage(cpu);
const events = (await requests()).slice(first);
await controller.stop();
const after = await countIpam(server);

const { byVerb, writes } = summarise(events);
process.stdout.write(
  `${machine()}\n\n${markdownTable(
    ["what", "value"],
    [
      ["nodes deleted", String(nodeCount)],
      ["blocks, handles before", `${before.blocks}, ${before.handles}`],
      ["blocks, handles after", `${after.blocks}, ${after.handles}`],
      ["from the first deletion until all is given back", ms(end - start)],
      ["of which until the last node's deletion was answered", ms(deleted - start)],
      ["CPU of the controller and of this bench", ms((user + system) / 1000)],
      ["requests", String(events.length)],
      ["of which writes", String(writes)],
      ["of which failed (somebody else was quicker)", String(events.filter(({ status }) => status >= 400).length)],
      ["requests a block", (events.length / (nodeCount * blocksPerNode)).toFixed(2)],
      ...[...byVerb].sort(([, a], [, b]) => b - a).map(([verb, count]) => [verb, String(count)]),
    ],
  )}\n`,
);
await Promise.all([client.close(), kubernetes.close(), admin.close()]);
