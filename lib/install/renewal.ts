/** When the plugin's token is renewed, and what is said meanwhile. The decisions are pure; {@link keepKubeconfig} carries them out. */
import { join } from "node:path";
import { readTextFile } from "../sys/index.ts";
import type { Logger } from "../telemetry/index.ts";
import { pause } from "../wait/index.ts";
import { KUBECONFIG, type Places } from "./conflist.ts";
import type { TokenLife } from "./kubeconfig.ts";
import { endpointOf, type KnownFile, readFile, renewKubeconfig, type TokenSource, tryToken } from "./token.ts";

/** Milliseconds between looks at the file, which ask nobody. */
const LOOK = 60_000;
/** Between attempts to renew, in milliseconds: twice as long after each one that failed, up to the last; a plugin that is not let in waits less. */
const FIRST_RETRY = 5_000;
const LAST_RETRY = 300_000;
const LAST_RETRY_WITHOUT = 30_000;
/** With so much of its life left a token is about to expire. */
const NEAR = 0.25;
/** A longer interval than this part of its life would come too close to that. */
const LATEST = 0.6;
/** The nodes of a cluster shall not all come at once: up to this part of the interval later, each at its own time. */
const SPREAD = 0.2;

/**
 * When a token is renewed, in milliseconds since 1970: at half of its life, or after `interval`, and a little later. `share`, from 0 to 1, is
 * this node's place among the others.
 */
export function renewAt({ issuedAt, expiresAt }: TokenLife, share: number, interval?: number): number {
  const life = expiresAt - issuedAt;
  return issuedAt + Math.min(interval ?? life / 2, LATEST * life) * (1 + SPREAD * share);
}

/** Whether it is time to be alarmed. */
export const isNear = ({ issuedAt, expiresAt }: TokenLife, now: number): boolean =>
  expiresAt - now < NEAR * (expiresAt - issuedAt);

export interface RenewalFacts {
  readonly file: KnownFile | undefined;
  /** What the file is to say beside the token. */
  readonly endpoint: ReturnType<typeof endpointOf>;
  readonly now: number;
  readonly share: number;
  readonly interval?: number | undefined;
  /** The API server was asked, and lets the file's token in no longer. */
  readonly refused?: string | undefined;
}

/** That a new token is due, and why. */
export interface Due {
  readonly why: string;
  /** The file is good, as far as is known: there is time to renew it. */
  readonly isGood: boolean;
}

/** Whether a new token is due; undefined: the file is good. */
export function whyRenew({ file, endpoint, now, share, interval, refused }: RenewalFacts): Due | undefined {
  const of = (why: string, isGood = false): Due => ({ why, isGood });
  if (!file) return of("there is no file, or it cannot be read");
  const { access, life } = file;
  if (access.server !== endpoint.server)
    return of(`it is for ${access.server}, and the API server is ${endpoint.server}`);
  if (access.ca?.trim() !== endpoint.ca?.trim()) return of("it trusts another CA");
  if ((access.insecureSkipTlsVerify ?? false) !== (endpoint.insecureSkipTlsVerify ?? false))
    return of("it is of another mind whether the API server's certificate is verified");
  if (!life) return of("its token does not say when it expires");
  if (refused !== undefined) return of(`its token is refused: ${refused}`);
  if (now >= life.expiresAt) return of("its token has expired");
  return now >= renewAt(life, share, interval) ? of("its token is in the second half of its life", true) : undefined;
}

export interface KeepKubeconfigOptions {
  readonly source: TokenSource;
  readonly places: Places;
  /** Files of the pod's own account: when one of them changes, the API server's keys may have. */
  readonly watched: readonly string[];
  /** CNI_TOKEN_REFRESH_INTERVAL: milliseconds from one token to the next, instead of half of its life. */
  readonly interval?: number | undefined;
  /** Called each time that the file is known to be good. */
  readonly onGood: () => void;
  /** Why the plugin will soon not be let in, or is not now; undefined: it is well. */
  readonly onTrouble: (why: string | undefined) => void;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** From 0 to 1. */
  readonly random?: () => number;
  /** Milliseconds. */
  readonly wait?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/** Keeps the plugin's kubeconfig good for as long as the signal is not aborted. Whatever fails is tried again; the file that is there stays until a better one was tried. */
export async function keepKubeconfig(options: KeepKubeconfigOptions): Promise<void> {
  const { source, places, watched, interval, onGood, onTrouble, log, signal } = options;
  const { now = Date.now, random = Math.random, wait = pause } = options;
  const share = random();
  let tried: string | undefined;
  let retry = FIRST_RETRY;
  while (!signal.aborted) {
    let failure: string | undefined;
    let file: KnownFile | undefined;
    let due: Due | undefined;
    try {
      file = readFile(places);
      // The token is looked at again only when something suggests that the API server may have come to think otherwise of it.
      const print = JSON.stringify([file?.text, ...watched.map((path) => readTextFile(path))]);
      let refused: string | undefined;
      const endpoint = endpointOf(source);
      const facts = { file, endpoint, now: now(), share, interval };
      if (file && print !== tried && whyRenew(facts) === undefined) {
        const refusal = await tryToken(file.access.config, source.node);
        if (refusal?.isFinal) refused = refusal.why;
        else if (refusal) failure = `its token cannot be tried: ${refusal.why}`;
      }
      due = whyRenew({ ...facts, refused });
      if (due) {
        await renewKubeconfig(source, places);
        file = readFile(places);
        log.info("the CNI plugin has a new token", {
          why: due.why,
          file: join(places.netFolder, KUBECONFIG),
          expires: file?.life && new Date(file.life.expiresAt).toISOString(),
        });
      }
      if (failure === undefined) {
        tried = JSON.stringify([file?.text, ...watched.map((path) => readTextFile(path))]);
        onGood();
      }
    } catch (error) {
      failure = (error as Error).message;
    }
    if (signal.aborted) return;
    if (failure === undefined) {
      retry = FIRST_RETRY;
      onTrouble(undefined);
      await wait(LOOK, signal);
      continue;
    }
    // Whatever keeps this account from a new token, such as other keys, may keep the old one out as well.
    if (file && due?.isGood) {
      const refusal = await tryToken(file.access.config, source.node).catch(() => undefined);
      if (refusal?.isFinal) due = { why: `its token is refused: ${refusal.why}`, isGood: false };
    }
    const isOfUse = file !== undefined && (due?.isGood ?? true);
    if (!isOfUse) retry = Math.min(retry, LAST_RETRY_WITHOUT);
    log.warning("the CNI plugin's kubeconfig cannot be renewed; tried again", {
      error: failure,
      inSeconds: retry / 1000,
    });
    const life = file?.life;
    if (!file) onTrouble(`the CNI plugin has no kubeconfig: ${failure}`);
    else if (life && isNear(life, now()))
      onTrouble(
        `the CNI plugin's token ${now() < life.expiresAt ? "expires" : "has expired"} at ${new Date(life.expiresAt).toISOString()} and is not renewed: ${failure}`,
      );
    else if (due && !due.isGood)
      onTrouble(`the CNI plugin's kubeconfig is of no use, ${due.why}; and there is no other: ${failure}`);
    await wait(retry * (1 + random() / 2), signal);
    retry = Math.min(2 * retry, LAST_RETRY);
  }
}
