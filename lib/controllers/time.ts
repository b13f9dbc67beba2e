import { pause } from "../wait/index.ts";

/** What waits and what looks at the clock does so here, so that a test decides when time goes by. */
export interface Time {
  /** Milliseconds since 1970. */
  now(): number;
  /** Resolves after so long, or at once when the signal aborts. */
  sleep(milliseconds: number, signal: AbortSignal): Promise<void>;
  /** From 0 to below 1: spreads what would otherwise be tried at the same moment. */
  random(): number;
}

export const systemTime: Time = { now: Date.now, sleep: pause, random: Math.random };
