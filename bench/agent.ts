/** `calico-node felix` beside the contestants, which serves one of them when it is that one's turn. */
import { existsSync, mkdirSync, readFileSync, symlinkSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { type Namespace, openNamespace } from "../lib/sys/index.ts";
import type { Contestant } from "./cni-contestants.ts";
import { must } from "./sandbox.ts";

const RUN = "/var/run/calico";
const SOCKETS = ["attach.sock", "attach-fd.sock"];
const START_TIMEOUT = 30_000;

export interface BenchAgent {
  /** The contestant, served by the agent in its turn and in nobody else's. */
  serving(contestant: Contestant): Contestant;
  stop(): Promise<void>;
}

export interface BenchAgentOptions {
  readonly executable: string;
  /** For its log and its sockets. */
  readonly folder: string;
  readonly node: string;
  readonly datastore: Readonly<Record<string, string>>;
  readonly network: BenchNetwork;
}

/** A node's own network, with a way to the sandbox's. */
export interface BenchNetwork {
  readonly name: string;
  readonly namespace: Namespace;
  /** The sandbox's address on that way, for what is to be reached from there. */
  readonly host: string;
}

/** Makes the `number`-th; it goes with the sandbox. */
export function makeNetwork(number: number): BenchNetwork {
  const name = `agent-${number}`;
  const host = `10.254.${number}.1`;
  must("ip", "netns", "add", name);
  must("ip", "link", "add", `agent${number}`, "type", "veth", "peer", "name", "eth0", "netns", name);
  must("ip", "address", "add", `${host}/24`, "dev", `agent${number}`);
  must("ip", "link", "set", `agent${number}`, "up");
  for (const args of [
    ["address", "add", `10.254.${number}.2/24`, "dev", "eth0"],
    ["link", "set", "eth0", "up"],
    ["link", "set", "lo", "up"],
    ["route", "add", "default", "via", host],
  ])
    must("ip", "-netns", name, ...args);
  return { name, namespace: openNamespace(`/run/netns/${name}`), host };
}

/**
 * Starts an agent with a network, a folder of sockets and a datastore of its own: there is one place for those of a node, where its own
 * are led to by links while it is its contestant's turn.
 */
export async function startBenchAgent(options: BenchAgentOptions): Promise<BenchAgent> {
  const { node, network } = options;
  const run = join(options.folder, `run-${network.name}`);
  mkdirSync(run);
  const log = join(options.folder, `felix-${network.name}.log`);
  const child = Bun.spawn(
    [
      ...["nsenter", `--net=/run/netns/${network.name}`, "unshare", "--mount", "--propagation", "private"],
      ...["sh", "-c", `mount --bind ${run} ${RUN} && exec ${options.executable} felix`],
    ],
    {
      env: {
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
        NODENAME: node,
        FELIX_FELIXHOSTNAME: node,
        FELIX_HEALTHENABLED: "false",
        FELIX_LOGFILEPATH: "",
        FELIX_LOGSEVERITYSCREEN: "Info",
        ...options.datastore,
      },
      stdin: "ignore",
      stdout: Bun.file(log),
      stderr: Bun.file(log),
    },
  );
  const deadline = performance.now() + START_TIMEOUT;
  while (!existsSync(join(run, "attach.sock"))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      child.kill("SIGKILL");
      throw new Error(`calico-node felix does not serve the plugin: ${readFileSync(log, "utf8")}`);
    }
    await Bun.sleep(20);
  }
  return {
    serving: (contestant) => ({
      ...contestant,
      network,
      prepare: async (pods) => {
        await contestant.prepare?.(pods);
        for (const socket of SOCKETS) symlinkSync(join(run, socket), join(RUN, socket));
      },
      tidy: async (pods) => {
        for (const socket of SOCKETS) unlinkSync(join(RUN, socket));
        await contestant.tidy?.(pods);
      },
    }),
    async stop() {
      child.kill("SIGTERM");
      await child.exited;
    },
  };
}
