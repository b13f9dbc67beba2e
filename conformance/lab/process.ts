import { constants } from "node:os";

/** How a process ended and what it said. */
export interface Outcome {
  /** Exit status; 128 + n when signal n ended it, as a shell reports it. */
  readonly status: number;
  /** The signal that ended it, such as "SIGKILL". */
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface ExecOptions {
  readonly stdin?: string;
  /** The whole environment, beside PATH, HOME and LANG: nothing of the caller's own is passed on. */
  readonly env?: Readonly<Record<string, string>>;
  /** Working directory, as the process sees it. Default: /. */
  readonly cwd?: string;
  /** Milliseconds after which the process is killed, and reported as killed. Default: 60,000. */
  readonly timeout?: number;
}

/** A process that was started and not waited for. */
export interface Running {
  /** As the machine sees it. In a node this is `nsenter`, whose child the process is. */
  readonly pid: number;
  readonly outcome: Promise<Outcome>;
}

/** What a command of a lab has for an environment, beside what it is given. */
export const ENVIRONMENT = {
  PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
  HOME: "/root",
  LANG: "C.UTF-8",
};

/** Starts a command on the machine itself (in the namespaces of the caller). */
export function start(command: readonly string[], options: ExecOptions = {}): Running {
  // timeout(1) and not a timer here: it also reaches what runs in another pid namespace, behind nsenter.
  const seconds = String((options.timeout ?? 60_000) / 1000);
  const child = Bun.spawn(["timeout", "--signal=KILL", seconds, ...command], {
    cwd: options.cwd ?? "/",
    env: { ...ENVIRONMENT, ...options.env },
    stdin: options.stdin === undefined ? "ignore" : new TextEncoder().encode(options.stdin),
    stdout: "pipe",
    stderr: "pipe",
  });
  const outcome = async (): Promise<Outcome> => {
    const [stdout, stderr, status] = await Promise.all([
      new Response(child.stdout).text(),
      new Response(child.stderr).text(),
      child.exited,
    ]);
    return { status, signal: signalOf(status), stdout, stderr };
  };
  return { pid: child.pid, outcome: outcome() };
}

/** The status is a shell's, because timeout(1) and nsenter pass a signal on as one or as the other. */
function signalOf(status: number): string | null {
  const signals = Object.entries(constants.signals);
  return signals.find(([, number]) => status === 128 + number)?.[0] ?? null;
}

/** Runs a command to its end, whatever that is. */
export function run(command: readonly string[], options: ExecOptions = {}): Promise<Outcome> {
  return start(command, options).outcome;
}

/** What the command printed; throws, with all that it said, when it did not exit with 0. */
export function expectSuccess(where: string, command: readonly string[], outcome: Outcome): string {
  if (outcome.status === 0) return outcome.stdout;
  const said = [outcome.stderr.trim(), outcome.stdout.trim()].filter((text) => text !== "").join("\n");
  throw new Error(
    `${where}: ${command.join(" ")}: ${outcome.signal ?? `exit status ${outcome.status}`}${said && `\n${said}`}`,
  );
}
