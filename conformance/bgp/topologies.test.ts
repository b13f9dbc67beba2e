import { afterEach, expect, test } from "vitest";
import { pool } from "../cni/cluster.ts";
import { missingBuild, missingTool } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { createWorld, Ours, until } from "./ours.ts";
import { bird2, frr } from "./peers/index.ts";
import {
  allPing,
  dualStack,
  fullMesh,
  ipv6Mesh,
  mixedMesh,
  type PodAt,
  racks,
  routeReflectors,
  type Topology,
} from "./topology.ts";

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
  "topologies of both families",
  () => {
    test("only the session of IPv6 is broken: IPv4 goes on, no packet is lost while IPv6 restarts, and it comes back", async () => {
      const pair = await dualStack();
      topology = pair;
      await allPing(pair);
      const [here, there] = pair.ours as [Ours, Ours];
      await here.established(there.node.address4, there.node.address6);
      const peer6 = (): ReturnType<Ours["peer"]> => here.peer(there.node.address6);
      const [from, to] = pair.pods as [PodAt, PodAt];
      const pings = [to.address, ...to.more].map((address) =>
        from.pod.exec(["ping", "-i0.05", "-c200", "-W1", address]),
      );
      // What is told of it is answered by RST, which has to pass.
      const rules = ["dport", "sport"].map(
        (end) => `meta nfproto ipv6 tcp ${end} 179 tcp flags & rst == 0 reject with tcp reset\n`,
      );
      for (const [index, { node }] of pair.ours.entries()) {
        const chain = `chain input {\ntype filter hook input priority 0\n${rules.join("")}}`;
        await node.run(["nft", "-f", "-"], { stdin: `table inet cut {\n${chain}\n}\n` });
        await node.run(["ip", "-6", "route", "add", `fd65::1${index}0/124`, "via", pair.cluster.lab.underlay6]);
      }
      await until(
        async () => (await peer6())?.state !== "Established",
        async () => `it is still up: ${JSON.stringify(await peer6())}`,
      );
      expect(await here.peer(there.node.address4)).toMatchObject({ state: "Established", flaps: 0 });
      await until(
        async () => (await peer6())?.lastError !== undefined,
        async () => `no error: ${JSON.stringify(await peer6())}`,
      );
      expect((await Promise.all(pings)).map(({ stdout }) => / (\d+)% packet loss/.exec(stdout)?.[1])).toEqual([
        "0",
        "0",
      ]);
      for (const { node } of pair.ours) await node.run(["nft", "delete", "table", "inet", "cut"]);
      await here.established(there.node.address6);
      await until(
        async () => (await here.routes("best")).some(({ prefix }) => prefix === "fd65::110/124"),
        async () => `not told: ${JSON.stringify(await here.routes("best"))}`,
      );
      expect(await here.peer(there.node.address4)).toMatchObject({ state: "Established", flaps: 0 });
      await allPing(pair);
    });

    test("nodes that come up for the first time say nothing of what start-up has yet to write", async () => {
      const cluster = await createWorld(2, pool("pool", "10.65.0.0/16"));
      topology = { cluster, ours: [], pods: [], others: [], dispose: () => cluster.dispose() };
      const [one, two] = await Promise.all(
        cluster.nodes.map((node) => Ours.start(cluster, node, { IP6: "autodetect" })),
      );
      await one!.established(two!.node.address4, two!.node.address6);
      for (const ours of [one!, two!]) {
        await until(
          async () => (await ours.status())!.problems.length === 0,
          async () => JSON.stringify(await ours.status()),
        );
        expect(ours.log()).not.toMatch(/\[(WARNING|ERROR)\]/);
      }
    });
  },
  missingBuild() ?? missingTool("nft"),
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
      expect((await server!.peer("10.1.0.1"))!.endedBy).toMatchObject({ code: "BFD_DOWN" });
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

    test("nodes and pods with IPv6 only: two with our speaker, one with our BIRD", async () => {
      const mesh = await ipv6Mesh();
      topology = mesh;
      await allPing(mesh);
      for (const [index, ours] of mesh.ours.entries()) {
        const others = mesh.cluster.nodes.filter((node) => node !== ours.node);
        await ours.established(...others.map(({ address6 }) => address6));
        await until(
          async () => (await ours.status())!.restarting === false,
          async () => JSON.stringify(await ours.status()),
        );
        const status = (await ours.status())!;
        expect(status).toMatchObject({ backend: index === 2 ? "bird" : "speaker", problems: [] });
        expect(status.routerId).toMatch(/^\d+\.\d+\.\d+\.\d+$/);
        expect(status.peers.map(({ address }) => address).sort()).toEqual(others.map(({ address6 }) => address6));
        expect((await ours.routes("best")).filter(({ prefix }) => !prefix.includes(":"))).toEqual([]);
        expect(await ours.best(mesh.pods[(index + 1) % 3]!.block)).toMatchObject({
          nextHop: mesh.cluster.nodes[(index + 1) % 3]!.address6,
        });
        expect(await ours.nodeStatus()).toMatch(/IPv6 BGP status/);
        expect(ours.log()).not.toMatch(/\[(WARNING|ERROR)\].*(router ID|no such resource)/);
      }
    });
  },
  missingBuild() ?? bird2.missing(),
);
