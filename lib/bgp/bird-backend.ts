/** The other back end: a real BIRD 2 that is kept as a NodeBgp says. */
import type { Logger } from "../telemetry/index.ts";
import type { Backend } from "./backend.ts";
import { type Bird, type BirdPeer, type BirdState, bird2Problems, openBird, renderBird2 } from "./bird/index.ts";
import { type BgpStatus, ControlError, type PeerStatus } from "./control/index.ts";
import type { Family, NodeBgp, Peer } from "./model/index.ts";

/** How long after its end, or after a configuration that could not be applied, in milliseconds. */
const AGAIN = 2_000;

export interface BirdBackendOptions {
  readonly log: Logger;
  /** Where its configuration is kept. */
  readonly folder: string;
  /** Its control socket, where `birdc` and upstream's tools look. */
  readonly socket: string;
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
  #refused: string | undefined;
  #again: (() => void) | undefined;
  #work: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(options: BirdBackendOptions) {
    this.#options = options;
  }

  configure(node: NodeBgp): Promise<void> {
    this.#node = node;
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
      const { changed, started, message } = await this.#bird.apply(renderBird2(this.#node));
      if (changed || started) log.info(started ? "BIRD was started" : "BIRD was configured", { message });
      this.#refused = undefined;
    } catch (error) {
      this.#refused = (error as Error).message;
      log.error("BIRD goes on as it was", { error: this.#refused });
      this.#later();
    }
  }

  async #open(): Promise<Bird> {
    const { folder, socket, log } = this.#options;
    const bird = await openBird({ folder, socket, runs: "child", log: (line) => log.info("BIRD", { line }) });
    void bird.ended.then(({ exitCode, signal, lastLines }) => {
      if (this.#closed) return;
      log.error("BIRD ended; it is started again", {
        status: exitCode,
        signal,
        said: lastLines.join(" | "),
      });
      this.#bird = undefined;
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
    const problems = [
      ...(node ? [...node.problems, ...bird2Problems(node)] : []),
      ...(this.#refused === undefined ? [] : [this.#refused]),
    ];
    const state = await this.#bird?.state().catch((error: Error) => {
      problems.push(error.message);
      return undefined;
    });
    return {
      node: node?.node ?? "",
      asn: node?.asn ?? 0,
      routerId: node?.routerId ?? "",
      backend: "bird",
      restarting: state?.status.recovering ?? false,
      peers: node ? [...peersOf(node.ipv4.peers, 4, state), ...peersOf(node.ipv6.peers, 6, state)] : [],
      problems,
    };
  }

  explain(): never {
    return this.#askBirdc();
  }
  routes(): never {
    return this.#askBirdc();
  }

  #askBirdc(): never {
    throw new ControlError(
      "BGP_REFUSED",
      `BIRD keeps the routes; ask it: birdc -s ${this.#options.socket} show route all`,
    );
  }

  async close({ graceful }: { readonly graceful: boolean }): Promise<void> {
    this.#closed = true;
    this.#again?.();
    await this.#work.catch(() => {});
    await this.#bird?.close(graceful ? "stop" : "restart");
  }
}

function peersOf(peers: readonly Peer[], family: Family, state: BirdState | undefined): PeerStatus[] {
  const found = new Map(state?.peers.map((peer) => [peer.name, peer]));
  return peers.map((peer) => peerStatus(peer, family, found.get(peer.name)));
}

function peerStatus(peer: Peer, family: Family, found: BirdPeer | undefined): PeerStatus {
  const { name, kind, address, port = 179, asn, node, reason, passive } = peer;
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
