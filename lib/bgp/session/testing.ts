/**
 * For tests of whatever has sessions: a clock that stands still until it is told to go on, and a network in memory, whose connections have
 * buffers as small as the kernel's, can be refused, be silent, and break. Not for use outside of tests.
 */
import { type Address, formatAddress, parseAddress } from "../../ip/index.ts";
import type {
  Clock,
  Connection,
  ConnectionEvents,
  Environment,
  Listener,
  ListenerPeer,
  Target,
  Timer,
  Transport,
} from "./environment.ts";

export class FakeClock implements Clock {
  #now = 1_700_000_000_000;
  #timers: { readonly at: number; readonly callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  /** Timers that have not gone off yet. */
  get armed(): number {
    return this.#timers.length;
  }

  after(milliseconds: number, callback: () => void): Timer {
    const timer = { at: this.#now + milliseconds, callback };
    this.#timers.push(timer);
    const cancel = () => {
      this.#timers = this.#timers.filter((one) => one !== timer);
    };
    return { cancel };
  }

  /** Lets time pass; between one timer and the next, whatever is under way comes to rest. */
  async advance(milliseconds: number): Promise<void> {
    const end = this.#now + milliseconds;
    for (;;) {
      await settle();
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((one) => one !== next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
    await settle();
  }
}

/** Until everything that is due without time has happened. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 12; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** One end of a connection in memory. */
export class MemoryConnection implements Connection {
  other: MemoryConnection | undefined;
  #events: ConnectionEvents | undefined;
  /** What came and was not read. */
  #inbox: Uint8Array[] = [];
  #ended: { readonly errno: string | undefined } | undefined;
  #paused = false;
  #open = true;
  #finished = false;
  #full = false;
  #planned = false;

  constructor(
    readonly local: Address,
    readonly remote: Address,
    /** Bytes that lie unread at the other end before writing stops. */
    readonly capacity: number,
    /** Whether the network between the two is cut: what is under way waits until it is not. */
    readonly isCut: () => boolean = () => false,
  ) {}

  get isOpen(): boolean {
    return this.#open;
  }

  get unread(): number {
    return this.#inbox.reduce((sum, { length }) => sum + length, 0);
  }

  listen(events: ConnectionEvents): void {
    this.#events = events;
    this.#plan();
  }

  write(bytes: Uint8Array): number {
    const { other } = this;
    if (!this.#open || this.#finished || !other?.isOpen) return 0;
    const taken = Math.min(bytes.length, this.capacity - other.unread);
    if (taken < bytes.length) this.#full = true;
    if (taken > 0) {
      other.#inbox.push(bytes.slice(0, taken));
      other.#plan();
    }
    return taken;
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    this.#paused = false;
    this.#plan();
  }

  readable(): boolean {
    return this.#inbox.length > 0 || this.#ended !== undefined;
  }

  finish(): void {
    this.#finished = true;
    this.other?.end(undefined);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.other?.end(undefined);
  }

  /** As if the network had cut it: both ends get the error. */
  break(errno = "ECONNRESET"): void {
    this.end(errno);
    this.other?.end(errno);
  }

  /** The other end is gone, or the network. */
  end(errno: string | undefined): void {
    this.#ended ??= { errno };
    this.#plan();
  }

  /** The network is whole again: what waited arrives. */
  retry(): void {
    this.#plan();
  }

  #plan(): void {
    if (this.#planned) return;
    this.#planned = true;
    setImmediate(() => {
      this.#planned = false;
      this.#deliver();
    });
  }

  #deliver(): void {
    const events = this.#events;
    if (!events || !this.#open || this.#paused || this.isCut()) return;
    const bytes = this.#inbox.shift();
    if (bytes) {
      events.data(bytes);
      const { other } = this;
      if (other?.isOpen && other.#full) {
        other.#full = false;
        setImmediate(() => other.#events?.writable());
      }
      this.#plan();
    } else if (this.#ended) {
      this.#open = false;
      this.#events = undefined;
      events.lost(this.#ended.errno);
    }
  }
}

/** What an address does with those who connect; a function takes the connection. */
export type Answer =
  | "silent"
  | "ECONNREFUSED"
  | "EHOSTUNREACH"
  | "ENETUNREACH"
  | ((connection: MemoryConnection) => void);

/** Hosts that reach each other. Passwords count: who has another gets no answer. */
export class MemoryNetwork {
  readonly clock: FakeClock;
  readonly connections: MemoryConnection[] = [];
  readonly #cut = new Set<string>();
  readonly #answers = new Map<string, Answer>();
  readonly #listeners = new Map<string, ListenerPeer[]>();
  readonly capacity: number;

  constructor(options: { readonly clock?: FakeClock; readonly capacity?: number } = {}) {
    this.clock = options.clock ?? new FakeClock();
    this.capacity = options.capacity ?? 64 * 1024;
  }

  /** Ends of connections that nobody has closed. */
  get open(): number {
    return this.connections.filter((one) => one.isOpen).length;
  }

  /** What a session on that address lives in. `random` is 1/2 throughout unless given. */
  environment(address: string, random: () => number = () => 0.5): Environment & { readonly listener: Listener } {
    return {
      clock: this.clock,
      random,
      transport: this.#transport(parseAddress(address)),
      listener: this.#listener(parseAddress(address)),
    };
  }

  /** Overrides what listens on the address; undefined: again what listens. */
  answer(address: string, answer: Answer | undefined): void {
    const name = formatAddress(parseAddress(address));
    if (answer) this.#answers.set(name, answer);
    else this.#answers.delete(name);
  }

  /** Nothing passes between the two any more, and neither is told: packets are lost, and sent again once `heal` was called. */
  cut(a: string, b: string): void {
    this.#cut.add(pairOf(parseAddress(a), parseAddress(b)));
  }

  heal(a: string, b: string): void {
    const pair = pairOf(parseAddress(a), parseAddress(b));
    if (!this.#cut.delete(pair)) return;
    for (const one of this.connections) if (pairOf(one.local, one.remote) === pair) one.retry();
  }

  /** Breaks whatever connections there are between the two. */
  reset(a: string, b: string): void {
    const pair = pairOf(parseAddress(a), parseAddress(b));
    for (const one of this.connections) if (one.isOpen && pairOf(one.local, one.remote) === pair) one.break();
  }

  #pair(from: Address, to: Address): readonly [MemoryConnection, MemoryConnection] {
    const pair = pairOf(from, to);
    const isCut = () => this.#cut.has(pair);
    const near = new MemoryConnection(from, to, this.capacity, isCut);
    const far = new MemoryConnection(to, from, this.capacity, isCut);
    near.other = far;
    far.other = near;
    this.connections.push(near, far);
    return [near, far];
  }

  /** Connects as somebody who is no session; the end to write to and to listen on. */
  connect(from: string, to: string): MemoryConnection {
    const [near, far] = this.#pair(parseAddress(from), parseAddress(to));
    const peer = this.#listeners.get(formatAddress(far.local))?.find((one) => same(one.address, near.local));
    if (peer) peer.accept(far);
    else far.close();
    return near;
  }

  #transport(here: Address): Transport {
    return {
      connect: (target, connected, failed) => {
        let cancelled = false;
        setImmediate(() => {
          if (cancelled) return;
          const outcome = this.#outcome(here, target);
          if (outcome === "silent") return;
          if (typeof outcome === "string") {
            failed({ errno: outcome, call: "connect" });
            return;
          }
          const [near, far] = this.#pair(here, target.address);
          outcome(far);
          connected(near);
        });
        const cancel = () => {
          cancelled = true;
        };
        return { cancel };
      },
    };
  }

  #outcome(here: Address, target: Target): Answer {
    const name = formatAddress(target.address);
    const answer = this.#answers.get(name);
    if (answer) return answer;
    if (this.#cut.has(pairOf(here, target.address))) return "silent";
    const peers = this.#listeners.get(name);
    if (!peers) return "ECONNREFUSED";
    const peer = peers.find(({ address }) => same(address, here));
    if (peer?.password !== target.password) return "silent";
    return (connection) => (peer ? peer.accept(connection) : connection.close());
  }

  #listener(here: Address): Listener {
    const name = formatAddress(here);
    if (!this.#listeners.has(name)) this.#listeners.set(name, []);
    return {
      port: 179,
      register: (peer) => {
        this.#listeners.set(name, [...(this.#listeners.get(name) ?? []), peer]);
        const close = () => {
          this.#listeners.set(name, this.#listeners.get(name)?.filter((one) => one !== peer) ?? []);
        };
        return { close };
      },
      close: () => void this.#listeners.delete(name),
    };
  }
}

function pairOf(a: Address, b: Address): string {
  return [formatAddress(a), formatAddress(b)].sort().join(" ");
}

function same(a: Address, b: Address): boolean {
  return a.version === b.version && a.value === b.value;
}
