/** What every real peer has, whichever daemon it is: a node, what it was told to be, its routes, and a process that is begun and killed. */
import type { Daemon, Node } from "../../lab/index.ts";
import type { Driver, Family, LearnedRoute, OriginatedRoute, PeerDescription, RealPeer } from "./types.ts";

/** How long a daemon may take until it answers, in milliseconds. */
const PATIENCE = 10_000;

export abstract class DaemonPeer implements RealPeer {
  /** What it originates, by prefix. */
  protected readonly originated = new Map<string, OriginatedRoute>();
  #daemon: Daemon | undefined;
  #begun = false;
  /** Of processes before. */
  #log = "";

  constructor(
    readonly node: Node,
    protected readonly description: PeerDescription,
  ) {
    for (const route of description.routes ?? []) this.originated.set(route.prefix, route);
  }

  abstract established(neighbour: string): Promise<boolean>;
  abstract routes(family: Family): Promise<readonly LearnedRoute[]>;
  abstract announce(routes: readonly OriginatedRoute[]): Promise<void>;
  abstract withdraw(prefixes: readonly string[]): Promise<void>;
  abstract refresh(neighbour: string): Promise<void>;
  abstract shutDown(neighbour: string, words: string): Promise<void>;
  abstract lastNotification(neighbour: string): Promise<string>;

  /** `again`: one before it was killed. */
  protected abstract begin(again: boolean): Promise<Daemon>;

  /** Whether it answers. */
  protected async answers(): Promise<boolean> {
    return true;
  }

  async kill(): Promise<void> {
    await this.#daemon?.end("SIGKILL");
    this.#log += this.#daemon?.log() ?? "";
    this.#daemon = undefined;
  }

  async restart(): Promise<void> {
    this.#daemon = await this.begin(this.#begun);
    this.#begun = true;
    for (const deadline = performance.now() + PATIENCE; !(await this.answers()); await Bun.sleep(20)) {
      if (performance.now() > deadline) throw new Error(`it does not answer: ${this.log()}`);
    }
  }

  log(): string {
    return this.#log + (this.#daemon?.log() ?? "");
  }
}

/** A driver of the peers of a class. */
export const driverOf = (
  Peer: new (node: Node, description: PeerDescription) => DaemonPeer,
  about: Omit<Driver, "start">,
): Driver => ({
  ...about,
  start: async (node, description) => {
    const peer = new Peer(node, description);
    await peer.restart();
    return peer;
  },
});
