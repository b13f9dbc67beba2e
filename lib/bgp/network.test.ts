/** Speakers among each other: real sessions, tables and policies, on a network in memory and a clock of the test's own. */
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { type Edge, expectedTables, Lab, nodeOf, type Router, type Topology } from "./testing.ts";

let lab = new Lab();
afterEach(async () => {
  await lab.stopAll();
  lab = new Lab();
});

const router = (number: number, more: Partial<Router> = {}): Router => ({
  name: `node${number}`,
  address: `10.0.0.${number}`,
  asn: 64512,
  blocks: [`192.168.${number}.0/26`],
  ...more,
});

function mesh(size: number): Topology {
  const routers = Array.from({ length: size }, (_, i) => router(i + 1));
  const edges = routers.flatMap(({ name: a }, i) =>
    routers.slice(i + 1).map(({ name: b }): Edge => ({ between: [a, b] })),
  );
  return { routers, edges };
}

/** node1 and node2 reflect, each with a cluster of its own or both with one. */
function reflectors(clients: number, oneCluster: boolean): Topology {
  const routers = Array.from({ length: clients + 2 }, (_, i) =>
    router(i + 1, i < 2 ? { clusterId: oneCluster ? "244.0.0.1" : `244.0.0.${i + 1}` } : {}),
  );
  const edges: Edge[] = [{ between: ["node1", "node2"] }];
  for (const { name } of routers.slice(2))
    edges.push({ between: ["node1", name], client: true }, { between: ["node2", name], client: true });
  return { routers, edges };
}

/** An AS a rack, two switches a rack which all know each other, and nodes that know both of theirs. */
function racks(count: number, nodes: number): Topology {
  const routers: Router[] = [];
  const edges: Edge[] = [];
  for (let rack = 1; rack <= count; rack++) {
    const switches = [1, 2].map((side) => ({
      name: `tor${rack}${side}`,
      address: `10.0.${rack}.${200 + side}`,
      asn: 65000 + rack * 10 + side,
      blocks: [],
    }));
    for (const tor of switches) {
      for (const other of routers.filter(({ name }) => name.startsWith("tor")))
        edges.push({ between: [other.name, tor.name] });
    }
    routers.push(...switches);
    for (let node = 1; node <= nodes; node++) {
      const name = `node${rack}${node}`;
      routers.push({
        name,
        address: `10.0.${rack}.${node}`,
        asn: 64600 + rack,
        allowedOwnAsns: 1,
        blocks: [`192.168.${rack}${node}.0/26`],
      });
      for (const tor of switches) edges.push({ between: [tor.name, name] });
    }
  }
  return { routers, edges };
}

/** Every kernel that has a speaker has what it should. */
function check(topology: Topology, isUp: (a: string, b: string) => boolean = () => true): void {
  const alive = (name: string) => lab.host(name).speaker !== undefined;
  const expected = expectedTables(topology, (a, b) => alive(a) && alive(b) && isUp(a, b));
  const tables = (of: (name: string) => Iterable<readonly [string, string]>) =>
    Object.fromEntries(
      topology.routers.filter(({ name }) => alive(name)).map(({ name }) => [name, Object.fromEntries(of(name))]),
    );
  expect(tables((name) => lab.table(name))).toEqual(tables((name) => expected.get(name)!));
}

const TOPOLOGIES: readonly (readonly [string, Topology])[] = [
  ["a full mesh of 5", mesh(5)],
  ["two reflectors of one cluster with 4 clients", reflectors(4, true)],
  ["two reflectors of two clusters with 4 clients", reflectors(4, false)],
  ["an AS a rack, 3 racks of 2", racks(3, 2)],
];

describe("convergence", () => {
  test.each(TOPOLOGIES)("%s", async (_, topology) => {
    await lab.startAll(topology);
    await lab.pass(60);
    check(topology);
  });

  test.each(TOPOLOGIES)(
    "%s, whatever is cut, killed, started and configured",
    async (_, topology) => {
      const names = topology.routers.map(({ name }) => name);
      const what = fc.record({
        what: fc.constantFrom(
          "cut",
          "cut",
          "heal",
          "reset",
          "kill",
          "stop",
          "start",
          "start",
          "block",
          "unpeer",
          "repeer",
        ),
        edge: fc.nat(topology.edges.length - 1),
        router: fc.nat(names.length - 1),
        seconds: fc.constantFrom(0, 0.05, 1, 3, 12, 40, 100, 150, 250),
      });
      await fc.assert(
        fc.asyncProperty(fc.array(what, { minLength: 3, maxLength: 10 }), async (steps) => {
          lab = new Lab();
          let now = topology;
          const cut = new Set<Edge>();
          const gone = new Set<Edge>();
          const key = (edge: Edge) => edge.between.join();
          const configured = (): Topology => ({
            ...now,
            edges: now.edges.filter((edge) => ![...gone].some((one) => key(one) === key(edge))),
          });
          const configure = async () => {
            for (const name of names) if (lab.host(name).speaker) await lab.configure(nodeOf(configured(), name));
          };
          await lab.startAll(topology);
          for (const { what, edge: at, router: which, seconds } of steps) {
            const edge = topology.edges[at]!;
            const name = names[which]!;
            const addresses = edge.between.map((one) => now.routers.find(({ name }) => name === one)!.address);
            if (what === "cut") {
              cut.add(edge);
              lab.network.cut(addresses[0]!, addresses[1]!);
            } else if (what === "heal") {
              cut.delete(edge);
              lab.network.heal(addresses[0]!, addresses[1]!);
            } else if (what === "reset") {
              lab.network.reset(addresses[0]!, addresses[1]!);
            } else if (what === "kill" || what === "stop") await lab.stop(name, what === "stop");
            else if (what === "start") {
              if (!lab.host(name).speaker) await lab.start(nodeOf(configured(), name));
            } else if (what === "block") {
              const another = `192.168.${100 + which}.64/26`;
              now = {
                ...now,
                routers: now.routers.map((one) =>
                  one.name !== name
                    ? one
                    : {
                        ...one,
                        blocks: one.blocks.includes(another)
                          ? one.blocks.filter((block) => block !== another)
                          : [...one.blocks, another],
                      },
                ),
              };
              await configure();
            } else if (what === "unpeer") {
              gone.add(edge);
              await configure();
            } else {
              gone.delete(edge);
              await configure();
            }
            await lab.pass(seconds);
          }
          await lab.pass(900);
          check(configured(), (a, b) => ![...cut].some(({ between }) => between.includes(a) && between.includes(b)));
          await lab.stopAll();
          expect(lab.clock.armed).toBe(0);
        }),
        { numRuns: 6 },
      );
    },
    120_000,
  );
});

describe("restart", () => {
  /** Kills a process, and has the next one begin after so many seconds. */
  async function crash(topology: Topology, name: string, seconds: number): Promise<void> {
    await lab.stop(name, false);
    await lab.pass(seconds);
    await lab.start(nodeOf(topology, name));
  }

  test.each([...TOPOLOGIES.keys()])("killed twice, nobody's kernel loses a route (%#)", async (index) => {
    const [, topology] = TOPOLOGIES[index]!;
    const { name } = topology.routers[0]!;
    await lab.startAll(topology);
    await lab.pass(60);
    lab.removed.length = 0;
    await crash(topology, name, 20);
    await lab.pass(0.4);
    await crash(topology, name, 20);
    await lab.pass(900);
    expect(lab.removed).toEqual([]);
    check(topology);
  });

  test("a reflector that is back, and waits for a client that is dead, keeps its place with the others meanwhile", async () => {
    const both = reflectors(3, true);
    // One reflector only: what it reflects, nobody else does.
    const topology = { ...both, edges: both.edges.filter(({ between }) => !between.includes("node2")) };
    await lab.startAll(topology);
    await lab.pass(60);
    await lab.stop("node5", true);
    await lab.pass(10);
    lab.removed.length = 0;
    await crash(topology, "node1", 5);
    for (let i = 0; i < 60; i++) await lab.pass(10);
    expect(lab.removed).toEqual([]);
    check(topology);
  });

  test("a peer that is back and never says that its table is complete is not believed for ever", async () => {
    const topology = mesh(2);
    await lab.startAll(topology);
    await lab.pass(60);
    // The process is back without its block, and waits for a peer that there is not.
    const ghost: Topology = {
      routers: [...topology.routers.map((one) => (one.name === "node1" ? { ...one, blocks: [] } : one)), router(9)],
      edges: [...topology.edges, { between: ["node1", "node9"] }],
    };
    await crash(ghost, "node1", 5);
    await lab.pass(30);
    expect([...lab.table("node2").keys()]).toEqual(["192.168.1.0/26"]);
    await lab.pass(400);
    expect([...lab.table("node2").keys()]).toEqual([]);
  });

  test("routes that one session left behind do not stay because a later one is lost, too", async () => {
    const topology = mesh(2);
    await lab.startAll(topology);
    await lab.pass(60);
    const none = { ...topology, routers: topology.routers.map((one) => ({ ...one, blocks: [] })) };
    // Up for a moment only, again and again: each time the next loss is not the first.
    await lab.stop("node1", false);
    for (let i = 0; i < 20; i++) {
      await lab.pass(8);
      await lab.start(
        nodeOf(
          { ...none, edges: [...none.edges, { between: ["node1", "node9"] }], routers: [...none.routers, router(9)] },
          "node1",
        ),
      );
      await lab.pass(3);
      await lab.stop("node1", false);
    }
    expect([...lab.table("node2").keys()]).toEqual([]);
  });

  test("a first configuration without peers, as where Nodes come one by one, does not end it", async () => {
    const topology = mesh(3);
    await lab.startAll(topology);
    await lab.pass(60);
    lab.removed.length = 0;
    await lab.stop("node1", false);
    await lab.pass(5);
    await lab.start(nodeOf({ ...topology, edges: [] }, "node1"));
    await lab.pass(2);
    await lab.configure(nodeOf({ ...topology, edges: topology.edges.slice(0, 1) }, "node1"));
    await lab.pass(1);
    await lab.configure(nodeOf(topology, "node1"));
    await lab.pass(300);
    expect(lab.removed).toEqual([]);
    check(topology);
  });

  test("a node that has no peers is done soon", async () => {
    const topology = mesh(2);
    await lab.startAll(topology);
    await lab.pass(60);
    await lab.stop("node1", false);
    await lab.start(nodeOf({ ...topology, edges: [] }, "node1"));
    await lab.pass(30);
    expect(await lab.host("node1").speaker!.status()).toMatchObject({ restarting: false });
    expect([...lab.table("node1")]).toEqual([]);
  });

  test("a configuration that comes late finds everything as it was left, and what is not learned again goes then", async () => {
    const topology = mesh(3);
    await lab.startAll(topology);
    await lab.pass(60);
    await lab.stop("node1", false);
    await lab.stop("node3", true);
    await lab.pass(5);
    lab.removed.length = 0;
    const late = await lab.open(nodeOf(topology, "node1"));
    const ofNode1 = () => lab.removed.filter((text) => text.startsWith("node1 "));
    await lab.pass(400);
    expect(ofNode1()).toEqual([]);
    await lab.start(nodeOf(topology, "node3"));
    await late();
    await lab.pass(30);
    expect(ofNode1()).toEqual([]);
    await lab.stop("node3", true);
    await lab.pass(30);
    check(topology);
  });

  test("while a restart waits for a peer that is dead, what the others tell anew is programmed", async () => {
    const topology = mesh(4);
    await lab.startAll(topology);
    await lab.pass(60);
    await lab.stop("node4", false);
    await lab.pass(5);
    lab.removed.length = 0;
    await crash(topology, "node1", 5);
    await lab.pass(20);
    const more = {
      ...topology,
      routers: topology.routers.map((one) =>
        one.name === "node2" ? { ...one, blocks: [...one.blocks, "192.168.22.0/26"] } : one,
      ),
    };
    await lab.configure(nodeOf(more, "node2"));
    await lab.pass(1);
    expect(await lab.host("node1").speaker!.status()).toMatchObject({ restarting: true });
    expect([...lab.table("node1").keys()]).toEqual([
      "192.168.2.0/26",
      "192.168.22.0/26",
      "192.168.3.0/26",
      "192.168.4.0/26",
    ]);
    expect(lab.removed).toEqual([]);
    await lab.pass(300);
    check(more);
  });

  test("with nothing in the kernel there is nothing to keep: what is learned is programmed though a peer is dead", async () => {
    const topology = mesh(3);
    for (const name of ["node1", "node2"]) await lab.start(nodeOf(topology, name));
    await lab.pass(5);
    check(topology);
  });
});

describe("changes", () => {
  test("another AS number takes along what was learned before", async () => {
    const topology = mesh(3);
    await lab.startAll(topology);
    await lab.pass(60);
    const other = {
      ...topology,
      routers: topology.routers.map((one) => (one.name === "node1" ? { ...one, asn: 65001 } : one)),
    };
    await lab.configure(nodeOf(other, "node1"));
    await lab.pass(30);
    expect([...lab.table("node1")]).toEqual([]);
    await lab.configure(nodeOf(other, "node2"));
    await lab.configure(nodeOf(other, "node3"));
    await lab.pass(60);
    check(other);
    await lab.configure(nodeOf(topology, "node1"));
    await lab.configure(nodeOf(topology, "node2"));
    await lab.configure(nodeOf(topology, "node3"));
    await lab.pass(60);
    check(topology);
  });

  test("another AS number while peers are gone whose routes are kept for now", async () => {
    const topology = mesh(3);
    await lab.startAll(topology);
    await lab.pass(60);
    for (const name of ["node2", "node3"]) await lab.stop(name, false);
    await lab.pass(5);
    expect(lab.table("node1").size).toBe(2);
    await lab.configure({ ...nodeOf(topology, "node1"), asn: 65001 });
    await lab.pass(200);
    expect([...lab.table("node1")]).toEqual([]);
  });

  test("a peer that is removed and there again at once", async () => {
    const topology = mesh(3);
    await lab.startAll(topology);
    await lab.pass(60);
    const { speaker } = lab.host("node1");
    const without = nodeOf({ ...topology, edges: topology.edges.slice(1) }, "node1");
    for (let i = 0; i < 10; i++) {
      void speaker!.configure(without);
      for (let turns = 0; turns < i; turns++) await Promise.resolve();
      void speaker!.configure(nodeOf(topology, "node1"));
      for (let turns = 0; turns < 10 - i; turns++) await new Promise((resolve) => setImmediate(resolve));
    }
    await lab.pass(90);
    check(topology);
  });

  test("of configurations that come faster than sessions close, the last counts", async () => {
    const topology = mesh(3);
    await lab.startAll(topology);
    await lab.pass(60);
    const { speaker } = lab.host("node1");
    const sessionsOf = async () => (await speaker!.status()).peers.map(({ since, flaps }) => ({ since, flaps }));
    const before = await sessionsOf();
    for (let i = 0; i < 100; i++) {
      void speaker!.configure({ ...nodeOf(topology, "node1"), asn: 65000 + i });
      void speaker!.configure(nodeOf(topology, "node1"));
    }
    await lab.pass(3);
    expect(await sessionsOf()).toEqual(before);
  });

  test("passwords that change on one side and later on the other", async () => {
    const topology = mesh(2);
    const withPassword = (name: string, password: string) => {
      const node = nodeOf(topology, name);
      return { ...node, ipv4: { ...node.ipv4, peers: node.ipv4.peers.map((peer) => ({ ...peer, password })) } };
    };
    await lab.startAll(topology);
    await lab.pass(60);
    await lab.configure(withPassword("node1", "one"));
    await lab.pass(60);
    expect([...lab.table("node1")]).toEqual([]);
    const peerOf = async (name: string) => (await lab.host(name).speaker!.status()).peers[0]!;
    // Its session is another one now; what ended the one before is known nevertheless.
    expect((await peerOf("node1")).endedBy).toMatchObject({
      code: "SHUTDOWN",
      message: "shut down here: its configuration changed",
    });
    expect(await peerOf("node2")).toMatchObject({ lastError: {}, endedBy: { code: "NOTIFICATION_RECEIVED" } });
    await lab.configure(withPassword("node2", "one"));
    await lab.pass(60);
    check(topology);
    expect(await peerOf("node1")).toMatchObject({ state: "Established", endedBy: { code: "SHUTDOWN" } });
  });

  test("a thousand lost connections leave nothing behind", async () => {
    const topology = mesh(3);
    await lab.startAll(topology);
    await lab.pass(60);
    const { armed } = lab.clock;
    const { open } = lab.network;
    for (let i = 0; i < 1000; i++) {
      for (const connection of lab.network.connections) if (connection.isOpen) connection.break();
      lab.network.connections.length = 0;
      await lab.clock.advance(1_500);
    }
    await lab.pass(400);
    check(topology);
    expect(lab.clock.armed).toBe(armed);
    expect(lab.network.open).toBe(open);
  }, 120_000);
});
