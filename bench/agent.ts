/** `calico-node felix` beside the contestants, which serves one of them when it is that one's turn. */
import { existsSync, readFileSync, renameSync } from "node:fs";
import { join } from "node:path";
import type { Contestant } from "./cni-contestants.ts";

const SOCKET = "/var/run/calico/attach.sock";
const AWAY = `${SOCKET}.away`;
const START_TIMEOUT = 30_000;

export interface BenchAgent {
  /** The contestant, served by the agent in its turn and in nobody else's. */
  serving(contestant: Contestant): Contestant;
  stop(): Promise<void>;
}

/** Starts the agent of the sandbox's node on a datastore of its own: of the others' pods it only sees the interfaces. */
export async function startBenchAgent(
  executable: string,
  folder: string,
  node: string,
  datastore: Readonly<Record<string, string>>,
): Promise<BenchAgent> {
  const log = join(folder, "felix.log");
  const child = Bun.spawn([executable, "felix"], {
    env: {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      NODENAME: node,
      FELIX_FELIXHOSTNAME: node,
      FELIX_HEALTHENABLED: "false",
      FELIX_LOGFILEPATH: "",
      FELIX_LOGSEVERITYSCREEN: "Info",
      ...datastore,
    },
    stdin: "ignore",
    stdout: Bun.file(log),
    stderr: Bun.file(log),
  });
  const deadline = performance.now() + START_TIMEOUT;
  while (!existsSync(SOCKET)) {
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`calico-node felix does not serve the plugin: ${readFileSync(log, "utf8")}`);
    }
    await Bun.sleep(20);
  }
  renameSync(SOCKET, AWAY);
  return {
    serving: (contestant) => ({
      ...contestant,
      prepare: async () => renameSync(AWAY, SOCKET),
      tidy: async () => renameSync(SOCKET, AWAY),
    }),
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}
