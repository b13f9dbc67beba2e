/**
 * Our own BGP speaker: keeps sessions, tables and the kernel as a {@link NodeBgp} says, and changes what differs from the one before.
 *
 * Data flow: configure() → peerings open, change or close → their UPDATEs go to the tables (rib/), those choose what is best and send it on →
 * what is best goes through the kernel policy into the kernel (kernel/), which says what next hops cost; what others put into the kernel, and the blocks and services of this
 * node, are the tables' local routes.
 *
 * After a start nothing that the process before left in the kernel is removed, and our own tables have no end (RFC 4724 4.1), until every peer has
 * told its table again or the time for that is over. Nothing is chosen either, though not for as long: a peer that is dead must not keep what the
 * others tell out of the kernel. Where the process before left nothing the node has just come up, and what is learned counts at once.
 */
import { formatCidr, parseAddress, parseCidr } from "../ip/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { Backend } from "./backend.ts";
import type { Bfd } from "./bfd/index.ts";
import type { BgpStatus, PeerError, RouteText, WhichRoutes } from "./control/index.ts";
import type { Edges } from "./edges.ts";
import type { KernelTable } from "./kernel/index.ts";
import { FAMILIES, type FamilyBgp, familyOf, NEVER_OWN, type NodeBgp, type Peer } from "./model/index.ts";
import { Peering, type Shared } from "./peering.ts";
import { kernelPolicy, matchesPattern, staticRoutes } from "./policy/index.ts";
import { Programming } from "./programming.ts";
import { createRib, type LocalRoute, prefixOf, type Rib } from "./rib/index.ts";
import { prefixFromText, prefixText, routerIdNumber, routeText } from "./text.ts";

/** BIRD's route protocol: what a BIRD left in the kernel is taken over. */
const ROUTE_PROTOCOL = 12;
/** The comparison of the kernel as a whole, in milliseconds. */
const KERNEL_CHECK = 90_000;
/** How long peers may take to tell their tables again after a start, in milliseconds (BIRD's `graceful restart wait`). */
const RESTART_WAIT = 240_000;
/**
 * How long nothing is chosen after a start while peers have not told their tables (RFC 4724 4.1: the selection deferral timer). A peer that is dead would
 * keep new routes of all others out of the kernel; what is removed from it, and the end of our own tables, wait for {@link RESTART_WAIT}. Milliseconds.
 */
const SELECTION_WAIT = 15_000;
/**
 * Where the first configuration has no peers, or more of them come while the restart lasts, so long no other must come before it may be over:
 * Nodes may become known one by one. Milliseconds.
 */
const PEERS_COME = 5_000;
/** Milliseconds. */
const LISTEN_AGAIN = 5_000;

export interface SpeakerOptions {
  readonly edges: Edges;
  readonly log: Logger;
  /** Milliseconds; default 240,000. */
  readonly restartWait?: number;
}

/** Our own speaker; it begins with `configure`. Throws where the kernel cannot be talked to. */
export async function openSpeaker(options: SpeakerOptions): Promise<Speaker> {
  const speaker = new Speaker(options);
  await speaker.start();
  return speaker;
}

/** A {@link Backend} that answers at once, from tables of its own. */
class Speaker implements Backend {
  readonly #edges: Edges;
  readonly #log: Logger;
  readonly #peerings = new Map<string, Peering>();
  /** Of peerings that are made anew: what ended the session before. */
  readonly #endedBy = new Map<string, PeerError>();
  readonly #kernelProblems: string[] = [];
  readonly #peerProblems: string[] = [];
  readonly #shared: Omit<Shared, "rib">;
  readonly #restartWait: number;
  #kernel!: KernelTable;
  #rib: Rib | undefined;
  #node: NodeBgp | undefined;
  #bfd: Bfd | undefined;
  readonly #programming = new Programming({
    entries: (family) => this.#rib!.entries(family),
    program: (destination, route) => this.#kernel.setLearned(destination, route),
  });
  /** Local routes by source and destination, to begin anew with when the tables do. */
  readonly #local = new Map<string, { cidr: string; source: LocalRoute["source"]; route: LocalRoute }>();
  #restarting = true;
  /** Whether what the process before left in the kernel is of no interest any more. */
  #released = false;
  #listenProblems: readonly string[] = [];
  #listenAgain: (() => void) | undefined;
  #stopWaiting: (() => void) | undefined;
  /** While nothing is chosen yet. */
  #selection: (() => void) | undefined;
  /** While more peers are expected to be configured. */
  #peersCome: (() => void) | undefined;
  #work: Promise<void> = Promise.resolve();
  #wanted: NodeBgp | undefined;
  /** Peerings are being taken away and made: who is awaited is not known yet. */
  #configuring = false;

  constructor({ edges, log, restartWait = RESTART_WAIT }: SpeakerOptions) {
    this.#edges = edges;
    this.#log = log;
    this.#shared = {
      edges,
      log,
      bfd: () => (this.#bfd ??= edges.openBfd()),
      restarting: () => this.#restarting,
      toldAll: () => this.#checkRestart(),
    };
    this.#restartWait = restartWait;
  }

  async start(): Promise<void> {
    this.#kernel = await this.#edges.openKernel({
      protocol: ROUTE_PROTOCOL,
      checkInterval: KERNEL_CHECK,
      onLocal: (changes) => {
        for (const { destination, was, now } of changes) {
          const source = (route: typeof was): LocalRoute["source"] => (route?.connected ? "device" : "kernel");
          if (was && (!now || source(was) !== source(now)))
            this.#setLocal(formatCidr(destination), source(was), undefined);
          if (!now) continue;
          this.#setLocal(formatCidr(destination), source(now), {
            source: source(now),
            // 0 is no metric: so the CNI plugin leaves a pod's route until the agent has it, and an elevated priority is at least 1.
            ...(now.metric > 0 && !now.connected && { metric: now.metric }),
            ...(now.interface !== undefined && { interface: now.interface }),
            ...(now.gateway && { nextHop: now.gateway }),
          });
        }
      },
      onCosts: (changes) => this.#rib?.costsChanged(changes),
      onProblems: (problems) => {
        this.#kernelProblems.splice(0, Number.POSITIVE_INFINITY, ...problems);
        for (const problem of problems) this.#log.warning("kernel", { problem });
      },
    });
  }

  configure(node: NodeBgp): Promise<void> {
    this.#wanted = node;
    // What came meanwhile makes those before it needless: closing sessions takes time.
    const run = async (): Promise<void> => {
      if (this.#wanted === node) await this.#configure(node);
    };
    this.#work = this.#work.then(run, run);
    return this.#work;
  }

  async #configure(node: NodeBgp): Promise<void> {
    const before = this.#node;
    this.#node = node;
    this.#configuring = true;
    try {
      await this.#apply(before, node);
    } finally {
      this.#configuring = false;
    }
    this.#checkRestart();
  }

  async #apply(before: NodeBgp | undefined, node: NodeBgp): Promise<void> {
    // Not before: without a configuration nobody can be waited for, however long it takes to come.
    if (!before) {
      this.#stopWaiting = this.#edges.after(this.#restartWait, () => this.#waitedEnough());
      if (this.#kernel.inherited) this.#selection = this.#edges.after(SELECTION_WAIT, () => this.#choose());
    }
    for (const problem of node.problems) {
      if (!before?.problems.includes(problem)) this.#log.warning("configuration", { problem });
    }
    if (!before || before.asn !== node.asn || before.routerId !== node.routerId) await this.#beginTables(node);
    this.#changeIgnored(before, node);
    this.#changeStatics(before, node);
    this.#changeKernelPolicies(before, node);
    const wanted = new Map(
      FAMILIES.flatMap((family) =>
        onePerAddress(familyOf(node, family).peers).map((peer) => [peer.name, { peer, family }]),
      ),
    );
    const gone = [...this.#peerings.values()].filter((peering) => {
      const now = wanted.get(peering.name);
      return !now || !peering.fits(now.peer, node);
    });
    await Promise.all(
      gone.map((peering) => {
        this.#peerings.delete(peering.name);
        return this.#retire(
          peering,
          wanted.has(peering.name) ? "its configuration changed" : "it is not configured any more",
        );
      }),
    );
    this.#listen();
    const shared: Shared = { ...this.#shared, rib: this.#rib! };
    let grown = false;
    this.#peerProblems.length = 0;
    for (const [name, { peer, family }] of wanted) {
      const peering = this.#peerings.get(name);
      try {
        if (peering) peering.change(peer, node);
        else this.#peerings.set(name, new Peering(peer, family, node, shared, this.#endedBy.get(name)));
        grown ||= !peering && !gone.some((other) => other.name === name);
      } catch (error) {
        const problem = `${name}: ${(error as Error).message}`;
        this.#log.error("a peer cannot be had as it is configured", { problem });
        this.#peerProblems.push(problem);
      }
    }
    this.#endedBy.clear();
    if (this.#restarting && (before ? grown : !grown)) {
      this.#peersCome?.();
      this.#peersCome = this.#edges.after(PEERS_COME, () => {
        this.#peersCome = undefined;
        this.#checkRestart();
      });
    }
  }

  async #retire(peering: Peering, why: string): Promise<void> {
    await peering.close(true, why);
    if (peering.endedBy) this.#endedBy.set(peering.name, peering.endedBy);
  }

  /** Where a port is taken, or an address is not there yet, again after a while. */
  #listen(): void {
    const node = this.#node!;
    const addresses = FAMILIES.flatMap((family) => familyOf(node, family).address ?? []);
    this.#listenAgain?.();
    this.#listenAgain = undefined;
    const problems = this.#edges.listen(node.listen, addresses);
    for (const problem of problems) {
      if (!this.#listenProblems.includes(problem)) this.#log.error("cannot take sessions", { problem });
    }
    this.#listenProblems = problems;
    if (problems.length > 0) this.#listenAgain = this.#edges.after(LISTEN_AGAIN, () => this.#listen());
  }

  /** AS and router id are part of everything in the tables: with others they begin anew. */
  async #beginTables(node: NodeBgp): Promise<void> {
    await Promise.all(
      [...this.#peerings.values()].map((peering) => this.#retire(peering, "the node's AS or router id changed")),
    );
    this.#peerings.clear();
    // What was learned goes with the peers, and the kernel is told of that.
    await this.#rib?.settled();
    this.#rib?.close();
    this.#programming.beginAnew();
    this.#rib = createRib({
      asn: node.asn,
      routerId: routerIdNumber(node.routerId),
      restarting: this.#restarting && (this.#selection !== undefined || "choosing"),
      onBest: (changes) => this.#programming.told(changes),
      costs: this.#kernel,
    });
    for (const { cidr, source, route } of this.#local.values()) {
      if (!this.#isIgnored(route)) this.#rib.setLocal(prefixFromText(cidr), source, route);
    }
  }

  #changeStatics(before: NodeBgp | undefined, node: NodeBgp): void {
    const origins = (of: NodeBgp) => FAMILIES.flatMap((family) => staticRoutes(of, family));
    const wanted = new Map(origins(node).map((origin) => [origin.cidr, origin]));
    const had = new Map(before ? origins(before).map((origin) => [origin.cidr, origin]) : []);
    for (const cidr of had.keys()) if (!wanted.has(cidr)) this.#setLocal(cidr, "static", undefined);
    for (const { cidr, via } of wanted.values()) {
      const old = had.get(cidr);
      if (old && old.via === via) continue;
      this.#setLocal(cidr, "static", { source: "static", ...(via !== undefined && { nextHop: parseAddress(via) }) });
    }
    this.#kernel.setStatic(
      [...wanted.values()]
        .filter(({ programmed }) => programmed)
        .map(({ cidr, via }) => ({
          destination: parseCidr(cidr),
          ...(via !== undefined && { via: parseAddress(via) }),
        })),
    );
  }

  /** Networks of interfaces that the configuration ignores are not the node's own. */
  #changeIgnored(before: NodeBgp | undefined, node: NodeBgp): void {
    if (before && JSON.stringify(before.ignoredInterfaces) === JSON.stringify(node.ignoredInterfaces)) return;
    for (const { cidr, source, route } of this.#local.values()) {
      if (source === "device")
        this.#rib!.setLocal(prefixFromText(cidr), source, this.#isIgnored(route) ? undefined : route);
    }
  }

  #isIgnored({ source, interface: name = "" }: LocalRoute): boolean {
    const patterns = [...(this.#node?.ignoredInterfaces ?? []), ...NEVER_OWN];
    return source === "device" && patterns.some((pattern) => matchesPattern(pattern, name));
  }

  #setLocal(cidr: string, source: LocalRoute["source"], route: LocalRoute | undefined): void {
    const key = `${source} ${cidr}`;
    if (route) this.#local.set(key, { cidr, source, route });
    else this.#local.delete(key);
    this.#rib?.setLocal(prefixFromText(cidr), source, route && !this.#isIgnored(route) ? route : undefined);
  }

  #changeKernelPolicies(before: NodeBgp | undefined, node: NodeBgp): void {
    for (const family of FAMILIES) {
      if (before && kernelKey(familyOf(before, family)) === kernelKey(familyOf(node, family))) continue;
      this.#programming.setPolicy(family, kernelPolicy(node, family), before !== undefined);
    }
  }

  #awaited(): Peering[] {
    return [...this.#peerings.values()].filter(({ awaited }) => awaited);
  }

  #checkRestart(): void {
    if (this.#configuring) return;
    if (this.#restarting && this.#node && !this.#peersCome && this.#awaited().length === 0)
      this.#endRestart("all peers have told their routes");
    this.#releaseKernel(false);
  }

  #waitedEnough(): void {
    this.#endRestart(
      `no longer waiting for ${
        this.#awaited()
          .map(({ name }) => name)
          .join(", ") || "more peers"
      }`,
    );
    this.#releaseKernel(true);
  }

  #choose(): void {
    this.#selection = undefined;
    this.#rib?.choose();
  }

  #endRestart(why: string): void {
    if (!this.#restarting) return;
    this.#restarting = false;
    this.#selection?.();
    this.#selection = undefined;
    this.#log.info("the restart is over", { why });
    this.#rib?.endOfRestart();
  }

  /** What the process before left in the kernel goes once those have told their tables, too, whose tables were not waited for. */
  #releaseKernel(now: boolean): void {
    if (this.#restarting || this.#released) return;
    if (!now && [...this.#peerings.values()].some(({ telling }) => telling)) return;
    this.#released = true;
    this.#stopWaiting?.();
    void this.#rib
      ?.settled()
      .then(() => this.#programming.settled())
      .then(() => this.#kernel.endOfRestart());
  }

  status(): BgpStatus {
    const node = this.#node;
    return {
      node: node?.node ?? "",
      asn: node?.asn ?? 0,
      routerId: node?.routerId ?? "",
      backend: "speaker",
      // A first start has nothing to recover, and its peers need not be waited for.
      restarting: this.#restarting && this.#kernel.inherited,
      peers: [...this.#peerings.values()].map((peering) => peering.status()).sort((a, b) => (a.name < b.name ? -1 : 1)),
      problems: [...(node?.problems ?? []), ...this.#peerProblems, ...this.#listenProblems, ...this.#kernelProblems],
    };
  }

  explain(text: string): readonly RouteText[] {
    const prefix = prefixOf(parseCidr(text));
    const explained = this.#rib?.explain(prefix) ?? [];
    return explained.map(({ from, attributes, best, why, stale }) =>
      routeText(prefix, from, attributes, { best, why, stale }),
    );
  }

  routes(which: WhichRoutes, name?: string): Iterable<RouteText> | undefined {
    const rib = this.#rib;
    if (which === "best") return rib && this.#bestTexts(rib);
    const peering = name === undefined ? undefined : this.#peerings.get(name);
    if (!rib || peering?.id === undefined) return undefined;
    const routes = rib.routesOf(peering.id, which, peering.family);
    return mapped(routes, ({ prefix, attributes, stale }) => routeText(prefix, peering.name, attributes, { stale }));
  }

  *#bestTexts(rib: Rib): Iterable<RouteText> {
    for (const family of FAMILIES) {
      for (const { prefix } of rib.entries(family)) {
        for (const route of this.explain(prefixText(prefix))) if (route.best) yield route;
      }
    }
  }

  async close(how: { readonly graceful: boolean; readonly text?: string }): Promise<void> {
    await this.#work.catch(() => {});
    this.#stopWaiting?.();
    this.#selection?.();
    this.#peersCome?.();
    this.#listenAgain?.();
    this.#programming.beginAnew();
    // Before the sessions: the kernel keeps forwarding by what was learned from them.
    await this.#kernel.close();
    await Promise.all([...this.#peerings.values()].map((peering) => peering.close(how.graceful, how.text)));
    this.#peerings.clear();
    this.#rib?.close();
    await this.#bfd?.close();
    this.#edges.close();
  }
}

/** Two sessions with one address cannot both be: what was configured for it goes before the mesh. */
function onePerAddress(peers: readonly Peer[]): readonly Peer[] {
  const byAddress = new Map<string, Peer>();
  for (const peer of peers) {
    const key = `${peer.address} ${peer.port ?? ""}`;
    const other = byAddress.get(key);
    if (!other || other.kind === "mesh") byAddress.set(key, peer);
  }
  return [...byAddress.values()];
}

/** What the kernel policy is made of. */
const kernelKey = ({ pools, notProgrammed, normalPriority, wireguardPeers, programs, subnet }: FamilyBgp): string =>
  JSON.stringify([pools, notProgrammed, normalPriority, wireguardPeers, programs, subnet]);

function* mapped<T, U>(items: Iterable<T>, to: (item: T) => U): Iterable<U> {
  for (const item of items) yield to(item);
}
