/** A session with one peer: what it is told, and what it tells. */
import type { Address } from "../../ip/index.ts";
import type { Capabilities, Family, Negotiated, Open, RouteRefresh, Update } from "../wire/index.ts";

export interface SessionOptions {
  readonly name: string;
  readonly address: Address;
  /** Of a link-local address. */
  readonly interface?: string;
  readonly port: number;
  readonly localAsn: number;
  readonly peerAsn: number;
  readonly routerId: number;
  readonly sourceAddress?: Address;
  readonly passive: boolean;
  /** Hops at most (RFC 5082). Absent: no check, and packets live as long as the kernel's default lets them. */
  readonly ttlSecurity?: number;
  /** TCP-MD5 (RFC 2385). */
  readonly password?: string;
  /** Seconds that are offered; the lower of both counts. Default 90 (240 in BIRD). */
  readonly holdTime: number;
  /** Seconds. Absent, or longer: a third of what was settled. */
  readonly keepaliveTime?: number;
  /** What is offered; restarting and forwarding bits as they are at that moment. */
  capabilities(): Capabilities;
  readonly times?: Partial<SessionTimes>;
}

/** Milliseconds. */
export interface SessionTimes {
  /** Before the first attempt (connect delay), and after a session that was lost. */
  readonly connectDelay: number;
  /** Between attempts, the first five; then doubled with every one in a row that failed, up to `connectRetryMost`. Spread by up to a quarter. */
  readonly connectRetry: number;
  readonly connectRetryMost: number;
  /** After an error of the protocol, growing in the same way (error wait time). */
  readonly errorWait: number;
  readonly errorWaitMost: number;
  /** How long an attempt may go without an answer. The kernel would try for two minutes. */
  readonly connectTimeout: number;
  /** How long a connection that was taken may be without OPEN. */
  readonly openWait: number;
}

export type State = "Idle" | "Connect" | "Active" | "OpenSent" | "OpenConfirm" | "Established";

/** Why a session is not up, or went down: in words a user acts on, and in a code that tests and metrics use. */
export interface SessionError {
  readonly code:
    | "NO_ROUTE"
    | "REFUSED"
    | "TIMED_OUT"
    | "MD5_SUSPECTED"
    | "CONNECTION_LOST"
    | "OPEN_REJECTED"
    | "OPEN_UNACCEPTABLE"
    | "HOLD_TIMER"
    | "NOTIFICATION_RECEIVED"
    | "NOTIFICATION_SENT"
    | "BFD_DOWN"
    | "COLLISION"
    | "CONFIGURATION_CHANGED"
    | "SHUTDOWN"
    | "INTERNAL";
  readonly message: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

export interface SessionStatus {
  readonly state: State;
  /** Milliseconds since 1970 at which the state was entered. */
  readonly since: number;
  readonly lastError?: SessionError;
  /** What ended the last session that was Established, whatever has happened since. */
  readonly endedBy?: SessionError;
  /** What the other said in its OPEN, while there is one. */
  readonly peer?: Open;
  readonly negotiated?: Negotiated;
  readonly holdTime?: number;
  readonly localAddress?: Address;
  readonly messages: { readonly sent: number; readonly received: number };
  readonly flaps: number;
}

/** What a session tells. Calls come one at a time and never from within a call to the session. */
export interface SessionHandler {
  established(peer: Open, negotiated: Negotiated, localAddress: Address): void;
  /** Valid during the call only. */
  update(update: Update): void;
  refresh(refresh: RouteRefresh): void;
  /** What was sent is on its way: there is room again. */
  drained(): void;
  /** The session was up and is not any more. `keep` names the families whose routes are to stay for now (RFC 4724, RFC 8538), `time` for how long, in seconds. */
  down(error: SessionError, keep: readonly Family[], time: number): void;
  /** For logs and status. */
  stateChanged(state: State, error?: SessionError): void;
}

export interface Session {
  readonly status: SessionStatus;
  /** Queues a whole message, whose bytes are copied; false: no more until `drained`. Without a session it is dropped, and the answer is true. */
  send(message: Uint8Array): boolean;
  /** Asks the other for its table again. False: it does not know how. */
  requestRefresh(family: Family): boolean;
  /** The receiver is behind: no more updates until `resume`. The other has to wait then (TCP), and is not taken for silent. */
  pause(): void;
  resume(): void;
  /** Ends the session with that error and, unless told otherwise, begins anew after a while. */
  reset(error: Pick<SessionError, "code" | "message">): void;
  /** Cease (RFC 4486: administrative shutdown) with words (RFC 9003), or silently, as a process that is killed: for a graceful restart. */
  close(how: { readonly graceful: boolean; readonly text?: string }): Promise<void>;
}
