import { expect, test } from "vitest";
import { silentLogger } from "../telemetry/index.ts";
import { type Calc, type Input, type LocalWorkload, type Message, type WorkloadId, workloadKey } from "./calc/index.ts";
import { Enforcer, type EnforcerParts } from "./enforcer.ts";
import type { Applied, Dataplane, Programmer } from "./rules/index.ts";

const workload = (name: string, address = "10.0.0.1", interfaceName = `cali${name}`): LocalWorkload => ({
  id: { orchestrator: "k8s", workload: `ns/${name}`, endpoint: "eth0" },
  interfaceName,
  mac: "ee:ee:ee:ee:ee:ee",
  ipv4Nets: [`${address}/32`],
  ipv6Nets: [],
  ipv4Nats: [],
  ipv6Nats: [],
  profiles: [],
  tiers: [],
  allowSpoofedSourcePrefixes: [],
  ports: [],
  annotations: {},
});
const set = (name: string, address?: string, interfaceName?: string): Message => ({
  type: "workload",
  workload: workload(name, address, interfaceName),
});
const gone = (name: string): Message => ({ type: "workload-removed", id: workload(name).id });

/** An enforcer among parts that write down what they are told. */
function lab(options: { failures?: number; unroutable?: boolean; stuckConnections?: boolean } = {}) {
  const said: string[] = [];
  let pending: Message[] = [];
  let fresh: WorkloadId[] = [];
  let failures = options.failures ?? 0;
  let inSync = false;
  let entered: (() => void) | undefined;
  let gate: Promise<void> | undefined;
  const programmed = new Map<string, WorkloadId>();
  let drift = (_what: string): void => {};
  const calc: Calc = {
    update: (input: Input) => said.push(`update ${(input as { name: string }).name}`),
    inSync: () => {
      inSync = true;
    },
    flush: (emit, only) => {
      for (const _ of calc.flushing(emit, only));
    },
    *flushing(emit, only) {
      if (!inSync) return;
      const mine = (message: Message): boolean =>
        !only || (message.type === "workload" && message.workload.id.workload === only.first.workload);
      const now = pending.filter(mine);
      pending = pending.filter((message) => !mine(message));
      fresh = fresh.filter(({ workload }) => only && workload !== only.first.workload);
      for (const message of now) {
        emit(message);
        yield;
      }
    },
    get isDirty() {
      return pending.length > 0;
    },
    get newWorkloads() {
      return fresh;
    },
    stats: () => ({}) as ReturnType<Calc["stats"]>,
  };
  const programmer: Programmer = {
    onMessage: (message) => {
      said.push(`program ${message.type}`);
      if (message.type === "workload") programmed.set(workloadKey(message.workload.id), message.workload.id);
      if (message.type === "workload-removed") programmed.delete(workloadKey(message.id));
    },
    onInterface: () => {},
    complete: () => {},
    programmed,
    incomplete: new Map(),
    hostEndpoints: new Map(),
  };
  const applied: Applied = { commands: 1, compared: false, repaired: [] };
  const dataplane: Dataplane = {
    name: "fake",
    apply: async () => {
      entered?.();
      await gate;
      if (failures-- > 0) {
        said.push("refused");
        throw new Error("no");
      }
      said.push("apply");
      return applied;
    },
    recheck: () => {},
    onDrift: (callback) => {
      drift = callback;
    },
    counts: { chains: 0, rules: 0, sets: 0, maps: 0 },
    remove: async () => {},
    close: async () => {},
  };
  const files: string[][] = [];
  const lost: string[] = [];
  let roundDone: (() => void) | undefined;
  let last: readonly string[] = [];
  const parts: { -readonly [Part in keyof EnforcerParts]: EnforcerParts[Part] } = {
    calc,
    programmer,
    dataplane,
    routes: {
      set: ({ interfaceName }) => said.push(`route ${interfaceName}`),
      remove: (name) => said.push(`no route ${name}`),
      apply: () => {
        if (options.unroutable) throw new Error("routes cannot be read");
        return [];
      },
    },
    statusFiles: {
      write: async (inForce) => {
        last = [...inForce].map(({ id }) => id.workload);
        files.push([...last]);
      },
      lost: async () => lost,
      recheck: () => {},
    },
    flushConntrack: (addresses) => {
      if (options.stuckConnections) throw new Error("no connection tracking");
      said.push(`end connections of ${addresses.join(" ")}`);
    },
    log: silentLogger,
    onBroken: (error) => said.push(`broken: ${error.message}`),
    onRound: () => roundDone?.(),
    retry: { firstMs: 1, mostMs: 2 },
  };
  const enforcer = new Enforcer(parts);
  return {
    enforcer,
    said,
    files,
    /** What the calculation will say next; `fresh`: endpoints that are new. */
    say(messages: Message[], isFresh = false) {
      pending.push(...messages);
      if (isFresh) for (const message of messages) if (message.type === "workload") fresh.push(message.workload.id);
    },
    /** Waits until `count` rounds from now have ended. */
    rounds(count = 1): Promise<void> {
      return new Promise((resolve) => {
        let left = count;
        roundDone = () => {
          left--;
          if (left === 0) resolve();
        };
      });
    },
    /** Holds the next apply; answers when it is reached, and how to let it go on. */
    hold(): { reached: Promise<void>; release: () => void } {
      let release = (): void => {};
      gate = new Promise((resolve) => {
        release = resolve;
      });
      const reached = new Promise<void>((resolve) => {
        entered = resolve;
      });
      return { reached, release };
    },
    drift: (what: string) => drift(what),
    programmer,
    parts,
    lost,
  };
}

async function started(test: ReturnType<typeof lab>): Promise<void> {
  const done = test.rounds();
  test.enforcer.inSync();
  await done;
}

test("nothing reaches the kernel before everything there was has come in", async () => {
  const bed = lab();
  bed.say([set("a")]);
  bed.enforcer.wake();
  await new Promise((resolve) => setImmediate(resolve));
  expect(bed.said).toEqual([]);
  await started(bed);
  expect(bed.said).toEqual(["program workload", "route calia", "apply"]);
});

test("what comes in while the kernel is written to waits, and goes in one round", async () => {
  const bed = lab();
  await started(bed);
  bed.said.length = 0;
  const { reached, release } = bed.hold();
  bed.say([set("a")]);
  const done = bed.rounds(2);
  bed.enforcer.wake();
  await reached;
  bed.say([set("b", "10.0.0.2"), set("c", "10.0.0.3")]);
  bed.enforcer.wake();
  bed.enforcer.wake();
  release();
  await done;
  expect(bed.said.filter((line) => !line.startsWith("route"))).toEqual([
    "program workload",
    "apply",
    "program workload",
    "program workload",
    "apply",
  ]);
});

test("an endpoint that is new goes before everything else", async () => {
  const bed = lab();
  await started(bed);
  bed.said.length = 0;
  bed.say([gone("x"), gone("y")]);
  bed.say([set("new")], true);
  const done = bed.rounds(2);
  bed.enforcer.wake();
  await done;
  expect(bed.said).toEqual([
    "program workload",
    "route calinew",
    "apply",
    "program workload-removed",
    "program workload-removed",
    "apply",
  ]);
});

test("a round that fails is tried again, and counts as failed until one does not", async () => {
  const bed = lab({ failures: 2 });
  const first = bed.rounds();
  bed.enforcer.inSync();
  await first;
  expect(bed.enforcer.failures).toBe(1);
  expect(bed.enforcer.lastError?.message).toBe("no");
  await bed.rounds(2);
  expect(bed.said).toEqual(["refused", "refused", "apply"]);
  expect(bed.enforcer.failures).toBe(0);
  expect(bed.enforcer.lastError).toBeUndefined();
});

test("a status file says that policy is in force only when it is, and the interface is up", async () => {
  const bed = lab();
  await started(bed);
  bed.say([set("a")]);
  let done = bed.rounds();
  bed.enforcer.wake();
  await done;
  expect(bed.files.at(-1)).toEqual([]);
  done = bed.rounds();
  bed.enforcer.onInterface("calia", { up: true, addresses: [] });
  await done;
  expect(bed.files.at(-1)).toEqual(["ns/a"]);
  done = bed.rounds();
  bed.enforcer.onInterface("calia", undefined);
  await done;
  expect(bed.files.at(-1)).toEqual([]);
});

test("connections of an address end when its workload loses it, after the rules for it are gone", async () => {
  const bed = lab();
  await started(bed);
  bed.say([set("a", "10.0.0.1"), set("b", "10.0.0.2")]);
  let done = bed.rounds();
  bed.enforcer.wake();
  await done;
  bed.said.length = 0;
  // One address is gone, the other moves to another workload.
  bed.say([gone("a"), gone("b"), set("c", "10.0.0.2")]);
  done = bed.rounds();
  bed.enforcer.wake();
  await done;
  // The one that moved before its new owner is reachable, too.
  expect(bed.said.slice(-3)).toEqual(["end connections of 10.0.0.2", "apply", "end connections of 10.0.0.1 10.0.0.2"]);
});

test("connections of addresses that were lost while no agent ran end with the start", async () => {
  const bed = lab();
  bed.lost.push("10.0.0.1", "10.0.0.9");
  bed.say([set("a", "10.0.0.1")]);
  await started(bed);
  expect(bed.said.slice(-3)).toEqual(["end connections of 10.0.0.1", "apply", "end connections of 10.0.0.1 10.0.0.9"]);
});

test("an interface that another workload has taken over keeps its routes", async () => {
  const bed = lab();
  await started(bed);
  bed.say([set("a", "10.0.0.1", "cali1"), set("b", "10.0.0.2", "cali1")]);
  let done = bed.rounds();
  bed.enforcer.wake();
  await done;
  bed.said.length = 0;
  bed.say([gone("a")]);
  done = bed.rounds();
  bed.enforcer.wake();
  await done;
  expect(bed.said).toContain("route cali1");
  expect(bed.said).not.toContain("no route cali1");
});

test("drift begins a round", async () => {
  const bed = lab();
  await started(bed);
  bed.said.length = 0;
  const done = bed.rounds();
  bed.drift("a chain was flushed");
  await done;
  expect(bed.said).toEqual(["apply"]);
});

test("inputs that come to nothing do not touch the kernel", async () => {
  const bed = lab();
  await started(bed);
  bed.said.length = 0;
  bed.enforcer.sink({ kind: "Node", name: "idle", resource: undefined });
  for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
  expect(bed.said).toEqual(["update idle"]);
  bed.say([set("a")]);
  const done = bed.rounds();
  bed.enforcer.sink({ kind: "Node", name: "busy", resource: undefined });
  await done;
  expect(bed.said).toEqual(["update idle", "update busy", "program workload", "route calia", "apply"]);
});

test("closing waits for the round that is under way and begins no other", async () => {
  const bed = lab();
  await started(bed);
  bed.said.length = 0;
  const { reached, release } = bed.hold();
  bed.enforcer.wake();
  await reached;
  bed.enforcer.wake();
  expect(bed.enforcer.busySince).toBeDefined();
  const closed = bed.enforcer.close();
  release();
  await closed;
  expect(bed.enforcer.busySince).toBeUndefined();
  expect(bed.said).toEqual(["apply"]);
});

test.each([{ unroutable: true }, { stuckConnections: true }])(
  "policy comes into force though something else cannot be done: %o",
  async (trouble) => {
    const bed = lab(trouble);
    bed.say([set("a"), gone("a"), set("b")]);
    const done = bed.rounds();
    bed.enforcer.inSync();
    await done;
    expect(bed.said).toContain("apply");
    expect(bed.enforcer.failures).toBe(1);
    await bed.enforcer.close();
  },
);

test("what fails beside policy does not hold up the policy that comes next", async () => {
  const bed = lab({ unroutable: true });
  bed.parts.retry = { firstMs: 3_600_000, mostMs: 3_600_000 };
  await started(bed);
  bed.said.length = 0;
  bed.say([set("a")]);
  const done = bed.rounds();
  bed.enforcer.wake();
  await done;
  expect(bed.said).toEqual(["program workload", "route calia", "apply"]);
  await bed.enforcer.close();
});

test("however many endpoints keep coming, everything else has its turn", async () => {
  const bed = lab();
  await started(bed);
  bed.said.length = 0;
  const { onMessage } = bed.programmer;
  let coming = 8;
  bed.programmer.onMessage = (message) => {
    onMessage(message);
    if (message.type === "workload" && coming-- > 0) bed.say([set(`next${coming}`)], true);
  };
  bed.say([gone("x")]);
  bed.say([set("first")], true);
  const done = bed.rounds(2);
  bed.enforcer.wake();
  await done;
  expect(bed.said).toContain("program workload-removed");
  await bed.enforcer.close();
});

test("what none expects is told, and nothing more is done on the ground of it", async () => {
  const bed = lab();
  await started(bed);
  bed.said.length = 0;
  const broken = Promise.withResolvers<Error>();
  bed.parts.onBroken = broken.resolve;
  bed.programmer.onMessage = () => {
    throw new Error("a bug");
  };
  bed.say([set("a")]);
  bed.enforcer.wake();
  expect((await broken.promise).message).toBe("a bug");
  bed.enforcer.wake();
  await bed.enforcer.close();
  expect(bed.said).toEqual([]);
});
