import { join } from "node:path";
import { childOf, Daemon } from "./daemon.ts";
import { Pod } from "./pod.ts";
import { ENVIRONMENT, type ExecOptions, expectSuccess, type Outcome, type Running, start } from "./process.ts";

/** What a lab knows of a node it has brought up. */
export interface NodeIdentity {
  readonly name: string;
  /** On the underlay, without a prefix length. */
  readonly address4: string;
  readonly address6: string;
  /** Of its first process, as the machine sees it. */
  readonly pid: number;
  /** Its cgroup v2 directory on the machine, where there is one. */
  readonly cgroup: string | undefined;
}

/** One machine of the lab. */
export class Node implements NodeIdentity {
  readonly name: string;
  readonly address4: string;
  readonly address6: string;
  readonly pid: number;
  readonly cgroup: string | undefined;

  constructor(identity: NodeIdentity) {
    this.name = identity.name;
    this.address4 = identity.address4;
    this.address6 = identity.address6;
    this.pid = identity.pid;
    this.cgroup = identity.cgroup;
  }

  /** Where a file of the node is for the machine, so that a test reads and writes it without a process. Follows no absolute symlink. */
  path(file: string): string {
    return join(`/proc/${this.pid}/root`, file);
  }

  /** Starts a command in all of the node's namespaces, and in its cgroup. `netns` names one of its pods' instead of its own network. */
  start(command: readonly string[], options: ExecOptions = {}, netns?: string): Running {
    const { cwd = "/", ...rest } = options;
    return start([...this.#enter(cwd, netns), ...command], rest);
  }

  /** Starts a long-running command of the node, whose output goes to a file there. `name` is the file's and the process' in messages. */
  async daemon(name: string, command: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Daemon> {
    const log = this.path(`/tmp/${name}.log`);
    const child = Bun.spawn([...this.#enter("/"), ...command], {
      cwd: "/",
      env: { ...ENVIRONMENT, ...env },
      stdin: "ignore",
      stdout: Bun.file(log),
      stderr: Bun.file(log),
    });
    try {
      return new Daemon(name, await childOf(child), log, child);
    } catch (error) {
      throw new Error(`${this.name}: ${command.join(" ")}: ${(error as Error).message}\n${await Bun.file(log).text()}`);
    }
  }

  /** What stands in front of a command that is to run in all of the node's namespaces, and in its cgroup. */
  #enter(cwd: string, netns?: string): readonly string[] {
    const net = netns === undefined ? "--net" : `--net=${this.path(`/run/netns/${netns}`)}`;
    const enter = ["nsenter", `--target=${this.pid}`, "--mount", "--uts", "--ipc", "--pid", "--cgroup", net];
    // nsenter moves a process into the cgroup namespace, and not into the cgroup.
    const join =
      this.cgroup === undefined ? [] : ["sh", "-c", 'echo $$ >"$0" && exec "$@"', `${this.cgroup}/cgroup.procs`];
    return [...join, ...enter, `--wdns=${cwd}`, "--"];
  }

  /** Runs a command to its end in the node, whatever that is. */
  exec(command: readonly string[], options?: ExecOptions): Promise<Outcome> {
    return this.start(command, options).outcome;
  }

  /** What a command printed; throws, with all that it said, when it did not exit with 0. */
  async run(command: readonly string[], options?: ExecOptions): Promise<string> {
    return expectSuccess(this.name, command, await this.exec(command, options));
  }

  /** Makes a network namespace with nothing but its loopback, as a runtime does for a new pod. */
  async pod(name: string): Promise<Pod> {
    const [pod] = await this.pods([name]);
    return pod!;
  }

  /** Makes many at once. */
  async pods(names: readonly string[]): Promise<Pod[]> {
    const script = 'ip -batch - && for name; do ip -netns "$name" link set lo up || exit; done';
    await this.run(["sh", "-c", script, "sh", ...names], {
      stdin: names.map((name) => `netns add ${name}\n`).join(""),
    });
    return names.map((name) => new Pod(this, name));
  }
}
