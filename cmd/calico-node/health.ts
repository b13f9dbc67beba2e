import { CONTROL_SOCKET, ControlClient, type Family } from "../../lib/bgp/control/index.ts";
import type { Env, Io } from "../../lib/cli/index.ts";

const TIMEOUT_MS = 8_000;

/** What is asked for. */
export interface HealthAsked {
  readonly felix: readonly ("liveness" | "readiness")[];
  readonly bgpLive: boolean;
  /** Families whose sessions are to be up. */
  readonly bgpReady: readonly Family[];
}

/** Asks felix' health server and BGP's socket; 0 when all that was asked for is well. What is not is printed, with the reasons that they give. */
export async function checkHealth({ felix, bgpLive, bgpReady }: HealthAsked, env: Env, io: Io): Promise<number> {
  const host = env.FELIX_HEALTHHOST || "localhost";
  const port = env.FELIX_HEALTHPORT || "9099";
  const bgp = new ControlClient(CONTROL_SOCKET);
  const asked: (readonly [what: string, problem: Promise<string | undefined>])[] = [
    ...felix.map((path) => {
      const url = `http://${host.includes(":") ? `[${host}]` : host}:${port}/${path}`;
      return [`felix ${path}`, ask(url)] as const;
    }),
    ...(bgpLive ? [["bgp liveness", bgp.whyNot("liveness", [])] as const] : []),
    ...(bgpReady.length > 0 ? [["bgp readiness", bgp.whyNot("readiness", bgpReady)] as const] : []),
  ];
  let status = 0;
  for (const [what, problem] of asked) {
    const why = await problem;
    if (why === undefined) continue;
    io.stderr.write(`calico-node: ${what}: ${why}\n`);
    status = 1;
  }
  return status;
}

async function ask(url: string): Promise<string | undefined> {
  try {
    const answer = await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const text = (await answer.text()).trim();
    return answer.ok ? undefined : text || `it answers with status ${answer.status}`;
  } catch (error) {
    return `${url} does not answer (${(error as Error).message}); FELIX_HEALTHENABLED=true turns the health server on`;
  }
}
