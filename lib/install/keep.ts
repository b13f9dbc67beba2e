/** What the node's agent does for the plugin: it keeps its kubeconfig good, and writes the network configuration once a pod would have a network. */
import { join } from "node:path";
import { pathExists, readTextFile } from "../sys/index.ts";
import type { Metrics } from "../telemetry/daemon.ts";
import type { Logger } from "../telemetry/index.ts";
import { parseDuration } from "../wait/duration.ts";
import { pause } from "../wait/index.ts";
import { type Env, namesTemplate, type Places, placeConflist, placesOf, shadowsOf } from "./conflist.ts";
import { InstallError } from "./errors.ts";
import { binFolders } from "./executables.ts";
import { keepKubeconfig } from "./renewal.ts";
import { installedTls } from "./tls.ts";
import { readFile, SECRETS, type TokenSource, tokenSourceOf } from "./token.ts";

const READY_POLL_MS = 1_000;
/** After so long a node gets its network configuration although others do not reach it yet, as it is declared to have a network then. */
const REACH_PATIENCE_MS = 300_000;
const RETRY_MS = 10_000;
/** Between looks at what others put beside the network configuration. */
const LOOK_MS = 60_000;

export interface KeepCniOptions {
  readonly env: Env;
  /** What Kubernetes calls the node. */
  readonly node: string;
  /** Why a pod's policy would not be enforced; undefined: it would. There is no network configuration before. */
  readonly whyNotEnforced: () => Promise<string | undefined>;
  /** What this node itself still lacks, without which a pod has no network however long others are waited for; undefined: nothing. */
  readonly whyNotPrepared: () => Promise<string | undefined>;
  /** Why other nodes do not reach pods here; undefined: they do. This is waited for, though not for ever: it may be the others' fault. */
  readonly whyNotReached: () => Promise<string | undefined>;
  /** Why pods cannot be attached, or soon cannot; undefined: nothing is known to be in the way. Belongs into the agent's readiness. */
  readonly onTrouble: (why: string | undefined) => void;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Where the node's folders are mounted. */
  readonly host?: string;
  /** The pod's service account. */
  readonly secrets?: string;
  /** Milliseconds. */
  readonly pollMs?: number;
  readonly patienceMs?: number;
  readonly lookMs?: number;
}

/**
 * Does both until the signal is aborted. CALICO_MANAGE_CNI=false turns it off, and it is off where the node's folder of network configurations is
 * not mounted. A network configuration is written only where CNI_NETWORK_CONFIG or CNI_NETWORK_CONFIG_FILE says which: with manifests in which
 * another container writes it, only the kubeconfig is kept, as upstream's agent does.
 */
export async function keepCni(options: KeepCniOptions): Promise<void> {
  const { env, log, signal, node, secrets = SECRETS } = options;
  if (env.CALICO_MANAGE_CNI === "false")
    return log.info("the CNI plugin's files are left alone: CALICO_MANAGE_CNI=false");
  const places = placesOf(env, options.host);
  if (!pathExists(places.netFolder))
    return log.info("the CNI plugin's files are left alone: their folder is not mounted", { folder: places.netFolder });
  const troubles = new Map<string, string>();
  const tell = (of: string) => (why: string | undefined) => {
    if (why === undefined) troubles.delete(of);
    else troubles.set(of, why);
    options.onTrouble(troubles.size === 0 ? undefined : [...troubles.values()].join("; "));
  };
  let source: TokenSource | undefined;
  for (;;) {
    try {
      source = tokenSourceOf(env, node, secrets);
      tell("source")(undefined);
      break;
    } catch (error) {
      tell("source")(`the CNI plugin has no kubeconfig: ${(error as Error).message}`);
      await pause(RETRY_MS, signal);
      if (signal.aborted) return;
    }
  }
  const good = Promise.withResolvers<void>();
  signal.addEventListener("abort", () => good.resolve(), { once: true });
  if (!source) {
    log.info("the CNI plugin gets no kubeconfig: this is not a pod with a service account");
    good.resolve();
  }
  await Promise.all([
    source &&
      keepKubeconfig({
        ...{ source, places, log, signal, onGood: good.resolve, onTrouble: tell("token") },
        watched: [join(secrets, "token"), join(secrets, "ca.crt")],
        interval: intervalOf(env, log),
      }),
    namesTemplate(env) && good.promise.then(() => keepConflist(options, places, tell("conflist"))),
  ]);
}

function intervalOf(env: Env, log: Logger): number | undefined {
  const text = env.CNI_TOKEN_REFRESH_INTERVAL;
  if (!text) return undefined;
  const interval = parseDuration(text);
  if (interval !== undefined && interval > 0) return interval;
  log.error("CNI_TOKEN_REFRESH_INTERVAL is not a duration such as 6h; tokens are renewed at half of their lives", {
    text,
  });
  return undefined;
}

/**
 * Writes it once, as soon as the node can serve. One that is there from before stays meanwhile: pods that end need it. What others do to it later is
 * theirs, as it is with upstream; but that a runtime would read another network's file instead is told for as long as it is so.
 */
async function keepConflist(
  options: KeepCniOptions,
  places: Places,
  onTrouble: (why: string | undefined) => void,
): Promise<void> {
  const { env, node, log, signal, secrets = SECRETS } = options;
  await untilServing(options);
  const binFolder = binFolders(options.host).find(pathExists);
  const said = new Set<string>();
  const warn = (message: string): void => {
    if (!said.has(message)) log.warning(message);
    said.add(message);
  };
  /** What is in the way goes to the agent's readiness; the same thing is logged once. */
  const attempt = (work: () => void): boolean => {
    try {
      work();
      return true;
    } catch (error) {
      if (!(error instanceof InstallError)) throw error;
      if (!said.has(error.message)) log.error("pods get no network here", { error: error.message });
      said.add(error.message);
      onTrouble(error.message);
      return false;
    }
  };
  const write = (): void => {
    const token = readTextFile(join(secrets, "token"));
    const facts = { node: env.KUBERNETES_NODE_NAME || node, token, tls: installedTls(places) };
    for (const { path, action, why } of placeConflist(env, places, facts, { binFolder, warn }))
      log.info("the node's network configuration", { path, action, why });
  };
  const look = (): void => {
    const shadows = shadowsOf(env, places);
    for (const message of shadows) warn(message);
    onTrouble(shadows.length > 0 ? shadows.join("; ") : undefined);
  };
  while (!signal.aborted && !attempt(write)) await pause(RETRY_MS, signal);
  for (; !signal.aborted; await pause(options.lookMs ?? LOOK_MS, signal)) attempt(look);
}

/** Whatever is this node's own is waited for without end; others only for so long from then on. */
async function untilServing(options: KeepCniOptions): Promise<void> {
  const { whyNotEnforced, whyNotPrepared, whyNotReached, log, signal, pollMs = READY_POLL_MS } = options;
  let deadline: number | undefined;
  let said: string | undefined;
  for (; !signal.aborted; await pause(pollMs, signal)) {
    const own = (await whyNotEnforced()) ?? (await whyNotPrepared());
    const why = own ?? (await whyNotReached());
    if (why === undefined) return;
    if (own === undefined) {
      deadline ??= performance.now() + (options.patienceMs ?? REACH_PATIENCE_MS);
      if (performance.now() >= deadline) {
        log.warning("pods are attached although other nodes may not reach them", { why });
        return;
      }
    }
    if (why !== said) log.info("the network configuration is not written before the node can serve", { why });
    said = why;
  }
}

/** Tells when the token in the plugin's kubeconfig expires: what is in the file, whoever wrote it. Nothing where there is none. */
export function addTokenMetrics(metrics: Metrics, env: Env, host?: string): void {
  const expiry = metrics.gauges(
    "calico_cni_token_expiry_timestamp_seconds",
    "When the token in the CNI plugin's kubeconfig expires.",
    [],
  );
  metrics.collect(() => {
    try {
      const life = readFile(placesOf(env, host))?.life;
      if (life) return expiry.with().set(life.expiresAt / 1000);
    } catch {
      // A file that cannot be read is told of in the readiness of whoever renews it.
    }
    expiry.remove();
  });
}
