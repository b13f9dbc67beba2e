import fc from "fast-check";
import { expect, test } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import { Engine } from "./engine.ts";
import { type Flight, Network, seeded, type VirtualClock, World } from "./testing.ts";
import type { BfdOptions, BfdSession, BfdStatus } from "./types.ts";

const TIMES = { minSend: 300, minReceive: 300, multiplier: 3 };
/** What separates a healed network from two sessions that are up: a slow packet each way, an old detection time, a poll. */
const CONVERGED = 15_000;

interface Side {
  clock: VirtualClock;
  engine: Engine;
  session: BfdSession;
  readonly heard: BfdStatus[];
  /** How often it was said that the path failed. */
  failures: number;
  restart(): void;
}

function setup(seed = 1, a: Partial<BfdOptions> = {}, b: Partial<BfdOptions> = {}) {
  const world = new World();
  const network = new Network(world);
  const random = seeded(seed);
  const side = (local: string, remote: string, over: Partial<BfdOptions>): Side => {
    const heard: BfdStatus[] = [];
    const begin = () => {
      const clock = world.clock();
      const engine = new Engine(clock, random, network.transport(clock));
      const options = { name: local, local: parseAddress(local), remote: parseAddress(remote), multihop: false };
      const session = engine.open({ ...options, ...TIMES, ...over }, (status, failed) => {
        heard.push(status);
        if (failed) self.failures++;
      });
      return { clock, engine, session };
    };
    const self: Side = {
      clock: undefined as never,
      engine: undefined as never,
      session: undefined as never,
      heard,
      failures: 0,
      // As a process that was killed: it says nothing more, and its successor knows nothing.
      restart: () => {
        self.clock.stalledUntil = Number.POSITIVE_INFINITY;
        network.unplug(self.clock);
        Object.assign(self, begin());
      },
    };
    Object.assign(self, begin());
    return self;
  };
  const left = side("10.0.0.1", "10.0.0.2", a);
  const right = side("10.0.0.2", "10.0.0.1", b);
  return { world, network, a: left, b: right, random };
}

const states = ({ a, b }: { a: Side; b: Side }) => [a.session.status.state, b.session.status.state];

test("two sessions come up, settle on the slower of their intervals, and tell it once", async () => {
  const lab = setup(1, { minSend: 100, minReceive: 200 }, { minSend: 500, minReceive: 150 });
  await lab.world.run(5000);
  expect(states(lab)).toEqual(["Up", "Up"]);
  expect(lab.a.session.status).toMatchObject({ sendInterval: 150, detectionTime: 1500, remoteState: "Up", flaps: 0 });
  expect(lab.b.session.status).toMatchObject({ sendInterval: 500, detectionTime: 450 });
  expect(lab.a.heard.filter(({ state }) => state === "Up").length).toBeLessThanOrEqual(2);
});

test("a cut is noticed within the detection time, by both", async () => {
  const lab = setup();
  await lab.world.run(5000);
  lab.network.fate = () => undefined;
  await lab.world.run(590);
  expect(states(lab)).toEqual(["Up", "Up"]);
  await lab.world.run(311);
  expect(states(lab)).toEqual(["Down", "Down"]);
  expect(lab.a.session.status).toMatchObject({ diagnostic: "Control Detection Time Expired", flaps: 1 });
  await lab.world.run(10_000);
  expect([lab.a.failures, lab.b.failures]).toEqual([1, 1]);
});

test("a cut in one direction is noticed by both", async () => {
  const lab = setup();
  await lab.world.run(5000);
  lab.network.fate = ({ from }) => (from === "10.0.0.1" ? undefined : 1);
  await lab.world.run(905);
  expect(states(lab)[1]).toBe("Down");
  expect(lab.a.session.status.diagnostic).toBe("Neighbor Signaled Session Down");
});

test("losing all but every third packet brings nothing down", async () => {
  const lab = setup();
  await lab.world.run(5000);
  const count: Record<string, number> = {};
  lab.network.fate = ({ from }) => {
    count[from] = (count[from] ?? 0) + 1;
    return count[from] % 3 === 0 ? 1 : undefined;
  };
  await lab.world.run(60_000);
  expect([lab.a.session.status.flaps, lab.b.session.status.flaps]).toEqual([0, 0]);
});

test("a late timer of our own gives up nobody whose packets are waiting", async () => {
  // The other hears of us often enough, whatever we miss.
  const lab = setup(1, { minReceive: 50, minSend: 1000 }, { minSend: 50, minReceive: 1000 });
  await lab.world.run(10_000);
  expect(lab.a.session.status.detectionTime).toBe(150);
  for (let i = 0; i < 20; i++) {
    lab.a.clock.stalledUntil = lab.world.now + 700;
    await lab.world.run(1100);
  }
  expect([lab.a.session.status.flaps, lab.b.session.status.flaps]).toEqual([0, 0]);
});

test("a restart is noticed, and the session comes up again", async () => {
  const lab = setup();
  await lab.world.run(5000);
  lab.b.restart();
  await lab.world.run(5000);
  expect(states(lab)).toEqual(["Up", "Up"]);
  expect(lab.a.session.status.flaps).toBe(1);
});

test("an end by intent is no failure to the other", async () => {
  const lab = setup();
  await lab.world.run(5000);
  lab.a.session.close();
  await lab.world.run(10_000);
  expect(lab.b.session.status).toMatchObject({ state: "Down", flaps: 1 });
  expect(lab.b.heard.map(({ remoteState }) => remoteState)).toContain("AdminDown");
  expect(lab.b.failures).toBe(0);
});

test("an end by intent is said until the other must have heard of it", async () => {
  const lab = setup();
  await lab.world.run(5000);
  let lost = 0;
  lab.network.fate = () => (lost++ < 2 ? undefined : 1);
  lab.a.session.close();
  await lab.world.run(3000);
  expect(lab.b.session.status).toMatchObject({ state: "Down", remoteState: "AdminDown" });
  const before = lab.network.flights.length;
  await lab.world.run(5000);
  expect(lab.network.flights.slice(before).filter(({ from }) => from === "10.0.0.1")).toEqual([]);
});

test("a session that never came up does not fail", async () => {
  const lab = setup();
  // Only one direction works: this side gets as far as Init, again and again.
  lab.network.fate = ({ from, packet }) => (from === "10.0.0.2" && packet.state === "Down" ? 1 : undefined);
  for (let i = 0; i < 10; i++) {
    await lab.world.run(3000);
    if (i === 5) lab.network.fate = () => undefined;
  }
  expect(lab.a.heard.map(({ state }) => state)).toContain("Init");
  expect(lab.a.session.status.state).toBe("Down");
  expect([lab.a.failures, lab.b.failures]).toEqual([0, 0]);
});

test("closing everything says goodbye once and leaves no timer", async () => {
  const lab = setup();
  await lab.world.run(5000);
  await lab.a.engine.close();
  await lab.world.run(10);
  expect(lab.b.session.status.remoteState).toBe("AdminDown");
  await lab.b.engine.close();
  const before = lab.network.flights.length;
  await lab.world.run(10_000);
  expect(lab.network.flights.length).toBe(before);
  expect(() => lab.a.engine.open({ ...options("10.0.0.9") }, () => {})).toThrow(RangeError);
});

const options = (remote: string, over: Partial<BfdOptions> = {}): BfdOptions => ({
  name: "test",
  local: parseAddress("10.0.0.1"),
  remote: parseAddress(remote),
  multihop: false,
  ...TIMES,
  ...over,
});

test("two users of one pair of addresses share a session with the shorter intervals", async () => {
  const lab = setup();
  await lab.world.run(5000);
  const heard: BfdStatus[] = [];
  const second = lab.a.engine.open(options("10.0.0.2", { minSend: 100, minReceive: 50 }), (status) =>
    heard.push(status),
  );
  expect(heard).toEqual([]);
  await lab.world.run(2000);
  expect(heard.at(-1)?.state).toBe("Up");
  expect(lab.a.session.status).toMatchObject({ flaps: 0, sendInterval: 300, detectionTime: 900 });
  lab.b.session.change({ minSend: 50, minReceive: 50, multiplier: 3 });
  await lab.world.run(2000);
  expect(lab.a.session.status).toMatchObject({ flaps: 0, sendInterval: 100, detectionTime: 150 });
  second.close();
  await lab.world.run(2000);
  expect(lab.a.session.status).toMatchObject({ state: "Up", flaps: 0, sendInterval: 300, detectionTime: 900 });
  expect(lab.b.session.status.flaps).toBe(0);
});

test("a session that is opened again while the old one says goodbye comes up", async () => {
  const lab = setup();
  await lab.world.run(5000);
  lab.a.session.close();
  await lab.world.run(100);
  lab.a.session = lab.a.engine.open(options("10.0.0.2"), () => {});
  await lab.world.run(5000);
  expect(states(lab)).toEqual(["Up", "Up"]);
});

test("packets that are nobody's change nothing", async () => {
  const lab = setup();
  await lab.world.run(5000);
  const stranger = new Engine(lab.world.clock(), lab.random, lab.network.transport(lab.world.clock()));
  stranger.open({ ...options("10.0.0.1"), local: parseAddress("10.0.0.3") }, () => {});
  await lab.world.run(5000);
  expect(states(lab)).toEqual(["Up", "Up"]);
  expect(lab.network.flights.filter(({ packet }) => packet.yourDiscriminator === 0 && packet.state !== "Down")).toEqual(
    [],
  );
});

test("options that make no session are refused with their name", () => {
  const lab = setup();
  const open = (over: Partial<BfdOptions>) => () => lab.a.engine.open(options("10.0.0.7", over), () => {});
  expect(open({ remote: parseAddress("fd00::1") })).toThrow(/test: 10.0.0.1 and fd00::1/);
  expect(open({ multiplier: 0 })).toThrow(/multiplier/);
  expect(open({ minSend: 0 })).toThrow(/interval/);
  expect(open({ minReceive: 5_000_000 })).toThrow(/interval/);
  expect(open({ local: parseAddress("fe80::1"), remote: parseAddress("fe80::2") })).toThrow(/interface/);
});

type Trouble =
  | { readonly kind: "loss"; readonly share: number; readonly time: number }
  | { readonly kind: "delay"; readonly most: number; readonly time: number }
  | { readonly kind: "restart"; readonly who: "a" | "b" }
  | { readonly kind: "stall"; readonly who: "a" | "b"; readonly time: number }
  | { readonly kind: "quiet"; readonly time: number };

const time = fc.integer({ min: 0, max: 6000 });
const who = fc.constantFrom("a" as const, "b" as const);
const troubles: fc.Arbitrary<Trouble[]> = fc.array(
  fc.oneof(
    fc.record({ kind: fc.constant("loss" as const), share: fc.double({ min: 0, max: 1, noNaN: true }), time }),
    fc.record({ kind: fc.constant("delay" as const), most: fc.integer({ min: 0, max: 4000 }), time }),
    fc.record({ kind: fc.constant("restart" as const), who }),
    fc.record({ kind: fc.constant("stall" as const), who, time }),
    fc.record({ kind: fc.constant("quiet" as const), time }),
  ),
  { maxLength: 8 },
);
const interval = fc.integer({ min: 20, max: 1200 });
const times = fc.record({ minSend: interval, minReceive: interval, multiplier: fc.integer({ min: 2, max: 5 }) });

test("after loss, delay, reordering, restarts and stalls both are up again, and both are down when cut", async () => {
  const run = async (seed: number, left: typeof TIMES, right: typeof TIMES, list: Trouble[]) => {
    const lab = setup(seed, left, right);
    const { world, network, random } = lab;
    for (const trouble of list) {
      if (trouble.kind === "loss") network.fate = () => (random() < trouble.share ? undefined : 1);
      if (trouble.kind === "delay") network.fate = () => random() * trouble.most;
      if (trouble.kind === "quiet") network.fate = () => 1;
      if (trouble.kind === "restart") lab[trouble.who].restart();
      if (trouble.kind === "stall") lab[trouble.who].clock.stalledUntil = world.now + trouble.time;
      if ("time" in trouble) await world.run(trouble.time);
    }
    network.fate = () => 1;
    await world.run(6000 + CONVERGED);
    expect(states(lab)).toEqual(["Up", "Up"]);
    const since = network.flights.length;
    const flaps = [lab.a.session.status.flaps, lab.b.session.status.flaps];
    await world.run(10_000);
    expect([lab.a.session.status.flaps, lab.b.session.status.flaps]).toEqual(flaps);
    for (const from of ["10.0.0.1", "10.0.0.2"]) {
      const side = from === "10.0.0.1" ? lab.a : lab.b;
      checkPace(network.flights.slice(since), from, side.session.status.sendInterval);
    }
    network.fate = () => undefined;
    const longest = Math.max(lab.a.session.status.detectionTime, lab.b.session.status.detectionTime);
    await world.run(longest + 1);
    expect(states(lab)).toEqual(["Down", "Down"]);
  };
  await fc.assert(fc.asyncProperty(fc.integer(), times, times, troubles, run), { numRuns: 60 });
}, 60_000);

/** RFC 5880 6.8.7. */
function checkPace(flights: readonly Flight[], from: string, sendInterval: number): void {
  const moments = flights.filter((flight) => flight.from === from && !flight.packet.final).map(({ at }) => at);
  expect(moments.length).toBeGreaterThan(1);
  for (let i = 1; i < moments.length; i++) {
    const gap = moments[i]! - moments[i - 1]!;
    expect(gap).toBeGreaterThanOrEqual(0.75 * sendInterval - 0.001);
    expect(gap).toBeLessThanOrEqual(sendInterval + 0.001);
  }
}
