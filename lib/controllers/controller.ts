import type { Client } from "../datastore/index.ts";
import type { Kubernetes } from "../kubernetes/index.ts";
import type { Metrics } from "../telemetry/daemon.ts";
import type { Logger } from "../telemetry/index.ts";
import type { Time } from "./time.ts";

/** What every controller is given. */
export interface ControllerContext {
  /** Calico's datastore. */
  readonly client: Client;
  /** The cluster's API server. */
  readonly kubernetes: Kubernetes;
  /** Of this controller alone. */
  readonly log: Logger;
  /** Of the whole process: a metric may be registered once only. */
  readonly metrics: Metrics;
  readonly time: Time;
  /** Says whether the controller does its work; `reason` for people. What it said holds until it says otherwise. */
  report(ready: boolean, reason?: string): void;
}

/**
 * One loop of the cluster: it looks at what is, decides what should be, and writes the difference. Two of the same kind may
 * run at once: every write is a compare-and-swap, or is the same whoever makes it.
 */
export interface Controller {
  /** As in ENABLED_CONTROLLERS: `node`, `loadbalancer`. */
  readonly name: string;
  /**
   * Works until the signal aborts, and then resolves with nothing left running. What it throws is logged, and it is run again after a while; so it
   * keeps no state outside of this call that it cannot find again.
   */
  run(signal: AbortSignal): Promise<void>;
}

/** A setting that may change while it is used. */
export interface Live<S> {
  readonly value: S;
  /** Calls back after every change. Answers how to be called no longer. */
  onChange(listener: () => void): () => void;
}

/** A setting, and the way to change it. Setting what it is already changes nothing; values are compared as JSON. */
export class Setting<S> implements Live<S> {
  #value: S;
  readonly #listeners = new Set<() => void>();

  constructor(value: S) {
    this.#value = value;
  }

  get value(): S {
    return this.#value;
  }

  set(value: S): void {
    const same = JSON.stringify(value) === JSON.stringify(this.#value);
    this.#value = value;
    if (!same) for (const listener of [...this.#listeners]) listener();
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }
}

/** A part of a setting. */
export function select<S, T>(live: Live<S>, part: (value: S) => T): Live<T> {
  return {
    get value() {
      return part(live.value);
    },
    onChange(listener) {
      let last = JSON.stringify(part(live.value));
      return live.onChange(() => {
        const next = JSON.stringify(part(live.value));
        if (next === last) return;
        last = next;
        listener();
      });
    },
  };
}
