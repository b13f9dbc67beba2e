import type { Logger } from "../telemetry/index.ts";
import type { Controller, Live } from "./controller.ts";
import { systemTime, type Time } from "./time.ts";

export interface RunnerOptions {
  /** By name. Called once, when the controller is enabled for the first time. */
  readonly make: Readonly<Record<string, () => Controller>>;
  /** Names of those that shall run. One that is not in `make` does not exist here, and is told of once. */
  readonly enabled: Live<readonly string[]>;
  /** A controller does not run any more, because it is not enabled. */
  readonly onStopped?: (name: string) => void;
  /** A controller ended by an error; it is run again in `wait` milliseconds. */
  readonly onFailed?: (name: string, error: unknown, wait: number) => void;
  readonly log: Logger;
  readonly time?: Time;
  readonly signal: AbortSignal;
}

/** Until a controller that failed is run again, in milliseconds. One that ran for longer than `most` begins anew. */
const RETRY = { first: 1_000, most: 60_000 };

/** Runs the controllers that are enabled, and again those that fail, until the signal aborts; resolves when all have ended. */
export async function runControllers(options: RunnerOptions): Promise<void> {
  const { make, enabled, log, signal, time = systemTime } = options;
  const made = new Map<string, Controller>();
  const running = new Map<string, { readonly stop: AbortController; readonly done: Promise<void> }>();
  const unknown = new Set<string>();

  const start = (name: string, maker: () => Controller, before: Promise<void>): void => {
    const stop = new AbortController();
    const done = before.then(() => keepRunning(name, maker, AbortSignal.any([stop.signal, signal])));
    running.set(name, { stop, done });
  };
  const keepRunning = async (name: string, maker: () => Controller, until: AbortSignal): Promise<void> => {
    let wait = RETRY.first;
    while (!until.aborted) {
      const began = time.now();
      try {
        const controller = made.get(name) ?? maker();
        made.set(name, controller);
        log.info("runs", { controller: name });
        await controller.run(until);
        if (until.aborted) return;
        throw new Error("it ended by itself");
      } catch (error) {
        if (until.aborted) return;
        if (time.now() - began > RETRY.most) wait = RETRY.first;
        log.error("a controller failed, and is run again", { controller: name, error: (error as Error).message, wait });
        options.onFailed?.(name, error, wait);
        await time.sleep(wait, until);
        wait = Math.min(wait * 2, RETRY.most);
      }
    }
  };
  const ending = new Map<string, Promise<void>>();
  const apply = (): void => {
    const wanted = new Set(enabled.value);
    for (const [name, { stop, done }] of running) {
      if (wanted.has(name)) continue;
      log.info("stops: it is not enabled any more", { controller: name });
      stop.abort();
      running.delete(name);
      // One that is enabled again must not run beside itself.
      ending.set(name, done);
      void done.then(() => {
        if (!running.has(name)) options.onStopped?.(name);
      });
    }
    for (const name of wanted) {
      if (running.has(name) || signal.aborted) continue;
      const maker = make[name];
      if (maker) start(name, maker, ending.get(name) ?? Promise.resolve());
      else if (!unknown.has(name)) {
        unknown.add(name);
        log.warning("there is no such controller", { controller: name, known: Object.keys(make).join(", ") });
      }
    }
  };
  const deaf = enabled.onChange(apply);
  apply();
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
  deaf();
  await Promise.all([...running.values(), ...[...ending.values()].map((done) => ({ done }))].map(({ done }) => done));
}
