import { type Command, type Env, type Io, type Program, processIo, runProgram } from "../../lib/cli/index.ts";
import { probe, STATUS_FILE } from "../../lib/controllers/index.ts";
import { VERSION } from "../../lib/telemetry/index.ts";

const checkStatus = (name: string, hidden: boolean): Command => ({
  name,
  ...(hidden && { hidden }),
  summary: "Say whether the controllers that run in this container are well; for probes.",
  usage: "-l | -r",
  options: {
    live: { type: "boolean", short: "l", summary: "Whether they are alive." },
    ready: { type: "boolean", short: "r", summary: "Whether they do their work." },
    file: { type: "text", short: "f", value: "FILE", summary: "The status file.", default: STATUS_FILE },
  },
  run: ({ args, io }) => {
    const live = args.flag("live");
    if (!live && !args.flag("ready")) {
      io.stdout.write(`No command specified to ${name}\n`);
      return 1;
    }
    const { good, text } = probe(live ? "live" : "ready", args.text("file") ?? STATUS_FILE);
    io.stdout.write(`${text}\n`);
    return good ? 0 : 1;
  },
});

const PROGRAM: Program = {
  name: "calico-kube-controllers",
  summary: "Calico's controllers of the whole cluster.",
  description:
    "Calico's controllers of the whole cluster: gives back what deleted nodes and lost pods held, and more. Without a command\n" +
    "they run; they are configured by the environment (ENABLED_CONTROLLERS, LOG_LEVEL, …) and the resource\n" +
    "KubeControllersConfiguration, live, and find the datastore by DATASTORE_TYPE, KUBECONFIG and the like.",
  commands: [
    {
      name: "run",
      summary: "Run the controllers. What happens without a command, too.",
      run: async ({ env }) => (await import("./run.ts")).run(env),
    },
    checkStatus("check-status", false),
    // Upstream's name of it in its one executable.
    checkStatus("kube-controllers-health", true),
  ],
};

/** The command line; answers the exit status. */
export async function main(argv: readonly string[], env: Env, io: Io = processIo()): Promise<number> {
  const [first] = argv;
  if (first === "-v" || first === "--version" || first === "version") {
    io.stdout.write(`${VERSION}\n`);
    return 0;
  }
  return runProgram(PROGRAM, first === undefined ? ["run"] : argv, env, io);
}
