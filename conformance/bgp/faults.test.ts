import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  DEFAULT_LIMITS,
  decodeRouteRefresh,
  decodeUpdate,
  ERROR,
  MESSAGE,
  MessageReader,
  UPDATE_ERROR,
} from "../../lib/bgp/wire/index.ts";
import { corpus, hex, mutate, Random } from "../../lib/bgp/wire/testing.ts";
import { type Cluster, pool } from "../cni/cluster.ts";
import { missingBuild, missingTool, type Node } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { bgpConfiguration, bgpPeer, createWorld, labNode, Ours, until } from "./ours.ts";
import { bird2, type RealPeer } from "./peers/index.ts";
import { announcement, frame, NEGOTIATED, RawPeer } from "./raw.ts";

const OUR_ASN = 64_512;
/** The peer beside those that misbehave. */
const BIRD_ASN = 65_001;
const RAW_ASN = 65_002;
/** Peers that may each end their session once: further addresses of the same node. */
const FATAL = 24;
const MUTATED = 10_000;
/** Seconds. */
const FLAPPING = 60;

describeLab("a speaker under attack", underAttack, missingBuild() ?? bird2.missing());
describeLab("a network that fails", failingNetwork, missingBuild() ?? missingTool("nft"));

function underAttack(): void {
  let cluster: Cluster;
  let ours: Ours;
  let bystander: RealPeer;
  let here: Node;
  let there: Node;
  let beside: Node;

  beforeAll(async () => {
    cluster = await createWorld(3, bgpConfiguration({ nodeToNodeMeshEnabled: false }), pool("pool", "10.65.0.0/16"));
    [here, there, beside] = cluster.nodes as [Node, Node, Node];
    const fatal = Array.from({ length: FATAL }, (_, index) => `172.31.0.${100 + index}`);
    await there.run(["ip", "-batch", "-"], { stdin: fatal.map((one) => `address add ${one}/24 dev eth0\n`).join("") });
    await cluster.apply(
      labNode(here),
      bgpPeer("beside", { peerIP: beside.address4, asNumber: BIRD_ASN }),
      ...[there.address4, ...fatal].map((address) => bgpPeer(`raw-${address}`, { peerIP: address, asNumber: RAW_ASN })),
    );
    bystander = await bird2.start(beside, {
      asn: BIRD_ASN,
      routerId: "9.9.9.9",
      neighbours: [{ address: here.address4, local: beside.address4, asn: OUR_ASN }],
      routes: [{ prefix: "10.99.0.0/24" }],
    });
    ours = await Ours.start(cluster, here);
    await ours.established(beside.address4);
  });
  afterAll(() => cluster?.dispose());

  let next = 0;
  /** Established, from an address that was not used before. */
  const fresh = (): Promise<RawPeer> => connect(`172.31.0.${100 + next++}`);
  const connect = (local: string): Promise<RawPeer> =>
    RawPeer.establish({ namespace: `/proc/${there.pid}/ns/net`, local, remote: here.address4, asn: RAW_ASN });

  async function untouched(): Promise<void> {
    expect(await ours.peer(beside.address4), "the session beside").toMatchObject({ state: "Established", flaps: 0 });
    expect(await bystander.established(here.address4)).toBe(true);
  }

  const has = async (peer: RawPeer, prefix: string): Promise<boolean> => {
    const name = (await ours.peer(peer.options.local))!.name;
    return (await ours.routes("received", name)).some((route) => route.prefix === prefix);
  };

  describe("malformed attributes (RFC 7606)", () => {
    let peer: RawPeer;
    beforeAll(async () => {
      peer = await connect(there.address4);
    });
    afterAll(() => peer?.close());

    const origin = "40 01 01 00";
    const asPath = "40 02 06 02 01 00 00 fd ea";
    const nextHop = "40 03 04 ac 1f 00 0c";
    const prefix = "18 0a 62 01";
    const update = (...attributes: string[]): Uint8Array => {
      const bytes = hex(attributes.join(" "));
      return frame(MESSAGE.UPDATE, Uint8Array.of(0, 0, bytes.length >>> 8, bytes.length, ...bytes, ...hex(prefix)));
    };

    test.each([
      ["an ORIGIN that is none (7.1)", update("40 01 01 07", asPath, nextHop)],
      ["an ORIGIN of two bytes (7.1)", update("40 01 02 00 00", asPath, nextHop)],
      ["no ORIGIN (3.d)", update(asPath, nextHop)],
      ["an AS_PATH whose segment ends after it (7.2)", update(origin, "40 02 06 02 09 00 00 fd ea", nextHop)],
      ["an AS_PATH with a segment of no ASes (7.2)", update(origin, "40 02 02 02 00", nextHop)],
      ["a NEXT_HOP of three bytes (7.3)", update(origin, asPath, "40 03 03 ac 1f 00")],
      ["a MED of two bytes (7.4)", update(origin, asPath, nextHop, "80 04 02 00 01")],
      ["communities of five bytes (7.8)", update(origin, asPath, nextHop, "c0 08 05 00 01 00 01 00")],
      ["large communities of four bytes (RFC 8092 6)", update(origin, asPath, nextHop, "c0 20 04 00 01 00 01")],
      ["an attribute that ends after all of them (4)", update(origin, asPath, nextHop, "c0 08 40 00 01")],
      ["wrong flags of a well-known attribute (3.c)", update("c0 01 01 00", asPath, nextHop)],
    ])("%s: the routes count as withdrawn, the session stays", async (_, message) => {
      peer.announce(["10.98.1.0/24"]);
      await until(
        () => has(peer, "10.98.1.0/24"),
        () => "never learned",
      );
      peer.send(message);
      await until(
        async () => !(await has(peer, "10.98.1.0/24")),
        () => `still there: ${ours.log().slice(-1000)}`,
      );
      expect(peer.ended, JSON.stringify(peer.notification)).toBe(false);
    });

    test.each([
      ["an AGGREGATOR of a wrong length (7.7)", "c0 07 05 00 00 fd ea 01"],
      ["an ATOMIC_AGGREGATE with a value (7.6)", "40 06 01 00"],
      ["a LOCAL_PREF from another AS (7.5)", "40 05 03 00 00 01"],
    ])("%s: it is left out, the route stays", async (_, attribute) => {
      peer.send(update(origin, asPath, nextHop, attribute));
      await until(
        () => has(peer, "10.98.1.0/24"),
        () => `never learned: ${ours.log().slice(-1000)}`,
      );
      expect(peer.ended).toBe(false);
      peer.send(frame(MESSAGE.UPDATE, hex("00 04 18 0a 62 01 00 00")));
      await until(
        async () => !(await has(peer, "10.98.1.0/24")),
        () => "not withdrawn",
      );
    });

    test("nobody else noticed", untouched);
  });

  describe("what ends a session", () => {
    const good = announcement(["10.98.2.0/24"], { local: "172.31.0.12", asn: RAW_ASN })[0]!;
    const changed = (at: number, value: number): Uint8Array => good.with(at, value);

    test.each([
      ["a marker that is none", changed(3, 0), ERROR.HEADER, 1],
      ["a length of 18", changed(16, 0).with(17, 18), ERROR.HEADER, 2],
      ["a type that is none", changed(18, 77), ERROR.HEADER, 3],
      ["a prefix of 33 bits", good.with(good.length - 4, 33), ERROR.UPDATE, UPDATE_ERROR.INVALID_NETWORK_FIELD],
      [
        "withdrawn routes that end after the message",
        changed(19, 0x7f),
        ERROR.UPDATE,
        UPDATE_ERROR.MALFORMED_ATTRIBUTE_LIST,
      ],
    ])("%s: the NOTIFICATION says so", async (_, message, code, subcode) => {
      const peer = await fresh();
      peer.send(message);
      await peer.until(() => peer.ended);
      expect(peer.notification).toMatchObject({ code, subcode });
      await untouched();
    });
  });

  test(`${MUTATED} mutated messages into live sessions: no crash, no hang, no growth, and nobody else notices`, async () => {
    const random = new Random(20_261_123);
    const originals = corpus();
    const fatal: Uint8Array[] = [];
    const peer = await connect(there.address4);
    let sent = 0;
    const round = async (count: number): Promise<number> => {
      for (let batch: Uint8Array[] = []; count > 0; ) {
        const message = mutate(random, originals);
        if (isBearable(message)) batch.push(message);
        else if (fatal.length < FATAL - next && random.below(50) === 0) fatal.push(message);
        else continue;
        sent++;
        count--;
        if (batch.length < 200 && count > 0) continue;
        peer.send(...batch);
        batch = [];
        await Bun.sleep(1);
      }
      // What was sent last has been read once this is there.
      peer.announce([`10.97.${sent % 250}.0/24`]);
      await until(
        () => has(peer, `10.97.${sent % 250}.0/24`),
        async () => `it hangs: ${JSON.stringify(await ours.peer(there.address4))} ${JSON.stringify(peer.notification)}`,
      );
      return ours.daemon.memory().anonymous;
    };
    const before = await round(MUTATED / 2);
    const after = await round(MUTATED / 2);
    expect(peer.ended, JSON.stringify(peer.notification)).toBe(false);
    expect((after - before) / 2 ** 20, "MiB more").toBeLessThan(30);
    for (const message of fatal) {
      const victim = await fresh();
      victim.send(message);
      // It may be the beginning of a longer message, which never comes.
      await Promise.race([victim.until(() => victim.ended).catch(() => {}), Bun.sleep(300)]);
      victim.close();
    }
    expect(ours.daemon.running).toBe(true);
    await untouched();
    peer.close();
  });
}

/** Whether the message leaves the session up: by the codec, whose own verdicts have tests of their own. */
function isBearable(bytes: Uint8Array): boolean {
  try {
    const reader = new MessageReader();
    reader.push(bytes);
    const message = reader.next();
    if (!message || reader.buffered > 0) return false;
    if (message.type === MESSAGE.UPDATE)
      decodeUpdate(message.body, NEGOTIATED, { peer: "ebgp", limits: DEFAULT_LIMITS });
    else if (message.type === MESSAGE.ROUTE_REFRESH) decodeRouteRefresh(message.body);
    else return message.type === MESSAGE.KEEPALIVE;
    return true;
  } catch {
    return false;
  }
}

function failingNetwork(): void {
  let cluster: Cluster;
  let all: Ours[];
  beforeAll(async () => {
    cluster = await createWorld(3, pool("pool", "10.65.0.0/16"));
    await cluster.apply(...cluster.nodes.map((node) => labNode(node)));
    all = await Promise.all(cluster.nodes.map((node) => Ours.start(cluster, node)));
    await all[0]!.established(...cluster.nodes.slice(1).map(({ address4 }) => address4));
  });
  afterAll(() => cluster?.dispose());

  // Without a gateway: the node itself is the next hop.
  const change = (verb: string, index: number, prefix: string): Promise<string> =>
    cluster.nodes[index]!.run(["ip", "route", verb, prefix, "dev", "eth0", "proto", "static"]);
  const add = (index: number, prefix: string): Promise<string> => change("replace", index, prefix);
  const remove = (index: number, prefix: string): Promise<string> => change("delete", index, prefix);
  const drop = (index: number, rule: string): Promise<string> =>
    cluster.nodes[index]!.run(["nft", "-f", "-"], {
      stdin: `table inet fault {\nchain in {\ntype filter hook input priority 0\n${rule}\n}\n}\n`,
    });
  const heal = (index: number): Promise<string> =>
    cluster.nodes[index]!.run(["nft", "delete", "table", "inet", "fault"]);

  /** Every node's kernel leads to the prefix by its owner's address, or nowhere. */
  async function converges(prefix: string, owner: number | undefined): Promise<void> {
    for (const [index, node] of cluster.nodes.entries()) {
      if (index === owner) continue;
      const expected = owner === undefined ? "" : `via ${cluster.nodes[owner]!.address4} `;
      await until(
        async () => {
          const route = await node.run(["ip", "route", "show", prefix]);
          return owner === undefined ? !route.includes("proto bird") : route.includes(expected);
        },
        async () => `${node.name}: ${prefix}: ${await node.run(["ip", "route"])}\n${all[index]!.log().slice(-1500)}`,
      );
    }
  }

  async function goQuiet(): Promise<void> {
    for (const ours of all) {
      await until(
        async () => {
          const before = ours.daemon.processor();
          await Bun.sleep(1000);
          return ours.daemon.processor() - before < 0.1;
        },
        () => `${ours.node.name} is never quiet`,
      );
    }
  }

  test("a partition in which both sides change, and its end", async () => {
    await add(0, "10.65.1.0/24");
    await add(1, "10.65.2.0/24");
    await converges("10.65.1.0/24", 0);
    await drop(0, `ip saddr ${cluster.nodes[1]!.address4} drop\nip saddr ${cluster.nodes[2]!.address4} drop`);
    await remove(0, "10.65.1.0/24");
    await add(0, "10.65.3.0/24");
    await remove(1, "10.65.2.0/24");
    await add(2, "10.65.4.0/24");
    await Bun.sleep(3000);
    await heal(0);
    await converges("10.65.1.0/24", undefined);
    await converges("10.65.2.0/24", undefined);
    await converges("10.65.3.0/24", 0);
    await converges("10.65.4.0/24", 2);
  });

  test("one packet of ten is lost while routes flap: tables converge, and processors go quiet", async () => {
    for (const index of [0, 1, 2])
      await drop(index, "tcp dport 179 numgen random mod 10 < 1 drop\ntcp sport 179 numgen random mod 10 < 1 drop");
    for (let turn = 0; turn < 40; turn++) {
      await (turn % 2 === 0 ? add(turn % 3, "10.65.9.0/24") : remove((turn - 1) % 3, "10.65.9.0/24"));
    }
    await add(1, "10.65.9.0/24");
    for (const index of [0, 1, 2]) await heal(index);
    await converges("10.65.9.0/24", 1);
    await goQuiet();
  });

  test(`sessions are broken, and routes change, every second for ${FLAPPING} s: tables converge, and processors go quiet`, async () => {
    const flaps = async (): Promise<number> =>
      (await all[0]!.status())!.peers.reduce((sum, peer) => sum + peer.flaps, 0);
    const before = await flaps();
    for (let turn = 0; turn < FLAPPING; turn++) {
      const next = Bun.sleep(1000);
      await drop(0, "tcp dport 179 reject with tcp reset\ntcp sport 179 reject with tcp reset");
      // What is told of it on the sessions is answered with RST.
      await Promise.all([0, 1, 2].map((index) => (turn % 2 === 0 ? add : remove)(index, `10.65.${20 + index}.0/24`)));
      await Bun.sleep(300);
      await heal(0);
      await next;
    }
    expect((await flaps()) - before, "sessions that ended").toBeGreaterThan(10);
    await add(1, "10.65.21.0/24");
    await converges("10.65.20.0/24", undefined);
    await converges("10.65.21.0/24", 1);
    await converges("10.65.22.0/24", undefined);
    await goQuiet();
    for (const ours of all) {
      const others = cluster.nodes.filter((node) => node !== ours.node);
      await ours.established(...others.map(({ address4 }) => address4));
    }
  });

  test("a session that is broken again and again comes back each time", async () => {
    const flaps = 5;
    for (let turn = 0; turn < flaps; turn++) {
      // RST from the other's kernel is what a crash of its process looks like.
      await all[2]!.kill();
      await all[2]!.restart();
      await all[0]!.established(cluster.nodes[2]!.address4);
    }
    await converges("10.65.4.0/24", 2);
    expect((await all[0]!.peer(cluster.nodes[1]!.address4))!.state).toBe("Established");
  });
}
