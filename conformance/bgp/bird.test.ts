import { afterAll, beforeAll, expect, test } from "vitest";
import { type Cluster, pool } from "../cni/cluster.ts";
import { missingBuild, type Node } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { bgpPeer, createWorld, labNode, Ours, until } from "./ours.ts";
import { bird2 } from "./peers/index.ts";
import { attach } from "./topology.ts";
import { deletions, kernelHas, watchRoutes, watchTable } from "./watches.ts";

/** Routes of the nodes' kernels within a pool, which they tell each other. */
const OWN = "10.65.1.0/24";
const OWN6 = "fd65::100/120";
const THEIRS = "10.65.2.0/24";

/** Where Debian has it. */
const BIRD = "/usr/sbin/bird";
/** `bird -p -c FILE` as of a BIRD that cannot read a session with 172.31.0.77. */
const REFUSING = `#!/bin/sh
line=$(grep -nF -m 1 172.31.0.77 "$3" | cut -d : -f 1)
[ -z "$line" ] && exit 0
echo "bird: $3:$line:1 syntax error" >&2
exit 1
`;

describeLab(
  "the BIRD back end: a life with a real BIRD",
  () => {
    let cluster: Cluster;
    let here: Node;
    let there: Node;
    let dead: Node;
    let ours: Ours;
    let other: Ours;
    /** Of this node. */
    let block: string;

    beforeAll(async () => {
      cluster = await createWorld(3, pool("pool4", "10.65.0.0/16"), pool("pool6", "fd65::/112"));
      [here, there, dead] = cluster.nodes as [Node, Node, Node];
      // Of the last there is a resource, and nothing else.
      await cluster.apply(...cluster.nodes.map((node) => labNode(node)));
      await here.run(["ip", "route", "add", OWN, "via", gateway()]);
      await here.run(["ip", "route", "add", OWN6, "via", cluster.lab.underlay6]);
      await there.run(["ip", "route", "add", THEIRS, "via", gateway()]);
      ({ block } = await attach(cluster, here));
      other = await Ours.start(cluster, there);
      ours = await Ours.start(cluster, here, { CALICO_BGP_SPEAKER: "bird" });
    });
    afterAll(() => cluster?.dispose());

    /** Of both nodes' routes: it is on their network, and stays the next hop (RFC 4271 5.1.3). */
    const gateway = (): string => cluster.lab.underlay4;
    const peers = (): readonly [string, string] => [there.address4, there.address6];
    const pidOfBird = async (): Promise<string> =>
      (await here.run(["sh", "-c", "grep -lx bird /proc/[0-9]*/comm 2>/dev/null | cut -d/ -f3"])).trim();
    const killBird = async (): Promise<void> => {
      const pid = await pidOfBird();
      expect(pid).toMatch(/^\d+$/);
      await here.run(["kill", "-9", pid]);
    };
    const otherHas = async (): Promise<string[]> => (await other.routes("best")).map(({ prefix }) => prefix);
    const learned = (prefix = OWN): Promise<void> =>
      until(
        async () => (await otherHas()).includes(prefix),
        async () => `${prefix} was not learned: ${await otherHas()}\n${ours.log().slice(-2000)}`,
      );
    const programmed = (): Promise<void> =>
      until(
        () => kernelHas(here, THEIRS),
        () => `${THEIRS} is not in the kernel: ${ours.log().slice(-2000)}`,
      );

    test("a first start waits for no dead peer", async () => {
      await ours.established(...peers());
      expect(await ours.status()).toMatchObject({ backend: "bird", restarting: false });
      // BIRD's patience with peers after a restart is 240 s.
      await programmed();
      for (const prefix of [block, OWN, OWN6]) await learned(prefix);
      expect((await ours.peer(dead.address4))!.state).not.toBe("Established");
    });

    test("its routes are told: the best, a peer's, what a peer is sent, and of one prefix", async () => {
      const { name } = (await ours.peer(there.address4))!;
      const prefixesOf = async (...words: Parameters<Ours["routes"]>): Promise<string[]> =>
        (await ours.routes(...words)).map(({ prefix }) => prefix);
      expect(await prefixesOf("best")).toEqual(expect.arrayContaining([OWN, OWN6, THEIRS]));
      expect(await ours.routes("accepted", name)).toContainEqual(
        expect.objectContaining({ prefix: THEIRS, from: name, nextHop: gateway(), asPath: "", stale: false }),
      );
      expect(await prefixesOf("sent", name)).toContain(OWN);
      expect(await prefixesOf("sent", name)).not.toContain(THEIRS);
      await expect(ours.routes("received", name)).rejects.toThrow("BIRD does not keep");
      await expect(ours.routes("accepted", dead.address4)).rejects.toThrow("the session is not up");
      expect(await ours.best(THEIRS)).toMatchObject({ from: name });
      const explained = await here.run(["calico-node", "bgp", "explain", THEIRS.replace("0/24", "9")]);
      expect(explained).toMatch(new RegExp(`\\* +${THEIRS} +${gateway()} +${name}`));
    });

    test("CalicoNodeStatus has them", async () => {
      await cluster.apply({
        apiVersion: "projectcalico.org/v3",
        kind: "CalicoNodeStatus",
        metadata: { name: "here" },
        spec: { node: here.name, classes: ["Agent", "BGP", "Routes"], updatePeriodSeconds: 1 },
      });
      const status = async (): Promise<NodeStatus> => {
        const { stdout } = await cluster.calicoctl("get", "caliconodestatus", "here", "-o", "json");
        return (JSON.parse(stdout) as { readonly status?: NodeStatus }).status ?? {};
      };
      await until(
        async () => (await status()).routes?.routesV4?.some(({ destination }) => destination === THEIRS) ?? false,
        async () => JSON.stringify(await status()),
      );
      const { agent, bgp, routes } = await status();
      expect(agent).toMatchObject({ birdV4: { state: "Ready", version: expect.stringContaining("BIRD 2") } });
      expect(bgp).toMatchObject({ numberEstablishedV4: 1, numberNotEstablishedV4: 1 });
      expect(routes!.routesV4).toContainEqual({
        type: "FIB",
        destination: THEIRS,
        gateway: gateway(),
        learnedFrom: { sourceType: "NodeMesh", peerIP: there.address4 },
      });
      expect(routes!.routesV6).toContainEqual(
        expect.objectContaining({ destination: OWN6, learnedFrom: { sourceType: "Kernel" } }),
      );
    });

    test("a configuration that BIRD refuses leaves the running one, and is told of until it is mended", async () => {
      const before = { pid: await pidOfBird(), since: (await ours.peer(there.address4))!.since };
      const problems = async (): Promise<string> => (await ours.status())!.problems.join("\n");
      // None is known that ours would write and BIRD refuse: its parser refuses what names this peer, as BIRD words it.
      await here.run(["sh", "-c", `printf '%s' "$1" >/run/refusing && chmod 755 /run/refusing`, "sh", REFUSING]);
      await here.run(["mount", "--bind", "/run/refusing", BIRD]);
      await cluster.apply(bgpPeer("astray", { node: here.name, peerIP: "172.31.0.77", asNumber: 65_001 }));
      await until(
        async () => (await problems()).includes("BIRD refused"),
        async () => `taken: ${await problems()}`,
      );
      expect(await problems()).toMatch(/of BGPPeer astray/);
      expect(await here.exec(["grep", "-q", "172.31.0.77", "/etc/calico/bird/bird.cfg"])).toMatchObject({ status: 1 });
      expect(await ours.peer(there.address4)).toMatchObject({ state: "Established", since: before.since });
      expect(await pidOfBird()).toBe(before.pid);
      await learned();
      await cluster.calicoctl("delete", "bgppeer", "astray");
      await here.run(["umount", BIRD]);
      await until(
        async () => !(await problems()).includes("BIRD refused"),
        async () => `still told: ${await problems()}`,
      );
      expect(await ours.peer(there.address4)).toMatchObject({ state: "Established", since: before.since });
    });

    test("an agent that is killed leaves BIRD to the next one, which goes on with it", async () => {
      const before = { pid: await pidOfBird(), since: (await ours.peer(there.address4))!.since };
      await ours.kill();
      expect(await pidOfBird()).toBe(before.pid);
      await ours.restart();
      await ours.established(...peers());
      expect(await pidOfBird()).toBe(before.pid);
      expect(await ours.peer(there.address4)).toMatchObject({ since: before.since });
      expect(await other.peer(here.address4)).toMatchObject({ state: "Established", flaps: 0 });
      // It is told what changes from now on.
      await cluster.apply(bgpPeer("late", { node: here.name, peerIP: "172.31.0.99", asNumber: 65_001 }));
      await until(
        async () => (await ours.peer("172.31.0.99"))?.state !== undefined,
        () => "it was not configured",
      );
      await cluster.calicoctl("delete", "bgppeer", "late");
    });

    test("kill -9 of BIRD, and again while it recovers; then an agent that is told to stop: no route leaves a kernel or a table", async () => {
      const monitor = await watchRoutes(here);
      // What BIRD learns from the kernel it learns too late for that.
      const watch = watchTable(otherHas, block);
      try {
        await killBird();
        await until(
          async () => (await ours.status())?.restarting === true,
          () => `no restart: ${ours.log().slice(-2000)}`,
        );
        expect(await kernelHas(here, THEIRS)).toBe(true);
        await killBird();
        await until(
          async () => (await other.peer(here.address4))?.state !== "Established",
          () => "the other does not notice",
        );
        await ours.established(...peers());
        expect(await ours.status()).toMatchObject({ restarting: true });
        await learned();

        await ours.stop();
        expect(await pidOfBird()).toBe("");
        expect(await kernelHas(here, THEIRS)).toBe(true);
        await ours.restart();
        await ours.established(...peers());
        await learned(block);
        await learned();
      } finally {
        await watch.stop();
        await monitor.end();
      }
      expect(watch.missed(), "times at which the other did not have our block").toBe(0);
      expect(deletions(monitor, THEIRS)).toEqual([]);
      expect(await kernelHas(here, THEIRS)).toBe(true);
    });
  },
  missingBuild() ?? bird2.missing(),
);

interface NodeStatus {
  readonly agent?: object;
  readonly bgp?: object;
  readonly routes?: {
    readonly routesV4?: readonly { readonly destination: string }[];
    readonly routesV6?: readonly { readonly destination: string }[];
  };
}
