import { mkdirSync, readFileSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Subprocess } from "bun";
import { makeCgroup, removeCgroups } from "./cgroup.ts";
import { Node } from "./node.ts";
import { claimDirectory, sweepDeadLabs } from "./owner.ts";
import { CHECKOUT, DIST } from "./prerequisites.ts";
import { expectSuccess, run } from "./process.ts";

export interface LabOptions {
  /** How many; they are called node1, node2, …. Default: 1. */
  readonly nodes?: number;
  /** Where the executables are that the nodes have in /opt/cni/bin and on their PATH. Default: the checkout's dist/. */
  readonly dist?: string;
}

/** Several nodes on an underlay network of their own. */
export interface Lab {
  readonly nodes: readonly Node[];
  /** The directory that every node sees, as the nodes see it and as the machine does. */
  readonly share: string;
  readonly machineShare: string;
  /** Addresses of the underlay bridge itself, where a server for all nodes may listen: see `underlay`. */
  readonly underlay4: string;
  readonly underlay6: string;
  /** The underlay's network namespace, as a path for {@link openNamespace} and nsenter. */
  readonly underlayNamespace: string;
  /** Starts a long-running command in the underlay's network namespace, with the machine's files; it ends with the lab. */
  serve(command: readonly string[], log: string): Subprocess;
  /** Plain routes on every node to the blocks of the others, and none to blocks that are no longer in the list. */
  routeBlocks(blocks: Iterable<{ readonly node: string; readonly cidr: string }>): Promise<void>;
  /** A cable of its own between two nodes, beside the underlay: an interface on either, with those addresses (`10.0.0.1/31`), up. */
  link(one: LinkEnd, other: LinkEnd): Promise<void>;
  /** Ends all processes of the lab and removes all that it made. May be called more than once. */
  dispose(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Where a cable ends. */
export interface LinkEnd {
  readonly node: Node;
  readonly interface: string;
  readonly addresses: readonly string[];
}

const SHARE = "/mnt/share";
const UNDERLAY4 = "172.31.0.1";
const UNDERLAY6 = "fd31::1";
/** Marks the routes that `routeBlocks` sets; not a number that a routing daemon or the plugin uses. */
const ROUTE_PROTOCOL = "199";

/** Brings a lab up: in some 0.2 s for three nodes. Needs root. */
export async function createLab(options: LabOptions = {}): Promise<Lab> {
  sweepDeadLabs();
  const lab = new NamespaceLab(claimDirectory(), options.dist ?? DIST);
  try {
    await lab.up(options.nodes ?? 1);
    return lab;
  } catch (error) {
    await lab.dispose();
    throw error;
  }
}

class NamespaceLab implements Lab {
  nodes: readonly Node[] = [];
  readonly share = SHARE;
  readonly machineShare: string;
  readonly underlay4 = UNDERLAY4;
  readonly underlay6 = UNDERLAY6;
  readonly #directory: string;
  readonly #dist: string;
  /** Kept referenced: with the pipe to its input, a node ends. */
  readonly #processes: Subprocess[] = [];
  #underlay = 0;

  constructor(directory: string, dist: string) {
    this.#directory = directory;
    this.#dist = dist;
    this.machineShare = join(directory, "share");
    mkdirSync(this.machineShare);
    live.add(this);
    watchSignals();
  }

  async up(count: number): Promise<void> {
    const numbers = Array.from({ length: count }, (_, index) => index + 1);
    const [underlay, ...pids] = await Promise.all([
      this.#startUnderlay(),
      ...numbers.map((number) => this.#startNode(`node${number}`)),
    ]);
    this.#underlay = underlay;
    const plug = pids.map(
      (pid, index) =>
        `link add node${index + 1} type veth peer name eth0 netns ${pid}\nlink set node${index + 1} master br0 up\n`,
    );
    await this.#ip(underlay, plug.join(""));
    this.nodes = await Promise.all(
      pids.map(async (pid, index) => {
        const name = `node${index + 1}`;
        const host = index + 11;
        const node = new Node({
          name,
          address4: `172.31.0.${host}`,
          address6: `fd31::${host}`,
          pid,
          cgroup: this.#cgroups.get(name),
        });
        await this.#ip(
          pid,
          [
            `address add ${node.address4}/24 dev eth0`,
            `address add ${node.address6}/64 dev eth0 nodad`,
            // The kernel's own link-local address would be tentative for a second or two, and until then a node that forwards
            // cannot ask for its neighbours: a pod's first packet to another node would be lost.
            "link set eth0 addrgenmode none",
            `address add fe80::${host}/64 dev eth0 nodad`,
            "link set eth0 up",
            `route add default via ${UNDERLAY4}`,
            `route add default via ${UNDERLAY6}`,
          ].join("\n"),
        );
        return node;
      }),
    );
  }

  get underlayNamespace(): string {
    return `/proc/${this.#underlay}/ns/net`;
  }

  serve(command: readonly string[], log: string): Subprocess {
    const child = Bun.spawn(
      ["nsenter", `--target=${this.#underlay}`, "--net", "--", "setpriv", "--pdeathsig=KILL", ...command],
      {
        stdin: "ignore",
        stdout: Bun.file(join(this.#directory, log)),
        stderr: Bun.file(join(this.#directory, log)),
      },
    );
    this.#processes.push(child);
    return child;
  }

  async routeBlocks(blocks: Iterable<{ readonly node: string; readonly cidr: string }>): Promise<void> {
    const all = [...blocks];
    await Promise.all(
      this.nodes.map((node) => {
        const routes = all.flatMap(({ node: owner, cidr }) => {
          const via = owner === node.name ? undefined : this.nodes.find((other) => other.name === owner);
          if (via === undefined) return [];
          return `route replace ${cidr} via ${cidr.includes(":") ? via.address6 : via.address4} protocol ${ROUTE_PROTOCOL}\n`;
        });
        const flush = ["-4", "-6"].map((family) =>
          ["ip", family, "route", "flush", "protocol", ROUTE_PROTOCOL].join(" "),
        );
        return node.run(["sh", "-c", `${flush.join("; ")}; exec ip -batch -`], { stdin: routes.join("") });
      }),
    );
  }

  async link(one: LinkEnd, other: LinkEnd): Promise<void> {
    await this.#ip(
      one.node.pid,
      `link add ${one.interface} type veth peer name ${other.interface} netns ${other.node.pid}`,
    );
    for (const { node, interface: name, addresses } of [one, other]) {
      await this.#ip(
        node.pid,
        [
          ...addresses.map((cidr) => `address add ${cidr} dev ${name}${cidr.includes(":") ? " nodad" : ""}`),
          `link set ${name} up`,
        ].join("\n"),
      );
    }
  }

  async dispose(): Promise<void> {
    live.delete(this);
    for (const child of this.#processes) child.kill("SIGKILL");
    for (const node of this.nodes) kill(node.pid);
    await Promise.all(this.#processes.map((child) => child.exited));
    this.#processes.length = 0;
    const deadline = performance.now() + 5000;
    while (!removeCgroups(basename(this.#directory)) && performance.now() < deadline) await Bun.sleep(2);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  /** What can be done at once when the process is about to end: the rest ends with it, but would leave the directory. */
  disposeNow(): void {
    live.delete(this);
    for (const node of this.nodes) kill(node.pid);
    const deadline = performance.now() + 1000;
    while (!removeCgroups(basename(this.#directory)) && performance.now() < deadline) Bun.sleepSync(2);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  readonly #cgroups = new Map<string, string | undefined>();

  #startUnderlay(): Promise<number> {
    const script = `set -e
      ip link add br0 type bridge
      ip address add ${UNDERLAY4}/24 dev br0
      ip address add ${UNDERLAY6}/64 dev br0 nodad
      ip link set br0 addrgenmode none
      ip address add fe80::1/64 dev br0 nodad
      ip link set br0 up
      ip link set lo up
      echo 1 >/proc/sys/net/ipv4/ip_forward
      echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
      echo "ready $$"
      exec >/dev/null 2>&1
      read -r _ || :`;
    return this.#startInit("underlay", ["unshare", "--net", "bash", "-c", script], {});
  }

  #startNode(name: string): Promise<number> {
    const cgroup = makeCgroup(basename(this.#directory), name);
    this.#cgroups.set(name, cgroup);
    const stage = join(this.#directory, name);
    mkdirSync(stage);
    const namespaces = ["--net", "--mount", "--pid", "--uts", "--ipc", "--cgroup"];
    const init = [
      ...(cgroup === undefined ? [] : ["sh", "-c", 'echo $$ >"$0" && exec "$@"', `${cgroup}/cgroup.procs`]),
      ...["unshare", ...namespaces, "--fork", "--kill-child", "--propagation=private"],
      ...["bash", join(CHECKOUT, "conformance/lab/node-init.sh")],
    ];
    return this.#startInit(name, init, {
      NODE: name,
      STAGE: stage,
      SHARE: this.machineShare,
      CHECKOUT,
      DIST: this.#dist,
      CGROUP: cgroup ?? "",
    });
  }

  /** Starts a process that says "ready PID" and lives until its input ends; returns that PID. */
  async #startInit(name: string, command: string[], env: Record<string, string>): Promise<number> {
    const log = join(this.#directory, `${name}.log`);
    const child = Bun.spawn(command, {
      cwd: "/",
      env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", LANG: "C.UTF-8", ...env },
      stdin: "pipe",
      stdout: "pipe",
      stderr: Bun.file(log),
    });
    this.#processes.push(child);
    let said = "";
    for await (const chunk of child.stdout) {
      said += new TextDecoder().decode(chunk);
      const ready = /^ready (\d+)\n/m.exec(said);
      if (ready?.[1] !== undefined) return Number(ready[1]);
    }
    throw new Error(`${name} of the lab did not come up: ${readFileSync(log, "utf8").trim()}`);
  }

  async #ip(pid: number, batch: string): Promise<void> {
    const command = ["nsenter", `--target=${pid}`, "--net", "--", "ip", "-batch", "-"];
    expectSuccess("lab", command, await run(command, { stdin: batch }));
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended already.
  }
}

const live = new Set<NamespaceLab>();
let watching = false;

/** Labs of a process that exits, or is told to end, are taken down; the signal then does what it would have done. */
function watchSignals(): void {
  if (watching) return;
  watching = true;
  const disposeAll = (): void => {
    for (const lab of [...live]) lab.disposeNow();
  };
  process.on("exit", disposeAll);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    const onSignal = (): void => {
      disposeAll();
      process.off(signal, onSignal);
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}
