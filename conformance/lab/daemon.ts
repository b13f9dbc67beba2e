import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Subprocess } from "bun";

/** A long-running process of a node, whose output goes to a file; it ends with the node. */
export class Daemon {
  readonly name: string;
  /** As the machine sees it: of the process itself, not of what it was started by. */
  readonly pid: number;
  /** Its output's file, as the machine sees it. */
  readonly logFile: string;
  readonly #child: Subprocess;

  constructor(name: string, pid: number, logFile: string, child: Subprocess) {
    this.name = name;
    this.pid = pid;
    this.logFile = logFile;
    this.#child = child;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  log(): string {
    return existsSync(this.logFile) ? readFileSync(this.logFile, "utf8") : "";
  }

  /** Resolves when it has ended. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    this.signal(signal);
    await this.#child.exited;
  }

  signal(signal: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT" | "SIGHUP"): void {
    if (this.running) process.kill(this.pid, signal);
  }

  /** Memory in bytes: resident now, of it what is not pages of files, and the most that was ever resident. */
  memory(): { readonly resident: number; readonly anonymous: number; readonly peak: number } {
    const status = readFileSync(`/proc/${this.pid}/status`, "utf8");
    const of = (field: string): number => Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1]) * 1024;
    return { resident: of("VmRSS"), anonymous: of("RssAnon"), peak: of("VmHWM") };
  }

  /** Seconds on a processor so far, of all its threads. */
  processor(): number {
    const fields = afterName(readFileSync(`/proc/${this.pid}/stat`, "utf8"));
    return (Number(fields[11]) + Number(fields[12])) / 100; // clock ticks of 10 ms (USER_HZ)
  }
}

/** The process that another one started and waits for. */
export async function childOf(parent: Subprocess): Promise<number> {
  while (parent.exitCode === null && parent.signalCode === null) {
    for (const name of readdirSync("/proc")) {
      if (/^\d+$/.test(name) && parentOf(name) === parent.pid) return Number(name);
    }
    await Bun.sleep(1);
  }
  throw new Error("it ended at once");
}

function parentOf(pid: string): number | undefined {
  try {
    return Number(afterName(readFileSync(`/proc/${pid}/stat`, "utf8"))[1]);
  } catch {
    return undefined;
  }
}

/** The fields of proc(5)'s stat from the third on; the second is a name and may hold anything. */
const afterName = (stat: string): string[] => stat.slice(stat.lastIndexOf(")") + 2).split(" ");
