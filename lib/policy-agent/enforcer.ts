import type { Logger } from "../telemetry/index.ts";
import { type Calc, type Input, type LocalWorkload, type Message, type WorkloadId, workloadKey } from "./calc/index.ts";
import { InForce } from "./in-force.ts";
import type { Applied, Dataplane, InterfaceState, Programmer } from "./rules/index.ts";
import { Slices } from "./slices.ts";
import type { StatusFiles } from "./status-files.ts";

/** What has a say in where packets to workloads go. */
export interface EndpointRoutes {
  set(workload: LocalWorkload): void;
  remove(interfaceName: string): void;
  /** Only differences. Answers what could not be done; all else was. */
  apply(): readonly Error[];
}

export interface EnforcerParts {
  readonly calc: Calc;
  readonly programmer: Programmer;
  readonly dataplane: Dataplane;
  readonly routes: EndpointRoutes;
  readonly statusFiles: StatusFiles;
  /** Ends the connections of addresses that a local workload has lost: what was allowed to it is not to the next owner. */
  readonly flushConntrack: (addresses: readonly string[]) => void | Promise<void>;
  readonly log: Logger;
  /** Something broke that none of it expects: what was said may be lost, so that only a new start knows what is to be enforced. */
  readonly onBroken: (error: Error) => void;
  /** After each round, for metrics and health. */
  readonly onRound?: (round: Round) => void;
  readonly retry?: { readonly firstMs: number; readonly mostMs: number };
}

/** One pass from the calculation to the kernel. */
export interface Round {
  /** Messages of the calculation. */
  readonly messages: number;
  readonly calculationMs: number;
  readonly applyMs: number;
  /** Policy is in force, also when there is an `error` about something else. */
  readonly applied?: Applied;
  readonly error?: Error;
}

const RETRY = { firstMs: 100, mostMs: 5_000 };
/** Up to so many new endpoints at once go before everything else; more are bulk work themselves (a start, a burst). */
const FIRST_IN_LINE = 8;

/**
 * From inputs to the kernel, over and over: takes inputs in as they come, and while there is something new runs one round after the other
 * (flush the calculation, complete the programs, apply). What comes in during a round waits in the calculation, where
 * changes of one thing become one: a slow kernel makes rounds larger, not the queue longer. Endpoints that are new to this node get a
 * round of their own before anything else.
 *
 * Nothing touches the kernel before {@link inSync}, and a round that fails is tried again with what came since; meanwhile
 * the kernel enforces the last state that it took.
 */
export class Enforcer {
  readonly #parts: EnforcerParts;
  readonly #slices = new Slices();
  readonly #workloads = new Map<string, LocalWorkload>();
  readonly #interfaces = new Map<string, InterfaceState>();
  readonly #released = new Set<string>();
  readonly #inForce = new InForce();
  #inSync = false;
  #due = false;
  /** Somebody else than an input asked for the round: the kernel is to be looked at, whatever the calculation says. */
  #isAsked = false;
  #closed = false;
  #failures = 0;
  #running: Promise<void> | undefined;
  #retry: ReturnType<typeof setTimeout> | undefined;
  /** The kernel refused what it was given: until it is tried again, nothing new is tried either. */
  #isHeld = false;
  #lastError: Error | undefined;
  #rounds = 0;
  #wasFirst = false;
  #busySince: number | undefined;

  constructor(parts: EnforcerParts) {
    this.#parts = parts;
    parts.dataplane.onDrift((what) => {
      parts.log.warning("somebody else changed what is enforced; it is put right", { what });
      this.wake();
    });
  }

  /** Rounds after which policy was in force. */
  get rounds(): number {
    return this.#rounds;
  }
  /** Of the last round, when it failed. */
  get lastError(): Error | undefined {
    return this.#lastError;
  }
  /** Rounds that failed since the last one that did not. */
  get failures(): number {
    return this.#failures;
  }
  /** Since when a round is under way, in ms of performance.now(). */
  get busySince(): number | undefined {
    return this.#busySince;
  }
  get workloads(): ReadonlyMap<string, LocalWorkload> {
    return this.#workloads;
  }

  /**
   * Resolves when the policy of a workload that `isIt` takes for the one is in the kernel, and its interface up; at once when it is.
   * Rejects with the signal's reason.
   */
  whenInForce(id: WorkloadId, isIt: (workload: LocalWorkload) => boolean, signal: AbortSignal): Promise<void> {
    return this.#inForce.when(workloadKey(id), isIt, signal);
  }

  /** Takes one input in. What it answers, when it does, is to be waited for before the next. */
  sink(input: Input): Promise<void> | undefined {
    this.#parts.calc.update(input);
    this.#begin();
    return this.#slices.pause();
  }

  /** All there was at the beginning has come in: from now on the kernel is made so. */
  inSync(): void {
    this.#inSync = true;
    this.#parts.calc.inSync();
    this.wake();
  }

  /** An interface of the host appeared, changed or went away. */
  onInterface(name: string, state: InterfaceState | undefined): void {
    if (state) this.#interfaces.set(name, state);
    else this.#interfaces.delete(name);
    this.#parts.programmer.onInterface(name, state);
    this.wake();
  }

  /** There may be something to do beside what inputs come to. */
  wake(): void {
    this.#isAsked = true;
    this.#begin();
  }

  #begin(): void {
    this.#due = true;
    if (!this.#inSync || this.#closed || this.#running || this.#isHeld) return;
    // A turn of the event loop gathers what came in together.
    this.#running = new Promise<void>((resolve) => setImmediate(resolve))
      .then(() => this.#run())
      .catch((error: Error) => {
        this.#closed = true;
        this.#parts.onBroken(error);
      });
  }

  /** Waits for the round that is under way, and begins no more. The kernel goes on enforcing. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.#running;
  }

  async #run(): Promise<void> {
    try {
      while (this.#due && !this.#closed && !this.#isHeld) {
        this.#due = false;
        this.#busySince = performance.now();
        await this.#round();
      }
    } finally {
      this.#busySince = undefined;
      this.#running = undefined;
      if (this.#due) this.#begin();
    }
  }

  /** When it does not end well, the next is planned. */
  async #round(): Promise<void> {
    const { log, onRound } = this.#parts;
    const began = performance.now();
    this.#slices.begin();
    const isAsked = this.#isAsked || this.#failures > 0;
    this.#isAsked = false;
    const messages = await this.#calculate();
    // Most of what happens in a cluster changes nothing here: a pod's status, a node's heartbeat.
    if (messages === 0 && !isAsked) return;
    const calculated = performance.now();
    const times = () => ({ messages, calculationMs: calculated - began, applyMs: performance.now() - calculated });
    try {
      const { applied, failed } = await this.#apply();
      this.#busySince = undefined;
      this.#rounds++;
      if (applied.repaired.length > 0) log.warning("put right", { what: applied.repaired.join("; ") });
      if (failed.length > 0) {
        const error = new AggregateError(failed, failed.map(({ message }) => message).join("; "));
        this.#plan(error, "policy is in force, but not all that goes with it could be done");
        onRound?.({ ...times(), applied, error });
        return;
      }
      clearTimeout(this.#retry);
      this.#retry = undefined;
      this.#failures = 0;
      this.#lastError = undefined;
      onRound?.({ ...times(), applied });
    } catch (error) {
      this.#busySince = undefined;
      this.#isHeld = true;
      this.#plan(error as Error, "what should be enforced could not be (wholly) put into force; the last state stays");
      onRound?.({ ...times(), error: error as Error });
    }
  }

  #plan(error: Error, what: string): void {
    const { log, retry = RETRY } = this.#parts;
    this.#failures++;
    this.#lastError = error;
    const wait = Math.min(retry.firstMs * 2 ** Math.min(this.#failures - 1, 20), retry.mostMs);
    log.error(what, { error: error.message, "again in ms": wait });
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => {
      this.#retry = undefined;
      this.#isHeld = false;
      this.wake();
    }, wait);
  }

  /** Answers the number of messages. */
  async #calculate(): Promise<number> {
    const { calc } = this.#parts;
    let messages = 0;
    const take = (message: Message): void => {
      messages++;
      this.#onMessage(message);
    };
    // However many keep coming, everything else has every second round.
    const mayBeFirst = this.#rounds > 0 && !this.#wasFirst && calc.newWorkloads.length <= FIRST_IN_LINE;
    const first = mayBeFirst ? [...calc.newWorkloads] : [];
    this.#wasFirst = first.length > 0;
    for (const id of first) await this.#inSlices(calc.flushing(take, { first: id }));
    if (first.length > 0) this.#due = true;
    else await this.#inSlices(calc.flushing(take));
    return messages;
  }

  async #inSlices(steps: Generator<void, void, undefined>): Promise<void> {
    for (const _ of steps) {
      const pause = this.#slices.pause();
      if (pause) await pause;
    }
  }

  #onMessage(message: Message): void {
    this.#parts.programmer.onMessage(message);
    if (message.type === "workload") this.#setWorkload(message.workload);
    else if (message.type === "workload-removed") this.#removeWorkload(workloadKey(message.id));
  }

  #setWorkload(workload: LocalWorkload): void {
    const key = workloadKey(workload.id);
    const before = this.#workloads.get(key);
    this.#workloads.set(key, workload);
    if (before) this.#release(before, workload);
    if (before && before.interfaceName !== workload.interfaceName) this.#dropRoutes(before.interfaceName);
    this.#parts.routes.set(workload);
  }

  #removeWorkload(key: string): void {
    const workload = this.#workloads.get(key);
    if (!workload) return;
    this.#workloads.delete(key);
    this.#release(workload);
    this.#dropRoutes(workload.interfaceName);
  }

  /** Notes the addresses that a workload has lost, also to another: connections are the workload's, not the address's. */
  #release(before: LocalWorkload, after?: LocalWorkload): void {
    const kept = new Set(after ? [...after.ipv4Nets, ...after.ipv6Nets] : []);
    for (const net of [...before.ipv4Nets, ...before.ipv6Nets]) {
      if (!kept.has(net)) this.#released.add(net.split("/", 1)[0]!);
    }
  }

  /** Another workload may have taken the interface over meanwhile: its name is made of the pod's. */
  #dropRoutes(interfaceName: string): void {
    for (const other of this.#workloads.values()) {
      if (other.interfaceName !== interfaceName) continue;
      this.#parts.routes.set(other);
      return;
    }
    this.#parts.routes.remove(interfaceName);
  }

  /** Those of the addresses that a workload has. */
  #owned(addresses: readonly string[]): string[] {
    const owned = new Set<string>();
    for (const { ipv4Nets, ipv6Nets } of this.#workloads.values()) {
      for (const net of [...ipv4Nets, ...ipv6Nets]) owned.add(net.split("/", 1)[0]!);
    }
    return addresses.filter((address) => owned.has(address));
  }

  /** `failed`: what could not be done beside policy. */
  async #apply(): Promise<{ readonly applied: Applied; readonly failed: readonly Error[] }> {
    const { programmer, dataplane, routes, statusFiles, flushConntrack } = this.#parts;
    programmer.complete();
    // What the round makes true, as of now: what comes in while the kernel is written to is for the next.
    const inForce = new Map<string, LocalWorkload>();
    for (const [key, workload] of this.#workloads) {
      if (programmer.programmed.has(key) && this.#interfaces.get(workload.interfaceName)?.up)
        inForce.set(key, workload);
    }
    const failed: Error[] = [];
    if (this.#rounds === 0) {
      await collect(failed, async () => {
        for (const address of await statusFiles.lost(this.#workloads.values())) this.#released.add(address);
      });
    }
    const released = [...this.#released];
    // What another workload has now, it must not get with the connections of the last one, not even for a moment.
    const moved = released.length === 0 ? [] : this.#owned(released);
    // Policy comes into force whatever becomes of the rest.
    if (moved.length > 0) await collect(failed, () => flushConntrack(moved));
    // A route to a workload whose policy is not there yet leads into a drop.
    await collect(failed, () => void failed.push(...routes.apply()));
    const applied = await dataplane.apply();
    this.#inForce.set(inForce);
    if (released.length > 0) {
      await collect(failed, async () => {
        await flushConntrack(released);
        for (const address of released) this.#released.delete(address);
      });
    }
    await collect(failed, () => statusFiles.write(inForce.values()));
    return { applied, failed };
  }
}

/** Runs an action; notes what it throws, so that what comes after is done all the same. */
async function collect(failed: Error[], action: () => void | Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    failed.push(error as Error);
  }
}
