/** One peer: its session, its place in the tables, and BFD beside it. */
import { type Address, formatAddress, parseAddress } from "../ip/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { Bfd, BfdSession } from "./bfd/index.ts";
import type { PeerStatus } from "./control/index.ts";
import type { Edges } from "./edges.ts";
import type { Family, NodeBgp, Peer } from "./model/index.ts";
import { exportPolicy, importPolicy } from "./policy/index.ts";
import type { PeerId, Rib } from "./rib/index.ts";
import type { Session, SessionError, SessionHandler, State } from "./session/index.ts";
import { capabilityTexts, routerIdNumber, routerIdText } from "./text.ts";
import type { Capabilities, Negotiated, Open, RouteRefresh, Update } from "./wire/index.ts";

/** Where a peer listens that says nothing else. */
const BGP_PORT = 179;
/** Seconds (RFC 4271 10). BIRD offers 240; the lower of both counts, and a node that is gone should be noticed. */
const HOLD_TIME = 90;
/** Seconds within which a restarted agent is back; BIRD's default. */
const RESTART_TIME = 120;
/** A node that comes up meets the others at once, and again soon while they come up, too. Milliseconds. */
const TIMES = { connectDelay: 100, connectRetry: 1_000 };
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
  readonly #bfd: BfdSession | undefined;
  #id: PeerId | undefined;
  #dropStale: (() => void) | undefined;
  #problems = 0;
  /** Tells everything again after a restart of ours, and has not yet. Undefined until the session has been up or the wait is over. */
  #told = false;
  #closed = false;

  constructor(peer: Peer, family: Family, node: NodeBgp, shared: Shared) {
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
        holdTime: peer.keepaliveTime === undefined ? HOLD_TIME : Math.max(HOLD_TIME, 3 * peer.keepaliveTime),
        ...(source && { sourceAddress: source }),
        ...(peer.ttlSecurity !== undefined && { ttlSecurity: peer.ttlSecurity }),
        ...(peer.password !== undefined && { password: peer.password }),
        ...(peer.keepaliveTime !== undefined && { keepaliveTime: peer.keepaliveTime }),
        times: TIMES,
        capabilities: () => this.#capabilities(),
      },
      this,
    );
    const own = source ?? ownAddress(node, family);
    this.#bfd =
      peer.bfd && own
        ? shared
            .bfd()
            .open({ name: peer.name, local: own, remote: address, ...peer.bfd }, ({ state, diagnostic }, failed) => {
              this.#shared.log.info("BFD", { peer: this.name, state, diagnostic });
              if (failed && this.#id !== undefined) {
                this.#session.reset({
                  code: "BFD_DOWN",
                  message: `BFD says that ${peer.address} is gone: ${diagnostic}`,
                });
              }
            })
        : undefined;
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
    this.#bfd?.close();
    this.#dropStale?.();
    await this.#session.close({ graceful, ...(text !== undefined && { text }) });
    this.#leave([]);
    if (graceful) this.#shared.rib.dropStale(this.name);
  }

  established(open: Open, negotiated: Negotiated, localAddress: Address): void {
    const peer = this.#peer;
    const node = this.#node;
    const localAsn = peer.localAsn ?? node.asn;
    this.#problems = 0;
    const { gracefulRestart, enhancedRouteRefresh } = open.capabilities;
    // RFC 4724 4.2: what it did not keep over its restart is gone.
    if (!gracefulRestart?.families.some((kept) => kept.family === this.family && kept.forwarding)) this.#forgetStale();
    this.#id = this.#shared.rib.addPeer({
      name: peer.name,
      type: peer.asn === localAsn ? "ibgp" : "ebgp",
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
    this.#shared.rib.endOfRib(this.#id, update.endOfRib);
    if (update.endOfRib !== this.family) return;
    this.#dropStale?.();
    this.#dropStale = undefined;
    this.#tell();
  }

  refresh({ family, kind }: RouteRefresh): void {
    if (this.#id === undefined) return;
    if (kind === "request") this.#shared.rib.sendAgain(this.#id, family);
    else if (kind === "begin") this.#shared.rib.refreshBegins(this.#id, family);
    else this.#shared.rib.refreshEnds(this.#id, family);
  }

  drained(): void {
    if (this.#id !== undefined) this.#shared.rib.resume(this.#id);
  }

  down(error: SessionError, keep: readonly Family[], time: number): void {
    this.#leave(this.#closed ? [] : keep);
    this.#shared.log.warning("session is down", {
      peer: this.name,
      code: error.code,
      why: error.message,
      "routes kept": keep.length > 0,
    });
    if (keep.length === 0 || this.#closed) return;
    // Counted from the first loss: a peer that restarts again and again is not believed for ever.
    this.#dropStale ??= this.#shared.edges.after(time * 1000, () => this.#forgetStale());
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
    const bfd = this.#bfd?.status;
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

  #forgetStale(): void {
    this.#dropStale?.();
    this.#dropStale = undefined;
    this.#shared.rib.dropStale(this.name);
  }

  #leave(keep: readonly Family[]): void {
    if (this.#id === undefined) return;
    this.#shared.rib.removePeer(this.#id, keep);
    this.#id = undefined;
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

function ownAddress(node: NodeBgp, family: Family): Address | undefined {
  const text = (family === 4 ? node.ipv4 : node.ipv6).address;
  return text === undefined ? undefined : parseAddress(text);
}
