/** One connection of a session: messages in and out, how long it has been silent, and an orderly end. */
import {
  type Capabilities,
  encodeNotification,
  type Message,
  MessageReader,
  type Notification,
  WireError,
} from "../wire/index.ts";
import type { Clock, Connection, Timer } from "./environment.ts";
import { HIGH_WATER, LOW_WATER, Outbox, OVERFLOW } from "./outbox.ts";
import type { Turns, Work } from "./turns.ts";

export interface LinkEvents {
  /** Valid during the call only. A WireError that is thrown is what `malformed` gets, any other error what `failed` gets. */
  message(link: Link, message: Message): void;
  malformed(link: Link, error: WireError): void;
  /** A mistake of this program's own, met while it read a message. */
  failed(link: Link, error: unknown): void;
  /** Everything that came before has been told. */
  lost(link: Link, errno: string | undefined): void;
  silent(link: Link): void;
  keepaliveDue(link: Link): void;
  /** Nothing was taken for so many seconds. */
  blocked(link: Link, time: number): void;
  /** There is room again, after `send` said that there is none. */
  drained(link: Link): void;
  /** The last that is heard of it: it is closed for good. */
  ended(link: Link): void;
}

export interface LinkContext {
  readonly clock: Clock;
  readonly random: () => number;
  readonly turns: Turns;
  readonly events: LinkEvents;
}

/** So much is read ahead of what is worked off; then the other has to wait. */
const READ_AHEAD = 128 * 1024;
/** How long the other has to read the last words. */
const LINGER = 1_000;
/** Something has come and was not read yet when the hold timer went off: this process was slow, not the other. */
const GRACE = 1_000;
/** RFC 9687 4: the least of the send hold time. */
const SEND_HOLD_LEAST = 480_000;
/** How often, in messages, a slice of work looks at the time. */
const LOOK = 16;

export class Link implements Work {
  /** Of what was offered in the OPEN that was sent here. */
  offered: Capabilities | undefined;
  received = 0;
  sent = 0;
  readonly #context: LinkContext;
  readonly #reader = new MessageReader();
  readonly #outbox = new Outbox();
  readonly #chunks: Uint8Array[] = [];
  #ahead = 0;
  #paused = false;
  /** The receiver is behind. */
  #suspended = false;
  #phase: "open" | "lingering" | "ended" = "open";
  #lost: { readonly errno: string | undefined } | undefined;

  #blockedSince: number | undefined;
  #flushPlanned = false;
  #roomWanted = false;

  #silence = 0;
  #heardAt = 0;
  #graceGiven = false;
  #keepalive = 0;
  #silenceTimer: Timer | undefined;
  #keepaliveTimer: Timer | undefined;
  #blockedTimer: Timer | undefined;
  #lingerTimer: Timer | undefined;

  constructor(
    readonly id: number,
    readonly connection: Connection,
    context: LinkContext,
  ) {
    this.#context = context;
    this.#heardAt = context.clock.now();
    connection.listen({
      data: (bytes) => this.#data(bytes),
      writable: () => this.#writable(),
      lost: (errno) => this.#onLost(errno),
    });
  }

  /** RFC 8654: both offered long messages. */
  allowExtended(): void {
    this.#reader.extended = true;
  }

  /** Milliseconds; 0 for never. Counts from now. */
  watch(silence: number, keepalive: number): void {
    const { clock } = this.#context;
    this.#silence = silence;
    this.#heardAt = clock.now();
    this.#keepalive = keepalive;
    this.#silenceTimer?.cancel();
    this.#silenceTimer = silence > 0 ? clock.after(silence, () => this.#checkSilence()) : undefined;
    this.#keepaliveTimer?.cancel();
    this.#keepaliveTimer = undefined;
    if (keepalive > 0) this.#armKeepalive();
  }

  /** A whole message; false: no more until `drained`. */
  send(message: Uint8Array): boolean {
    if (this.#phase !== "open") return true;
    this.sent++;
    this.#outbox.append(message);
    if (this.#blockedSince === undefined) {
      // Many small ones are one write; much is written at once, so that the other can begin.
      if (this.#outbox.pending >= LOW_WATER) this.#flush();
      else this.#planFlush();
    }
    if (this.#outbox.pending < HIGH_WATER) return true;
    this.#roomWanted = true;
    return false;
  }

  /** More was sent than there ever was room for. */
  get overflown(): boolean {
    return this.#outbox.pending > OVERFLOW;
  }

  /** A KEEPALIVE: not where other messages wait, which will say as much once they can go. */
  sendKeepalive(message: Uint8Array): void {
    if (this.#outbox.pending === 0) this.send(message);
  }

  suspend(suspended: boolean): void {
    this.#suspended = suspended;
    if (!suspended && this.#busy) this.#context.turns.schedule(this);
  }

  /** Tells the other, where there is something to tell, gives it a moment to read that, and closes. Nothing but `ended` is called any more. */
  end(notification: Notification | undefined): void {
    if (this.#phase !== "open") return;
    const { turns, clock } = this.#context;
    turns.cancel(this);
    this.#chunks.length = 0;
    for (const timer of [this.#silenceTimer, this.#keepaliveTimer, this.#blockedTimer]) timer?.cancel();
    if (!notification || this.#lost) {
      this.#close();
      return;
    }
    this.#phase = "lingering";
    this.sent++;
    this.#outbox.clear();
    this.#outbox.append(encodeNotification(notification));
    this.#lingerTimer = clock.after(LINGER, () => this.#close());
    this.#lastWords();
    // What comes is read and forgotten: closing with something unread would be RST, which can overtake the last words.
    this.connection.resume();
  }

  /** As a slice of the process's time; see Turns. */
  work(until: number): boolean {
    if (this.#phase !== "open" || this.#suspended) return false;
    const { events, clock } = this.#context;
    let count = 0;
    try {
      for (;;) {
        const message = this.#reader.next();
        if (message) {
          this.received++;
          if (count++ === 0) this.#heard(clock.now());
          events.message(this, message);
          if (this.#phase !== "open") return false;
          if (this.#suspended) break;
          if (count % LOOK === 0 && performance.now() >= until) return true;
          continue;
        }
        const chunk = this.#chunks.shift();
        if (!chunk) break;
        this.#ahead -= chunk.length;
        this.#reader.push(chunk);
      }
    } catch (error) {
      if (error instanceof WireError) events.malformed(this, error);
      else events.failed(this, error);
      return false;
    }
    if (this.#suspended) return false;
    if (this.#lost) events.lost(this, this.#lost.errno);
    else if (this.#paused) {
      this.#paused = false;
      this.connection.resume();
    }
    return false;
  }

  get #busy(): boolean {
    return this.#chunks.length > 0 || this.#reader.buffered > 0 || this.#paused || this.#lost !== undefined;
  }

  #heard(now: number): void {
    this.#heardAt = now;
    this.#graceGiven = false;
  }

  #data(bytes: Uint8Array): void {
    if (this.#phase !== "open") return;
    this.#chunks.push(bytes);
    this.#ahead += bytes.length;
    if (this.#ahead >= READ_AHEAD && !this.#paused) {
      this.#paused = true;
      this.connection.pause();
    }
    this.#context.turns.schedule(this);
  }

  #onLost(errno: string | undefined): void {
    this.#lost = { errno };
    if (this.#phase === "lingering") this.#close();
    else if (this.#phase === "open") this.#context.turns.schedule(this);
  }

  #writable(): void {
    if (this.#phase === "lingering") {
      this.#lastWords();
      return;
    }
    if (this.#phase !== "open" || this.#blockedSince === undefined) return;
    this.#flush();
    if (this.#roomWanted && this.#outbox.pending <= LOW_WATER) {
      this.#roomWanted = false;
      this.#context.events.drained(this);
    }
  }

  #planFlush(): void {
    if (this.#flushPlanned) return;
    this.#flushPlanned = true;
    queueMicrotask(() => {
      this.#flushPlanned = false;
      if (this.#phase === "open" && this.#blockedSince === undefined) this.#flush();
    });
  }

  #flush(): void {
    const before = this.#outbox.pending;
    const { clock } = this.#context;
    if (this.#outbox.flush((bytes) => this.connection.write(bytes))) {
      this.#blockedSince = undefined;
      this.#blockedTimer?.cancel();
      this.#blockedTimer = undefined;
      return;
    }
    if (this.#blockedSince === undefined || this.#outbox.pending < before) this.#blockedSince = clock.now();
    this.#blockedTimer ??= clock.after(this.#sendHold, () => this.#checkBlocked());
  }

  get #sendHold(): number {
    return Math.max(SEND_HOLD_LEAST, 2 * this.#silence);
  }

  #checkBlocked(): void {
    this.#blockedTimer = undefined;
    if (this.#phase !== "open" || this.#blockedSince === undefined) return;
    const { clock, events } = this.#context;
    const left = this.#blockedSince + this.#sendHold - clock.now();
    if (left > 0) this.#blockedTimer = clock.after(left, () => this.#checkBlocked());
    else events.blocked(this, Math.round(this.#sendHold / 1000));
  }

  #checkSilence(): void {
    this.#silenceTimer = undefined;
    if (this.#phase !== "open" || this.#silence === 0) return;
    const { clock, events, turns } = this.#context;
    const left = this.#heardAt + this.#silence - clock.now();
    if (left > 0) {
      this.#silenceTimer = clock.after(left, () => this.#checkSilence());
    } else if (this.#suspended || this.#chunks.length > 0) {
      // It is this side that does not listen.
      turns.schedule(this);
      this.#silenceTimer = clock.after(GRACE, () => this.#checkSilence());
    } else if (!this.#graceGiven && this.connection.readable()) {
      this.#graceGiven = true;
      this.#silenceTimer = clock.after(GRACE, () => this.#checkSilence());
    } else {
      events.silent(this);
    }
  }

  #armKeepalive(): void {
    const { clock, random } = this.#context;
    // RFC 4271 10: spread by a quarter, so that peers which came up together do not stay in step.
    const after = this.#keepalive * (0.75 + 0.25 * random());
    this.#keepaliveTimer = clock.after(after, () => {
      this.#armKeepalive();
      this.#context.events.keepaliveDue(this);
    });
  }

  #lastWords(): void {
    if (this.#outbox.flush((bytes) => this.connection.write(bytes))) this.connection.finish();
  }

  #close(): void {
    if (this.#phase === "ended") return;
    this.#phase = "ended";
    this.#lingerTimer?.cancel();
    this.connection.close();
    this.#context.events.ended(this);
  }
}
