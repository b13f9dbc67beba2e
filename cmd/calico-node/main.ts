import { type Env, type Io, type Program, processIo, runProgram } from "../../lib/cli/index.ts";
import { supervise } from "../../lib/node/index.ts";
import { openLogger, VERSION } from "../../lib/telemetry/index.ts";
import { checkHealth } from "./health.ts";

const PROGRAM: Program = {
  name: "calico-node",
  summary: "Calico's agent on a node.",
  description:
    "Calico's agent on a node: enforces network policy and keeps the routes to workloads. Without a command it runs and\n" +
    "supervises its processes; it is configured by the environment (FELIX_…), /etc/calico/felix.cfg and FelixConfiguration\n" +
    "resources, and finds the datastore by DATASTORE_TYPE and the like.",
  commands: [
    {
      name: "run",
      summary: "Run the agent: start its processes, and start again what ends. What happens without a command, too.",
      run: ({ env }) => runNode(env),
    },
    {
      name: "felix",
      summary: "Only the process for policy and routes to workloads.",
      description:
        "Only the process for policy and routes to workloads. Ends with status 129 when its configuration changed in a way\n" +
        "that needs a new start. What the kernel enforces stays when it ends.",
      run: async ({ env }) => (await import("./felix.ts")).runFelix(env),
    },
    {
      name: "health",
      summary: "Ask a running agent whether it is alive, or ready; for probes.",
      usage: "[--felix-live] [--felix-ready]",
      options: {
        "felix-live": { type: "boolean", summary: "Whether felix is alive." },
        "felix-ready": { type: "boolean", summary: "Whether felix enforces what the datastore says." },
        "bird-live": { type: "boolean", hidden: true, summary: "Accepted for probes written for other Calicos." },
        "bird-ready": { type: "boolean", hidden: true, summary: "Accepted for probes written for other Calicos." },
      },
      examples: [{ comment: "As a readiness probe", line: "health --felix-ready" }],
      run: ({ args, env, io }) =>
        checkHealth({ live: args.flag("felix-live"), ready: args.flag("felix-ready") }, env, io),
    },
  ],
};

/** The flags of upstream's `calico-node` up to 3.31, and what they are called here. */
const LEGACY: Readonly<Record<string, readonly string[]>> = {
  "-felix": ["felix"],
  "-felix-live": ["health", "--felix-live"],
  "-felix-ready": ["health", "--felix-ready"],
  "-bird-live": ["health", "--bird-live"],
  "-bird-ready": ["health", "--bird-ready"],
};

/** The command line; answers the exit status. */
export async function main(argv: readonly string[], env: Env, io: Io = processIo()): Promise<number> {
  const [first] = argv;
  if (first === "-v" || first === "--version" || first === "version") {
    io.stdout.write(`${VERSION}\n`);
    return 0;
  }
  return runProgram(PROGRAM, modern(argv), env, io);
}

/** A legacy command line in today's words: `-felix-live -bird-live` is `health --felix-live --bird-live`. */
export function modern(argv: readonly string[]): string[] {
  if (argv.length === 0) return ["run"];
  const translated = argv.map((argument) => LEGACY[argument]);
  if (translated.some((words) => words === undefined)) return [...argv];
  const [command] = translated[0]!;
  return [command!, ...translated.flatMap((words) => words!.slice(1))];
}

async function runNode(env: Env): Promise<number> {
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());
  const log = openLogger({ component: "calico-node", level: "info" });
  await supervise({
    workers: [{ name: "felix", command: [process.execPath, "felix"], argv0: "calico-node" }],
    env,
    log,
    signal: stop.signal,
  });
  return 0;
}
