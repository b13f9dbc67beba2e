/** For tests of this folder: time that passes when a test says so, and a network that loses, delays and reorders what a test likes. */
import { addressBytes } from "../../ip/index.ts";
import { type ControlPacket, decodePacket } from "./packet.ts";
import type { Arrival, Place, Transport } from "./transport.ts";
import type { BfdClock } from "./types.ts";

/** From 0 to below 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 0x1_0000_0000;
  };
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly action: () => void;
  readonly owner: VirtualClock | undefined;
}

/** All that happens, in order. */
export class World {
  now = 0;
  #timers: Timer[] = [];
  #order = 0;

  at(moment: number, action: () => void, owner?: VirtualClock): () => void {
    const timer: Timer = { at: Math.max(this.now, moment), order: this.#order++, action, owner };
    this.#timers.push(timer);
    return () => {
      this.#timers = this.#timers.filter((other) => other !== timer);
    };
  }

  /** Lets time pass, and what is due in it happen. Callbacks to users of sessions happen, too. */
  async run(milliseconds: number): Promise<void> {
    const end = this.now + milliseconds;
    for (;;) {
      let next: Timer | undefined;
      for (const timer of this.#timers) {
        const at = Math.max(timer.at, timer.owner?.stalledUntil ?? 0);
        if (at > end) continue;
        if (!next) next = timer;
        const nextAt = Math.max(next.at, next.owner?.stalledUntil ?? 0);
        if (at < nextAt || (at === nextAt && timer.order < next.order)) next = timer;
      }
      if (!next) break;
      const chosen = next;
      this.#timers = this.#timers.filter((other) => other !== chosen);
      this.now = Math.max(this.now, chosen.at, chosen.owner?.stalledUntil ?? 0);
      chosen.action();
      await Promise.resolve();
    }
    this.now = end;
  }

  clock(): VirtualClock {
    return new VirtualClock(this);
  }
}

export class VirtualClock implements BfdClock {
  /** Nothing is called back, and no packet is handed over, before then: the process is busy, or was stopped. */
  stalledUntil = 0;
  readonly #world: World;
  constructor(world: World) {
    this.#world = world;
  }
  now(): number {
    return this.#world.now;
  }
  wall(): number {
    return 1_700_000_000_000 + this.#world.now;
  }
  after(milliseconds: number, action: () => void): () => void {
    return this.#world.at(this.#world.now + milliseconds, action, this);
  }
}

/** A packet on its way. */
export interface Flight {
  readonly at: number;
  readonly from: string;
  readonly packet: ControlPacket;
}

interface Socket {
  readonly clock: VirtualClock;
  readonly queue: { readonly bytes: Uint8Array; readonly from: Parameters<Arrival>[1] }[];
  readonly arrival: Arrival;
}

export class Network {
  readonly flights: Flight[] = [];
  /** How long a packet travels, in milliseconds; undefined: it is lost. */
  fate: (flight: Flight) => number | undefined = () => 1;
  readonly #world: World;
  readonly #sockets = new Map<string, Socket>();

  constructor(world: World) {
    this.#world = world;
  }

  /** Closes the sockets of a process that is no more. */
  unplug(clock: VirtualClock): void {
    for (const [key, socket] of this.#sockets) if (socket.clock === clock) this.#sockets.delete(key);
  }

  /** The network as one machine has it. */
  transport(clock: VirtualClock): Transport {
    return {
      listen: (place, arrival) => {
        const key = keyOf(place);
        if (this.#sockets.has(key)) throw new Error(`${key} is taken`);
        const socket: Socket = { clock, queue: [], arrival };
        this.#sockets.set(key, socket);
        return { drain: () => deliver(socket), close: () => void this.#sockets.delete(key) };
      },
      sender: (place, remote) => ({
        send: (sent) => {
          const bytes = sent.slice();
          const packet = decodePacket(bytes);
          if (typeof packet === "string") throw new Error(packet);
          const flight: Flight = { at: this.#world.now, from: addressBytes(place.local).join("."), packet };
          this.flights.push(flight);
          const time = this.fate(flight);
          if (time === undefined) return;
          this.#world.at(this.#world.now + time, () => {
            const socket = this.#sockets.get(keyOf({ ...place, local: remote }));
            if (!socket) return;
            socket.queue.push({ bytes, from: () => place.local });
            // The event loop reads what is waiting when it comes to it, after timers that are late.
            this.#world.at(Math.max(this.#world.now, socket.clock.stalledUntil), () => deliver(socket), socket.clock);
          });
        },
        close: () => {},
      }),
    };
  }
}

function deliver(socket: Socket): void {
  for (const { bytes, from } of socket.queue.splice(0)) socket.arrival(bytes, from);
}

const keyOf = ({ local, multihop, device }: Place): string =>
  `${addressBytes(local).join(".")} ${multihop} ${device ?? ""}`;
