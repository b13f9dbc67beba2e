import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import { type Capabilities, CEASE, type Open } from "../wire/index.ts";
import { type Event, INITIAL, type Machine, type Rules, stateOf, step } from "./machine.ts";
import { judgeOpen, keptInitiator, settle } from "./open.ts";
import { DEFAULT_TIMES } from "./session.ts";

const CAPABILITIES: Capabilities = {
  families: [4],
  routeRefresh: true,
  enhancedRouteRefresh: false,
  extendedMessages: false,
  fourOctetAsn: true,
  addPath: [],
  extendedNextHop: false,
  others: [],
};

const RULES: Rules = {
  address: parseAddress("10.0.0.2"),
  port: 179,
  localAsn: 64512,
  peerAsn: 64512,
  routerId: 5,
  passive: false,
  holdTime: 90,
  times: DEFAULT_TIMES,
};

const openOf = (routerId: number, more: Partial<Open> = {}): Open => ({
  asn: 64512,
  holdTime: 90,
  routerId,
  capabilities: CAPABILITIES,
  ...more,
});

/** What the events lead to, and every action on the way, in short. */
function run(events: readonly Event[], rules = RULES): { machine: Machine; said: string[] } {
  let machine = INITIAL;
  const said: string[] = [];
  for (const event of [{ type: "start" } as const, ...events]) {
    const result = step(machine, event, rules);
    machine = result.machine;
    for (const action of result.actions) {
      const id = "id" in action ? ` ${action.id}` : "";
      const told = "notification" in action && action.notification;
      const timer = "timer" in action ? ` ${action.timer}` : "";
      const after = action.type === "arm" ? ` ${action.after}` : "";
      said.push(`${action.type}${id}${timer}${after}${told ? ` ${told.code}/${told.subcode}` : ""}`);
    }
  }
  return { machine, said };
}

const TRY: Event = { type: "timer", timer: "connect" };
const ACCEPTED: Event = { type: "accepted" };
const connected = (id: number): Event => ({ type: "connected", id });
const open = (id: number, more?: Partial<Open>, routerId = 9): Event => ({
  type: "open",
  id,
  open: openOf(routerId, more),
  offered: CAPABILITIES,
});
const keepalive = (id: number): Event => ({ type: "keepalive", id });
const notification = (id: number, code: number, subcode: number): Event => ({
  type: "notification",
  id,
  notification: { code, subcode, data: new Uint8Array(0) },
});

describe("the state machine of RFC 4271 8", () => {
  it.each<[string, readonly Event[], string, readonly string[]]>([
    ["start waits for the connect delay", [], "Active", ["arm connect 2000"]],
    ["the connect timer connects", [TRY], "Connect", ["connect 1"]],
    ["again it does not", [TRY, TRY], "Connect", []],
    ["a connection sends OPEN", [TRY, connected(1)], "OpenSent", ["sendOpen 1", "watch 1"]],
    ["OPEN is answered with KEEPALIVE", [TRY, connected(1), open(1)], "OpenConfirm", ["sendKeepalive 1", "watch 1"]],
    [
      "KEEPALIVE makes it a session",
      [TRY, connected(1), open(1), keepalive(1)],
      "Established",
      ["disarm connect", "arm stable 10000", "established 1"],
    ],
    ["KEEPALIVE holds it", [TRY, connected(1), open(1), keepalive(1), keepalive(1)], "Established", []],
    ["who connects is sent OPEN", [ACCEPTED], "OpenSent", ["adopt 1", "sendOpen 1", "watch 1"]],
    [
      "who connects again replaces what has come to nothing",
      [ACCEPTED, ACCEPTED],
      "OpenSent",
      ["drop 1 6/7", "adopt 2", "sendOpen 2", "watch 2"],
    ],
    ["who connects again after its OPEN does not", [ACCEPTED, open(1), ACCEPTED], "OpenConfirm", ["reject 6/7"]],
    [
      "a refused attempt is followed by another",
      [TRY, { type: "connectFailed", id: 1, problem: { code: "REFUSED", message: "" } }],
      "Active",
      ["drop 1", "problem", "arm connect 5000"],
    ],
    [
      "OPEN of another AS is told, and nobody let in for a while",
      [TRY, connected(1), open(1, { asn: 7 })],
      "Idle",
      ["drop 1 2/2", "problem", "disarm connect", "arm idle 5000"],
    ],
    ["in Idle who connects is turned away", [TRY, connected(1), open(1, { asn: 7 }), ACCEPTED], "Idle", ["reject 6/5"]],
    [
      "after Idle it connects",
      [TRY, connected(1), open(1, { asn: 7 }), { type: "timer", timer: "idle" }],
      "Connect",
      ["connect 2"],
    ],
    [
      "UPDATE before OPEN",
      [TRY, connected(1), { type: "update", id: 1 }],
      "Idle",
      ["drop 1 5/1", "problem", "disarm connect", "arm idle 5000"],
    ],
    [
      "UPDATE before KEEPALIVE",
      [TRY, connected(1), open(1), { type: "update", id: 1 }],
      "Idle",
      ["drop 1 5/2", "problem", "disarm connect", "arm idle 5000"],
    ],
    [
      "OPEN in a session",
      [TRY, connected(1), open(1), keepalive(1), open(1)],
      "Idle",
      ["drop 1 5/3", "disarm stable", "down", "disarm connect", "arm idle 5000"],
    ],
    [
      "silence in OpenSent",
      [TRY, connected(1), { type: "silent", id: 1 }],
      "Active",
      ["drop 1 4/0", "problem", "arm connect 5000"],
    ],
    [
      "silence in a session",
      [TRY, connected(1), open(1), keepalive(1), { type: "silent", id: 1 }],
      "Active",
      ["drop 1 4/0", "disarm stable", "down", "arm connect 2000"],
    ],
    [
      "a session is lost",
      [TRY, connected(1), open(1), keepalive(1), { type: "lost", id: 1 }],
      "Active",
      ["drop 1", "disarm stable", "down", "arm connect 2000"],
    ],
    [
      "a Cease leaves the door open",
      [TRY, connected(1), open(1), keepalive(1), notification(1, 6, 2)],
      "Active",
      ["drop 1", "disarm stable", "down", "arm connect 5000"],
    ],
    [
      "our OPEN is rejected",
      [TRY, connected(1), notification(1, 2, 2)],
      "Idle",
      ["drop 1", "problem", "disarm connect", "arm idle 5000"],
    ],
    [
      "the other takes another connection",
      [TRY, connected(1), notification(1, 6, CEASE.COLLISION)],
      "Active",
      ["drop 1", "arm connect 5000"],
    ],
    ["news of a connection that is gone", [TRY, connected(1), { type: "lost", id: 1 }, keepalive(1)], "Active", []],
    [
      "closed with words",
      [TRY, connected(1), open(1), { type: "close", graceful: true }],
      "Idle",
      ["drop 1 6/2", "disarm connect", "disarm idle", "disarm stable", "problem"],
    ],
    ["closed it is deaf", [{ type: "close", graceful: true }, ACCEPTED], "Idle", ["reject"]],
  ])("%s", (_name, events, state, last) => {
    const before = run(events.slice(0, -1)).said.length;
    const { machine, said } = run(events);
    expect(stateOf(machine)).toBe(state);
    expect(said.slice(events.length === 0 ? 0 : before)).toEqual(last);
  });

  it.each([
    [9, 5, "connection 2 stays, which the other made", "drop 1 6/7"],
    [3, 5, "connection 1 stays, which this side made", "drop 2 6/7"],
  ])("of two connections, with ids %i there and %i here, %s", (theirs, _ours, _words, dropped) => {
    const both = [TRY, connected(1), ACCEPTED];
    expect(run([...both, open(1, {}, theirs), open(2, {}, theirs)]).said).toContain(dropped);
    expect(run([...both, open(2, {}, theirs), open(1, {}, theirs)]).said).toContain(dropped);
    // A session that is up wins, whatever the ids are.
    expect(run([...both, open(1, {}, theirs), keepalive(1)]).said).toContain("drop 2 6/7");
    expect(run([...both, open(2, {}, theirs), keepalive(2)]).said).toContain("drop 1 6/7");
  });

  it("never has two sessions, nor does anything with a connection that it has dropped, whatever happens", () => {
    const ids = fc.integer({ min: 1, max: 6 });
    const event: fc.Arbitrary<Event> = fc.oneof(
      fc.constantFrom<Event>(TRY, ACCEPTED, { type: "timer", timer: "idle" }, { type: "timer", timer: "stable" }),
      fc.constantFrom<Event>({ type: "reset", problem: { code: "BFD_DOWN", message: "" } }),
      ids.map(connected),
      fc.tuple(ids, fc.integer({ min: 1, max: 9 })).map(([id, router]) => open(id, {}, router)),
      ids.map(keepalive),
      ids.map((id): Event => ({ type: "lost", id })),
      ids.map((id): Event => ({ type: "silent", id })),
      ids.map((id): Event => ({ type: "update", id })),
      fc.tuple(ids, fc.constantFrom(2, 3, 6, 7)).map(([id, subcode]) => notification(id, 6, subcode)),
    );
    const check = (events: readonly Event[]) => {
      let machine = INITIAL;
      const alive = new Set<number>();
      for (const one of [{ type: "start" } as const, ...events]) {
        const result = step(machine, one, RULES);
        machine = result.machine;
        for (const action of result.actions) {
          if (action.type === "connect" || action.type === "adopt") alive.add(action.id);
          else if (action.type === "drop") expect(alive.delete(action.id)).toBe(true);
          else if ("id" in action) expect(alive.has(action.id)).toBe(true);
        }
        expect(machine.connections.map(({ id }) => id)).toEqual([...alive]);
        expect(machine.connections.filter(({ step: at }) => at === "Established").length).toBeLessThan(2);
        expect(machine.connections.length).toBeLessThan(4);
      }
    };
    fc.assert(fc.property(fc.array(event, { maxLength: 60 }), check), { numRuns: 300 });
  });
});

describe("OPENs", () => {
  it("settle the lower hold time, and KEEPALIVEs at most a third of it apart", () => {
    const times = (ours: number, theirs: number, keepaliveTime?: number) => {
      const own = { ...RULES, holdTime: ours, ...(keepaliveTime !== undefined && { keepaliveTime }) };
      const { holdTime, keepaliveTime: every } = settle(own, CAPABILITIES, openOf(9, { holdTime: theirs }));
      return [holdTime, every];
    };
    expect(times(90, 240)).toEqual([90, 30]);
    expect(times(90, 3)).toEqual([3, 1]);
    expect(times(90, 0)).toEqual([0, 0]);
    expect(times(90, 90, 10)).toEqual([90, 10]);
    expect(times(90, 30, 60)).toEqual([30, 10]);
  });

  it("are compared as RFC 4271 6.8 and RFC 6286 2.3 say, and both sides come to the same", () => {
    const router = fc.integer({ min: 1, max: 0xffffffff });
    const asn = fc.integer({ min: 1, max: 0xffffffff });
    fc.assert(
      fc.property(router, router, asn, asn, (a, b, asA, asB) => {
        fc.pre(a !== b || asA !== asB);
        const own = (routerId: number, localAsn: number, peerAsn: number) => ({
          ...RULES,
          routerId,
          localAsn,
          peerAsn,
        });
        const here = keptInitiator(own(a, asA, asB), openOf(b, { asn: asB }));
        const there = keptInitiator(own(b, asB, asA), openOf(a, { asn: asA }));
        expect([here, there].sort()).toEqual(["local", "remote"]);
      }),
    );
  });

  it("without a family in common are refused with what was missed (RFC 5492 5)", () => {
    const six = { ...CAPABILITIES, families: [6 as const] };
    const refused = judgeOpen(RULES, six, openOf(9));
    expect(refused?.notification).toEqual({ code: 2, subcode: 7, data: Uint8Array.of(1, 4, 0, 2, 0, 1) });
  });
});
