/** For tests: a controller that runs, and ends with the test. */
import type { Client } from "../datastore/index.ts";
import type { Kubernetes } from "../kubernetes/index.ts";
import { Metrics } from "../telemetry/daemon.ts";
import { silentLogger } from "../telemetry/index.ts";
import type { Controller, ControllerContext } from "./controller.ts";
import { systemTime, type Time } from "./time.ts";

export interface RunningController {
  /** What it says of itself. */
  readonly state: { ready: boolean; reason: string };
  /** Warnings and errors, message and fields. */
  readonly warnings: readonly string[];
  /** Ends it, and resolves when nothing of it is left. Throws what it threw. */
  stop(): Promise<void>;
}

export interface RunOptions {
  readonly client: Client;
  /** Where the controller talks to no API server it may be absent. */
  readonly kubernetes?: Kubernetes;
  readonly time?: Time;
}

/** Runs a controller until it is stopped. */
export function runController(
  make: (context: ControllerContext) => Controller,
  options: RunOptions,
): RunningController {
  const stop = new AbortController();
  const state = { ready: false, reason: "" };
  const warnings: string[] = [];
  const warn = (message: string, fields: object = {}): void =>
    void warnings.push(`${message} ${JSON.stringify(fields)}`);
  const unused = new Proxy({} as Kubernetes, {
    get: (_, name) => {
      throw new Error(`this test has no API server to ask for ${String(name)}`);
    },
  });
  const controller = make({
    client: options.client,
    kubernetes: options.kubernetes ?? unused,
    log: { ...silentLogger, warning: warn, error: warn },
    metrics: new Metrics(),
    time: options.time ?? systemTime,
    report: (ready, reason = "") => Object.assign(state, { ready, reason }),
  });
  const done = controller.run(stop.signal);
  // Told where it is stopped.
  done.catch(() => {});
  return {
    state,
    warnings,
    stop: async () => {
      stop.abort();
      await done;
    },
  };
}

export { countIpam, deleteNodes, type Fill, fillCluster } from "./node/testing.ts";
