import type { Env, Io } from "../../lib/cli/index.ts";

const TIMEOUT_MS = 8_000;

/** Asks felix' health server; 0 when all that was asked for is well. What is not is printed, with the reasons that felix gives. */
export async function checkHealth(
  asked: { readonly live: boolean; readonly ready: boolean },
  env: Env,
  io: Io,
): Promise<number> {
  const host = env.FELIX_HEALTHHOST || "localhost";
  const port = env.FELIX_HEALTHPORT || "9099";
  const paths = [...(asked.live ? ["liveness"] : []), ...(asked.ready ? ["readiness"] : [])];
  let status = 0;
  for (const path of paths) {
    const problem = await ask(`http://${host.includes(":") ? `[${host}]` : host}:${port}/${path}`);
    if (problem === undefined) continue;
    io.stderr.write(`calico-node: felix ${path}: ${problem}\n`);
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
