import { hostname } from "node:os";
import { type Env, type Io, type Program, processIo, runProgram, UsageError } from "../../lib/cli/index.ts";
import {
  binFolders,
  InstallError,
  type InstallOptions,
  install,
  installTls,
  isTrue,
  PARTS,
  type Part,
  placesOf,
  type Step,
} from "../../lib/install/index.ts";
import { nodeNameOf } from "../../lib/node/environment.ts";
import { pathExists } from "../../lib/sys/index.ts";
import { pause } from "../../lib/wait/index.ts";

/** How often a Secret's certificates are looked at, in milliseconds. */
const LOOK_MS = 60_000;

const PROGRAM: Program = {
  name: "calico install",
  summary: "Put Calico into a node.",
  description:
    "Puts Calico into a node: the executables calico and calico-ipam, which the container runtime calls; in a pod that has the\n" +
    "node's folder of network configurations mounted at /host/etc/cni/net.d also the plugin's kubeconfig, and then the network\n" +
    "configuration, out of CNI_NETWORK_CONFIG, CNI_NETWORK_CONFIG_FILE or a default. Nothing is there as a half, and what is as it\n" +
    "should be is not touched. Variables are those of Calico's other installers: CNI_CONF_NAME, CNI_OLD_CONF_NAME, CNI_NET_DIR,\n" +
    "CNI_MTU, KUBERNETES_NODE_NAME, SKIP_CNI_BINARIES, UPDATE_CNI_BINARIES, TLS_ASSETS_DIR, CALICO_CNI_SERVICE_ACCOUNT, ...",
  usage: "[--only PART]... [--bin-dir DIR]... [--dry-run]",
  options: {
    only: {
      ...{ type: "list", value: "PART", notEmpty: true },
      summary: `Only this: ${PARTS.join(", ")}. May be given several times.`,
    },
    "bin-dir": {
      ...{ type: "list", value: "DIR", notEmpty: true },
      summary:
        "Where executables go: /host/opt/cni/bin and /host/secondary-bin-dir where one is mounted, else /opt/cni/bin.",
    },
    "net-dir": {
      ...{ type: "text", value: "DIR", notEmpty: true },
      summary: "Where kubeconfig and network configuration go.",
      default: placesOf({}).netFolder,
    },
    "dry-run": { type: "boolean", summary: "Say what would be done, and do nothing." },
    // Upstream's installer is the main program of a container, which would be started again if it ended.
    stay: { type: "boolean", hidden: true, summary: "Go on until stopped, unless SLEEP is false." },
  },
  examples: [
    { comment: "As an init container; the agent does the rest", line: "--only executables" },
    { comment: "What would happen", line: "--dry-run" },
  ],
  run: async ({ args, env, io }) => {
    const only = args.list("only").flatMap((text) => text.split(","));
    for (const part of only)
      if (!(PARTS as readonly string[]).includes(part))
        throw new UsageError(`--only ${part}: must be one of ${PARTS.join(", ")}`);
    const places = { ...placesOf(env), netFolder: args.text("net-dir") ?? placesOf(env).netFolder };
    const dryRun = args.flag("dry-run");
    const given = args.list("bin-dir");
    const mounted = binFolders().filter(pathExists);
    const options: InstallOptions = {
      env,
      parts: only.length > 0 ? (only as Part[]) : pathExists(places.netFolder) ? PARTS : ["executables"],
      places,
      executable: process.execPath,
      binFolders: given.length > 0 ? given : mounted.length > 0 ? mounted : ["/opt/cni/bin"],
      // What is mounted is not made; on a machine that was named, or is this one, it is.
      makesFolders: given.length > 0 || mounted.length === 0,
      // In an image; on a node it is where executables go.
      ...(mounted.length > 0 && given.length === 0 && { furtherPlugins: "/opt/cni/bin" }),
      node: nodeNameOf(env, hostname()),
      dryRun,
      onStep: (step) => io.stdout.write(`${inWords(step, dryRun)}\n`),
      warn: (message) => io.stderr.write(`calico install: ${message}\n`),
    };
    await install(options);
    if (args.flag("stay") && isTrue(env, "SLEEP", true) && !dryRun) await stay(options, io);
    return 0;
  },
};

const inWords = ({ path, action, why }: Step, dryRun: boolean): string =>
  `${dryRun && action !== "unchanged" && action !== "left alone" ? "would be " : ""}${action}: ${path}${why ? ` (${why})` : ""}`;

/** Copies a Secret's certificates as they change, until it is stopped. */
async function stay(options: InstallOptions, io: Io): Promise<void> {
  const stop = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.once(signal, () => stop.abort());
  io.stdout.write("done; stays until it is stopped (SLEEP=false ends it)\n");
  for (;;) {
    await pause(LOOK_MS, stop.signal);
    if (stop.signal.aborted) return;
    try {
      for (const step of installTls(options.env, options.places)) if (step.action !== "unchanged") options.onStep(step);
    } catch (error) {
      if (!(error instanceof InstallError)) throw error;
      options.warn(error.message);
    }
  }
}

/** `calico install`; answers the exit status. */
export const main = (args: readonly string[], env: Env = process.env, io: Io = processIo()): Promise<number> =>
  runProgram(PROGRAM, args, env, io);
