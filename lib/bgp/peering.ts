/** One peer: its session, its place in the tables, and BFD beside it. */
import { type Address, formatAddress, parseAddress } from "../ip/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { Bfd, BfdSession } from "./bfd/index.ts";
import type { PeerError, PeerStatus } from "./control/index.ts";
import type { Edges } from "./edges.ts";
import { BGP_PORT, type Family, isInternal, type NodeBgp, type Peer } from "./model/index.ts";
import { exportPolicy, importPolicy } from "./policy/index.ts";
import type { PeerId, Rib } from "./rib/index.ts";
import type { Session, SessionError, SessionHandler, State } from "./session/index.ts";
import { capabilityTexts, routerIdNumber, routerIdText } from "./text.ts";
import type { Capabilities, Negotiated, Open, RouteRefresh, Update } from "./wire/index.ts";

/** Seconds (RFC 4271 10). BIRD offers 240; the lower of both counts, and a node that is gone should be noticed. */
const HOLD_TIME = 90;
/** Seconds within which a restarted agent is back; BIRD's default. */
const RESTART_TIME = 120;
/**
 * A node that comes up meets the others at once, and again soon while they come up, too. Milliseconds. The rest is the session's DEFAULT_TIMES.
 * BIRD's own defaults are 5 s of delay, 120 s between attempts, and 60 to 300 s after errors; upstream's configuration sets 2 s, 5 s, and 5 to 30 s.
 */
const TIMES = { connectDelay: 100, connectRetry: 1_000 };
/** How long a peer that is back may take to tell everything again: it may itself wait for others, BIRD and this speaker 240 s. Milliseconds. */
const STALE_WAIT = 360_000;
/** Two bytes on the wire. Seconds. */
const MOST_HOLD_TIME = 65_535;
/** How long a peer that marks no end of its table (RFC 4724 2) may take to tell it, in milliseconds. */
const TABLE_WAIT = 10_000;
/** Of what is wrong with a peer's UPDATEs so many are logged for each session; the rest is counted. */
const LOGGED_PROBLEMS = 10;

/** What peerings share. */
export interface Shared {
  readonly edges: Edges;
  readonly rib: Rib;
  readonly log: Logger;
  bfd(): Bfd;
  /** Whether this process still waits to be told what the one before it knew. */
  restarting(): boolean;
  /** The peer has told everything, or will not: see {@link Peering.awaited}. */
  toldAll(): void;
}

/** What of a peer and of the node a session is made of: where that differs, it takes another session. */
export function sessionKey(peer: Peer, node: NodeBgp): string {
  const { nextHop: _, filters: _f, reason: _r, node: _n, kind: _k, ...rest } = peer;
  return JSON.stringify([rest, peer.nextHop, node.asn, node.routerId]);
}

export class Peering implements SessionHandler {
  readonly family: Family;
  readonly #shared: Shared;
  readonly #key: string;
  #peer: Peer;
  #node: NodeBgp;
  readonly #session: Session;
  #bfd: { readonly local: string; readonly session: BfdSession } | undefined;
  #id: PeerId | undefined;
  /** While routes of an earlier session are kept: how long that was promised at its end (milliseconds since 1970), and how to call off the timer. */
  #stale: { readonly until: number; readonly cancel: () => void } | undefined;
  /** Of the session: its tables' ends are marked (RFC 4724 2); that of the first has come; it is between the marks of telling it again (RFC 7313). */
  #marksEnd = false;
  #ended = false;
  #refreshing = false;
  #problems = 0;
  /** Tells everything again after a restart of ours, and has not yet. Undefined until the session has been up or the wait is over. */
  #told = false;
  /** While the session is up and its end of the table has not come: how to stop waiting for it. */
  #telling: (() => void) | undefined;
  #closed = false;
  /** What ended the session of the peering before this one, of the same name. */
  readonly #before: PeerError | undefined;

  constructor(peer: Peer, family: Family, node: NodeBgp, shared: Shared, before?: PeerError) {
    this.#before = before;
    this.family = family;
    this.#shared = shared;
    this.#peer = peer;
    this.#node = node;
    this.#key = sessionKey(peer, node);
    const address = parseAddress(peer.address);
    const source = peer.sourceAddress === undefined ? undefined : parseAddress(peer.sourceAddress);
    this.#session = shared.edges.openSession(
      {
        name: peer.name,
        address,
        port: peer.port ?? BGP_PORT,
        localAsn: peer.localAsn ?? node.asn,
        peerAsn: peer.asn,
        routerId: routerIdNumber(node.routerId),
        passive: peer.passive,
        holdTime: Math.min(MOST_HOLD_TIME, Math.max(HOLD_TIME, 3 * (peer.keepaliveTime ?? 0))),
        ...(source && { sourceAddress: source }),
        ...(peer.ttlSecurity !== undefined && { ttlSecurity: peer.ttlSecurity }),
        ...(peer.password !== undefined && { password: peer.password }),
        ...(peer.keepaliveTime !== undefined && { keepaliveTime: peer.keepaliveTime }),
        times: TIMES,
        capabilities: () => this.#capabilities(),
      },
      this,
    );
    if (source) this.#openBfd(source);
  }

  /** Without a source address of its own it speaks from where the session does, which is known once that is up. */
  #openBfd(local: Address): void {
    const { bfd, address, name } = this.#peer;
    if (!bfd || this.#bfd?.local === formatAddress(local)) return;
    this.#bfd?.session.close();
    const options = { name, local, remote: parseAddress(address), ...bfd };
    const session = this.#shared.bfd().open(options, ({ state, diagnostic }, failed) => {
      this.#shared.log.info("BFD", { peer: this.name, state, diagnostic });
      if (!failed || this.#id === undefined) return;
      this.#session.reset({ code: "BFD_DOWN", message: `BFD says that ${address} is gone: ${diagnostic}` });
    });
    this.#bfd = { local: formatAddress(local), session };
  }

  get name(): string {
    return this.#peer.name;
  }
  get peer(): Peer {
    return this.#peer;
  }
  /** Undefined while the session is not up. */
  get id(): PeerId | undefined {
    return this.#id;
  }
  /** Whether it may still tell what the process before this one knew. */
  get awaited(): boolean {
    return !this.#told;
  }
  /** Whether its table is on its way. Also of a peer whose table is not waited for: what it told the process before may be in the kernel. */
  get telling(): boolean {
    return this.#telling !== undefined;
  }

  /** What ended the last session with the peer that was up. */
  get endedBy(): PeerError | undefined {
    return this.#session.status.endedBy ?? this.#before;
  }

  /** Whether the session can stay as it is. */
  fits(peer: Peer, node: NodeBgp): boolean {
    return sessionKey(peer, node) === this.#key;
  }

  /** Other filters, pools, blocks or words; the session stays. */
  change(peer: Peer, node: NodeBgp): void {
    this.#peer = peer;
    this.#node = node;
    if (this.#id === undefined) return;
    this.#shared.rib.setPolicies(
      this.#id,
      importPolicy(node, this.family, peer),
      exportPolicy(node, this.family, peer),
    );
  }

  /** Gracefully says why; otherwise leaves without a word, so that the other keeps forwarding until the next process is here. */
  async close(graceful: boolean, text?: string): Promise<void> {
    this.#closed = true;
    this.#bfd?.session.close();
    this.#stale?.cancel();
    await this.#session.close({ graceful, ...(text !== undefined && { text }) });
    this.#leave([]);
    if (graceful) this.#shared.rib.dropStale(this.name);
  }

  established(open: Open, negotiated: Negotiated, localAddress: Address): void {
    const peer = this.#peer;
    const node = this.#node;
    const localAsn = peer.localAsn ?? node.asn;
    this.#problems = 0;
    this.#ended = false;
    this.#refreshing = false;
    if (peer.sourceAddress === undefined) this.#openBfd(localAddress);
    const { gracefulRestart, enhancedRouteRefresh } = open.capabilities;
    this.#marksEnd = gracefulRestart !== undefined;
    // RFC 4724 4.2: what it did not keep over its restart is gone.
    if (!gracefulRestart?.families.some((kept) => kept.family === this.family && kept.forwarding)) this.#forgetStale();
    // It is back in time. What it is slow to tell again stays meanwhile, as it does with the peers that it waits for.
    else if (this.#stale) this.#keepStale(this.#stale.until, STALE_WAIT);
    this.#id = this.#shared.rib.addPeer({
      name: peer.name,
      type: isInternal(node, peer) ? "ibgp" : "ebgp",
      address: parseAddress(peer.address),
      routerId: open.routerId,
      asn: peer.asn,
      localAsn,
      localAddress: { [localAddress.version]: localAddress },
      negotiated,
      nextHop: peer.nextHop,
      ...(peer.reflectorClient !== undefined && { reflectorClient: routerIdNumber(peer.reflectorClient) }),
      allowedOwnAsns: peer.allowedOwnAsns,
      enhancedRefresh: enhancedRouteRefresh,
      importPolicy: importPolicy(node, this.family, peer),
      exportPolicy: exportPolicy(node, this.family, peer),
      send: (message) => this.#session.send(message),
    });
    const markEnd = (): void => this.#tableTold();
    this.#telling = gracefulRestart ? () => {} : this.#shared.edges.after(TABLE_WAIT, markEnd);
    // RFC 4724 4.1: neither those that do not know graceful restart nor those that restart themselves are waited for.
    if (gracefulRestart === undefined || gracefulRestart.restarting) this.#tell();
  }

  update(update: Update): void {
    if (this.#id === undefined) return;
    for (const problem of update.problems) {
      if (++this.#problems <= LOGGED_PROBLEMS)
        this.#shared.log.warning("malformed UPDATE", { peer: this.name, problem });
    }
    this.#shared.rib.update(this.#id, update);
    if (update.endOfRib === undefined) return;
    // Once a session: it takes a look at everything the peer ever told.
    if (update.endOfRib !== this.family || this.#ended) return;
    this.#ended = true;
    this.#shared.rib.endOfRib(this.#id, this.family);
    this.#stale?.cancel();
    this.#stale = undefined;
    this.#tell();
    this.#tableTold();
  }

  refresh({ family, kind }: RouteRefresh): void {
    if (this.#id === undefined) return;
    if (kind === "request") {
      this.#shared.rib.sendAgain(this.#id, family);
      return;
    }
    // RFC 7313 4: not before the end of the first table where that is marked; an end without a beginning says nothing.
    if (family !== this.family || (kind === "begin" ? this.#marksEnd && !this.#ended : !this.#refreshing)) return;
    this.#refreshing = kind === "begin";
    if (kind === "begin") this.#shared.rib.refreshBegins(this.#id, family);
    else this.#shared.rib.refreshEnds(this.#id, family);
  }

  drained(): void {
    if (this.#id !== undefined) this.#shared.rib.resume(this.#id);
  }

  down(error: SessionError, keep: readonly Family[], time: number): void {
    const { edges } = this.#shared;
    const keeps = keep.length > 0 && !this.#closed;
    // What the session before left behind, and this one had time to tell again, is not kept another time.
    if (this.#stale && (!keeps || edges.now() >= this.#stale.until)) this.#forgetStale();
    this.#leave(keeps ? keep : []);
    this.#shared.log.warning("session is down", {
      peer: this.name,
      code: error.code,
      why: error.message,
      "routes kept": keeps,
    });
    if (!keeps) return;
    // Counted from the first loss: RFC 4724 4.2 would not keep anything over a second one, so that nobody is believed for ever.
    const until = this.#stale?.until ?? edges.now() + time * 1000;
    this.#keepStale(until, until - edges.now());
  }

  stateChanged(state: State, error?: SessionError): void {
    this.#shared.log.info("session", {
      peer: this.name,
      state,
      ...(error && { code: error.code, why: error.message }),
    });
  }

  status(): PeerStatus {
    const { address, port, asn, node, passive, kind, reason, name } = this.#peer;
    const session = this.#session.status;
    const counts = this.#id === undefined ? undefined : this.#shared.rib.counts(this.#id);
    const of = (which: "received" | "accepted" | "best" | "sent"): number => counts?.[which][this.family] ?? 0;
    const bfd = this.#bfd?.session.status;
    const { endedBy } = this;
    return {
      name,
      kind,
      family: this.family,
      address,
      port: port ?? BGP_PORT,
      asn,
      ...(node !== undefined && { node }),
      reason,
      passive,
      state: session.state,
      since: session.since,
      ...(session.lastError && { lastError: session.lastError }),
      ...(endedBy && { endedBy }),
      ...(session.localAddress && { localAddress: formatAddress(session.localAddress) }),
      ...(session.peer && {
        routerId: routerIdText(session.peer.routerId),
        capabilities: capabilityTexts(session.peer),
      }),
      ...(session.holdTime !== undefined && { holdTime: session.holdTime }),
      messages: session.messages,
      flaps: session.flaps,
      routes: { received: of("received"), accepted: of("accepted"), best: of("best"), sent: of("sent") },
      ...(bfd && { bfd: { state: bfd.state, diagnostic: bfd.diagnostic, detectionTime: bfd.detectionTime } }),
    };
  }

  #keepStale(until: number, milliseconds: number): void {
    this.#stale?.cancel();
    this.#stale = { until, cancel: this.#shared.edges.after(milliseconds, () => this.#forgetStale()) };
  }

  #forgetStale(): void {
    this.#stale?.cancel();
    this.#stale = undefined;
    this.#shared.rib.dropStale(this.name);
  }

  #leave(keep: readonly Family[]): void {
    if (this.#id === undefined) return;
    this.#shared.rib.removePeer(this.#id, keep);
    this.#id = undefined;
    this.#tableTold();
  }

  #tableTold(): void {
    if (!this.#telling) return;
    this.#telling();
    this.#telling = undefined;
    this.#shared.toldAll();
  }

  #tell(): void {
    if (this.#told) return;
    this.#told = true;
    this.#shared.toldAll();
  }

  #capabilities(): Capabilities {
    const { family } = this;
    return {
      families: [family],
      routeRefresh: true,
      enhancedRouteRefresh: true,
      extendedMessages: true,
      fourOctetAsn: true,
      gracefulRestart: {
        restarting: this.#shared.restarting(),
        notification: true,
        time: this.#peer.restartTime ?? RESTART_TIME,
        // The kernel goes on forwarding whatever happens to this process.
        families: [{ family, forwarding: true }],
      },
      addPath: [{ family, send: false, receive: true }],
      extendedNextHop: family === 4,
      others: [],
    };
  }
}
