import { afterEach, expect, test } from "vitest";
import { missingBuild, missingTool } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { until } from "./ours.ts";
import { bird2, frr } from "./peers/index.ts";
import { allPing, fullMesh, mixedMesh, racks, routeReflectors, type Topology } from "./topology.ts";

let topology: Topology | undefined;
afterEach(async () => {
  await topology?.dispose();
  topology = undefined;
});

describeLab(
  "topologies of our speaker",
  () => {
    test("a full mesh of 5: pods reach each other, node status has 4 peers, and a node that goes takes its routes along", async () => {
      const mesh = await fullMesh(5);
      topology = mesh;
      await allPing(mesh);
      const status = await mesh.ours[0]!.nodeStatus();
      expect(status.match(/node-to-node mesh +\| up/g)).toHaveLength(4 * 2);
      const [first, , , , last] = mesh.ours;
      await mesh.cluster.calicoctl("delete", "node", last!.node.name);
      await until(
        async () => (await first!.node.run(["ip", "route", "show", mesh.pods[4]!.block])).trim() === "",
        async () => `still there: ${await first!.node.run(["ip", "route"])}`,
      );
    });

    test("two route reflectors with 6 clients: one is killed, and no packet is lost", async () => {
      const cluster = await routeReflectors(2, 6);
      topology = cluster;
      await allPing(cluster);
      const client = cluster.ours[2]!;
      const status = (await client.status())!;
      expect(status.peers.filter(({ family }) => family === 4).map(({ address }) => address)).toEqual(
        cluster.ours.slice(0, 2).map(({ node }) => node.address4),
      );
      const learned = await client.routes("accepted", status.peers[0]!.name);
      expect(learned.find(({ prefix }) => prefix === cluster.pods[7]!.block)).toMatchObject({
        clusterList: ["244.0.0.1"],
        nextHop: cluster.ours[7]!.node.address4,
      });

      const [from, to] = [cluster.pods[2]!, cluster.pods[7]!];
      const ping = from.pod.exec(["ping", "-i0.05", "-c120", "-W1", to.address]);
      await cluster.ours[0]!.kill();
      await until(
        async () => (await client.peer(cluster.ours[0]!.node.address4))?.state !== "Established",
        () => "nobody noticed",
      );
      expect((await ping).stdout).toMatch(/ 0% packet loss/);
    });
  },
  missingBuild(),
);

describeLab(
  "topologies with FRR",
  () => {
    test("an AS per rack: ECMP over both switches, and a cut cable is noticed by BFD", async () => {
      const cluster = await racks(3);
      topology = cluster;
      await allPing(cluster);
      const [server] = cluster.ours;
      const far = cluster.pods[5]!;
      const routes = (): Promise<string> => server!.node.run(["ip", "route", "show", far.block]);
      await until(
        async () => ((await routes()).match(/nexthop via/g) ?? []).length === 2,
        async () => `no two next hops: ${await routes()}\n${JSON.stringify(await server!.status())}`,
      );
      await until(
        async () => (await server!.status())!.peers.every(({ bfd }) => bfd?.state === "Up"),
        async () => JSON.stringify(await server!.status()),
      );
      await cluster.cut(0, 0);
      await until(
        async () => /via 10\.1\.0\.3 /.test(await routes()) && !/10\.1\.0\.1/.test(await routes()),
        async () => `still both: ${await routes()}`,
        // Far less than the 90 seconds of a hold timer.
        15_000,
      );
      expect((await server!.peer("10.1.0.1"))!.lastError).toMatchObject({ code: "BFD_DOWN" });
      await allPing(cluster);
    });
  },
  missingBuild() ?? frr.missing() ?? missingTool("nft"),
);

describeLab(
  "topologies with BIRD",
  () => {
    test("one node with our speaker, one with our BIRD, one with a BIRD configured by hand", async () => {
      const mesh = await mixedMesh();
      topology = mesh;
      await allPing(mesh);
      expect((await mesh.ours[0]!.status())!.backend).toBe("speaker");
      expect((await mesh.ours[1]!.status())!.backend).toBe("bird");
    });
  },
  missingBuild() ?? bird2.missing(),
);
