/**
 * When to try again. Pure. Intervals grow with what fails in a row. RFC 4271 8.1.1's DampPeerOscillations concerns sessions in a row that end
 * young: one whose session was up for a while is tried again at once, however often that was before.
 */
import type { SessionTimes } from "./types.ts";

/** How long a session is young, in milliseconds. */
export const STABLE_AFTER = 10_000;
/** So many failures in a row are no cause to wait longer: the other restarts, and is back in a moment. */
const PROMPT = 5;
/** How often an interval is doubled for young sessions: who lets one up at all will do so again, and has routes to tell. */
const MOST_DAMPED = 3;

/** Each in a row. */
export interface Tries {
  /** Connections that came to nothing. */
  readonly failures: number;
  /** Sessions that ended young. */
  readonly oscillations: number;
  /** Errors of the protocol. */
  readonly errors: number;
}

/** Milliseconds until the next attempt to connect; `lost`: after a session, which the other may want back as much. */
export function untilConnect(times: SessionTimes, { failures, oscillations }: Tries, lost: boolean): number {
  if (lost && failures === 0 && oscillations <= 1) return times.connectDelay;
  const damped = Math.min(MOST_DAMPED, oscillations - PROMPT);
  return grown(times.connectRetry, Math.max(0, failures + 1 - PROMPT, damped), times.connectRetryMost);
}

/** Milliseconds after an error of the protocol, before anybody is let in. */
export function untilStarted({ errorWait, errorWaitMost }: SessionTimes, { errors }: Tries): number {
  return grown(errorWait, errors, errorWaitMost);
}

/** Doubled with every time before, up to the most. */
function grown(base: number, before: number, most: number): number {
  return Math.max(base, Math.min(most, base * 2 ** Math.min(before, 20)));
}
