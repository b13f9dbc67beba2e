import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { removeCgroups } from "./cgroup.ts";

const PREFIX = "calico-lab-";

/** Makes the directory of a lab, and notes in it whose it is. Its base name is the name of the lab. */
export function claimDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
  writeFileSync(join(directory, "owner"), identity(process.pid) ?? "");
  return directory;
}

/**
 * Removes what labs of processes that no longer exist left behind. Their nodes ended with them; what remains is a
 * directory and, when the owner was killed, empty cgroups.
 */
export function sweepDeadLabs(): void {
  for (const name of readdirSync(tmpdir())) {
    if (!name.startsWith(PREFIX)) continue;
    const directory = join(tmpdir(), name);
    try {
      const owner = readFileSync(join(directory, "owner"), "utf8");
      if (owner === "" || identity(Number(owner.split(" ")[0])) === owner) continue;
      // Its last processes may be dying at this very moment.
      const deadline = performance.now() + 1000;
      let gone = removeCgroups(name);
      while (!gone && performance.now() < deadline) {
        Bun.sleepSync(5);
        gone = removeCgroups(name);
      }
      if (gone) rmSync(directory, { recursive: true, force: true });
    } catch {
      // Being made, being removed, or another user's: not ours to sweep.
    }
  }
}

/** A process as "pid starttime", because a pid alone is used again. Undefined when there is none. */
export function identity(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name, second field, is in parentheses and may hold anything; the start time is the 22nd (proc(5)).
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return `${pid} ${fields[19]}`;
  } catch {
    return undefined;
  }
}
