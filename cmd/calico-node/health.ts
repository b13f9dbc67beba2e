import type { Family } from "../../lib/bgp/control/index.ts";
import { type Env, type Io, UsageError } from "../../lib/cli/index.ts";

const TIMEOUT_MS = 8_000;

type FelixProbe = "liveness" | "readiness";

/** What is asked for. */
export interface HealthAsked {
  readonly felix: readonly FelixProbe[];
  readonly bgpLive: boolean;
  /** Families whose sessions are to be up. */
  readonly bgpReady: readonly Family[];
  /** So long after its start every peer has to be up, in milliseconds. */
  readonly everyPeerMs?: number;
}

const FLAGS = [
  "felix-live",
  "felix-ready",
  "bgp-live",
  "bgp-ready",
  "bird-live",
  "bird6-live",
  "bird-ready",
  "bird6-ready",
] as const;

/** What the flags ask for; upstream's are by daemon, and so by family. */
export function askedBy(flag: (name: (typeof FLAGS)[number]) => boolean): HealthAsked {
  return {
    felix: [
      ...(flag("felix-live") ? ["liveness" as const] : []),
      ...(flag("felix-ready") ? ["readiness" as const] : []),
    ],
    bgpLive: flag("bgp-live") || flag("bird-live") || flag("bird6-live"),
    bgpReady: [
      ...(flag("bgp-ready") || flag("bird-ready") ? [4 as const] : []),
      ...(flag("bgp-ready") || flag("bird6-ready") ? [6 as const] : []),
    ],
  };
}

/**
 * What a probe's command line asks for, as manifests have it; undefined when there is more to it. Probes come every few seconds on every
 * node, and reading the command line in general would be most of what they cost.
 */
export function probeOf([command, ...words]: readonly string[]): HealthAsked | undefined {
  const isPlain = command === "health" && words.length > 0;
  if (!isPlain || !words.every((word) => FLAGS.some((name) => word === `--${name}`))) return undefined;
  return askedBy((name) => words.includes(`--${name}`));
}

/**
 * Asks felix' health server and BGP's socket; 0 when all that was asked for is well. What is not is printed, with the reasons that they give; and
 * what they have to say although they are well.
 */
export async function checkHealth(
  { felix, bgpLive, bgpReady, everyPeerMs }: HealthAsked,
  env: Env,
  io: Io,
): Promise<number> {
  if (felix.length === 0 && !bgpLive && bgpReady.length === 0) {
    throw new UsageError("what of? --felix-live, --felix-ready, --bgp-live or --bgp-ready, or several");
  }
  const felixAsked = felix.map(async (probe) => {
    const why = await askFelix(probe, env);
    return { what: `felix ${probe}`, ...(why !== undefined && { why }), remarks: [] };
  });
  const askBgp = async (probe: FelixProbe, families: readonly Family[]) => {
    // Only here: a probe of felix, which comes every few seconds, shall not load it.
    const { CONTROL_SOCKET, ControlClient } = await import("../../lib/bgp/control/index.ts");
    return { what: `bgp ${probe}`, ...(await new ControlClient(CONTROL_SOCKET).health(probe, families, everyPeerMs)) };
  };
  const answers = await Promise.all([
    ...felixAsked,
    ...(bgpLive ? [askBgp("liveness", [])] : []),
    ...(bgpReady.length > 0 ? [askBgp("readiness", bgpReady)] : []),
  ]);
  for (const { what, why, remarks } of answers) {
    if (why !== undefined) io.stderr.write(`calico-node: ${what}: ${why}\n`);
    for (const remark of remarks) io.stdout.write(`calico-node: ${what}: ${remark}\n`);
  }
  return answers.some(({ why }) => why !== undefined) ? 1 : 0;
}

/** Why felix is not; undefined when it is. */
export async function askFelix(probe: FelixProbe, env: Env): Promise<string | undefined> {
  const host = env.FELIX_HEALTHHOST || "localhost";
  const url = `http://${host.includes(":") ? `[${host}]` : host}:${env.FELIX_HEALTHPORT || "9099"}/${probe}`;
  try {
    // It is on this node: the environment's proxy is for the world outside.
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS), proxy: false } as RequestInit);
    const text = (await answer.text()).trim();
    return answer.ok ? undefined : text || `it answers with status ${answer.status}`;
  } catch (error) {
    return `${url} does not answer (${(error as Error).message}); FELIX_HEALTHENABLED=true turns the health server on`;
  }
}
