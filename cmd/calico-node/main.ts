import {
  type Command,
  type Env,
  type Io,
  type Program,
  processIo,
  runProgram,
  UsageError,
} from "../../lib/cli/index.ts";
import { supervise } from "../../lib/node/supervise.ts";
import { openLogger, VERSION } from "../../lib/telemetry/index.ts";
import { parseDuration } from "../../lib/wait/duration.ts";
import { BGP_COMMANDS } from "./bgp-commands.ts";
import { askedBy, checkHealth, probeOf } from "./health.ts";
import { modern } from "./legacy.ts";

const BY_BGP = "`calico-node bgp` does it for as long as it runs";
/** What upstream has processes of their own for. Images and manifests that call them go on. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  init: "this version needs neither bpffs nor a cgroup mounted",
  "hostpath-init": "the agent runs as root",
  "complete-startup": BY_BGP,
  "monitor-addresses": BY_BGP,
  "status-reporter": BY_BGP,
  "node-services": BY_BGP,
  confd: "`calico-node bgp` speaks BGP itself, and keeps BIRD configured with CALICO_BGP_SPEAKER=bird",
  "allocate-tunnel-addrs": "this version makes no tunnels",
  "monitor-token": BY_BGP,
};

const PROGRAM: Program = {
  name: "calico-node",
  summary: "Calico's agent on a node.",
  description:
    "Calico's agent on a node: enforces network policy, keeps the routes to workloads, and tells other nodes of them by BGP.\n" +
    "Without a command it runs and supervises its processes; it is configured by the environment (FELIX_…, IP, AS, …),\n" +
    "/etc/calico/felix.cfg and resources, and finds the datastore by DATASTORE_TYPE and the like.",
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
      name: "bgp",
      summary: "Only the process for BGP; with a command, ask the one that runs.",
      description:
        "Only the process for BGP: sessions with other nodes and routers, and the routes learned from them. With one of the\n" +
        "commands below, asks the one that runs on this node.",
      commands: BGP_COMMANDS,
      run: async ({ env }) => (await import("./bgp.ts")).runBgp(env),
    },
    {
      name: "bird-config",
      summary: "Write the configuration that BIRD would get on this node, and end.",
      usage: "--style bird1|bird2 --once --out DIRECTORY",
      options: {
        style: {
          type: "text",
          value: "bird1|bird2",
          summary: "Of BIRD 1.6, as upstream's confd writes it, or of BIRD 2.",
          default: "bird2",
        },
        once: { type: "boolean", summary: "Write it and end. There is no other way." },
        out: { type: "text", value: "DIRECTORY", summary: "Where to; files of these names are replaced." },
      },
      run: async ({ args, env, io }) => (await import("./bird-config.ts")).writeBirdConfig(args, env, io),
    },
    {
      name: "health",
      summary: "Ask a running agent whether it is alive, or ready; for probes.",
      usage: "[--felix-live] [--felix-ready] [--bgp-live] [--bgp-ready]",
      options: {
        "felix-live": { type: "boolean", summary: "Whether felix is alive." },
        "felix-ready": { type: "boolean", summary: "Whether felix enforces what the datastore says." },
        "bgp-live": { type: "boolean", summary: "Whether the process for BGP answers." },
        "bgp-ready": {
          type: "boolean",
          summary: "Whether its sessions are up: all of them at first, one of them later.",
        },
        // Upstream's probes, by daemon and so by family.
        "bird-live": { type: "boolean", hidden: true, summary: "As --bgp-live." },
        "bird6-live": { type: "boolean", hidden: true, summary: "As --bgp-live." },
        "bird-ready": { type: "boolean", hidden: true, summary: "As --bgp-ready, of sessions over IPv4." },
        "bird6-ready": { type: "boolean", hidden: true, summary: "As --bgp-ready, of sessions over IPv6." },
        "threshold-time": {
          type: "text",
          value: "DURATION",
          summary: "So long after its start all sessions have to be up: 30s.",
        },
      },
      examples: [{ comment: "As a readiness probe", line: "health --felix-ready --bgp-ready" }],
      run: ({ args, env, io }) =>
        checkHealth({ ...askedBy((name) => args.flag(name)), ...threshold(args.text("threshold-time")) }, env, io),
    },
    {
      name: "startup",
      summary: "Prepare the node once: its Node resource, default pools and configurations; and end.",
      hidden: true,
      options: { "complete-startup": { type: "boolean", hidden: true, summary: "And pods may come at once." } },
      run: async ({ args, env }) => (await import("./lifecycle.ts")).startUp(env, args.flag("complete-startup")),
    },
    {
      name: "shutdown",
      summary: "Before the agent ends for good: tell Kubernetes to put no pods on this node.",
      hidden: true,
      run: async ({ env }) => (await import("./lifecycle.ts")).shutDown(env),
    },
    ...Object.entries(ELSEWHERE).map(
      ([name, why]): Command => ({
        name,
        summary: `Nothing: ${why}.`,
        hidden: true,
        options: {
          "run-once": { type: "boolean", hidden: true, summary: "Upstream's." },
          "best-effort": { type: "boolean", hidden: true, summary: "Upstream's." },
        },
        run: ({ io }) => {
          io.stderr.write(`calico-node ${name}: there is nothing to do: ${why}\n`);
          return 0;
        },
      }),
    ),
  ],
};

/** The command line; answers the exit status. */
export async function main(argv: readonly string[], env: Env, io: Io = processIo()): Promise<number> {
  const [first] = argv;
  if (first === "-v" || first === "--version" || first === "version") {
    io.stdout.write(`${VERSION}\n`);
    return 0;
  }
  const words = modern(argv);
  const probe = probeOf(words);
  return probe ? checkHealth(probe, env, io) : runProgram(PROGRAM, words, env, io);
}

function threshold(text: string | undefined): { readonly everyPeerMs?: number } {
  if (text === undefined) return {};
  const everyPeerMs = parseDuration(text);
  if (everyPeerMs === undefined || everyPeerMs < 0)
    throw new UsageError(`--threshold-time ${text}: is not a duration such as 30s`);
  return { everyPeerMs };
}

async function runNode(env: Env): Promise<number> {
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());
  const log = openLogger({ component: "calico-node", level: "info" });
  (await import("./rest.ts")).restWhenQuiet();
  await supervise({
    // Upstream's variable for those who run felix outside of the container.
    workers: [...(env.CALICO_DISABLE_FELIX ? [] : ["felix"]), "bgp"].map((name) => ({
      name,
      command: [process.execPath, name],
      argv0: "calico-node",
    })),
    env,
    log,
    signal: stop.signal,
  });
  return 0;
}
