/** Sessions, sockets and one timer: see index.ts. */
import { type Address, addressBytes, formatAddress, isLinkLocal } from "../../ip/index.ts";
import { Machine } from "./machine.ts";
import { type ControlPacket, decodePacket, diagnosticText, encodePacket, PACKET_LENGTH } from "./packet.ts";
import { Schedule } from "./schedule.ts";
import type { Place, Receiver, Sender, Transport } from "./transport.ts";
import type {
  Bfd,
  BfdClock,
  BfdEngineOptions,
  BfdOptions,
  BfdSession,
  BfdState,
  BfdStatus,
  BfdTimes,
} from "./types.ts";
import { kernelTransport } from "./udp.ts";

/** Milliseconds after which a socket that could not be opened is tried again. */
const RETRY = 1000;
/** Intervals travel as 32 bits of microseconds. */
const MOST_INTERVAL = 0xffff_ffff / 1000;

/** Opens no socket until a session needs one. */
export function openBfd(options: BfdEngineOptions = {}): Bfd {
  const random = options.random ?? Math.random;
  return new Engine(options.clock ?? MACHINE_CLOCK, random, kernelTransport(random, options.namespace));
}

const MACHINE_CLOCK: BfdClock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after: (milliseconds, action) => {
    const timer = setTimeout(action, Math.ceil(milliseconds));
    return () => clearTimeout(timer);
  },
};

type Changed = Parameters<Bfd["open"]>[1];

/** One for each user of a session. */
interface User {
  readonly changed: Changed;
  times: BfdTimes;
  open: boolean;
}

/** What goes over the wire between two addresses. */
interface Entry {
  readonly key: string;
  readonly machine: Machine;
  readonly place: Place;
  readonly remote: Address;
  readonly device: string | undefined;
  readonly users: Set<User>;
  listener: Listener | undefined;
  sender: Sender | undefined;
  problem: string | undefined;
  /** Until then sockets are not tried again. */
  retryAt: number;
  since: number;
  told: { readonly state: BfdState; readonly remote: BfdState; readonly flaps: number };
  /** When the schedule wakes it; what else is in the schedule of it is of the past. */
  wakeAt: number;
  /** Of one that says goodbye. */
  endsAt: number | undefined;
  gone: boolean;
}

interface Listener {
  readonly key: string;
  readonly receiver: Receiver;
  readonly entries: Set<Entry>;
}

export class Engine implements Bfd {
  readonly #clock: BfdClock;
  readonly #random: () => number;
  readonly #transport: Transport;
  readonly #byDiscriminator = new Map<number, Entry>();
  readonly #byAddress = new Map<string, Entry>();
  readonly #listeners = new Map<string, Listener>();
  readonly #schedule = new Schedule<Entry>();
  readonly #buffer = new Uint8Array(new ArrayBuffer(PACKET_LENGTH));
  #cancel: (() => void) | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #busy = false;
  #closed = false;

  constructor(clock: BfdClock, random: () => number, transport: Transport) {
    this.#clock = clock;
    this.#random = random;
    this.#transport = transport;
  }

  open(options: BfdOptions, changed: Changed): BfdSession {
    check(options);
    if (this.#closed) throw new RangeError(`BFD session ${options.name}: BFD is closed`);
    const place = placeOf(options);
    const key = sessionKey(place, options.remote);
    let entry = this.#byAddress.get(key);
    // One that says goodbye makes room at once: the other would not know which of two to believe.
    if (entry?.endsAt !== undefined) {
      this.#remove(entry);
      entry = undefined;
    }
    const user: User = { changed, times: options, open: true };
    if (entry) {
      entry.users.add(user);
      this.#retime(entry);
      if (entry.told.state !== "Down") this.#notify(entry, [user], false);
    } else {
      entry = this.#begin(key, place, options, user);
    }
    return this.#session(entry, user);
  }

  #begin(key: string, place: Place, options: BfdOptions, user: User): Entry {
    const now = this.#clock.now();
    const entry: Entry = {
      key,
      machine: new Machine(options, this.#discriminator(), this.#random, now),
      place,
      remote: options.remote,
      device: options.interface,
      users: new Set([user]),
      listener: undefined,
      sender: undefined,
      problem: undefined,
      retryAt: now,
      since: this.#clock.wall(),
      told: { state: "Down", remote: "Down", flaps: 0 },
      wakeAt: Number.POSITIVE_INFINITY,
      endsAt: undefined,
      gone: false,
    };
    this.#byAddress.set(key, entry);
    this.#byDiscriminator.set(entry.machine.discriminator, entry);
    // Listening begins now; sending with the timer, so that nothing is called back from within this call.
    this.#connect(entry, now);
    this.#plan(entry, now);
    return entry;
  }

  #session(entry: Entry, user: User): BfdSession {
    const engine = this;
    return {
      get status() {
        return statusOf(entry);
      },
      change(times) {
        if (!user.open) return;
        checkTimes(times, `between ${formatAddress(entry.place.local)} and ${formatAddress(entry.remote)}`);
        user.times = times;
        engine.#retime(entry);
      },
      close() {
        if (!user.open) return;
        user.open = false;
        entry.users.delete(user);
        if (entry.gone) return;
        if (entry.users.size === 0) engine.#end(entry);
        else engine.#retime(entry);
      },
    };
  }

  /** The shortest that any of its users asks for. */
  #retime(entry: Entry): void {
    const times = [...entry.users].map((user) => user.times);
    const now = this.#clock.now();
    entry.machine.change(
      {
        minSend: Math.min(...times.map(({ minSend }) => minSend)),
        minReceive: Math.min(...times.map(({ minReceive }) => minReceive)),
        multiplier: Math.max(...times.map(({ multiplier }) => multiplier)),
      },
      now,
    );
    this.#plan(entry, now);
  }

  /** RFC 5880 6.8.16: AdminDown is said for a Detection Time of the other, so that one lost packet does not make a failure of it. */
  #end(entry: Entry): void {
    const now = this.#clock.now();
    const { machine } = entry;
    const heard = machine.remoteDiscriminator !== 0;
    machine.shutDown(now);
    this.#service(entry, now);
    if (!heard) {
      this.#remove(entry);
      return;
    }
    entry.endsAt = now + machine.lastingTime;
    this.#plan(entry, now);
  }

  #remove(entry: Entry): void {
    entry.gone = true;
    entry.sender?.close();
    entry.sender = undefined;
    this.#leave(entry);
    this.#byDiscriminator.delete(entry.machine.discriminator);
    if (this.#byAddress.get(entry.key) === entry) this.#byAddress.delete(entry.key);
  }

  /** Opens what sockets are missing. */
  #connect(entry: Entry, now: number): void {
    if (now < entry.retryAt || (entry.listener && entry.sender)) return;
    try {
      entry.listener ??= this.#listen(entry);
      entry.sender ??= this.#transport.sender(entry.place, entry.remote, entry.device);
      entry.problem = undefined;
    } catch (error) {
      entry.problem = (error as Error).message;
      entry.retryAt = now + RETRY;
    }
  }

  #listen(entry: Entry): Listener {
    const { place } = entry;
    const key = placeKey(place);
    let listener = this.#listeners.get(key);
    if (!listener) {
      const receiver = this.#transport.listen(place, (bytes, from) => this.#arrived(place, bytes, from));
      listener = { key, receiver, entries: new Set() };
      this.#listeners.set(key, listener);
    }
    listener.entries.add(entry);
    return listener;
  }

  #leave(entry: Entry): void {
    const { listener } = entry;
    entry.listener = undefined;
    if (!listener) return;
    listener.entries.delete(entry);
    if (listener.entries.size > 0) return;
    this.#listeners.delete(listener.key);
    listener.receiver.close();
  }

  /** RFC 5880 6.8.6: which session it is for. */
  #arrived(place: Place, bytes: Uint8Array, from: () => Address): void {
    const packet = decodePacket(bytes);
    if (typeof packet === "string") return;
    const entry = this.#sessionOf(place, packet, from);
    if (!entry) return;
    const now = this.#clock.now();
    entry.machine.receive(packet, now);
    // What is read while others are looked after waits for its turn.
    if (!this.#busy) this.#service(entry, now);
    this.#plan(entry, now);
  }

  #sessionOf(place: Place, packet: ControlPacket, from: () => Address): Entry | undefined {
    if (packet.yourDiscriminator === 0) return this.#byAddress.get(sessionKey(place, from()));
    const entry = this.#byDiscriminator.get(packet.yourDiscriminator);
    // 6.3: the source may be any, once our discriminator is said back; but a packet that may have crossed routers is not of a single-hop session.
    return entry?.place.multihop === place.multihop ? entry : undefined;
  }

  /** Sends what is due, and tells what changed. */
  #service(entry: Entry, now: number): void {
    const { machine } = entry;
    for (let packet = machine.take(now); packet && !entry.gone; packet = machine.take(now)) {
      this.#connect(entry, now);
      if (entry.sender) this.#send(entry, entry.sender, packet);
    }
    if (entry.gone) return;
    const { told } = entry;
    const { state, remoteState: remote, flaps } = machine;
    if (told.state === state && told.remote === remote && told.flaps === flaps) return;
    if (told.state !== state || told.flaps !== flaps) entry.since = this.#clock.wall();
    entry.told = { state, remote, flaps };
    // RFC 5882 3.2: what the other ends by intent says nothing of the path. It may have failed and be up again, when much was waiting to be read.
    this.#notify(entry, [...entry.users], told.flaps !== flaps && remote !== "AdminDown");
  }

  #send(entry: Entry, sender: Sender, packet: ControlPacket): void {
    encodePacket(packet, this.#buffer);
    try {
      sender.send(this.#buffer);
      entry.problem = undefined;
    } catch (error) {
      entry.problem = (error as Error).message;
      // The device may have gone, and come back as another one: the next packet has new sockets.
      sender.close();
      entry.sender = undefined;
      if (entry.place.device !== undefined) this.#leave(entry);
    }
  }

  #notify(entry: Entry, users: readonly User[], failed: boolean): void {
    const status = statusOf(entry);
    queueMicrotask(() => {
      for (const user of users) if (user.open) user.changed(status, failed);
    });
  }

  /** Puts the session where it is woken in time. */
  #plan(entry: Entry, now: number): void {
    if (entry.gone) return;
    const at = Math.max(now, Math.min(entry.machine.wakeAt, entry.endsAt ?? Number.POSITIVE_INFINITY));
    // Later than planned costs nothing: it is looked at then, and planned anew.
    if (at >= entry.wakeAt) return;
    entry.wakeAt = at;
    this.#schedule.add(at, entry);
    if (!this.#busy) this.#setTimer(now);
  }

  #setTimer(now: number): void {
    const first = this.#schedule.first;
    if (first === this.#timerAt) return;
    this.#cancel?.();
    this.#cancel = undefined;
    this.#timerAt = first;
    if (first === Number.POSITIVE_INFINITY) return;
    this.#cancel = this.#clock.after(Math.max(0, first - now), () => this.#wake());
  }

  #wake(): void {
    this.#cancel = undefined;
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#clock.now();
    const due: Entry[] = [];
    this.#busy = true;
    while (this.#schedule.first <= now) {
      const at = this.#schedule.first;
      const entry = this.#schedule.take();
      if (entry.gone || entry.wakeAt !== at) continue;
      entry.wakeAt = Number.POSITIVE_INFINITY;
      due.push(entry);
    }
    // This timer may be late: what has arrived meanwhile counts before anyone is given up.
    const overdue = due.filter((entry) => entry.machine.expiresAt <= now);
    for (const listener of new Set(overdue.map((entry) => entry.listener))) listener?.receiver.drain();
    for (const entry of due) {
      this.#service(entry, now);
      if (entry.endsAt !== undefined && now >= entry.endsAt) this.#remove(entry);
      this.#plan(entry, now);
    }
    this.#busy = false;
    if (!this.#closed) this.#setTimer(now);
  }

  /** Random, so that a stranger does not guess it (RFC 5881 7), and of no other session here. */
  #discriminator(): number {
    for (;;) {
      const drawn = Math.floor(this.#random() * 0x1_0000_0000) >>> 0;
      if (drawn !== 0 && !this.#byDiscriminator.has(drawn)) return drawn;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    const now = this.#clock.now();
    for (const entry of [...this.#byAddress.values()]) {
      for (const user of entry.users) user.open = false;
      entry.users.clear();
      if (entry.endsAt === undefined) {
        entry.machine.shutDown(now);
        this.#service(entry, now);
      }
      this.#remove(entry);
    }
    this.#cancel?.();
    this.#cancel = undefined;
  }
}

function statusOf({ machine, since, problem, told }: Entry): BfdStatus {
  return {
    state: told.state,
    remoteState: told.remote,
    diagnostic: diagnosticText(machine.diagnostic),
    sendInterval: (machine.sendInterval ?? 0) / 1000,
    detectionTime: machine.detectionTime / 1000,
    since,
    flaps: machine.flaps,
    ...(problem !== undefined && { problem }),
  };
}

function placeOf(options: BfdOptions): Place {
  const device = isLinkLocal(options.local) ? options.interface : undefined;
  return { local: options.local, multihop: options.multihop, ...(device !== undefined && { device }) };
}

const placeKey = ({ local, multihop, device }: Place): string =>
  `${multihop ? "multihop" : "single"} ${device ?? ""} ${addressBytes(local).join()}`;

const sessionKey = (place: Place, remote: Address): string => `${placeKey(place)} ${addressBytes(remote).join()}`;

function check(options: BfdOptions): void {
  const { local, remote, name } = options;
  const refuse = (why: string): never => {
    throw new RangeError(`BFD session ${name}: ${why}`);
  };
  if (local.version !== remote.version) {
    refuse(`${formatAddress(local)} and ${formatAddress(remote)} are of different families`);
  }
  if ((isLinkLocal(local) || isLinkLocal(remote)) && options.interface === undefined) {
    refuse("a link-local address needs an interface");
  }
  if (isLinkLocal(local) && options.multihop) refuse("a link-local address is not reached over several hops");
  checkTimes(options, name);
}

function checkTimes({ minSend, minReceive, multiplier }: BfdTimes, name: string): void {
  if (!Number.isInteger(multiplier) || multiplier < 1 || multiplier > 255) {
    throw new RangeError(`BFD session ${name}: the multiplier ${multiplier} is not a whole number from 1 to 255`);
  }
  for (const interval of [minSend, minReceive]) {
    if (interval >= 1 && interval <= MOST_INTERVAL) continue;
    throw new RangeError(`BFD session ${name}: an interval of ${interval} ms is not from 1 ms to 71 minutes`);
  }
}
