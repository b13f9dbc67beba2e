import { describe, expect, test } from "vitest";
import { type Address, formatAddress, formatCidr, parseAddress, parseCidr } from "../ip/index.ts";
import { silentLogger } from "../telemetry/index.ts";
import type { BfdStatus } from "./bfd/index.ts";
import type { Edges } from "./edges.ts";
import type { KernelOptions, LearnedRoute, StaticRoute } from "./kernel/index.ts";
import type { BfdParameters, FamilyBgp, NodeBgp, Peer } from "./model/index.ts";
import type { SessionHandler, SessionOptions } from "./session/index.ts";
import { openSpeaker } from "./speaker.ts";
import type { Capabilities, Negotiated, Open, PathAttributes, Update } from "./wire/index.ts";

const NEGOTIATED: Negotiated = {
  fourOctetAsn: true,
  extendedMessages: false,
  families: [4],
  addPathReceive: [],
  addPathSend: [],
  extendedNextHop: false,
};

class FakeSession {
  readonly options: SessionOptions;
  readonly handler: SessionHandler;
  readonly sent: Uint8Array[] = [];
  readonly resets: string[] = [];
  closed: { graceful: boolean; text?: string } | undefined;
  constructor(options: SessionOptions, handler: SessionHandler) {
    this.options = options;
    this.handler = handler;
  }
  readonly status = {
    state: "Idle" as const,
    since: 0,
    messages: { sent: 0, received: 0 },
    flaps: 0,
  };
  send(message: Uint8Array): boolean {
    this.sent.push(message.slice());
    return true;
  }
  requestRefresh(): boolean {
    return true;
  }
  pause(): void {}
  resume(): void {}
  reset({ code }: { code: string }): void {
    this.resets.push(code);
  }
  async close(how: { graceful: boolean; text?: string }): Promise<void> {
    this.closed = how;
  }
  up(capabilities: Partial<Capabilities> = {}): void {
    this.upWith({ ...this.options.capabilities(), ...capabilities });
  }
  upWith(capabilities: Capabilities): void {
    const open: Open = {
      asn: this.options.peerAsn,
      holdTime: 90,
      routerId: Number(this.options.address.value & 0xffff_ffffn),
      capabilities,
    };
    this.handler.established(open, NEGOTIATED, parseAddress("10.0.0.1"));
  }
  tells(prefixes: readonly string[], more: Partial<PathAttributes> = {}): void {
    this.handler.update(reach(prefixes, { nextHop: this.options.address, localPref: 2_147_483_647 - 1_024, ...more }));
  }
  toldAll(): void {
    this.handler.update({ ...NOTHING, endOfRib: 4 });
  }
  drop(keep: readonly (4 | 6)[] = []): void {
    this.handler.down({ code: "CONNECTION_LOST", message: "gone", at: 0 }, keep, 120);
  }
}

const NOTHING: Update = {
  withdrawn: [],
  reached: [],
  attributesKey: new Uint8Array(),
  attributes: () => {
    throw new Error("no attributes");
  },
  problems: [],
};

function reach(
  prefixes: readonly string[],
  attributes: Pick<PathAttributes, "nextHop"> & Partial<PathAttributes>,
): Update {
  const bytes = prefixes.flatMap((text) => {
    const { base, length } = parseCidr(text);
    const octets = [24n, 16n, 8n, 0n].map((shift) => Number((base >> shift) & 255n));
    return [length, ...octets.slice(0, Math.ceil(length / 8))];
  });
  const all: PathAttributes = {
    origin: 0,
    asPath: [],
    atomicAggregate: false,
    communities: [],
    largeCommunities: [],
    extendedCommunities: [],
    clusterList: [],
    unknown: [],
    ...attributes,
  };
  const key = JSON.stringify(all, (_, value: unknown) => (typeof value === "bigint" ? String(value) : value));
  return {
    ...NOTHING,
    reached: [{ family: 4, addPath: false, bytes: Uint8Array.from(bytes) }],
    attributesKey: new TextEncoder().encode(key),
    attributes: () => all,
  };
}

/** A speaker in a world without sockets, kernel and time. */
class World {
  readonly sessions: FakeSession[] = [];
  readonly learned = new Map<string, string>();
  statics: string[] = [];
  /** Of next hops; 0 of those that are not in it. */
  readonly costs = new Map<string, number>();
  kernel!: KernelOptions;
  restartEnded = false;
  readonly bfd: { between: string; changed: (status: BfdStatus, failed: boolean) => void }[] = [];
  readonly timers: { at: number; callback: () => void }[] = [];
  listening: readonly string[] = [];
  listenProblems: readonly string[] = [];
  backend!: Awaited<ReturnType<typeof openSpeaker>>;

  static async start(): Promise<World> {
    const world = new World();
    world.backend = await openSpeaker({ edges: world.edges(), log: silentLogger });
    return world;
  }

  edges(): Edges {
    return {
      openSession: (options, handler) => {
        const session = new FakeSession(options, handler);
        this.sessions.push(session);
        return session;
      },
      listen: (_, addresses) => {
        this.listening = addresses;
        return this.listenProblems;
      },
      openKernel: async (options) => {
        this.kernel = options;
        return {
          inherited: true,
          setLearned: (destination, route) => {
            if (route) this.learned.set(formatCidr(destination), words(route));
            else this.learned.delete(formatCidr(destination));
          },
          setStatic: (routes: readonly StaticRoute[]) => {
            this.statics = routes.map(
              ({ destination, via }) => `${formatCidr(destination)} ${via ? formatAddress(via) : "blackhole"}`,
            );
          },
          follow: (nextHop) => this.costs.get(formatAddress(nextHop)) ?? 0,
          unfollow: () => {},
          endOfRestart: () => {
            this.restartEnded = true;
          },
          settled: async () => {},
          close: async () => {},
        };
      },
      openBfd: () => ({
        open: ({ local, remote }, changed) => {
          this.bfd.push({ between: `${formatAddress(local)} ${formatAddress(remote)}`, changed });
          return { status: BFD_STATUS, change: () => {}, close: () => {} };
        },
        close: async () => {},
      }),
      now: () => 0,
      after: (at, callback) => {
        const timer = { at, callback };
        this.timers.push(timer);
        return () => void this.timers.splice(this.timers.indexOf(timer), 1);
      },
      close: () => {},
    };
  }

  /** The session with that peer that is not closed. */
  session(name: string): FakeSession {
    const [session, ...more] = this.sessions.filter(({ options, closed }) => options.name === name && !closed);
    if (!session || more.length > 0) throw new Error(`${name}: ${more.length + (session ? 1 : 0)} sessions`);
    return session;
  }

  /** Polls: the tables work in slices. */
  async until(condition: () => boolean): Promise<void> {
    for (const deadline = performance.now() + 5_000; !condition(); ) {
      if (performance.now() > deadline) throw new Error(`not so after 5 s: ${condition}`);
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
}

const BFD_STATUS: BfdStatus = {
  state: "Up",
  remoteState: "Up",
  diagnostic: "",
  sendInterval: 300,
  detectionTime: 900,
  since: 0,
  flaps: 0,
};

const words = ({ nextHops, metric, overridesLocal }: LearnedRoute): string =>
  `via ${nextHops.map((address: Address) => formatAddress(address)).join(",")} metric ${metric}${overridesLocal ? " overrides" : ""}`;

const FAMILY: FamilyBgp = {
  family: 4,
  address: "10.0.0.1",
  subnet: "10.0.0.0/24",
  peers: [],
  blocks: [],
  services: [],
  notProgrammed: [],
  externalRanges: [],
  loadBalancerRanges: [],
  pools: [{ cidr: "192.168.0.0/16", encapsulation: "none", exported: true }],
  communities: [],
  peerRoutes: [],
  normalPriority: 1024,
  wireguardPeers: [],
  programs: { noEncap: true, ipip: false },
};

const peer = (last: number, more: Partial<Peer> = {}): Peer => ({
  name: `Mesh_10_0_0_${last}`,
  kind: "mesh",
  address: `10.0.0.${last}`,
  asn: 64512,
  passive: false,
  nextHop: "auto",
  allowedOwnAsns: 0,
  filters: [],
  reason: "node-to-node mesh",
  ...more,
});

const node = (ipv4: Partial<FamilyBgp>, more: Partial<NodeBgp> = {}): NodeBgp => ({
  node: "node1",
  asn: 64512,
  routerId: "10.0.0.1",
  log: "info",
  listen: { onlyNodeAddresses: false },
  ignoredInterfaces: [],
  ipv4: { ...FAMILY, ...ipv4 },
  ipv6: { ...FAMILY, family: 6, pools: [], peers: [], address: undefined as never },
  filters: {},
  problems: [],
  ...more,
});

describe("configuration by difference", () => {
  test("what did not change stays up; what did is closed and opened again; what is gone is told", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2), peer(3), peer(4)] }));
    const [two, three, four] = world.sessions;
    await world.backend.configure(node({ peers: [peer(2), peer(3, { password: "secret" }), peer(5)] }));
    expect(two!.closed).toBeUndefined();
    expect(three!.closed).toMatchObject({ graceful: true });
    expect(four!.closed).toMatchObject({ graceful: true });
    expect(world.session("Mesh_10_0_0_3").options.password).toBe("secret");
    expect(world.sessions.filter(({ closed }) => !closed).map(({ options }) => options.name)).toEqual([
      "Mesh_10_0_0_2",
      "Mesh_10_0_0_3",
      "Mesh_10_0_0_5",
    ]);
  });

  test("a filter that changes touches no session, and takes back what it does not let in any more", async () => {
    const world = await World.start();
    const filtered = [peer(2, { filters: ["f"] }), peer(3)];
    await world.backend.configure(node({ peers: filtered }));
    for (const session of world.sessions) session.up({});
    world.session("Mesh_10_0_0_2").tells(["192.168.1.0/26"]);
    for (const session of world.sessions) session.toldAll();
    await world.until(() => world.learned.has("192.168.1.0/26"));
    const rule = { action: "reject", prefix: { cidr: "192.168.0.0/16", operator: "in" }, operations: [] } as const;
    const filter = { name: "f", importV4: [rule], exportV4: [], importV6: [], exportV6: [] };
    await world.backend.configure(node({ peers: filtered }, { filters: { f: filter } }));
    await world.until(() => !world.learned.has("192.168.1.0/26"));
    expect(world.sessions.some(({ closed }) => closed)).toBe(false);
    await world.backend.configure(node({ peers: filtered }));
    await world.until(() => world.learned.has("192.168.1.0/26"));
  });

  test("a peer that cannot be had is told of, and the others go on", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2), peer(3, { sourceAddress: "nonsense" }), peer(4)] }));
    expect(world.sessions.map(({ options }) => options.name)).toEqual(["Mesh_10_0_0_2", "Mesh_10_0_0_4"]);
    expect((await world.backend.status()).problems).toEqual([expect.stringMatching(/^Mesh_10_0_0_3: .*nonsense/)]);
    await world.backend.configure(node({ peers: [peer(2), peer(3), peer(4)] }));
    expect(world.session("Mesh_10_0_0_3").closed).toBeUndefined();
    expect((await world.backend.status()).problems).toEqual([]);
  });

  test("another AS number begins everything anew", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2)], blocks: [{ cidr: "192.168.0.0/26" }] }));
    const [before] = world.sessions;
    await world.backend.configure(node({ peers: [peer(2)], blocks: [{ cidr: "192.168.0.0/26" }] }, { asn: 65001 }));
    expect(before!.closed).toBeDefined();
    expect(world.session("Mesh_10_0_0_2").options.localAsn).toBe(65001);
    world.session("Mesh_10_0_0_2").up({});
    await world.until(() => world.session("Mesh_10_0_0_2").sent.length > 0);
  });

  test("a port that is taken is told, and tried again", async () => {
    const world = await World.start();
    world.listenProblems = ["cannot listen for BGP on IPv4 port 179: EADDRINUSE"];
    await world.backend.configure(node({}));
    expect((await world.backend.status()).problems).toEqual(world.listenProblems);
    world.listenProblems = [];
    world.timers.find(({ at }) => at === 5_000)!.callback();
    expect((await world.backend.status()).problems).toEqual([]);
  });
});

describe("routes", () => {
  test("blocks and services are kept here and told; the kernel gets what peers tell", async () => {
    const world = await World.start();
    await world.backend.configure(
      node({
        peers: [peer(2)],
        blocks: [{ cidr: "192.168.0.0/26", state: "confirmed" }, { cidr: "192.168.9.9/32" }],
        services: ["10.96.0.0/12"],
        notProgrammed: ["10.96.0.0/12"],
        peerRoutes: [{ peer: "172.16.0.1", via: "10.0.0.254", kind: "global" }],
      }),
    );
    expect(world.statics).toEqual(["192.168.0.0/26 blackhole", "172.16.0.1/32 10.0.0.254"]);
    const session = world.session("Mesh_10_0_0_2");
    session.up({});
    session.tells(["192.168.1.0/26"]);
    session.toldAll();
    await world.until(() => world.learned.size === 1);
    expect([...world.learned]).toEqual([["192.168.1.0/26", "via 10.0.0.2 metric 1024"]]);
    await world.until(() => [...world.backend.routes("sent", session.options.name)!].length === 2);
    const sent = [...world.backend.routes("sent", session.options.name)!];
    expect(sent.map(({ prefix }) => prefix).sort()).toEqual(["10.96.0.0/12", "192.168.0.0/26"]);
  });

  test("a workload's route of an elevated priority leaves its block, an ordinary one does not", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2)], blocks: [{ cidr: "192.168.0.0/26", state: "confirmed" }] }));
    const route = (destination: string, metric: number) => ({
      destination: parseCidr(destination),
      now: { destination: parseCidr(destination), metric, protocol: 3, interface: "cali1", connected: false },
    });
    world.kernel.onLocal([route("192.168.0.1/32", 1024), route("192.168.0.2/32", 512), route("192.168.0.3/32", 0)]);
    const session = world.session("Mesh_10_0_0_2");
    session.up({});
    session.toldAll();
    await world.until(() => [...world.backend.routes("sent", session.options.name)!].length === 2);
    const sent = [...world.backend.routes("sent", session.options.name)!];
    expect(sent.map(({ prefix, localPref }) => [prefix, localPref]).sort()).toEqual([
      ["192.168.0.0/26", 2147483647 - 1024],
      ["192.168.0.2/32", 2147483647 - 512],
    ]);
  });

  test("a workload's route that was told before its block was this node's is taken back", async () => {
    const world = await World.start();
    const destination = parseCidr("192.168.0.1/32");
    await world.backend.configure(node({ peers: [peer(2), peer(3)] }));
    world.kernel.onLocal([
      { destination, now: { destination, metric: 1024, protocol: 3, interface: "cali1", connected: false } },
    ]);
    const session = world.session("Mesh_10_0_0_2");
    for (const one of world.sessions) {
      one.up({});
      one.toldAll();
    }
    const sent = () => [...world.backend.routes("sent", session.options.name)!].map(({ prefix }) => prefix);
    await world.until(() => sent().includes("192.168.0.1/32"));
    await world.backend.configure(
      node({ peers: [peer(2), peer(3)], blocks: [{ cidr: "192.168.0.0/26", state: "confirmed" }] }),
    );
    await world.until(() => !sent().includes("192.168.0.1/32"));
    expect(sent()).toEqual(["192.168.0.0/26"]);
  });

  test("why a route is the best", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2), peer(3)] }));
    for (const session of world.sessions) session.up({});
    world.session("Mesh_10_0_0_2").tells(["192.168.1.0/26"], { localPref: 100 });
    world.session("Mesh_10_0_0_3").tells(["192.168.1.0/26"], { localPref: 200 });
    for (const session of world.sessions) session.toldAll();
    await world.until(() => world.learned.get("192.168.1.0/26")?.includes("10.0.0.3") === true);
    const [best, other] = world.backend.explain("192.168.1.0/26");
    expect(best).toMatchObject({ from: "Mesh_10_0_0_3", best: true });
    expect(other).toMatchObject({ from: "Mesh_10_0_0_2", best: false, why: expect.stringContaining("LOCAL_PREF") });
    expect(() => world.backend.explain("nonsense")).toThrow(RangeError);
  });

  test("a path whose next hop cannot be reached stands back while there is another, and stays where there is none", async () => {
    const world = await World.start();
    world.costs.set("10.7.0.3", Number.POSITIVE_INFINITY);
    await world.backend.configure(node({ peers: [peer(2), peer(3)] }));
    for (const session of world.sessions) session.up({});
    const both = ["192.168.1.0/26"];
    world.session("Mesh_10_0_0_2").tells(both, { localPref: 100, nextHop: parseAddress("10.7.0.2") });
    world.session("Mesh_10_0_0_3").tells([...both, "192.168.2.0/26"], { nextHop: parseAddress("10.7.0.3") });
    for (const session of world.sessions) session.toldAll();
    await world.until(() => world.learned.size === 2);
    expect(Object.fromEntries(world.learned)).toEqual({
      "192.168.1.0/26": expect.stringContaining("via 10.7.0.2 "),
      "192.168.2.0/26": expect.stringContaining("via 10.7.0.3 "),
    });
    expect(world.backend.explain("192.168.1.0/26").map(({ why }) => why)).toEqual([
      "the best",
      "its next hop 10.7.0.3 cannot be reached",
    ]);
    world.kernel.onCosts!([{ nextHop: parseAddress("10.7.0.3"), cost: 1 }]);
    await world.until(() => world.learned.get("192.168.1.0/26")!.includes("via 10.7.0.3 "));
    // Tables that begin anew ask again.
    await world.backend.configure(node({ peers: [peer(2), peer(3)] }, { asn: 64513 }));
    for (const [name, nextHop] of [
      ["Mesh_10_0_0_2", "10.7.0.2"],
      ["Mesh_10_0_0_3", "10.7.0.3"],
    ] as const) {
      const session = world.sessions.findLast(({ options }) => options.name === name)!;
      session.up({});
      session.tells(both, { localPref: name === "Mesh_10_0_0_2" ? 100 : 200, nextHop: parseAddress(nextHop) });
    }
    await world.until(() => world.learned.get("192.168.1.0/26")?.includes("via 10.7.0.2 ") === true);
  });
});

describe("BFD", () => {
  const bfd: BfdParameters = { minReceive: 300, minSend: 300, multiplier: 3, multihop: false };

  test("runs between the addresses of the session: the source address at once, another once the session is up", async () => {
    const world = await World.start();
    const { sourceAddress: _, ...anywhere } = peer(3);
    await world.backend.configure(
      node({
        peers: [
          { ...peer(2), sourceAddress: "10.0.0.9", bfd },
          { ...anywhere, bfd },
        ],
      }),
    );
    expect(world.bfd.map(({ between }) => between)).toEqual(["10.0.0.9 10.0.0.2"]);
    world.session("Mesh_10_0_0_3").up();
    expect(world.bfd.map(({ between }) => between)).toEqual(["10.0.0.9 10.0.0.2", "10.0.0.1 10.0.0.3"]);
  });

  test("a failure ends the session, an end by intent does not", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [{ ...peer(2), sourceAddress: "10.0.0.1", bfd }] }));
    const session = world.session("Mesh_10_0_0_2");
    session.up();
    world.bfd[0]!.changed({ ...BFD_STATUS, state: "Down" }, false);
    expect(session.resets).toEqual([]);
    world.bfd[0]!.changed({ ...BFD_STATUS, state: "Down" }, true);
    expect(session.resets).toEqual(["BFD_DOWN"]);
  });
});

describe("restart", () => {
  test("nothing is taken from the kernel before every peer has told its routes", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2), peer(3)] }));
    expect(world.sessions[0]!.options.capabilities().gracefulRestart).toMatchObject({
      restarting: true,
      families: [{ family: 4, forwarding: true }],
    });
    for (const session of world.sessions)
      session.up({ gracefulRestart: { restarting: false, notification: true, time: 120, families: [] } });
    world.session("Mesh_10_0_0_2").toldAll();
    expect(world.restartEnded).toBe(false);
    world.session("Mesh_10_0_0_3").toldAll();
    await world.until(() => world.restartEnded);
    expect((await world.backend.status()).restarting).toBe(false);
    expect(world.sessions[0]!.options.capabilities().gracefulRestart?.restarting).toBe(false);
  });

  test("a peer that never comes is waited for only so long, one that restarts itself not at all", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2), peer(3)] }));
    world
      .session("Mesh_10_0_0_2")
      .up({ gracefulRestart: { restarting: true, notification: true, time: 120, families: [] } });
    expect(world.restartEnded).toBe(false);
    world.timers[0]!.callback();
    await world.until(() => world.restartEnded);
  });

  test("a peer whose table is not waited for may still tell it before anything is taken from the kernel", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2), peer(3)] }));
    const restarting = world.session("Mesh_10_0_0_2");
    const without = world.session("Mesh_10_0_0_3");
    restarting.up({ gracefulRestart: { restarting: true, notification: true, time: 120, families: [] } });
    const { gracefulRestart: _, ...plain } = without.options.capabilities();
    without.upWith(plain);
    expect((await world.backend.status()).restarting).toBe(false);
    restarting.toldAll();
    expect(world.restartEnded).toBe(false);
    world.timers.find(({ at }) => at === 10_000)!.callback();
    await world.until(() => world.restartEnded);
  });

  test("a configuration that replaces every session does not end it between the old ones and the new", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2)] }));
    const capabilities = { gracefulRestart: { restarting: false, notification: true, time: 120, families: [] } };
    world.session("Mesh_10_0_0_2").up(capabilities);
    await world.backend.configure(node({ peers: [peer(2, { password: "secret" })] }));
    expect((await world.backend.status()).restarting).toBe(true);
    world.session("Mesh_10_0_0_2").up(capabilities);
    world.session("Mesh_10_0_0_2").toldAll();
    await world.until(() => world.restartEnded);
  });

  test("a peer that goes before it has told its table is not waited for", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2)] }));
    const session = world.session("Mesh_10_0_0_2");
    session.up({ gracefulRestart: { restarting: true, notification: true, time: 120, families: [] } });
    expect(world.restartEnded).toBe(false);
    session.drop();
    await world.until(() => world.restartEnded);
  });

  test("routes of a peer that restarts stay until it has told them again, or its time is over", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2)] }));
    const session = world.session("Mesh_10_0_0_2");
    session.up({});
    session.tells(["192.168.1.0/26", "192.168.2.0/26"]);
    session.toldAll();
    await world.until(() => world.learned.size === 2);
    session.drop([4]);
    expect(world.learned.size).toBe(2);
    session.up({});
    session.tells(["192.168.1.0/26"]);
    session.toldAll();
    await world.until(() => world.learned.size === 1);
    session.drop([4]);
    world.timers.find(({ at }) => at === 120_000)!.callback();
    await world.until(() => world.learned.size === 0);
  });

  test("marks of a refresh count between the end of the first table and the mark before (RFC 7313 4)", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2)] }));
    const session = world.session("Mesh_10_0_0_2");
    session.up({});
    session.tells(["192.168.1.0/26", "192.168.2.0/26"]);
    session.toldAll();
    await world.until(() => world.learned.size === 2);
    const rests = () => world.until(() => [...world.backend.routes("accepted", session.options.name)!].length === 2);
    // No beginning: nothing is known to be complete.
    session.handler.refresh({ family: 4, kind: "end" });
    session.drop([4]);
    session.up({});
    session.handler.refresh({ family: 4, kind: "begin" });
    session.tells(["192.168.1.0/26"]);
    session.handler.refresh({ family: 4, kind: "end" });
    await rests();
    expect(world.learned.size).toBe(2);
    session.tells(["192.168.2.0/26"]);
    session.toldAll();
    session.handler.refresh({ family: 4, kind: "begin" });
    session.tells(["192.168.1.0/26"]);
    session.handler.refresh({ family: 4, kind: "end" });
    await world.until(() => world.learned.size === 1);
  });

  test("an end of the table that comes again is no news", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2)] }));
    const session = world.session("Mesh_10_0_0_2");
    session.up({});
    session.tells(["192.168.1.0/26"]);
    session.toldAll();
    session.handler.refresh({ family: 4, kind: "begin" });
    session.toldAll();
    await world.until(() => world.learned.size === 1);
    session.handler.refresh({ family: 4, kind: "end" });
    await world.until(() => world.learned.size === 0);
  });

  test("a keepalive time of hours is offered as what fits into the message", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2, { keepaliveTime: 30_000 })] }));
    expect(world.session("Mesh_10_0_0_2").options.holdTime).toBe(65_535);
  });

  test("a session that ends without a graceful restart takes its routes along", async () => {
    const world = await World.start();
    await world.backend.configure(node({ peers: [peer(2)] }));
    const session = world.session("Mesh_10_0_0_2");
    session.up({});
    session.tells(["192.168.1.0/26"]);
    session.toldAll();
    await world.until(() => world.learned.size === 1);
    session.drop();
    await world.until(() => world.learned.size === 0);
  });
});
