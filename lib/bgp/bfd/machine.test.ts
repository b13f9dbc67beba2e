import fc from "fast-check";
import { expect, test } from "vitest";
import { Machine } from "./machine.ts";
import type { ControlPacket } from "./packet.ts";
import { seeded } from "./testing.ts";
import type { BfdState } from "./types.ts";

const TIMES = { minSend: 300, minReceive: 300, multiplier: 3 };

const packet = (over: Partial<ControlPacket> = {}): ControlPacket => ({
  diagnostic: 0,
  state: "Down",
  poll: false,
  final: false,
  independent: false,
  demand: false,
  multiplier: 3,
  myDiscriminator: 7,
  yourDiscriminator: 1,
  desiredMinTx: 300_000,
  requiredMinRx: 300_000,
  requiredMinEchoRx: 0,
  ...over,
});

const make = (times = TIMES): Machine => new Machine(times, 1, seeded(1), 0);

/** Up, its poll answered, at moment 0. */
function up(times = TIMES): Machine {
  const machine = make(times);
  machine.receive(packet({ state: "Init" }), 0);
  machine.receive(packet({ state: "Up", final: true }), 0);
  sent(machine, 0);
  return machine;
}

function sent(machine: Machine, now: number): ControlPacket[] {
  const packets: ControlPacket[] = [];
  for (let next = machine.take(now); next; next = machine.take(now)) packets.push(next);
  return packets;
}

/** The diagram of RFC 5880 6.2, as a table: of our state and the one received. */
const DIAGRAM: Record<"Down" | "Init" | "Up", Record<BfdState, BfdState>> = {
  Down: { AdminDown: "Down", Down: "Init", Init: "Up", Up: "Down" },
  Init: { AdminDown: "Down", Down: "Init", Init: "Up", Up: "Up" },
  Up: { AdminDown: "Down", Down: "Down", Init: "Up", Up: "Up" },
};

test("states follow the diagram of the RFC", () => {
  const states = fc.array(fc.constantFrom<BfdState>("AdminDown", "Down", "Init", "Up"));
  fc.assert(
    fc.property(states, (received) => {
      const machine = make();
      let expected: BfdState = "Down";
      for (const [i, state] of received.entries()) {
        expected = DIAGRAM[expected as "Down" | "Init" | "Up"][state];
        machine.receive(packet({ state }), i);
        expect(machine.state).toBe(expected);
        expect(machine.remoteState).toBe(state);
      }
    }),
  );
});

test("the first packet is sent at once, is Down and knows nobody", () => {
  const [first] = sent(make(), 0);
  expect(first).toMatchObject({ state: "Down", yourDiscriminator: 0, desiredMinTx: 1_000_000, requiredMinRx: 300_000 });
});

test("while not up it sends once a second, 75 to 100 percent of it", () => {
  const machine = make();
  let last: number | undefined;
  for (let i = 0; i < 200; i++) {
    const now = machine.wakeAt;
    expect(sent(machine, now)).toHaveLength(1);
    if (last !== undefined) expect(now - last).toBeGreaterThanOrEqual(750);
    if (last !== undefined) expect(now - last).toBeLessThanOrEqual(1000);
    last = now;
  }
});

test("jitter keeps to its limits at any interval, and 10 percent below it with a multiplier of 1", () => {
  const intervals = fc.integer({ min: 1, max: 100_000 });
  fc.assert(
    fc.property(intervals, fc.constantFrom(1, 3), fc.integer(), (interval, multiplier, seed) => {
      const times = { minSend: interval, minReceive: 1, multiplier };
      const machine = new Machine(times, 1, seeded(seed), 0);
      machine.receive(packet({ state: "Init", requiredMinRx: 1, multiplier: 255, desiredMinTx: 0xffff_ffff }), 0);
      machine.receive(
        packet({ state: "Up", final: true, requiredMinRx: 1, multiplier: 255, desiredMinTx: 0xffff_ffff }),
        0,
      );
      sent(machine, 0);
      const gap = machine.wakeAt;
      expect(gap).toBeGreaterThanOrEqual(0.75 * interval);
      expect(gap).toBeLessThanOrEqual((multiplier === 1 ? 0.9 : 1) * interval);
    }),
  );
});

test("a change of state is sent at once", () => {
  const machine = make();
  sent(machine, 0);
  machine.receive(packet(), 10);
  expect(sent(machine, 10)).toMatchObject([{ state: "Init", yourDiscriminator: 7 }]);
  machine.receive(packet({ state: "Init" }), 20);
  expect(sent(machine, 20)).toMatchObject([{ state: "Up", poll: true, desiredMinTx: 300_000 }]);
});

test("what the other receives at most counts, and 0 means nothing", () => {
  const machine = up();
  machine.receive(packet({ state: "Up", requiredMinRx: 900_000 }), 1);
  expect(machine.sendInterval).toBe(900_000);
  machine.receive(packet({ state: "Up", requiredMinRx: 0 }), 2);
  expect(machine.sendInterval).toBeUndefined();
  expect(sent(machine, 5000)).toHaveLength(1); // it has expired meanwhile, which is sent at once
  machine.receive(packet({ state: "Down", requiredMinRx: 0, poll: true }), 5001);
  expect(sent(machine, 5001)).toMatchObject([{ final: true }]);
});

test("a poll is answered at once, by F without P, also while one of ours is open", () => {
  const machine = make();
  machine.receive(packet({ state: "Init" }), 0);
  machine.receive(packet({ state: "Up", poll: true }), 0);
  expect(sent(machine, 0)).toMatchObject([{ final: true, poll: false }]);
  machine.receive(packet({ state: "Up", final: true }), 1);
  expect(sent(machine, 500)).toMatchObject([{ final: false, poll: false }]);
});

test("detection takes the other's multiplier times the slower of our receiving and its sending", () => {
  const machine = up();
  machine.receive(packet({ state: "Up", multiplier: 5, desiredMinTx: 1_000_000 }), 0);
  expect(machine.detectionTime).toBe(5_000_000);
  machine.receive(packet({ state: "Up", multiplier: 4, desiredMinTx: 10_000 }), 100);
  expect(machine.detectionTime).toBe(1_200_000);
  expect(machine.expiresAt).toBe(1300);
  sent(machine, 1299);
  expect(machine.state).toBe("Up");
  expect(sent(machine, 1300)).toMatchObject([{ state: "Down", diagnostic: 1, yourDiscriminator: 0 }]);
  expect(machine.flaps).toBe(1);
});

test("the other's end by intent is not a failure of the path", () => {
  const machine = up();
  machine.receive(packet({ state: "AdminDown" }), 1);
  expect(machine).toMatchObject({ state: "Down", remoteState: "AdminDown", diagnostic: 3 });
});

test("demand mode of the other stops what is periodic, not answers to polls", () => {
  const machine = up();
  machine.receive(packet({ state: "Up", demand: true }), 1);
  expect(machine.sendInterval).toBeUndefined();
  expect(sent(machine, 600)).toHaveLength(0);
  machine.receive(packet({ state: "Up", demand: true, poll: true }), 700);
  expect(sent(machine, 700)).toMatchObject([{ final: true }]);
});

test("slower sending and faster detection wait for the answer to the poll", () => {
  const machine = up();
  machine.change({ minSend: 500, minReceive: 100, multiplier: 3 }, 10);
  expect(sent(machine, 10)).toMatchObject([{ poll: true, desiredMinTx: 500_000, requiredMinRx: 100_000 }]);
  machine.receive(packet({ state: "Up", desiredMinTx: 50_000, requiredMinRx: 1 }), 20);
  expect(machine.sendInterval).toBe(300_000);
  expect(machine.detectionTime).toBe(900_000);
  machine.receive(packet({ state: "Up", desiredMinTx: 50_000, requiredMinRx: 1, final: true }), 30);
  expect(machine.sendInterval).toBe(500_000);
  expect(machine.detectionTime).toBe(300_000);
});

test("a change during a poll is polled for once more", () => {
  const machine = up();
  machine.change({ minSend: 500, minReceive: 300, multiplier: 3 }, 10);
  machine.change({ minSend: 700, minReceive: 300, multiplier: 3 }, 11);
  machine.receive(packet({ state: "Up", requiredMinRx: 1, final: true }), 20);
  expect(machine.sendInterval).toBe(300_000);
  machine.receive(packet({ state: "Up", requiredMinRx: 1, final: true }), 30);
  expect(machine.sendInterval).toBe(700_000);
});

test("a session that was shut down says so and does not come up again", () => {
  const machine = up();
  machine.shutDown(5);
  expect(sent(machine, 5)).toMatchObject([{ state: "AdminDown", diagnostic: 7, yourDiscriminator: 7 }]);
  machine.receive(packet({ state: "Down" }), 6);
  machine.receive(packet({ state: "Init" }), 7);
  expect(machine.state).toBe("AdminDown");
});

test("when it wakes only grows while nothing comes, and taking never answers without end", () => {
  const steps = fc.array(
    fc.record({
      state: fc.constantFrom<BfdState>("AdminDown", "Down", "Init", "Up"),
      poll: fc.boolean(),
      final: fc.boolean(),
      demand: fc.boolean(),
      requiredMinRx: fc.constantFrom(0, 1, 300_000),
      wait: fc.integer({ min: 0, max: 3000 }),
    }),
  );
  fc.assert(
    fc.property(steps, (list) => {
      const machine = make();
      let now = 0;
      for (const { wait, ...over } of list) {
        for (const end = now + wait; machine.wakeAt <= end; ) {
          expect(machine.wakeAt).toBeGreaterThanOrEqual(now);
          now = machine.wakeAt;
          let count = 0;
          while (machine.take(now)) expect(++count).toBeLessThan(3);
          expect(machine.wakeAt).toBeGreaterThan(now);
        }
        now += wait;
        machine.receive(packet(over), now);
        while (machine.take(now));
      }
    }),
  );
});
