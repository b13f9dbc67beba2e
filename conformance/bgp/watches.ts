/** Onlookers: what of a route went away, in a kernel and in another's table, while something else was done. */
import type { Daemon, Node } from "../lab/index.ts";

export async function kernelHas(node: Node, prefix: string): Promise<boolean> {
  return (await node.run(["ip", prefix.includes(":") ? "-6" : "-4", "route", "show", prefix])).trim() !== "";
}

/** What changes of the node's IPv4 routes from now on. */
export const watchRoutes = (node: Node): Promise<Daemon> =>
  node.daemon("monitor", ["stdbuf", "-oL", "ip", "-4", "monitor", "route"]);

export const deletions = (monitor: Daemon, prefix: string): string[] =>
  monitor
    .log()
    .split("\n")
    .filter((line) => line.startsWith(`Deleted ${prefix} `));

export interface TableWatch {
  /** How often the prefix was not there. */
  missed(): number;
  pause(): Promise<void>;
  resume(): void;
  stop(): Promise<void>;
}

/** Looks again and again whether a table has a prefix. */
export function watchTable(prefixes: () => Promise<readonly string[]>, prefix: string): TableWatch {
  let missed = 0;
  let stopped = false;
  const look = async (): Promise<void> => {
    while (!stopped) {
      if (!(await prefixes()).includes(prefix)) missed++;
      await Bun.sleep(100);
    }
  };
  let work = look();
  const pause = async (): Promise<void> => {
    stopped = true;
    await work;
  };
  return {
    missed: () => missed,
    pause,
    resume: () => {
      stopped = false;
      work = look();
    },
    stop: pause,
  };
}
