import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Cluster, pool } from "../cni/cluster.ts";
import type { Node } from "../lab/index.ts";
import { missingBuild } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { bgpConfiguration, bgpPeer, createWorld, labNode, Ours, secret, until } from "./ours.ts";
import { DRIVERS, type Driver, type Neighbour, type RealPeer } from "./peers/index.ts";
import { RawPeer } from "./raw.ts";
import { deletions, kernelHas, watchRoutes, watchTable } from "./watches.ts";

/** One that needs four octets (RFC 6793). */
const ASN = 4_200_000_001;
const OUR_ASN = 64_512;
/** What this node tells: a route of its kernel within a pool, of each family. */
const OWN = { 4: "10.65.1.0/24", 6: "fd65::100/120" } as const;
const THEIRS = { 4: "10.99.1.0/24", 6: "fd99::/64" } as const;
const PASSWORD = "right-horse";

for (const driver of DRIVERS) {
  describeLab(`sessions with ${driver.name}`, () => sessionsWith(driver), missingBuild() ?? driver.missing());
}

function sessionsWith(driver: Driver): void {
  let cluster: Cluster;
  let here: Node;
  let there: Node;
  let ours: Ours;
  let peer: RealPeer;

  beforeAll(async () => {
    cluster = await createWorld(
      4,
      bgpConfiguration({
        nodeToNodeMeshEnabled: false,
        prefixAdvertisements: [{ cidr: OWN[4], communities: ["64512:100", "64512:1:2"] }],
      }),
      pool("pool4", "10.65.0.0/16"),
      pool("pool6", "fd65::/112"),
    );
    [here, there] = cluster.nodes as [Node, Node];
    await cluster.apply(labNode(here, { asn: OUR_ASN }), secret("bgp", { password: PASSWORD, wrong: "wrong-horse" }));
    await here.run(["ip", "route", "add", OWN[4], "via", cluster.lab.underlay4]);
    await here.run(["ip", "route", "add", OWN[6], "via", cluster.lab.underlay6]);
    ours = await Ours.start(cluster, here);
  });
  afterAll(() => cluster?.dispose());

  const addresses = (): readonly [string, string] => [there.address4, there.address6];

  /** Starts the daemon anew, and our side's two sessions with it. */
  async function meet(theirSide: Partial<Neighbour> = {}, ourSide: object = {}): Promise<void> {
    await peer?.kill();
    await cluster.apply(
      ...addresses().map((address, index) =>
        bgpPeer(`over-ipv${index === 0 ? 4 : 6}`, { peerIP: address, asNumber: ASN, ...ourSide }),
      ),
    );
    const common = { asn: OUR_ASN, ...theirSide };
    peer = await driver.start(there, {
      asn: ASN,
      routerId: "9.9.9.9",
      neighbours: [
        { address: here.address4, local: there.address4, ...common },
        { address: here.address6, local: there.address6, ...common },
      ],
      routes: [
        { prefix: THEIRS[4], communities: ["65001:7", "65001:1:2"], med: 5 },
        { prefix: THEIRS[6], communities: ["65001:8"] },
      ],
    });
    await ours.established(...addresses());
    await learnedByUs(THEIRS[4], THEIRS[6]);
    await learnedByThem(OWN[4]);
  }

  const learnedByUs = (...prefixes: readonly string[]): Promise<void> =>
    until(
      async () => {
        const known = (await ours.routes("best")).map(({ prefix }) => prefix);
        return prefixes.every((prefix) => known.includes(prefix));
      },
      () => `we never learned ${prefixes.join(", ")}: ${ours.log().slice(-2000)}\n${peer.log().slice(-2000)}`,
    );

  const learnedByThem = (prefix: string): Promise<void> =>
    until(
      async () => (await peer.routes(4)).some((route) => route.prefix === prefix),
      () => `${driver.name} never learned ${prefix}: ${peer.log().slice(-2000)}`,
    );

  test("IPv4 and IPv6, 4-octet AS, communities of both kinds and MED, in both directions, live", async () => {
    await meet();
    for (const address of addresses()) {
      const { capabilities } = (await ours.peer(address))!;
      expect(capabilities).toEqual(expect.arrayContaining(["4-octet AS", "route refresh"]));
    }
    const [own] = (await peer.routes(4)).filter(({ prefix }) => prefix === OWN[4]);
    expect(own).toMatchObject({
      nextHop: here.address4,
      asPath: String(OUR_ASN),
      communities: ["64512:100", "64512:1:2"],
    });
    await until(
      async () => (await peer.routes(6)).some(({ prefix, nextHop }) => prefix === OWN[6] && nextHop === here.address6),
      async () => `${driver.name} has ${JSON.stringify(await peer.routes(6))}`,
    );
    expect(await ours.best(THEIRS[4])).toMatchObject({
      nextHop: there.address4,
      asPath: String(ASN),
      med: 5,
      communities: ["65001:7", "65001:1:2"],
    });
    expect(await ours.best(THEIRS[6])).toMatchObject({ nextHop: there.address6, communities: ["65001:8"] });
    expect(await here.run(["ip", "route", "show", THEIRS[4]])).toContain(`via ${there.address4}`);

    await peer.announce([{ prefix: "10.99.2.0/24", communities: ["65001:9"] }]);
    await learnedByUs("10.99.2.0/24");
    await peer.withdraw(["10.99.2.0/24"]);
    await until(
      async () => (await ours.best("10.99.2.0/24").catch(() => undefined)) === undefined,
      () => "10.99.2.0/24 was not withdrawn",
    );
    await here.run(["ip", "route", "add", "10.65.2.0/24", "via", cluster.lab.underlay4]);
    await learnedByThem("10.65.2.0/24");
    await here.run(["ip", "route", "delete", "10.65.2.0/24"]);
    await until(
      async () => !(await peer.routes(4)).some(({ prefix }) => prefix === "10.65.2.0/24"),
      () => `${driver.name} still has 10.65.2.0/24`,
    );
  });

  test.skipIf(driver.cannot.refresh)(
    named("route refresh: what was told is told again", driver.cannot.refresh),
    async () => {
      const before = (await ours.peer(there.address4))!.messages.sent;
      await peer.refresh(here.address4);
      await until(
        async () => (await ours.peer(there.address4))!.messages.sent > before,
        () => `nothing was sent again: ${peer.log().slice(-1000)}`,
        10_000, // less than the time between two KEEPALIVEs
      );
      await learnedByThem(OWN[4]);
      expect(await ours.peer(there.address4)).toMatchObject({ state: "Established", flaps: 0 });
    },
  );

  test("NOTIFICATIONs in both directions, with their words", async () => {
    await peer.shutDown(here.address4, "maintenance at noon");
    await until(
      () => ours.log().includes("Cease"),
      () => `nothing of it: ${ours.log().slice(-2000)}`,
    );
    const words = driver.cannot.wordsOfShutDown
      ? /administrative shutdown/i
      : /administrative shutdown.*maintenance at noon/i;
    expect(
      ours
        .log()
        .split("\n")
        .find((line) => line.includes("Cease")),
    ).toMatch(words);
    expect(await ours.peer(there.address6), "the other session").toMatchObject({ state: "Established", flaps: 0 });

    await cluster.calicoctl("delete", "bgppeer", "over-ipv6");
    await until(
      async () => !(await peer.established(here.address6)),
      () => `${driver.name} thinks that the session is up`,
    );
    await until(
      async () =>
        /cease|administrative|shutdown|de-?configured|6\D+[23]/i.test(await peer.lastNotification(here.address6)),
      async () => `${driver.name} heard: ${await peer.lastNotification(here.address6)}\n${peer.log().slice(-1500)}`,
    );
  });

  describe("with a password", () => {
    test("MD5 and TTL security; a wrong password is told as one, and does no harm beside", async () => {
      const ttl = driver.cannot.ttlSecurity ? {} : { ttlSecurity: 1 };
      const withKey = (key: string): object => ({ password: { secretKeyRef: { name: "bgp", key } } });
      await meet({ password: PASSWORD, ...ttl }, { ...ttl, ...withKey("password") });
      await cluster.apply(bgpPeer("over-ipv4", { peerIP: there.address4, asNumber: ASN, ...ttl, ...withKey("wrong") }));
      await until(
        async () => (await ours.peer(there.address4))?.lastError?.code === "MD5_SUSPECTED",
        async () => `no suspicion: ${JSON.stringify(await ours.peer(there.address4))}`,
      );
      expect(await ours.nodeStatus()).toMatch(/password/i);
      expect(await ours.peer(there.address6), "the other session").toMatchObject({ state: "Established", flaps: 0 });
      await cluster.apply(
        bgpPeer("over-ipv4", { peerIP: there.address4, asNumber: ASN, ...ttl, ...withKey("password") }),
      );
      await ours.established(there.address4);
    });
  });

  describe.skipIf(driver.cannot.addPath !== undefined)(named("add-path", driver.cannot.addPath), () => {
    test("several paths of one prefix are received, and what happens to one of them", async () => {
      const [, , one, other] = cluster.nodes as [Node, Node, Node, Node];
      const raw = [one, other].map((node, index) => ({ node, asn: 65_011 + index }));
      await peer?.kill();
      await cluster.apply(bgpPeer("over-ipv4", { peerIP: there.address4, asNumber: ASN }));
      peer = await driver.start(there, {
        asn: ASN,
        routerId: "9.9.9.9",
        neighbours: [
          { address: here.address4, local: there.address4, asn: OUR_ASN, addPathSend: true },
          ...raw.map(({ node, asn }) => ({ address: node.address4, local: there.address4, asn, passive: true })),
        ],
      });
      const players = await Promise.all(
        raw.map(({ node, asn }) =>
          RawPeer.establish({
            namespace: `/proc/${node.pid}/ns/net`,
            local: node.address4,
            remote: there.address4,
            asn,
          }),
        ),
      );
      try {
        await ours.established(there.address4);
        for (const player of players) player.announce(["10.98.0.0/24"]);
        const { name } = (await ours.peer(there.address4))!;
        const paths = async (): Promise<string[]> =>
          (await ours.routes("received", name))
            .filter(({ prefix }) => prefix === "10.98.0.0/24")
            .map(({ asPath }) => asPath)
            .sort();
        await until(
          async () => (await paths()).length === 2,
          async () => `received: ${(await paths()).join("; ")}; ${JSON.stringify(await ours.peer(there.address4))}`,
        );
        expect(await paths()).toEqual([`${ASN} 65011`, `${ASN} 65012`]);
        players[0]!.close();
        await until(
          async () => (await paths()).join() === `${ASN} 65012`,
          async () => `received: ${(await paths()).join("; ")}`,
        );
      } finally {
        for (const player of players) player.close();
      }
    });
  });

  describe.skipIf(driver.cannot.gracefulRestart !== undefined)(
    named("graceful restart", driver.cannot.gracefulRestart),
    () => {
      test("kill -9 of ours, of theirs, and of ours twice: no route leaves the kernel or the other's table", async () => {
        await meet({ gracefulRestart: 60 });
        const monitor = await watchRoutes(here);
        const watch = watchTable(async () => (await peer.routes(4)).map(({ prefix }) => prefix), OWN[4]);
        let excused = 0;
        try {
          await ours.kill();
          await until(
            async () => !(await peer.established(here.address4)),
            () => "the other does not notice",
          );
          expect(await kernelHas(here, THEIRS[4])).toBe(true);
          await ours.restart();
          await ours.established(...addresses());
          await restarted(ours);
          await learnedByUs(THEIRS[4]);

          await watch.pause();
          const before = deletions(monitor, THEIRS[4]).length;
          await peer.kill();
          await until(
            async () => (await ours.peer(there.address4))?.state !== "Established",
            () => "we do not notice",
          );
          expect(await kernelHas(here, THEIRS[4])).toBe(true);
          await peer.restart();
          await ours.established(...addresses());
          await learnedByThem(OWN[4]);
          await learnedByUs(THEIRS[4]);
          const lost = deletions(monitor, THEIRS[4]).length - before;
          // RFC 4724 4.2: what it says that it did not keep is gone at once.
          if (driver.cannot.keepForwarding) excused = lost;
          watch.resume();

          await ours.kill();
          await ours.restart();
          // Before it has a session: of one that came up and has told nothing yet, the other must drop what it kept (RFC 4724 4.2).
          await ours.kill();
          await ours.restart();
          await ours.established(...addresses());
          await restarted(ours);
          await learnedByUs(THEIRS[4]);
          await learnedByThem(OWN[4]);
        } finally {
          await watch.stop();
          await monitor.end();
        }
        expect(watch.missed(), "times at which the other did not have our route").toBe(0);
        expect(deletions(monitor, THEIRS[4]).slice(excused)).toEqual([]);
        expect(await kernelHas(here, THEIRS[4])).toBe(true);
      });
    },
  );
}

const named = (name: string, why: string | undefined): string => (why ? `${name} (skipped: ${why})` : name);

const restarted = (ours: Ours): Promise<void> =>
  until(
    async () => (await ours.status())?.restarting === false,
    () => `the restart is never over: ${ours.log().slice(-2000)}`,
  );
