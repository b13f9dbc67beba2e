import { afterAll, beforeAll, expect, test } from "vitest";
import type { Pod } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Cluster, createCluster, interfaces, kubernetesArgs } from "./cluster.ts";
import { expectNothingLeft } from "./expect.ts";
import { contradictions } from "./records.ts";
import { addressesIn } from "./result.ts";

const PROCESSES = 200;

describeLab("200 plugins at once on two nodes and one sqlite file", () => {
  let cluster: Cluster;
  let pods: Pod[];
  beforeAll(async () => {
    cluster = await createCluster({ nodes: 2 });
    const names = Array.from({ length: PROCESSES / 2 }, (_, index) => `p${index}`);
    pods = (await Promise.all(cluster.nodes.map((node) => node.pods(names)))).flat();
  });
  afterAll(() => cluster?.dispose());

  const conf = () => cluster.conf({ ipam: { type: "calico-ipam", assign_ipv6: "true" } });
  const attachment = (pod: Pod) => ({ args: kubernetesArgs(pod), timeout: 120_000 });
  const failures = (outcomes: readonly { status: number; stdout: string; stderr: string }[]) =>
    outcomes.filter(({ status }) => status !== 0).map(({ stdout, stderr }) => stdout + stderr);

  test("every ADD gets addresses that nobody else has, from blocks of its node", async () => {
    const outcomes = await Promise.all(pods.map((pod) => pod.cni("ADD", conf(), attachment(pod))));
    expect(failures(outcomes)).toEqual([]);
    const addresses = outcomes.flatMap(({ json }) => addressesIn(json));
    expect(new Set(addresses).size).toBe(2 * PROCESSES);
    const records = await cluster.records();
    expect(contradictions(records)).toEqual([]);
    expect(records.held.map(({ address }) => address).sort()).toEqual(addresses.sort());
    expect(records.endpoints).toHaveLength(PROCESSES);
    for (const node of cluster.nodes) {
      expect(await interfaces(node)).toHaveLength(PROCESSES / 2);
      // As many blocks as the addresses need and no more: 100 of each family in blocks of 64.
      expect(records.affinities.filter((one) => one.node === node.name)).toHaveLength(4);
    }
  });

  test("ADDs and DELs side by side keep the count", async () => {
    const [leave, stay] = [pods.slice(0, 50), pods.slice(50)];
    const outcomes = await Promise.all([
      ...leave.map((pod) => pod.cni("DEL", conf(), attachment(pod))),
      ...stay.slice(0, 50).map((pod) => pod.cni("ADD", conf(), attachment(pod))),
    ]);
    expect(failures(outcomes)).toEqual([]);
    const records = await cluster.records();
    expect(contradictions(records)).toEqual([]);
    expect(records.endpoints).toHaveLength(stay.length);
    expect(records.held).toHaveLength(2 * stay.length);
  });

  test("DEL of all of them at once, some twice, leaves nothing", async () => {
    const outcomes = await Promise.all(
      [...pods, ...pods.slice(100, 120)].map((pod) => pod.cni("DEL", conf(), attachment(pod))),
    );
    expect(failures(outcomes)).toEqual([]);
    await expectNothingLeft(cluster);
  });
});
