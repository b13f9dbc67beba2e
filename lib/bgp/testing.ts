/**
 * For tests: a network of speakers in one process, with a clock that stands still until it is told to go on, and kernels that are maps. What each
 * kernel should have once everything has come to rest is worked out by {@link expectedTables}, which knows nothing of how a speaker does it.
 */
import { type Address, formatAddress, formatCidr } from "../ip/index.ts";
import { silentLogger } from "../telemetry/index.ts";
import type { Backend } from "./backend.ts";
import type { Edges } from "./edges.ts";
import type { KernelOptions, KernelTable, LearnedRoute } from "./kernel/index.ts";
import { NORMAL_PRIORITY, type NodeBgp, type Peer, PRIORITY_BASE } from "./model/index.ts";
import { sampleNode, samplePeer } from "./model/testing.ts";
import { openSession } from "./session/index.ts";
import { FakeClock, MemoryNetwork, settle } from "./session/testing.ts";
import { openSpeaker } from "./speaker.ts";

/** A node or a rack's switch; its address is its router id. */
export interface Router {
  readonly name: string;
  readonly address: string;
  readonly asn: number;
  readonly clusterId?: string;
  readonly allowedOwnAsns?: number;
  readonly blocks: readonly string[];
}

/** Two routers that are each other's peers. */
export interface Edge {
  readonly between: readonly [string, string];
  /** The second is the first's client (RFC 4456). */
  readonly client?: boolean;
}

export interface Topology {
  readonly routers: readonly Router[];
  readonly edges: readonly Edge[];
}

/** A kernel's learned routes: prefix, and where it leads in words. */
export type Routes = ReadonlyMap<string, string>;

const POOL = { cidr: "192.168.0.0/16", encapsulation: "none", exported: true } as const;

/** What a router's configuration is in that topology. */
export function nodeOf({ routers, edges }: Topology, name: string): NodeBgp {
  const router = routers.find((one) => one.name === name)!;
  const { address, asn, clusterId, allowedOwnAsns, blocks } = router;
  const peers = edges.flatMap(({ between, client }): Peer[] => {
    const place = between.indexOf(name);
    const other = routers.find((one) => one.name === between[1 - place]);
    if (place < 0 || !other) return [];
    return [
      samplePeer({
        name: `Mesh_${other.address.replaceAll(".", "_")}`,
        address: other.address,
        asn: other.asn,
        ...(client && place === 0 && clusterId !== undefined && { reflectorClient: clusterId }),
        ...(allowedOwnAsns !== undefined && { allowedOwnAsns }),
      }),
    ];
  });
  return sampleNode({
    node: name,
    asn,
    routerId: address,
    ...(clusterId !== undefined && { clusterId }),
    ipv4: {
      address,
      subnet: "10.0.0.0/16",
      peers,
      blocks: blocks.map((cidr) => ({ cidr, state: "confirmed" })),
      pools: [POOL],
      normalPriority: NORMAL_PRIORITY,
    },
  });
}

interface Host {
  /** The kernel's, which outlives processes. */
  readonly installed: Map<string, string>;
  speaker: Backend | undefined;
}

export class Lab {
  readonly clock = new FakeClock();
  readonly network = new MemoryNetwork({ clock: this.clock });
  readonly #hosts = new Map<string, Host>();
  /** Routes that were taken from a kernel, as `node1 192.168.1.0/26`. */
  readonly removed: string[] = [];

  host(name: string): Host {
    let host = this.#hosts.get(name);
    if (!host) {
      host = { installed: new Map(), speaker: undefined };
      this.#hosts.set(name, host);
    }
    return host;
  }

  async start(node: NodeBgp): Promise<void> {
    const configure = await this.open(node);
    await configure();
  }

  /** A process that has no configuration yet; answers how to give it. */
  async open(node: NodeBgp): Promise<() => Promise<void>> {
    const host = this.host(node.node);
    host.speaker = await openSpeaker({ edges: this.#edges(host, node), log: silentLogger });
    return () => this.configure(node);
  }

  async startAll(topology: Topology): Promise<void> {
    for (const { name } of topology.routers) await this.start(nodeOf(topology, name));
  }

  /** Returns when it is under way, which may take time of the clock. */
  async configure(node: NodeBgp): Promise<void> {
    await this.#within(this.host(node.node).speaker!.configure(node));
  }

  /** Gracefully, or as a process that is killed. */
  async stop(name: string, graceful: boolean): Promise<void> {
    const host = this.host(name);
    const { speaker } = host;
    host.speaker = undefined;
    if (speaker) await this.#within(speaker.close({ graceful }));
  }

  async stopAll(): Promise<void> {
    for (const name of this.#hosts.keys()) await this.stop(name, false);
  }

  /** Lets so many seconds pass, and then everything come to rest. */
  async pass(seconds: number): Promise<void> {
    await this.clock.advance(seconds * 1000);
    await this.rest();
  }

  /** Until no kernel changes any more, though no time passes. */
  async rest(): Promise<void> {
    for (let same = 0, before = ""; same < 4; ) {
      await settle();
      const now = JSON.stringify([...this.#hosts].map(([name, { installed }]) => [name, [...installed]]));
      same = now === before ? same + 1 : 0;
      before = now;
    }
  }

  table(name: string): Routes {
    return new Map([...this.host(name).installed].sort(([a], [b]) => (a < b ? -1 : 1)));
  }

  async #within(promise: Promise<void>): Promise<void> {
    let done = false;
    const settled = promise.finally(() => {
      done = true;
    });
    for (let i = 0; i < 100 && !done; i++) await this.clock.advance(20);
    await settled;
  }

  #edges(host: Host, node: NodeBgp): Edges {
    const environment = this.network.environment(node.ipv4.address!);
    return {
      openSession: (options, handler) => openSession(options, handler, environment),
      listen: () => [],
      openKernel: async (options) => this.#kernel(host, node.node, options),
      openBfd: () => {
        throw new Error("no BFD here");
      },
      now: () => this.clock.now(),
      after: (milliseconds, callback) => {
        const timer = this.clock.after(milliseconds, callback);
        return () => timer.cancel();
      },
      close: () => {},
    };
  }

  /** Nothing is removed before the restart is over, and nothing at all happens after it was closed. */
  #kernel({ installed }: Host, name: string, { onLocal }: KernelOptions): KernelTable {
    const wanted = new Set<string>();
    let mayRemove = false;
    let closed = false;
    const remove = (text: string): void => {
      if (!installed.delete(text)) return;
      this.removed.push(`${name} ${text}`);
    };
    onLocal([]);
    return {
      inherited: installed.size > 0,
      setLearned: (destination, route) => {
        if (closed) return;
        const text = formatCidr(destination);
        if (route) {
          wanted.add(text);
          installed.set(text, routeWords(route));
        } else {
          wanted.delete(text);
          if (mayRemove) remove(text);
        }
      },
      setStatic: () => {},
      follow: () => 0,
      unfollow: () => {},
      endOfRestart: () => {
        if (closed) return;
        mayRemove = true;
        for (const text of [...installed.keys()]) if (!wanted.has(text)) remove(text);
      },
      settled: async () => {},
      close: async () => {
        closed = true;
      },
    };
  }
}

function routeWords({ nextHops, metric }: LearnedRoute): string {
  return words(
    nextHops.map((address: Address) => formatAddress(address)),
    metric,
  );
}

function words(nextHops: readonly string[], metric: number): string {
  return `via ${[...new Set(nextHops)].sort().join(" ")} metric ${metric}`;
}

interface Path {
  readonly from: string | undefined;
  readonly localPref: number;
  readonly asPath: readonly number[];
  readonly external: boolean;
  readonly nextHop: string;
  readonly originator: string;
  readonly clusters: readonly string[];
}

/** What every kernel has in the end: everybody tells everybody over and over what is best, until nothing changes. `isUp` says which sessions there are. */
export function expectedTables(
  { routers, edges }: Topology,
  isUp: (a: string, b: string) => boolean,
): ReadonlyMap<string, Routes> {
  const byName = new Map(routers.map((router) => [router.name, router]));
  const isClient = (of: string, name: string) =>
    edges.some(({ between: [a, b], client }) => client && a === of && b === name);
  const neighbours = (name: string) =>
    edges
      .flatMap(({ between: [a, b] }) => (a === name ? [b] : b === name ? [a] : []))
      .filter((other) => isUp(name, other));
  const prefixes = [...new Set(routers.flatMap(({ blocks }) => blocks))].sort();

  const told = (path: Path, from: Router, to: Router): Path | undefined => {
    if (path.from === to.name) return undefined;
    if (from.asn !== to.asn) {
      const asPath = [from.asn, ...path.asPath];
      if (asPath.filter((asn) => asn === to.asn).length > (to.allowedOwnAsns ?? 0)) return undefined;
      const { address } = from;
      return {
        from: from.name,
        localPref: 100,
        asPath,
        external: true,
        nextHop: address,
        originator: address,
        clusters: [],
      };
    }
    const learned = path.from !== undefined && !path.external;
    if (learned && !isClient(from.name, path.from!) && !isClient(from.name, to.name)) return undefined;
    if (path.asPath.filter((asn) => asn === to.asn).length > (to.allowedOwnAsns ?? 0)) return undefined;
    const originator = learned ? path.originator : from.address;
    const clusters = learned ? [from.clusterId!, ...path.clusters] : [];
    if (originator === to.address || path.nextHop === to.address) return undefined;
    if (isClient(to.name, from.name) && clusters.includes(to.clusterId!)) return undefined;
    return { ...path, from: from.name, external: false, originator, clusters };
  };
  const number = (address: string) => address.split(".").reduce((value, part) => value * 256 + Number(part), 0);
  const rank = (path: Path): number[] => [
    path.from === undefined ? 0 : 1,
    -path.localPref,
    path.asPath.length,
    path.external ? 0 : 1,
  ];
  const ties = (path: Path): number[] => [
    number(path.originator),
    path.clusters.length,
    path.from === undefined ? 0 : number(byName.get(path.from)!.address),
  ];
  const compare = (a: readonly number[], b: readonly number[]): number => {
    for (const [i, value] of a.entries()) if (value !== b[i]) return value - b[i]!;
    return 0;
  };

  let best = new Map<string, Path>();
  for (let round = 0; ; round++) {
    if (round > 50) throw new Error("the topology has no stable state");
    const next = new Map<string, Path>();
    const tables = new Map<string, Map<string, string>>();
    for (const router of routers) {
      const table = new Map<string, string>();
      tables.set(router.name, table);
      for (const prefix of prefixes) {
        const paths: Path[] = [];
        if (router.blocks.includes(prefix)) {
          const { address } = router;
          const localPref = PRIORITY_BASE - NORMAL_PRIORITY;
          paths.push({
            from: undefined,
            localPref,
            asPath: [],
            external: false,
            nextHop: address,
            originator: address,
            clusters: [],
          });
        }
        for (const other of neighbours(router.name)) {
          const theirs = best.get(`${other} ${prefix}`);
          const mine = theirs && told(theirs, byName.get(other)!, router);
          if (mine) paths.push(mine);
        }
        paths.sort((a, b) => compare(rank(a), rank(b)) || compare(ties(a), ties(b)));
        const [first] = paths;
        if (!first) continue;
        next.set(`${router.name} ${prefix}`, first);
        if (first.from === undefined) continue;
        const equal = paths.filter((path) => compare(rank(path), rank(first)) === 0);
        table.set(
          prefix,
          words(
            equal.map(({ nextHop }) => nextHop),
            PRIORITY_BASE - first.localPref,
          ),
        );
      }
    }
    const same = JSON.stringify([...next]) === JSON.stringify([...best]);
    best = next;
    if (same) return tables;
  }
}
