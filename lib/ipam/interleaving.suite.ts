/**
 * Runs several allocators against one in-memory datastore, one datastore operation at a time, in an order that a test
 * decides; so every interleaving can be tried, and tried again. A schedule is the list of choices: who goes next.
 */
import type { Client } from "../datastore/index.ts";
import { type Fault, MemoryData, memoryClient, type StoreOperation } from "../datastore/testing.ts";
import { IpamError } from "./errors.ts";
import { createIpam } from "./ipam.ts";
import { blocks, Clock, contradictions, owners } from "./testing.ts";
import type { Assigned, AutoAssignRequest, Ipam, IpamOptions, RepairOptions } from "./types.ts";

/** What one simulated process can do; what it was granted is remembered and held against everybody else's. */
export interface Player {
  readonly ipam: Ipam;
  readonly client: Client;
  assign(host: string, handle: string, more?: Partial<AutoAssignRequest>): Promise<void>;
  give(host: string, handle: string, address: string): Promise<void>;
  release(handle: string): Promise<void>;
  /** Releases addresses as they were granted to a handle before the run. */
  releaseStale(handle: string): Promise<void>;
  releaseNode(host: string): Promise<void>;
  repair(options?: RepairOptions): Promise<void>;
}

export interface Scenario {
  readonly name: string;
  setup(world: World): Promise<void>;
  readonly players: readonly ((player: Player) => Promise<void>)[];
  /** There is room for everybody, so nobody may be refused. */
  readonly plenty?: boolean;
  /** Nobody gives up a block in use, so every block has an owner in the end. */
  readonly owned?: boolean;
  /** Sets right, at the end, what a player that crashed may have left, and what is not the allocator's. */
  tidy?(client: Client): Promise<void>;
  /** Every address of these pools must be assignable in the end. */
  readonly capacity: { readonly num4: number; readonly num6?: number };
}

/** What goes wrong with one operation of one player. */
export interface FaultAt {
  readonly player: number;
  readonly type: "read" | "write" | "any";
  /** Which one of that type. */
  readonly number: number;
  readonly fault: Exclude<Fault, undefined>;
}

/**
 * The allocator of a player, when it is not createIpam's: `client` stops before every operation, `plain` sees the same data
 * and does not. The signal aborts when the run is over.
 */
export type MakeIpam = (on: {
  readonly player: number;
  readonly client: Client;
  readonly plain: Client;
  readonly options: IpamOptions;
  readonly signal: AbortSignal;
}) => Promise<Ipam>;

export interface RunOptions {
  readonly atomic: boolean;
  readonly make?: MakeIpam | undefined;
  readonly faults?: readonly FaultAt[];
  /** Chooses one of the players that can go on. `current` is the one that went last, if it can go on. */
  choose(ready: readonly number[], current: number | undefined, step: number): number;
}

export interface RunResult {
  /** What must not be; empty when all is well. */
  readonly violations: readonly string[];
  /** At each step: who could go, who went, and who went before. */
  readonly steps: readonly {
    readonly ready: readonly number[];
    readonly chosen: number;
    readonly current: number | undefined;
  }[];
  /** Operations of each player, by type. */
  readonly operations: readonly { readonly read: number; readonly write: number }[];
}

/** The datastore of one run, and what was granted in it. */
export class World {
  readonly data = new MemoryData();
  readonly clock = new Clock();
  readonly violations: string[] = [];
  /** Address to handle, of every grant whose release has not begun. */
  readonly grants = new Map<string, string>();
  readonly hosts = new Map<string, string>();
  /** What a handle was granted before the run, for those who go on from old knowledge. */
  readonly before = new Map<string, Assigned>();
  /** Addresses that were granted before the run and not since. */
  readonly initial = new Set<string>();
  #running = false;
  readonly #capabilities: { atomicBatch: boolean };
  #seed = 1;

  constructor(atomic: boolean) {
    this.#capabilities = { atomicBatch: atomic };
  }

  client(hook?: (operation: StoreOperation) => Promise<Fault>): Client {
    return memoryClient({ data: this.data, capabilities: this.#capabilities, ...(hook ? { hook } : {}) });
  }

  /** What every allocator of this world is made with. */
  options(): IpamOptions {
    const random = () => {
      this.#seed = (this.#seed * 48271) % 2147483647;
      return this.#seed / 2147483647;
    };
    return { clock: this.clock.now, random, sleep: async () => {} };
  }

  ipam(client: Client): Ipam {
    return createIpam(client, this.options());
  }

  player(client: Client, ipam: Ipam = this.ipam(client)): Player {
    return {
      ipam,
      client,
      assign: async (host, handle, more) => {
        const request = { num4: 1, host, handle, use: "Workload", attributes: { node: host }, ...more } as const;
        const assigned = await ipam.autoAssign(request);
        if (assigned.v4.length !== request.num4 || assigned.v6.length !== (more?.num6 ?? 0))
          this.violations.push(`${handle} was granted a part of what it asked for`);
        this.#granted(host, handle, assigned);
      },
      give: async (host, handle, address) => {
        const given = await ipam.assignIp({ host, handle, address, attributes: { node: host } });
        this.#granted(host, handle, { v4: [given], v6: [] });
      },
      release: async (handle) => {
        this.#forget((owner) => owner === handle);
        await ipam.releaseByHandle(handle);
      },
      releaseStale: async (handle) => {
        const old = this.before.get(handle);
        this.#forget((owner, _, address) => owner === handle && this.initial.has(address));
        const all = [...(old?.v4 ?? []), ...(old?.v6 ?? [])];
        await ipam.releaseAddresses(all.map(({ address, sequenceNumber }) => ({ address, sequenceNumber, handle })));
      },
      releaseNode: async (host) => {
        await ipam.releaseOwner({ type: "host", name: host });
      },
      repair: async (options) => {
        const { nodes } = await this.#nodes(client);
        if (options?.goneNodes) this.#forget((_, host) => !nodes.has(host));
        await ipam.repair(options);
      },
    };
  }

  async #nodes(client: Client) {
    const { Node } = await import("../api/node.ts");
    return { nodes: new Set((await client.list(Node)).items.map(({ metadata }) => metadata.name)) };
  }

  #granted(host: string, handle: string, assigned: Assigned): void {
    if (!this.#running) this.before.set(handle, assigned);
    this.hosts.set(handle, host);
    for (const { address } of [...assigned.v4, ...assigned.v6]) {
      if (this.#running) this.initial.delete(address);
      else this.initial.add(address);
      const other = this.grants.get(address);
      if (other !== undefined && other !== handle)
        this.violations.push(`${address} was granted to ${handle} while ${other} has it`);
      this.grants.set(address, handle);
    }
  }

  /** From now on grants are those of the run. */
  begin(): void {
    this.#running = true;
  }

  #forget(which: (handle: string, host: string, address: string) => boolean): void {
    for (const [address, handle] of this.grants) {
      if (which(handle, this.hosts.get(handle) ?? "", address)) this.grants.delete(address);
    }
  }

  /** Everybody who was granted an address, and did not release it, still has it. */
  async stolen(client: Client): Promise<string[]> {
    const now = await owners(client);
    return [...this.grants]
      .filter(([address, handle]) => now.get(address) !== handle)
      .map(([address, handle]) => `${address} was taken from ${handle}: it is ${now.get(address) ?? "nobody"}'s`);
  }
}

/** A player's process: stops before every datastore operation until it is told to go on. */
class Process {
  readonly #waiting: { readonly operation: StoreOperation; go(fault: Fault): void }[] = [];
  #rest: (() => void) | undefined;
  done = false;
  error: unknown;
  reads = 0;
  writes = 0;

  readonly hook = (operation: StoreOperation): Promise<Fault> =>
    new Promise((go) => {
      this.#waiting.push({ operation, go });
      this.#rest?.();
    });

  start(work: Promise<void>): void {
    const end = (error?: unknown) => {
      this.done = true;
      this.error = error;
      this.#rest?.();
    };
    work.then(() => end(), end);
  }

  /** Resolves when it waits for its turn, or has ended. */
  atRest(): Promise<void> {
    if (this.done || this.#waiting.length > 0) return Promise.resolve();
    return new Promise((resolve) => {
      this.#rest = () => {
        this.#rest = undefined;
        resolve();
      };
    });
  }

  go(fault: (operation: StoreOperation, number: number) => Fault): Promise<void> {
    const { operation, go } = this.#waiting.shift()!;
    go(fault(operation, operation.type === "read" ? this.reads++ : this.writes++));
    return this.atRest();
  }
}

const ENDS: readonly string[] = ["crash", "crash-after", "unavailable", "lost"];

/** Plays a scenario once. */
export async function run(scenario: Scenario, options: RunOptions): Promise<RunResult> {
  const world = new World(options.atomic);
  const plain = world.client();
  await scenario.setup(world);
  world.begin();
  const over = new AbortController();
  const started = scenario.players.map(async (play, player) => {
    const process = new Process();
    const client = world.client(process.hook);
    const ipam = await options.make?.({ player, client, plain, options: world.options(), signal: over.signal });
    return { process, start: () => process.start(play(world.player(client, ipam))) };
  });
  const processes: Process[] = [];
  for (const { process } of await Promise.all(started)) processes.push(process);
  for (const { start } of await Promise.all(started)) start();
  await Promise.all(processes.map((process) => process.atRest()));
  const steps: { ready: number[]; chosen: number; current: number | undefined }[] = [];
  let last: number | undefined;
  for (;;) {
    const ready = [...processes.keys()].filter((index) => !processes[index]!.done);
    if (ready.length === 0) break;
    const current = last !== undefined && ready.includes(last) ? last : undefined;
    const chosen = options.choose(ready, current, steps.length);
    steps.push({ ready, chosen, current });
    if (steps.length > 3000) throw new Error(`${scenario.name}: no end after ${steps.length} steps`);
    const process = processes[chosen]!;
    await process.go((operation, number) => faultAt(options.faults, chosen, operation, number, process));
    last = chosen;
  }
  over.abort();
  const ended = (options.faults ?? []).some(({ fault }) => ENDS.includes(fault));
  await judge(scenario, world, plain, processes, ended);
  const operations = processes.map(({ reads, writes }) => ({ read: reads, write: writes }));
  return { violations: world.violations, steps, operations };
}

function faultAt(
  faults: readonly FaultAt[] | undefined,
  player: number,
  { type }: StoreOperation,
  number: number,
  process: Process,
): Fault {
  const all = process.reads + process.writes - 1;
  return faults?.find(
    (at) => at.player === player && (at.type === "any" ? at.number === all : at.type === type && at.number === number),
  )?.fault;
}

/** What must hold once everybody has ended, after a repair, and after everything is released. */
async function judge(
  scenario: Scenario,
  world: World,
  client: Client,
  processes: readonly Process[],
  ended: boolean,
): Promise<void> {
  const { violations } = world;
  for (const { error } of processes) {
    if (error === undefined || (error as Error).name === "Crashed") continue;
    if (error instanceof IpamError && error.code === "IPAM_POOL_EXHAUSTED" && !scenario.plenty) continue;
    if (error instanceof IpamError && error.code === "IPAM_ADDRESS_IN_USE") continue;
    if (ended && (error as { code?: string }).code === "UNAVAILABLE") continue;
    violations.push(`a player failed: ${error}`);
  }
  violations.push(...(await world.stolen(client)));
  if (scenario.owned) {
    for (const { spec } of await blocks(client)) if (!spec.affinity) violations.push(`${spec.cidr} has lost its owner`);
  }
  if (!ended) violations.push(...(await contradictions(client)).map((text) => `at the end: ${text}`));

  const ipam = world.ipam(client);
  const { remaining } = await ipam.repair();
  violations.push(
    ...remaining
      .filter(({ kind }) => kind !== "node-gone" && kind !== "affinity-node-gone")
      .map(({ message }) => `after repair: ${message}`),
  );
  violations.push(...(await contradictions(client)).map((text) => `after repair: ${text}`));
  violations.push(...(await world.stolen(client)).map((text) => `after repair: ${text}`));

  // Everybody's DEL comes in the end, also for those that crashed.
  const handles = new Set([...(await owners(client)).values()]);
  for (const handle of handles) if (handle !== undefined) await ipam.releaseByHandle(handle);
  violations.push(...(await contradictions(client)).map((text) => `after the release of all: ${text}`));
  if ((await owners(client)).size > 0) violations.push("addresses are left after the release of all");
  world.clock.advance(120);
  await scenario.tidy?.(client);
  try {
    await ipam.autoAssign({ ...scenario.capacity, host: "n1", handle: "all", use: "Workload", maxBlocksPerHost: 1000 });
  } catch (error) {
    violations.push(`addresses are lost: ${error}`);
  }
}

/** Goes on with whoever went last, else with the first: the schedule without preemptions. */
export const uninterrupted = (ready: readonly number[], current: number | undefined): number => current ?? ready[0]!;

/**
 * Every schedule with at most `preemptions` preemptions, those with fewer first: all with one, and as many of the rest as `limit`
 * leaves. Answers how many were run, and up to how many preemptions these were all.
 */
export async function explore(
  scenario: Scenario,
  options: Omit<RunOptions, "choose"> & { readonly preemptions: number; readonly limit: number },
  onViolation: (violations: readonly string[], schedule: readonly number[]) => void,
): Promise<{ runs: number; complete: number }> {
  let level: { prefix: number[]; preempted: number }[] = [{ prefix: [], preempted: 0 }];
  let runs = 0;
  let complete = -1;
  while (level.length > 0) {
    const next: typeof level = [];
    // Switches that are no preemptions (the last one has ended) belong to the same level.
    for (let entry = level.shift(); entry; entry = level.shift()) {
      if (complete >= 1 && runs >= options.limit) return { runs, complete };
      runs++;
      const { prefix, preempted } = entry;
      const result = await run(scenario, {
        ...options,
        choose: (ready, current, step) => prefix[step] ?? uninterrupted(ready, current),
      });
      const schedule = result.steps.map(({ chosen }) => chosen);
      if (result.violations.length > 0) onViolation(result.violations, schedule);
      for (let step = prefix.length; step < result.steps.length; step++) {
        const { ready, chosen, current } = result.steps[step]!;
        for (const other of ready) {
          if (other === chosen) continue;
          const cost = preempted + (current === undefined ? 0 : 1);
          if (cost > options.preemptions) continue;
          (cost === preempted ? level : next).push({ prefix: [...schedule.slice(0, step), other], preempted: cost });
        }
      }
    }
    complete++;
    level = next;
  }
  return { runs, complete: options.preemptions };
}

/** A small generator of random numbers, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = state;
    z = Math.imul(z ^ (z >>> 15), z | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return ((z ^ (z >>> 14)) >>> 0) / 2 ** 32;
  };
}
