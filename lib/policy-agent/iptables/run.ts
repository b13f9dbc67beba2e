/** Running iptables and ipset: bounded in time, input in memory, and what went wrong in the tool's own words. */
import { inNamespace, type Namespace } from "../../sys/index.ts";
import { DataplaneError, type IpVersion } from "../rules/index.ts";
import type { Backend } from "./options.ts";

export interface ToolResult {
  readonly ok: boolean;
  readonly output: string;
  /** What it said on standard error, on one line. */
  readonly words: string;
  /** The line of its input that it blames, from 1. */
  readonly line?: number;
}

export interface Tools {
  /** Runs a tool to its end. Throws DATAPLANE_TOOL_MISSING when there is none of the name, DATAPLANE_REFUSED when it did not end in time. */
  run(command: readonly string[], input?: string): Promise<ToolResult>;
  /** Process ids of the tools that run now or ended a moment ago; the netlink sockets of iptables-nft have them as port ids. */
  readonly pids: ReadonlySet<number>;
  /** Runs a tool that takes the xtables lock so many times. */
  runLocking(command: readonly string[], input: string, locks: number): Promise<ToolResult>;
  /** Whether an event of the lock's file, opened or closed, is one that a tool of ours makes. Counts it. */
  isOwnLockEvent(): boolean;
}

/** How long after a tool's end its id is remembered: until its netlink notifications have been read. */
const MEMORY = 1_000;
/** How long after the last of our tools an event of the lock may still be one of theirs. */
const LOCK_MEMORY = 50;

export function makeTools(options: {
  readonly namespace?: Namespace;
  readonly timeout: number;
  /** The xtables lock, where it is not the usual file. */
  readonly lockFile?: string;
}): Tools {
  const { namespace, timeout, lockFile } = options;
  const env = { ...process.env, LC_ALL: "C", ...(lockFile !== undefined && { XTABLES_LOCKFILE: lockFile }) };
  const pids = new Set<number>();
  let lockEvents = 0;
  let locking = 0;
  const tools: Tools = {
    pids,
    isOwnLockEvent: () => lockEvents > 0 && lockEvents-- > 0,
    async runLocking(command, input, locks) {
      // Opened and closed each time.
      lockEvents += 2 * locks;
      locking++;
      try {
        return await tools.run(command, input);
      } finally {
        locking--;
        setTimeout(() => {
          if (locking === 0) lockEvents = 0;
        }, LOCK_MEMORY).unref();
      }
    },
    async run(command, input) {
      const start = () =>
        Bun.spawn([...command], {
          stdin: input === undefined ? "ignore" : new TextEncoder().encode(input),
          stdout: "pipe",
          stderr: "pipe",
          env,
        });
      let child: ReturnType<typeof start>;
      try {
        child = namespace ? inNamespace(namespace, start) : start();
      } catch (cause) {
        throw toolMissing(command[0] ?? "", cause);
      }
      pids.add(child.pid);
      let late = false;
      const timer = setTimeout(() => {
        late = true;
        child.kill("SIGKILL");
      }, timeout);
      try {
        const [output, errors, status] = await Promise.all([
          new Response(child.stdout).text(),
          new Response(child.stderr).text(),
          child.exited,
        ]);
        if (late) {
          throw new DataplaneError(
            "DATAPLANE_REFUSED",
            `${command.join(" ")} had not ended after ${timeout} ms and was killed; is the machine overloaded, or the xtables lock held?`,
          );
        }
        const words = oneLine(errors);
        const line = /(?:line:?) (\d+)/.exec(words)?.[1];
        return { ok: status === 0, output, words, ...(line !== undefined && { line: Number(line) }) };
      } finally {
        clearTimeout(timer);
        setTimeout(() => pids.delete(child.pid), MEMORY).unref();
      }
    },
  };
  return tools;
}

const oneLine = (text: string): string =>
  text
    .replace(/Try `\S+ -h' or '\S+ --help' for more information\.?/g, "")
    .replace(/#? ?Warning: iptables-legacy tables present, use \S+ to see them/g, "")
    .replace(/\s+/g, " ")
    .trim();

export function toolMissing(name: string, cause?: unknown): DataplaneError {
  const remedy = name.startsWith("ipset")
    ? "install ipset"
    : "install iptables 1.8 or newer, or choose another IptablesBackend";
  return new DataplaneError("DATAPLANE_TOOL_MISSING", `there is no ${name} to run; ${remedy}`, { cause });
}

/** `ip6tables-nft-save`; where only one back end is installed, `ip6tables-save` (as upstream's FindBestBinary). */
export function iptablesTool(version: IpVersion, backend: Backend, what: "save" | "restore"): string {
  const family = version === 4 ? "iptables" : "ip6tables";
  const named = `${family}-${backend}-${what}`;
  const plain = `${family}-${what}`;
  return hasTool(named) || !hasTool(plain) ? named : plain;
}

export const hasTool = (name: string): boolean => Bun.which(name, { PATH: process.env.PATH ?? "" }) !== null;
