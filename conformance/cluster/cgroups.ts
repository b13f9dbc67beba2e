/** The cgroup v1 hierarchies of a node that has a kubelet: a sub-tree of its own in each, which the node sees as the whole. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { identity, type Node, run } from "../lab/index.ts";

/** What a kubelet and runc insist on. Hierarchies beside these (freezer, pids, systemd…) are given to the node where they are. */
const NEEDED = ["cpu", "cpuacct", "cpuset", "memory", "devices"];
const PREFIX = "calico-cluster-";

interface Hierarchy {
  /** Mount point on the machine, and its last word. */
  readonly path: string;
  readonly name: string;
  /** What mounts it again: "cpu", "none,name=systemd". */
  readonly options: string;
  /** The cgroup that this process is in, below the mount point. What holds for this process, holds for the cluster's. */
  readonly own: string;
}

/** Why no kubelet can run here, or undefined when one can. */
export function missingCgroups(): string | undefined {
  const have = hierarchies().flatMap(({ options }) => options.split(","));
  const lacking = NEEDED.filter((controller) => !have.includes(controller));
  return lacking.length === 0 ? undefined : `needs cgroup v1 with ${lacking.join(", ")}`;
}

function hierarchies(): Hierarchy[] {
  const mounts = readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [mount = "", filesystem = ""] = line.split(" - ");
      const [type, , options = ""] = filesystem.split(" ");
      const path = mount.split(" ")[4];
      return type === "cgroup" && path !== undefined ? [{ path, options: options.split(",") }] : [];
    });
  return readFileSync("/proc/self/cgroup", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, controllers = "", own = "/"] = line.split(":");
      if (controllers === "") return [];
      const words = controllers.split(",");
      const mount = mounts.find(({ options }) => words.every((word) => options.includes(word)));
      if (mount === undefined) return [];
      const options = controllers.startsWith("name=") ? `none,${controllers}` : controllers;
      return [{ path: mount.path, name: mount.path.split("/").at(-1)!, options, own }];
    });
}

/** The cgroups of one cluster. */
export class Cgroups {
  static #made = 0;
  readonly #name: string;
  readonly #folders: string[] = [];

  /** Made after the lab. */
  constructor() {
    sweep();
    // A pid alone is used again: with its start time it is not.
    this.#name = `${PREFIX}${identity(process.pid)!.replace(" ", "-")}-${++Cgroups.#made}`;
    live.add(this);
    watchSignals();
  }

  /** Mounts them in the node, in place of what it has at /sys/fs/cgroup; cgroup v2 then is at /sys/fs/cgroup/unified. */
  async giveTo(node: Node): Promise<void> {
    const all = hierarchies();
    const folders = all.map(({ path, name, own }) => {
      const parent = join(path, own, this.#name);
      const folder = join(parent, node.name);
      for (const one of [parent, folder]) {
        mkdirSync(one, { recursive: true });
        if (!this.#folders.includes(one)) this.#folders.push(one);
        // A new cpuset is empty, and takes no process.
        if (name === "cpuset")
          for (const file of ["cpuset.cpus", "cpuset.mems"])
            writeFileSync(join(one, file), readFileSync(join(one, "..", file), "utf8").trim());
      }
      return folder;
    });
    if (node.cgroup !== undefined) folders.push(node.cgroup);
    const nsenter = [
      "nsenter",
      `--target=${node.pid}`,
      "--mount",
      "--uts",
      "--ipc",
      "--pid",
      "--net",
      "--wdns=/",
      "--",
    ];
    const mounts = all.map(({ name, options }) => `mkdir ${name}; mount -t cgroup -o ${options} cgroup ${name}`);
    const script = `
      mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
      cd /sys/fs/cgroup
      ${mounts.join("\n")}
      ${node.cgroup === undefined ? "" : "mkdir unified; mount -t cgroup2 cgroup2 unified"}`;
    // What a mount of cgroups shows as its root is the root of the cgroup namespace it is made in, and that is the
    // cgroup that the namespace's maker was in.
    const joinCgroups = 'for folder in $FOLDERS; do echo $$ >"$folder/cgroup.procs" || exit; done; exec "$@"';
    const command = ["sh", "-c", joinCgroups, "sh", ...nsenter, "unshare", "--cgroup", "sh", "-ec", script];
    const { status, stderr } = await run(command, { env: { FOLDERS: folders.join(" ") } });
    if (status !== 0) throw new Error(`${node.name}: its cgroups cannot be mounted: ${stderr}`);
  }

  /** Removes them, once the cluster's processes have ended: the kernel refuses as long as a dying one is in one. */
  async remove(): Promise<void> {
    live.delete(this);
    const deadline = performance.now() + 10_000;
    while (this.#folders.map(removeTree).includes(false) && performance.now() < deadline) await Bun.sleep(5);
  }

  /** As far as that is possible in a second, for a process that is about to end. */
  removeNow(): void {
    const deadline = performance.now() + 1000;
    while (this.#folders.map(removeTree).includes(false) && performance.now() < deadline) Bun.sleepSync(5);
  }
}

/** In front of a command that runs in a node: puts it into the node's cgroups, with a namespace that begins there. */
export const IN_CGROUPS: readonly string[] = [
  ...["sh", "-c", 'for folder in /sys/fs/cgroup/*/; do echo $$ >"$folder/cgroup.procs"; done; exec "$@"', "sh"],
  ...["unshare", "--cgroup", "--"],
];

/** Removes what clusters of processes that were killed have left. */
function sweep(): void {
  for (const { path } of hierarchies())
    for (const folder of find(path, 3)) {
      const [pid = "", start = ""] = folder.split("/").at(-1)!.slice(PREFIX.length).split("-");
      if (identity(Number(pid)) !== `${pid} ${start}`) removeTree(folder);
    }
}

function find(folder: string, depth: number): string[] {
  return children(folder).flatMap((child) => {
    if (child.split("/").at(-1)!.startsWith(PREFIX)) return [child];
    return depth > 1 ? find(child, depth - 1) : [];
  });
}

function children(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => join(folder, name));
  } catch {
    return [];
  }
}

function removeTree(folder: string): boolean {
  if (!existsSync(folder)) return true;
  if (!children(folder).map(removeTree).every(Boolean)) return false;
  try {
    rmdirSync(folder);
    return true;
  } catch {
    return !existsSync(folder);
  }
}

const live = new Set<Cgroups>();
let watching = false;

/** For a process that exits, or is told to end, before it has removed them. The lab does the same for its nodes, and watches first. */
function watchSignals(): void {
  if (watching) return;
  watching = true;
  const removeAll = (): void => {
    for (const cgroups of live) cgroups.removeNow();
    live.clear();
  };
  process.on("exit", removeAll);
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    const onSignal = (): void => {
      removeAll();
      process.off(signal, onSignal);
      if (process.listenerCount(signal) === 0) process.kill(process.pid, signal);
    };
    process.on(signal, onSignal);
  }
}
