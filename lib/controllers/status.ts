/**
 * The status file, by which probes without a port learn how the controllers are: upstream's path, names and words
 * (kube-controllers/pkg/status). It is replaced as a whole whenever something changes, and touched while the process is alive.
 */
import { readFileSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { makeFolder } from "../sys/index.ts";

export const STATUS_FILE = "/status/status.json";
/** A file that was not touched for so long is of a process that hangs, in milliseconds. */
const STALE_MS = 60_000;
/** Upstream's file modes: the probe may run as somebody else. */
const MODE = 0o644;

export interface Condition {
  readonly Ready: boolean;
  readonly Reason: string;
}

export interface StatusFileOptions {
  readonly path?: string;
  /** It cannot be written, and why; said once. */
  readonly onError: (error: Error) => void;
}

/** Gathers what the parts of the process say of themselves. */
export class StatusFile {
  readonly #path: string;
  readonly #options: StatusFileOptions;
  readonly #conditions = new Map<string, Condition>();
  #said = "";

  constructor(options: StatusFileOptions) {
    this.#options = options;
    this.#path = options.path ?? STATUS_FILE;
  }

  set(part: string, ready: boolean, reason = ""): void {
    const before = this.#conditions.get(part);
    if (before && before.Ready === ready && before.Reason === reason) return;
    this.#conditions.set(part, { Ready: ready, Reason: reason });
    this.#write();
  }

  /** The part is asked no longer. */
  remove(part: string): void {
    if (this.#conditions.delete(part)) this.#write();
  }

  get ready(): boolean {
    return this.#conditions.size > 0 && [...this.#conditions.values()].every(({ Ready }) => Ready);
  }

  /** Says that the process is alive. */
  touch(): void {
    try {
      const now = new Date();
      utimesSync(this.#path, now, now);
    } catch {
      this.#write();
    }
  }

  #write(): void {
    const fresh = `${this.#path}.${process.pid}`;
    try {
      makeFolder(dirname(this.#path));
      writeFileSync(fresh, JSON.stringify({ Readiness: Object.fromEntries(this.#conditions) }), { mode: MODE });
      renameSync(fresh, this.#path);
      this.#said = "";
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#said) this.#options.onError(error as Error);
      this.#said = message;
    }
  }
}

/** What a probe is told. */
export interface ProbeAnswer {
  readonly good: boolean;
  /** Upstream's words where it has any. */
  readonly text: string;
}

/** Answers a probe by the file. Liveness wants it to be of a process that still runs, besides. */
export function probe(kind: "live" | "ready", path = STATUS_FILE, now = Date.now()): ProbeAnswer {
  let conditions: Readonly<Record<string, Partial<Condition> | null>>;
  try {
    const { Readiness } = JSON.parse(readFileSync(path, "utf8")) as { Readiness?: typeof conditions };
    conditions = Readiness ?? {};
    const age = now - statSync(path).mtimeMs;
    if (kind === "live" && age > STALE_MS)
      return { good: false, text: `the status file ${path} was last written ${Math.round(age / 1000)} s ago` };
  } catch (error) {
    return { good: false, text: `Failed to read status file ${path}: ${(error as Error).message}` };
  }
  const all = Object.values(conditions);
  const bad = all.filter((condition) => condition?.Ready !== true);
  if (all.length > 0 && bad.length === 0) return { good: true, text: "Ready" };
  return { good: false, text: bad.map((condition) => condition?.Reason ?? "").join("; ") };
}
