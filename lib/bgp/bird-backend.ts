/** The other back end: a real BIRD 2 that is kept as a NodeBgp says. */
import { formatCidr, parseCidr } from "../ip/index.ts";
import { RT_PROTOCOL } from "../netlink/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { Backend } from "./backend.ts";
import {
  type Bird,
  BirdError,
  type BirdPeer,
  type BirdRoute,
  type BirdState,
  bird2Problems,
  communitiesOf,
  openBird,
  renderBird2,
  sayable,
  type WhichBirdRoutes,
} from "./bird/index.ts";
import {
  type BgpStatus,
  ControlError,
  type PeerStatus,
  type Routes,
  type RouteText,
  type WhichRoutes,
} from "./control/index.ts";
import { hasRoutesOf } from "./kernel/index.ts";
import { BGP_PORT, type Family, type NodeBgp, type Peer } from "./model/index.ts";

/** How long after its end, or after a configuration that could not be applied, in milliseconds. */
const AGAIN = 2_000;

export interface BirdBackendOptions {
  readonly log: Logger;
  /** Where its configuration is kept. */
  readonly folder: string;
  /** Its control socket, where `birdc` and upstream's tools look. */
  readonly socket: string;
  /** Default `bird`, found by PATH. */
  readonly executable?: string;
  /** Whether a BIRD before it left routes in the kernel. Default: those of the network namespace that the process is in. */
  inherited?(): boolean;
  /** Calls back once; answers how to call it off. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** Starts BIRD with the first configuration, and again whenever it ends. */
export function openBirdBackend(options: BirdBackendOptions): Backend {
  return new BirdBackend(options);
}

class BirdBackend implements Backend {
  readonly #options: BirdBackendOptions;
  #bird: Bird | undefined;
  #node: NodeBgp | undefined;
  /** What of the configuration plain BIRD cannot do. */
  #lacking: readonly string[] = [];
  #refused: string | undefined;
  /** Since when it does not run, and why. */
  #ended: { readonly at: number; readonly why: string } | undefined;
  #again: (() => void) | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: BirdBackendOptions) {
    this.#options = options;
  }

  configure(node: NodeBgp): Promise<void> {
    this.#node = node;
    this.#lacking = [...bird2Problems(node), ...sayable(node).problems];
    const run = (): Promise<void> => this.#apply();
    const result = this.#work.then(run, run);
    this.#work = result;
    return result;
  }

  async #apply(): Promise<void> {
    const { log } = this.#options;
    if (this.#closed || !this.#node) return;
    this.#again?.();
    this.#again = undefined;
    try {
      this.#bird ??= await this.#open();
      const { changed, started, message } = await this.#bird.apply(renderBird2(sayable(this.#node).model));
      if (changed || started) log.info(started ? "BIRD was started" : "BIRD was configured", { message });
      this.#refused = undefined;
      this.#ended = undefined;
    } catch (error) {
      this.#refused = (error as Error).message;
      log.error("BIRD goes on as it was", { error: this.#refused });
      this.#later();
    }
  }

  async #open(): Promise<Bird> {
    const { folder, socket, log, executable, inherited = () => hasRoutesOf(RT_PROTOCOL.BIRD) } = this.#options;
    const bird = await openBird({
      folder,
      socket,
      runs: "child",
      recovers: inherited,
      log: (line) => log[levelOf(line)]("BIRD", { line }),
      ...(executable !== undefined && { executable }),
    });
    void bird.ended.then(({ exitCode, signal, lastLines }) => {
      if (this.#closed) return;
      log.error("BIRD ended; it is started again", {
        status: exitCode,
        signal,
        said: lastLines.join(" | "),
      });
      this.#bird = undefined;
      const how = signal ?? (exitCode === undefined ? "its control socket closed" : `exit status ${exitCode}`);
      // Who is killed has nothing to say of it.
      const last = signal === undefined ? lastLines.at(-1) : undefined;
      this.#ended = { at: Date.now(), why: `it ended (${[how, ...(last === undefined ? [] : [last])].join("; ")})` };
      this.#later();
    });
    return bird;
  }

  #later(): void {
    if (this.#closed || !this.#node) return;
    this.#again?.();
    this.#again = this.#options.after(AGAIN, () => void this.configure(this.#node!));
  }

  async status(): Promise<BgpStatus> {
    const node = this.#node;
    const ended = this.#ended;
    const problems = [
      ...(node?.problems ?? []),
      ...this.#lacking,
      ...(ended ? [`BIRD is not running: ${ended.why}; it is started again`] : []),
      ...(this.#refused === undefined ? [] : [this.#refused]),
    ];
    const state = ended
      ? undefined
      : await this.#bird?.state().catch((error: Error) => {
          problems.push(error.message);
          return undefined;
        });
    return {
      node: node?.node ?? "",
      asn: node?.asn ?? 0,
      routerId: node?.routerId ?? "",
      backend: "bird",
      restarting: state?.status.recovering ?? false,
      ...daemonOf(state),
      peers: node ? [...peersOf(node.ipv4.peers, 4, state, ended), ...peersOf(node.ipv6.peers, 6, state, ended)] : [],
      problems,
    };
  }

  /** Which is the best BIRD says; why, it does not. */
  async explain(text: string): Promise<readonly RouteText[]> {
    const cidr = formatCidr(parseCidr(text));
    const routes = await Array.fromAsync(this.#ask({ which: "prefix", cidr }));
    return routes.toSorted((a, b) => Number(b.isBest) - Number(a.isBest)).map((route) => routeText(route, true));
  }

  async routes(which: WhichRoutes, name?: string): Promise<Routes | undefined> {
    if (which === "received") {
      throw new ControlError(
        "BGP_REFUSED",
        "BIRD does not keep what a peer told before the import filters; --accepted is what they let in",
      );
    }
    if (which === "best") return this.#node && texts(this.#ask({ which }));
    const peers = this.#node ? [...this.#node.ipv4.peers, ...this.#node.ipv6.peers] : [];
    if (name === undefined || !peers.some((peer) => peer.name === name)) return undefined;
    const routes = this.#ask({ which, protocol: name });
    const first = await routes.next();
    if (!first.done) return texts(routes, first.value);
    const { peers: states } = await this.status();
    return states.some((peer) => peer.name === name && peer.state === "Established") ? [] : undefined;
  }

  async *#ask(which: WhichBirdRoutes): AsyncGenerator<BirdRoute> {
    const bird = this.#bird;
    if (!bird) {
      const why = this.#ended?.why ?? this.#refused;
      throw new ControlError("BGP_REFUSED", `BIRD is not running${why === undefined ? "" : `: ${why}`}`);
    }
    try {
      yield* bird.routes(which);
    } catch (error) {
      if (!(error instanceof BirdError)) throw error;
      throw new ControlError("BGP_REFUSED", error.message, { cause: error });
    }
  }

  async close({ graceful }: { readonly graceful: boolean }): Promise<void> {
    this.#closed = true;
    this.#again?.();
    await this.#work.catch(() => {});
    await this.#bird?.close(graceful ? "stop" : "restart");
  }
}

/** By the class that BIRD gives a line: `2026-11-23 03:14:28.664 <TRACE> Mesh_10_0_0_2: State changed to down`. */
function levelOf(line: string): "debug" | "info" | "warning" | "error" {
  switch (/<([A-Z]+)>/.exec(line)?.[1]) {
    case "TRACE":
    case "DBG":
    case "DEBUG":
      return "debug";
    case "WARN":
    case "RMT":
    case "AUTH":
      return "warning";
    case "ERR":
    case "BUG":
      return "error";
    default:
      return "info";
  }
}

type Ended = { readonly at: number; readonly why: string } | undefined;

function daemonOf(state: BirdState | undefined): Pick<BgpStatus, "version" | "startedAt" | "reconfiguredAt"> {
  if (!state) return {};
  const { version, lastReboot, lastReconfiguration } = state.status;
  const moment = (text: string | undefined): number => Date.parse((text ?? "").replace(" ", "T"));
  const [startedAt, reconfiguredAt] = [moment(lastReboot), moment(lastReconfiguration)];
  return {
    ...(version !== undefined && { version: `BIRD ${version}` }),
    ...(!Number.isNaN(startedAt) && { startedAt }),
    ...(!Number.isNaN(reconfiguredAt) && { reconfiguredAt }),
  };
}

function peersOf(peers: readonly Peer[], family: Family, state: BirdState | undefined, ended: Ended): PeerStatus[] {
  const found = new Map(state?.peers.map((peer) => [peer.name, peer]));
  return peers.map((peer) => {
    const status = peerStatus(peer, family, found.get(peer.name));
    if (!ended) return status;
    const { at, why } = ended;
    return {
      ...status,
      since: at,
      lastError: { code: "BIRD_NOT_RUNNING", message: `BIRD is not running: ${why}`, at },
    };
  });
}

function peerStatus(peer: Peer, family: Family, found: BirdPeer | undefined): PeerStatus {
  const { name, kind, address, port = BGP_PORT, asn, node, reason, passive } = peer;
  const since = found?.sinceTime ?? 0;
  const channel = found?.channels[0];
  return {
    name,
    kind,
    family,
    address,
    port,
    asn,
    ...(node !== undefined && { node }),
    reason,
    passive,
    state: found?.bgpState ?? "Idle",
    since,
    ...(found?.lastError !== undefined && { lastError: { code: "BIRD", message: found.lastError, at: since } }),
    ...(found?.sourceAddress !== undefined && { localAddress: found.sourceAddress }),
    ...(found?.routerId !== undefined && { routerId: found.routerId }),
    messages: { sent: 0, received: 0 },
    flaps: 0,
    routes: {
      received: (channel?.imported ?? 0) + (channel?.filtered ?? 0),
      accepted: channel?.imported ?? 0,
      best: channel?.preferred ?? 0,
      sent: channel?.exported ?? 0,
    },
  };
}

async function* texts(routes: AsyncIterable<BirdRoute>, first?: BirdRoute): AsyncGenerator<RouteText> {
  if (first) yield routeText(first);
  for await (const route of routes) yield routeText(route);
}

/** By the source that BIRD names. */
const SOURCES: Readonly<Record<string, string>> = { static: "static", device: "device", inherit: "kernel" };
const ORIGINS: Readonly<Record<string, RouteText["origin"]>> = { EGP: "EGP", Incomplete: "incomplete" };

/** `judged`: with which is the best. */
function routeText(route: BirdRoute, judged = false): RouteText {
  const { prefix, protocol, source, via, bgp, isBest, isRefused, isStale } = route;
  const number = (name: string): number | undefined => (bgp.has(name) ? Number(bgp.get(name)) : undefined);
  const [localPref, med] = [number("local_pref"), number("med")];
  const originatorId = bgp.get("originator_id");
  const clusterList = bgp.get("cluster_list");
  return {
    prefix,
    // Of IPv6 the link-local one may follow.
    nextHop: bgp.get("next_hop")?.split(" ")[0] || via || "-",
    from: SOURCES[source] ?? protocol,
    origin: ORIGINS[bgp.get("origin") ?? ""] ?? "IGP",
    asPath: bgp.get("as_path") ?? "",
    ...(localPref !== undefined && { localPref }),
    ...(med !== undefined && { med }),
    communities: [...communitiesOf(bgp.get("community")), ...communitiesOf(bgp.get("large_community"))],
    ...(originatorId !== undefined && { originatorId }),
    ...(clusterList !== undefined && { clusterList: clusterList.split(" ") }),
    stale: isStale,
    ...(judged && { best: isBest }),
    ...(judged && isRefused && { why: "the best, though the kernel has another's route in its place" }),
  };
}
