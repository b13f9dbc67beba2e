/**
 * One session's state machine (RFC 5880 6.8), without sockets or timers: packets and the time go in, packets and the time of the next
 * question come out. Intervals are in microseconds as on the wire, moments in milliseconds.
 */
import { type ControlPacket, DIAGNOSTIC } from "./packet.ts";
import type { BfdState, BfdTimes } from "./types.ts";

/** What a session sends at most while it is not up (RFC 5880 6.8.3): one packet a second. */
const SLOW = 1_000_000;

interface Intervals {
  /** bfd.DesiredMinTxInterval and bfd.RequiredMinRxInterval. */
  readonly desired: number;
  readonly required: number;
}

export class Machine {
  readonly discriminator: number;
  state: BfdState = "Down";
  remoteState: BfdState = "Down";
  diagnostic: number = DIAGNOSTIC.NONE;
  remoteDiscriminator = 0;
  /** How often it was up and went down. */
  flaps = 0;

  readonly #random: () => number;
  #multiplier: number;
  /** As configured; while not up, more is waited between packets. */
  #configured: Intervals;
  /** Until the other has confirmed a change (6.8.3): what is faster of both counts for sending, what is slower for detection. */
  #before: Intervals | undefined;
  #remoteMinRx = 1;
  #remoteMinTx = 0;
  #remoteMultiplier = 0;
  #remoteDemand = false;
  #polling = false;
  #pollAgain = false;
  #finalDue = false;
  #sentAt = Number.NEGATIVE_INFINITY;
  #nextSend: number;
  #receivedAt: number | undefined;

  constructor(times: BfdTimes, discriminator: number, random: () => number, now: number) {
    this.discriminator = discriminator;
    this.#random = random;
    this.#multiplier = times.multiplier;
    this.#configured = intervalsOf(times);
    this.#nextSend = now;
  }

  /** When {@link take} wants to be called again, if no packet comes. */
  get wakeAt(): number {
    return Math.min(this.#nextSend, this.expiresAt);
  }

  /** When the other is given up. Infinity: it has not been heard, or was given up already. */
  get expiresAt(): number {
    return this.#receivedAt === undefined ? Number.POSITIVE_INFINITY : this.#receivedAt + this.detectionTime / 1000;
  }

  /** 6.8.2: how often at most packets are sent, before jitter; undefined when the other wants none. */
  get sendInterval(): number | undefined {
    if (this.#remoteMinRx === 0) return undefined;
    // 6.6: the other is in demand mode; it hears from us only when it polls, or while something is to be settled.
    const quiet = this.#remoteDemand && this.state === "Up" && this.remoteState === "Up" && !this.#polling;
    return quiet ? undefined : Math.max(this.#desired, this.#remoteMinRx);
  }

  /** 6.8.4 */
  get detectionTime(): number {
    return this.#remoteMultiplier * Math.max(this.#required, this.#remoteMinTx);
  }

  /** Milliseconds after which the other, if it hears nothing, has given up this session. */
  get lastingTime(): number {
    return (this.#multiplier * Math.max(this.#announcedTx, this.#remoteMinRx)) / 1000;
  }

  get #announcedTx(): number {
    return this.state === "Up" ? this.#configured.desired : Math.max(SLOW, this.#configured.desired);
  }

  get #desired(): number {
    return this.state === "Up" && this.#before ? Math.min(this.#before.desired, this.#announcedTx) : this.#announcedTx;
  }

  get #required(): number {
    const { required } = this.#configured;
    return this.state === "Up" && this.#before ? Math.max(this.#before.required, required) : required;
  }

  /** 6.8.6, from "if the Your Discriminator field is nonzero" on; which session it is for was found out. */
  receive(packet: ControlPacket, now: number): void {
    const { sendInterval: interval, state } = this;
    this.remoteDiscriminator = packet.myDiscriminator;
    this.remoteState = packet.state;
    this.#remoteDemand = packet.demand;
    this.#remoteMinRx = packet.requiredMinRx;
    this.#remoteMinTx = packet.desiredMinTx;
    this.#remoteMultiplier = packet.multiplier;
    if (packet.final && this.#polling) {
      if (this.#pollAgain) this.#pollAgain = false;
      else this.#endPoll();
    }
    if (this.state === "AdminDown") return;
    this.#receivedAt = now;
    this.#follow(packet.state, now);
    if (packet.poll) this.#finalDue = true;
    if (this.#finalDue) this.#nextSend = Math.min(this.#nextSend, now);
    else if (this.state === state && this.sendInterval !== interval) this.#reschedule(now);
  }

  #follow(remote: BfdState, now: number): void {
    const { state } = this;
    if (remote === "AdminDown" || (remote === "Down" && state === "Up")) {
      if (state !== "Down") this.#enter("Down", DIAGNOSTIC.SIGNALED_DOWN, now);
    } else if (state === "Down") {
      if (remote === "Down") this.#enter("Init", this.diagnostic, now);
      else if (remote === "Init") this.#enter("Up", DIAGNOSTIC.NONE, now);
    } else if (state === "Init" && remote !== "Down") {
      this.#enter("Up", DIAGNOSTIC.NONE, now);
    }
  }

  #enter(state: BfdState, diagnostic: number, now: number): void {
    if (this.state === "Up") this.flaps++;
    this.state = state;
    this.diagnostic = diagnostic;
    this.#endPoll();
    // From a packet a second to what is configured: a change that is told by a poll.
    if (state === "Up") this.#polling = true;
    this.#nextSend = now; // 6.8.7: a change is not left to the next period
  }

  #endPoll(): void {
    this.#polling = false;
    this.#pollAgain = false;
    this.#before = undefined;
  }

  /**
   * The next packet that is due, or undefined; to be asked until it answers so. When the other is overdue it is given up here: the caller has
   * handed in before what was waiting.
   */
  take(now: number): ControlPacket | undefined {
    if (now >= this.expiresAt) this.#expire(now);
    if (now < this.#nextSend) return undefined;
    const final = this.#finalDue;
    this.#finalDue = false;
    const interval = this.sendInterval;
    if (!final && interval === undefined) {
      this.#nextSend = Number.POSITIVE_INFINITY;
      return undefined;
    }
    // An answer to a poll does not stand for the periodic packet, which keeps its time unless that is now.
    const periodicAt = this.#sentAt + (interval ?? Number.POSITIVE_INFINITY) / 1000;
    if (!final || now >= periodicAt) this.#sentAt = now;
    this.#nextSend = interval === undefined ? Number.POSITIVE_INFINITY : this.#next(interval, this.#sentAt, now);
    return this.#packet(final);
  }

  #expire(now: number): void {
    this.#receivedAt = undefined;
    this.remoteDiscriminator = 0; // 6.8.1: a Detection Time without a valid packet
    this.#remoteMinRx = 1;
    this.#remoteDemand = false;
    this.remoteState = "Down";
    if (this.state === "Init" || this.state === "Up") this.#enter("Down", DIAGNOSTIC.EXPIRED, now);
    else this.#reschedule(now);
  }

  /**
   * 6.8.7: 75 to 100 percent of the interval after the last packet (to 90 with a multiplier of 1), drawn anew for each. Moments are multiples of a
   * small power of two of a millisecond, so that one wakeup serves many sessions.
   */
  #next(interval: number, sentAt: number, now: number): number {
    const milliseconds = interval / 1000;
    const grain = 2 ** Math.floor(Math.log2(milliseconds / 32));
    const least = 0.75 * milliseconds;
    const most = (this.#multiplier === 1 ? 0.9 : 1) * milliseconds - grain;
    const drawn = Math.max(now, sentAt + least + this.#random() * (most - least));
    return Math.ceil(drawn / grain) * grain;
  }

  #reschedule(now: number): void {
    const interval = this.sendInterval;
    if (interval === undefined) this.#nextSend = Number.POSITIVE_INFINITY;
    else if (this.#sentAt === Number.NEGATIVE_INFINITY) this.#nextSend = now;
    else this.#nextSend = this.#next(interval, this.#sentAt, now);
  }

  #packet(final: boolean): ControlPacket {
    return {
      diagnostic: this.diagnostic,
      state: this.state,
      poll: this.#polling && !final,
      final,
      independent: false,
      demand: false,
      multiplier: this.#multiplier,
      myDiscriminator: this.discriminator,
      yourDiscriminator: this.remoteDiscriminator,
      desiredMinTx: this.#announcedTx,
      requiredMinRx: this.#configured.required,
      requiredMinEchoRx: 0,
    };
  }

  /** Other intervals. While up they are told by a poll sequence, and the careful one of old and new counts until that is answered. */
  change(times: BfdTimes, now: number): void {
    const next = intervalsOf(times);
    const was = this.#configured;
    const same = next.desired === was.desired && next.required === was.required;
    if (same && times.multiplier === this.#multiplier) return;
    this.#multiplier = times.multiplier;
    this.#configured = next;
    if (this.state !== "Up") {
      this.#reschedule(now);
      return;
    }
    if (!same) {
      const before = this.#before ?? was;
      this.#before = {
        desired: Math.min(before.desired, was.desired),
        required: Math.max(before.required, was.required),
      };
      if (this.#polling) this.#pollAgain = true;
      this.#polling = true;
    }
    this.#nextSend = now;
  }

  /** 6.8.16: ends by intent; keeps saying so for as long as it is asked. */
  shutDown(now: number): void {
    if (this.state === "AdminDown") return;
    this.#enter("AdminDown", DIAGNOSTIC.ADMINISTRATIVELY_DOWN, now);
    this.#receivedAt = undefined;
    this.#finalDue = false;
  }
}

const intervalsOf = ({ minSend, minReceive }: BfdTimes): Intervals => ({
  desired: Math.round(minSend * 1000),
  required: Math.round(minReceive * 1000),
});
