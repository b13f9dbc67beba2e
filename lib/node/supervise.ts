import { EXIT_RESTART } from "../telemetry/exit.ts";
import type { Logger } from "../telemetry/index.ts";
import { pause } from "../wait/index.ts";

/** A process to keep running. */
export interface Worker {
  /** For logs: `felix`. */
  readonly name: string;
  readonly command: readonly string[];
  /** What it is called in the process list. */
  readonly argv0?: string;
}

export interface SuperviseOptions {
  readonly workers: readonly Worker[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
  /** Ends the workers (SIGTERM, later SIGKILL) and with them the supervision. */
  readonly signal: AbortSignal;
  readonly times?: Partial<Times>;
}

interface Times {
  /** Pause before a worker that failed is started again: doubled with each failure in a row, in milliseconds. */
  readonly firstPauseMs: number;
  readonly mostPauseMs: number;
  /** A worker that ran this long has not failed at its start. */
  readonly steadyMs: number;
  /** How long workers may take to end. */
  readonly graceMs: number;
}

const TIMES: Times = { firstPauseMs: 500, mostPauseMs: 30_000, steadyMs: 60_000, graceMs: 10_000 };

/**
 * Keeps workers running until the signal is aborted. One that ends is started again: at once when it asked for it (exit status 129), after a
 * pause when it failed. A worker's standard input is a pipe of this process and nothing is written to it: when this process
 * is killed, the pipe ends, and so does the worker; two of a kind never run side by side.
 */
export async function supervise(options: SuperviseOptions): Promise<void> {
  const times = { ...TIMES, ...options.times };
  await Promise.all(options.workers.map((worker) => keep(worker, options, times)));
}

async function keep(worker: Worker, { env, log, signal }: SuperviseOptions, times: Times): Promise<void> {
  let pauseMs = times.firstPauseMs;
  while (!signal.aborted) {
    const began = performance.now();
    const process = Bun.spawn([...worker.command], {
      ...(worker.argv0 === undefined ? {} : { argv0: worker.argv0 }),
      env: { ...env },
      stdin: "pipe",
      stdout: "inherit",
      stderr: "inherit",
    });
    log.info("started", { worker: worker.name, pid: process.pid });
    const end = (): void => {
      process.kill("SIGTERM");
      const timer = setTimeout(() => process.kill("SIGKILL"), times.graceMs);
      void process.exited.then(() => clearTimeout(timer));
    };
    signal.addEventListener("abort", end, { once: true });
    await process.exited;
    signal.removeEventListener("abort", end);
    const { exitCode, signalCode } = process;
    if (signal.aborted) return;
    if (exitCode === EXIT_RESTART) {
      log.info("starts anew, as it asked for", { worker: worker.name });
      pauseMs = times.firstPauseMs;
      continue;
    }
    if (performance.now() - began > times.steadyMs) pauseMs = times.firstPauseMs;
    log.error("ended", {
      worker: worker.name,
      ...(signalCode ? { signal: signalCode } : { status: exitCode ?? -1 }),
      "again in ms": pauseMs,
    });
    await pause(pauseMs, signal);
    pauseMs = Math.min(pauseMs * 2, times.mostPauseMs);
  }
}
