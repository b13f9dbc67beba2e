/** What the variables of the environment say, in upstream's forms. An empty variable is one that is not set. A door beside index.ts, for who needs no more. */
import { readTextFile } from "../sys/index.ts";
import { NodeError } from "./errors.ts";
import type { Env } from "./types.ts";

export const NODENAME_FILE = "/var/lib/calico/nodename";

export const nodenameFile = (env: Env): string => env.CALICO_NODENAME_FILE || NODENAME_FILE;

/**
 * The name that this node goes by, the same for all of its processes: NODENAME, what start-up left in the nodename file, HOSTNAME, the machine's own
 * (`hostname`).
 */
export function nodeNameOf(env: Env, hostname: string): string {
  const recorded = (): string | undefined => readTextFile(nodenameFile(env))?.trim();
  return env.NODENAME?.trim() || recorded() || (env.HOSTNAME?.trim() || hostname.trim()).toLowerCase();
}

/** CALICO_NETWORKING_BACKEND=none: Calico enforces policy, and somebody else makes the network. */
export const isPolicyOnly = (env: Env): boolean => env.CALICO_NETWORKING_BACKEND === "none";

const NO = ["false", "0", "no", "n", "f"];

/** What is set and is not one of upstream's words for no, is a yes. */
export function flag(env: Env, name: string, otherwise: boolean): boolean {
  const text = env[name]?.toLowerCase();
  return text ? !NO.includes(text) : otherwise;
}

/** AS: a number, or two of 16 bits with a point between. */
export function asNumber(env: Env): number | undefined {
  const text = env.AS;
  if (!text) return undefined;
  const match = /^(\d+)(?:\.(\d+))?$/.exec(text);
  const [high, low] = [Number(match?.[1]), match?.[2] === undefined ? undefined : Number(match[2])];
  const halves = low !== undefined;
  const number = halves ? high * 0x1_0000 + low : high;
  const fits = halves ? high <= 0xffff && low <= 0xffff : number <= 0xffff_ffff;
  if (match && fits) return number;
  throw new NodeError("ENVIRONMENT", `AS=${text}: is not an AS number; must be from 0 to 4294967295, or such as 1.10`);
}
