import { afterAll, beforeAll, expect, test } from "vitest";
import { parseAddress } from "../../lib/ip/index.ts";
import { type Cluster, pool } from "../cni/cluster.ts";
import { missingBuild, type Node } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { bgpConfiguration, bgpPeer, createWorld, labNode, Ours, until } from "./ours.ts";
import { RawPeer } from "./raw.ts";
import { watchRoutes } from "./watches.ts";

const ASN = 64_512;
/** Behind both of the others; the first is the better one, by LOCAL_PREF. */
const PREFIX = "10.99.1.0/24";
const SERVER = "10.99.1.1";
/** Told by the first alone. */
const ALONE = "10.99.2.0/24";
/** Of each of the others: an address that is its next hop, and the network that it is on. */
const HOPS = ["10.77.1.9", "10.77.2.9"] as const;
const NETWORKS = ["10.77.1.0/24", "10.77.2.0/24"] as const;

describeLab(
  "next hops that are not on a network of the node",
  () => {
    let cluster: Cluster;
    let here: Node;
    let others: readonly Node[];
    let ours: Ours;
    let peers: readonly RawPeer[] = [];

    beforeAll(async () => {
      cluster = await createWorld(3, bgpConfiguration({ nodeToNodeMeshEnabled: false }), pool("pool", "10.65.0.0/16"));
      here = cluster.nodes[0]!;
      others = cluster.nodes.slice(1);
      // By it, everything could be reached.
      await here.run(["ip", "route", "del", "default"]);
      for (const [index, node] of others.entries()) {
        for (const address of [HOPS[index]!, SERVER])
          await node.run(["ip", "address", "add", `${address}/32`, "dev", "lo"]);
        await route("add", index);
      }
      await cluster.apply(
        labNode(here, { asn: ASN }),
        ...others.map((node) => bgpPeer(`to-${node.name}`, { peerIP: node.address4, asNumber: ASN })),
      );
      ours = await Ours.start(cluster, here);
      peers = await Promise.all(
        others.map((node) =>
          RawPeer.establish({
            namespace: `/proc/${node.pid}/ns/net`,
            local: node.address4,
            remote: here.address4,
            asn: ASN,
          }),
        ),
      );
    });
    afterAll(async () => {
      for (const peer of peers) peer.close();
      await cluster?.dispose();
    });

    const route = (verb: string, index: number): Promise<string> =>
      here.run(["ip", "route", verb, NETWORKS[index]!, "via", others[index]!.address4]);

    const leadsTo = async (prefix: string, index: number): Promise<void> => {
      const shown = (): Promise<string> => here.run(["ip", "route", "show", prefix]);
      await until(
        async () => (await shown()).includes(`via ${others[index]!.address4} `),
        async () => `${prefix} has ${await shown()}; ${JSON.stringify(await ours.status())}`,
      );
    };
    /** Begins to watch the prefix's routes; `end` says how often it had none, once the kernel has told that the second one is used. */
    async function watchPrefix(): Promise<{ end(): Promise<number> }> {
      const metricOf = (line: string): string => /metric (\d+)/.exec(line)?.[1] ?? "";
      const metrics = new Set([metricOf(await here.run(["ip", "route", "show", PREFIX]))]);
      const monitor = await watchRoutes(here);
      return {
        end: async () => {
          await until(
            () => monitor.log().includes(`${PREFIX} via ${others[1]!.address4} `),
            () => `not told: ${monitor.log()}`,
          );
          await monitor.end("SIGKILL");
          let gone = 0;
          for (const line of monitor.log().split("\n")) {
            if (line.startsWith(`${PREFIX} `)) metrics.add(metricOf(line));
            else if (line.startsWith(`Deleted ${PREFIX} `)) {
              metrics.delete(metricOf(line));
              if (metrics.size === 0) gone++;
            }
          }
          return gone;
        },
      };
    }
    const pings = async (): Promise<void> => {
      expect(await here.run(["ping", "-I", here.address4, "-c1", "-W5", SERVER])).toMatch(/ 0% packet loss/);
    };

    test("the network of the better one goes: the other is used, and the better again when it is back; sessions stay", async () => {
      for (const [index, peer] of peers.entries()) {
        const attributes = { asPath: [], nextHop: parseAddress(HOPS[index]!), localPref: 200 - 100 * index };
        peer.announce(index === 0 ? [PREFIX, ALONE] : [PREFIX], attributes);
      }
      await leadsTo(PREFIX, 0);
      await leadsTo(ALONE, 0);
      await pings();

      const watch = await watchPrefix();
      await route("del", 0);
      await leadsTo(PREFIX, 1);
      expect(await watch.end(), "how often there was no route").toBe(0);
      await pings();
      const explained = await here.run(["calico-node", "bgp", "explain", PREFIX]);
      expect(explained).toContain(`its next hop ${HOPS[0]} cannot be reached`);
      // What has no other path stays the best, and is a problem in words.
      expect(await ours.best(ALONE)).toMatchObject({ nextHop: HOPS[0], best: true });
      await until(
        async () => (await ours.status())!.problems.some((problem) => problem.includes(HOPS[0])),
        async () => JSON.stringify((await ours.status())!.problems),
      );

      await route("add", 0);
      await leadsTo(PREFIX, 0);
      await leadsTo(ALONE, 0);
      await pings();
      // On a network of the node, or marked as not to be reached: all counts.
      await here.run(["ip", "route", "replace", "unreachable", NETWORKS[0]]);
      await leadsTo(PREFIX, 1);
      await here.run(["ip", "route", "del", "unreachable", NETWORKS[0]]);
      await route("add", 0);
      await leadsTo(PREFIX, 0);
      for (const node of others)
        expect(await ours.peer(node.address4)).toMatchObject({ state: "Established", flaps: 0 });
    });

    test("of two that are as good the nearer one is used, both where they are as near", async () => {
      for (const [index, peer] of peers.entries())
        peer.announce([PREFIX], { asPath: [], nextHop: parseAddress(HOPS[index]!), localPref: 100 });
      const hops = async (): Promise<number> =>
        ((await here.run(["ip", "route", "show", PREFIX])).match(/nexthop via/g) ?? []).length;
      const asNear = (): Promise<void> =>
        until(
          async () => (await hops()) === 2,
          () => here.run(["ip", "route", "show", PREFIX]),
        );
      await asNear();
      // An address of its network makes the second a neighbour.
      await here.run(["ip", "address", "add", "10.77.2.1/28", "dev", "eth0"]);
      await until(
        async () => (await here.run(["ip", "route", "show", PREFIX])).includes(`via ${HOPS[1]} `),
        () => here.run(["ip", "route", "show", PREFIX]),
      );
      expect(await hops()).toBe(0);
      await pings();
      expect(await here.run(["calico-node", "bgp", "explain", PREFIX])).toContain("its next hop is farther away");
      await here.run(["ip", "address", "del", "10.77.2.1/28", "dev", "eth0"]);
      await asNear();
    });

    test("our process is killed, and the better next hop goes before it is back: nothing leaves the kernel", async () => {
      for (const [index, peer] of peers.entries())
        peer.announce([PREFIX], { asPath: [], nextHop: parseAddress(HOPS[index]!), localPref: 200 - 100 * index });
      await leadsTo(PREFIX, 0);
      const watch = await watchPrefix();
      await ours.kill();
      await route("del", 0);
      for (const peer of peers) peer.close();
      await ours.restart();
      peers = await Promise.all(peers.map(({ options }) => RawPeer.establish(options)));
      for (const [index, peer] of peers.entries())
        peer.announce([PREFIX], { asPath: [], nextHop: parseAddress(HOPS[index]!), localPref: 200 - 100 * index });
      await leadsTo(PREFIX, 1);
      await pings();
      expect(await watch.end(), "how often there was no route").toBe(0);
    });
  },
  missingBuild(),
);
