/** Many pods at once, time and again, and `kill -9` of what they need, in the middle: all come up, and nothing of them is left. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, clusterMissing } from "./cluster.ts";
import { killAgent, killContainerd, killKubelet } from "./kill.ts";
import { agentsReady, installed, setLeakGracePeriod } from "./manifest.ts";
import { nothingLeft, remains } from "./remains.ts";
import { reportFailures } from "./report.ts";
import { percentile } from "./summary.ts";
import { amongThemselves, deployment, type Scaled, scale, service } from "./workload.ts";

const PODS = 40;
const missing = clusterMissing();

describe.skipIf(missing !== undefined)(missing ? `scale (skipped: ${missing})` : "scale", () => {
  let cluster: Cluster;
  /** With no pod of the Deployment. */
  let empty: readonly string[];

  beforeAll(async () => {
    ({ cluster } = await installed());
    await setLeakGracePeriod(cluster, "10s");
    await cluster.server.apply(deployment(0), service, amongThemselves);
    empty = await remains(cluster);
  });
  afterAll(async () => {
    await cluster?.dispose();
    if (cluster) process.stdout.write(`scale: ${cluster.summary()}\n`);
  });
  reportFailures(() => cluster);

  const seconds = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(1)} s`;
  const tell = (what: string, up: Scaled, down: Scaled): void => {
    const [half, most] = [percentile(up.starts, 0.5), percentile(up.starts, 0.99)];
    process.stdout.write(
      `${what}: up ${seconds(up.milliseconds)} (a pod p50 ${seconds(half)}, p99 ${seconds(most)}), down ${seconds(down.milliseconds)}\n`,
    );
  };

  test.each([1, 2, 3])("0 to 40 pods and back, time %i: nothing is left", async (time) => {
    const up = await scale(cluster, PODS);
    expect(up.starts).toHaveLength(PODS);
    const down = await scale(cluster, 0);
    await nothingLeft(cluster, empty);
    tell(`${PODS} pods, time ${time}`, up, down);
  });

  test("the agents of both nodes are killed in the middle of a scale up, and of one down: all pods come, and nothing is left", async () => {
    const kill = async (): Promise<void> => {
      for (const node of cluster.nodes) expect(await killAgent(cluster, node)).toBeGreaterThanOrEqual(3);
    };
    const up = await scale(cluster, PODS, [{ after: 0.3, work: kill }]);
    const down = await scale(cluster, 0, [{ after: 0.3, work: kill }]);
    await nothingLeft(cluster, empty);
    await agentsReady(cluster);
    tell("agents killed", up, down);
  });

  test("containerd of one node and the kubelet of the other are killed in the middle, both ways: the same", async () => {
    const [one, other] = cluster.nodes;
    const up = await scale(cluster, PODS, [
      { after: 0.3, work: () => killContainerd(one!) },
      { after: 0.3, work: () => killKubelet(cluster, other!) },
    ]);
    const down = await scale(cluster, 0, [
      { after: 0.3, work: () => killContainerd(other!) },
      { after: 0.3, work: () => killKubelet(cluster, one!) },
    ]);
    await nothingLeft(cluster, empty);
    tell("containerd and kubelet killed", up, down);
  });

  test("calicoctl finds nothing amiss in what is left", async () => {
    const { status, stdout, stderr } = await cluster.calicoctl("ipam", "check");
    expect({ status, stderr }, stdout).toEqual({ status: 0, stderr: "" });
    expect(stdout).toMatch(/Check complete; found 0 problems/);
  });
});
