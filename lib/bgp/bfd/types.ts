/** Bidirectional forwarding detection (RFC 5880, 5881, 5883): is the other there, many times a second. */
import type { Address } from "../../ip/index.ts";
import type { Namespace } from "../../sys/index.ts";

export interface BfdOptions {
  readonly name: string;
  readonly local: Address;
  readonly remote: Address;
  readonly interface?: string;
  /** RFC 5883, port 4784; else RFC 5881, port 3784 and TTL 255. */
  readonly multihop: boolean;
  /** Milliseconds. */
  readonly minSend: number;
  readonly minReceive: number;
  readonly multiplier: number;
}

export type BfdState = "AdminDown" | "Down" | "Init" | "Up";

export interface BfdStatus {
  readonly state: BfdState;
  readonly remoteState: BfdState;
  /** In words, RFC 5880 4.1. */
  readonly diagnostic: string;
  /** Milliseconds: what was settled. */
  readonly sendInterval: number;
  readonly detectionTime: number;
  /** Milliseconds since 1970 at which `state` was entered. */
  readonly since: number;
  /** How often it was up and went down. */
  readonly flaps: number;
  /** Why packets cannot be sent or received at present, in words; absent when they can. */
  readonly problem?: string;
}

/** What may change while a session stays up: the other side is told by a poll sequence (RFC 5880 6.8.3). */
export type BfdTimes = Pick<BfdOptions, "minSend" | "minReceive" | "multiplier">;

export interface BfdSession {
  readonly status: BfdStatus;
  /** Other intervals, without an interruption. */
  change(times: BfdTimes): void;
  /** Tells the other that it ends by intent (AdminDown, RFC 5880 6.8.16), so that it does not take it for a failure. */
  close(): void;
}

/** Time as BFD needs it. A test's own decides when what happens. */
export interface BfdClock {
  /** Milliseconds that only grow, with fractions. */
  now(): number;
  /** Milliseconds since 1970, for `since`. */
  wall(): number;
  /** Calls back once, not before `milliseconds` have passed; the answer cancels. */
  after(milliseconds: number, action: () => void): () => void;
}

export interface BfdEngineOptions {
  /** Absent: the machine's. */
  readonly clock?: BfdClock;
  /** From 0 to below 1. Absent: Math.random. */
  readonly random?: () => number;
  /** Sockets are opened in it. Absent: the one that the process is in. */
  readonly namespace?: Namespace;
}

export interface Bfd {
  /**
   * `changed` is called when the state, or the other's, is another one. `failed`: this change is that it was up and is not, and not because the other
   * ended it by intent: the moment for those who rely on the path to act (RFC 5882 3.2). Never from within a call of `open`, `change` or `close`. What is wrong with the
   * sockets (address not there yet, port taken) does not throw: it is tried again every second, and `status.problem` says what it is. Two with the
   * same addresses and interface share what goes over the wire, with the shorter of their intervals (RFC 5880: one session a pair of systems).
   * Throws RangeError when the options make no session: addresses of different families, a multiplier outside of 1-255, intervals of less than 1 ms or more than 71 minutes.
   */
  open(options: BfdOptions, changed: (status: BfdStatus, failed: boolean) => void): BfdSession;
  close(): Promise<void>;
}
