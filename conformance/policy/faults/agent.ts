/** The built agent as a process of a node that faults are done to. */
import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import type { Subprocess } from "bun";
import type { Node } from "../../lab/index.ts";
import { DATAPLANE_ENVIRONMENT, type DataplaneName } from "../felix.ts";

/** What is repaired is repaired because it was noticed, and not because it was time to look. */
export const NO_TIMERS: Readonly<Record<string, string>> = {
  FELIX_NFTABLESREFRESHINTERVAL: "0",
  FELIX_IPTABLESREFRESHINTERVAL: "0",
  FELIX_IPSETSREFRESHINTERVAL: "0",
  FELIX_ROUTEREFRESHINTERVAL: "0",
  FELIX_INTERFACEREFRESHINTERVAL: "0",
};

export interface AgentOptions {
  readonly dataplane: DataplaneName;
  /** Default: `calico-node felix`. */
  readonly command?: readonly string[];
  /** In front of it: a tracer. */
  readonly prefix?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** A file for what it says. */
  readonly log: string;
}

export class Agent {
  readonly #process: Subprocess;
  readonly #log: string;
  readonly #node: Node;

  constructor(node: Node, options: AgentOptions) {
    this.#node = node;
    this.#log = options.log;
    const env = {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      ...DATAPLANE_ENVIRONMENT[options.dataplane],
      ...NO_TIMERS,
      NODENAME: node.name,
      FELIX_HEALTHENABLED: "true",
      FELIX_LOGSEVERITYSCREEN: "Info",
      ...options.env,
    };
    const enter = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--net", "--wdns=/"];
    const log = Bun.file(options.log);
    this.#process = Bun.spawn(
      [
        ...["nsenter", `--target=${node.pid}`, ...enter, "--"],
        ...(options.prefix ?? []),
        ...(options.command ?? ["calico-node", "felix"]),
      ],
      { env, stdin: "ignore", stdout: log, stderr: log },
    );
  }

  /** The exit status, as a shell reports it: 128 + n when signal n ended it. */
  get ended(): Promise<number> {
    return this.#process.exited;
  }
  get hasEnded(): boolean {
    return this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  log(): string {
    return readFileSync(this.#log, "utf8");
  }

  /** The machine's ids of its processes whose arguments are these; `calico-node felix`, for example. */
  pids(commandLine: string): number[] {
    return descendants(this.#process.pid).filter((pid) => {
      const [program = "", ...args] = argumentsOf(pid);
      return [basename(program), ...args].join(" ") === commandLine;
    });
  }

  /** Other programs that it has started and that run now. */
  tools(): { readonly pid: number; readonly command: string }[] {
    return this.pids("calico-node felix").flatMap((felix) =>
      descendants(felix).map((pid) => ({ pid, command: argumentsOf(pid).join(" ") })),
    );
  }

  /** Sends a signal to the process that enforces. */
  signal(signal: NodeJS.Signals): void {
    for (const pid of this.pids("calico-node felix")) send(pid, signal);
  }

  /** Ends all that is left of it, without a chance to tidy up. */
  async kill(): Promise<void> {
    for (const pid of descendants(this.#process.pid)) {
      if (argumentsOf(pid)[0]?.includes("calico-node")) send(pid, "SIGKILL");
    }
    await this.ended;
  }

  async stop(): Promise<number> {
    this.signal("SIGTERM");
    return this.ended;
  }

  /** Why it is not ready; undefined: it is. */
  async unready(): Promise<string | undefined> {
    const { status, stderr } = await this.#node.exec(["calico-node", "health", "--felix-ready"]);
    return status === 0 ? undefined : stderr;
  }

  async ready(): Promise<this> {
    await until(
      async () => {
        if (this.hasEnded) throw new Error(`the agent has ended with ${await this.ended}:\n${this.log()}`);
        return (await this.unready()) === undefined;
      },
      () => `the agent is not ready:\n${this.log().slice(-4_000)}`,
      30_000,
    );
    return this;
  }
}

export function send(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Asks again and again until it is so; throws what `otherwise` says after the time, in milliseconds. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  otherwise: string | (() => string | Promise<string>),
  timeout = 10_000,
): Promise<void> {
  for (const deadline = performance.now() + timeout; !(await condition()); await Bun.sleep(20)) {
    if (performance.now() > deadline) {
      throw new Error(`after ${timeout} ms: ${typeof otherwise === "string" ? otherwise : await otherwise()}`);
    }
  }
}

function argumentsOf(pid: number): string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0").slice(0, -1);
  } catch {
    return [];
  }
}

function descendants(pid: number): number[] {
  const children = tasks(pid).flatMap((task) => {
    try {
      return readFileSync(`/proc/${pid}/task/${task}/children`, "utf8").trim().split(" ").filter(Boolean).map(Number);
    } catch {
      return [];
    }
  });
  return children.flatMap((child) => [child, ...descendants(child)]);
}

function tasks(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/task`);
  } catch {
    return [];
  }
}
