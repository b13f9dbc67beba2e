/**
 * Model check of the state machine: two of them, connected by links that deliver in order, take any time, and break; every order of
 * a bounded number of happenings is walked through. The machine under test is the product's; the world around it is naive.
 */
import { describe, expect, it } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import type { Capabilities, Open } from "../wire/index.ts";
import { type Action, type Event, INITIAL, type Machine, type Rules, step } from "./machine.ts";
import { DEFAULT_TIMES } from "./session.ts";

const capabilities = (restart: boolean): Capabilities => ({
  families: [4],
  routeRefresh: true,
  enhancedRouteRefresh: false,
  extendedMessages: false,
  fourOctetAsn: true,
  addPath: [],
  extendedNextHop: false,
  others: [],
  ...(restart && {
    gracefulRestart: {
      restarting: false,
      notification: true,
      time: 120,
      families: [{ family: 4 as const, forwarding: true }],
    },
  }),
});

type Side = 0 | 1;
type Wire = "OPEN" | "KEEPALIVE" | "FIN" | { readonly code: number; readonly subcode: number };

/** A TCP connection: the numbers by which both ends know it (0: not yet, or not any more), and what is on its way to each. */
interface Cable {
  readonly from: Side;
  readonly ends: readonly [number, number];
  readonly towards: readonly [readonly Wire[], readonly Wire[]];
  /** The SYN has come to the other: its kernel has answered. */
  readonly accepted: boolean;
}

interface World {
  readonly machines: readonly [Machine, Machine];
  readonly armed: readonly [readonly string[], readonly string[]];
  readonly cables: readonly Cable[];
  /** What may still go wrong. */
  readonly budget: { readonly breaks: number; readonly resets: number; readonly silences: number };
}

interface Variant {
  readonly name: string;
  readonly passive: readonly [boolean, boolean];
  readonly ids: readonly [number, number];
  readonly restart: boolean;
  readonly budget: World["budget"];
}

function rules(variant: Variant, side: Side): Rules {
  return {
    address: parseAddress(side === 0 ? "10.0.0.2" : "10.0.0.1"),
    port: 179,
    localAsn: 64512 + side,
    peerAsn: 64513 - side,
    routerId: variant.ids[side],
    passive: variant.passive[side],
    holdTime: 90,
    times: DEFAULT_TIMES,
  };
}

/** Mutable while one happening is carried out. */
class Happening {
  machines: [Machine, Machine];
  armed: [Set<string>, Set<string>];
  cables: { from: Side; ends: [number, number]; towards: [Wire[], Wire[]]; accepted: boolean }[];
  readonly problems: string[] = [];
  #arrival: number | undefined;

  constructor(
    readonly variant: Variant,
    world: World,
  ) {
    this.machines = [...world.machines];
    this.armed = [new Set(world.armed[0]), new Set(world.armed[1])];
    this.cables = world.cables.map((cable) => ({
      ...cable,
      ends: [...cable.ends],
      towards: [[...cable.towards[0]], [...cable.towards[1]]],
    }));
  }

  event(side: Side, event: Event, arrival?: number): void {
    this.#arrival = arrival;
    const before = this.machines[side];
    const { machine, actions } = step(before, event, rules(this.variant, side));
    this.machines[side] = machine;
    for (const action of actions) this.#act(side, action);
    if (arrival !== undefined && this.#arrival !== undefined) this.problems.push("neither adopted nor rejected");
    this.#check(side, actions);
  }

  #check(side: Side, actions: readonly Action[]): void {
    const { connections } = this.machines[side];
    const count = (test: (one: (typeof connections)[number]) => boolean) => connections.filter(test).length;
    if (count(({ step: at }) => at === "Established") > 1) this.problems.push("two are Established");
    if (count(({ initiator, step: at }) => initiator === "local" && at !== "Established") > 1)
      this.problems.push("two of its own are on their way up");
    if (count(({ initiator, step: at }) => initiator === "remote" && at !== "Established") > 1)
      this.problems.push("two of the other's are on their way up");
    if (count(({ step: at }) => at === "OpenConfirm") > 1) this.problems.push("two are in OpenConfirm");
    for (const action of actions) {
      if (action.type === "sendKeepalive" && !connections.some(({ id }) => id === action.id)) {
        this.problems.push("sends on a connection that it has dropped");
      }
    }
    // Somebody who neither has a connection nor waits for one nor for a timer would be stuck; a passive one waits to be connected to.
    const idle = connections.length === 0 && this.machines[side].phase !== "Closed";
    const waits = this.armed[side].has("connect") || this.armed[side].has("idle");
    if (idle && !waits && !(this.variant.passive[side] && this.machines[side].phase === "Started")) {
      this.problems.push(`stuck in ${this.machines[side].phase}`);
    }
  }

  #cableOf(side: Side, id: number) {
    return this.cables.find(({ ends }) => ends[side] === id);
  }

  #act(side: Side, action: Action): void {
    const other: Side = side === 0 ? 1 : 0;
    const say = (id: number, wire: Wire) => {
      const queue = this.#cableOf(side, id)?.towards[other];
      // Two KEEPALIVEs in a row mean what one does, and would make worlds without end.
      if (queue && !(wire === "KEEPALIVE" && queue.at(-1) === wire)) queue.push(wire);
    };
    switch (action.type) {
      case "connect": {
        const ends: [number, number] = side === 0 ? [action.id, 0] : [0, action.id];
        this.cables.push({ from: side, ends, towards: [[], []], accepted: false });
        return;
      }
      case "adopt":
        this.cables[this.#arrival!]!.ends[side] = action.id;
        this.#arrival = undefined;
        return;
      case "reject": {
        const cable = this.cables[this.#arrival!]!;
        if (action.notification) cable.towards[other].push(action.notification);
        cable.towards[other].push("FIN");
        this.#arrival = undefined;
        return;
      }
      case "sendOpen":
        say(action.id, "OPEN");
        return;
      case "sendKeepalive":
        say(action.id, "KEEPALIVE");
        return;
      case "drop": {
        const cable = this.#cableOf(side, action.id);
        if (!cable) return;
        if (action.notification) cable.towards[other].push(action.notification);
        cable.towards[other].push("FIN");
        cable.ends[side] = 0;
        cable.towards[side] = [];
        return;
      }
      case "arm":
        this.armed[side].add(action.timer);
        return;
      case "disarm":
        this.armed[side].delete(action.timer);
        return;
      default:
        return;
    }
  }

  result(budget: World["budget"]): World {
    // One that was given up before the other knew of it may still come to be; one such at a time is enough.
    let ghosts = 0;
    const cables = this.cables.filter(
      ({ ends, accepted }) => ends[0] !== 0 || ends[1] !== 0 || (!accepted && ghosts++ === 0),
    );
    return { machines: this.machines, armed: [[...this.armed[0]].sort(), [...this.armed[1]].sort()], cables, budget };
  }
}

function openOf(variant: Variant, side: Side): Open {
  return {
    asn: 64512 + side,
    holdTime: 90,
    routerId: variant.ids[side],
    capabilities: capabilities(variant.restart),
  };
}

/** Every world that can come of this one by one happening. */
function successors(
  variant: Variant,
  world: World,
): { readonly name: string; readonly next: World; readonly problems: string[] }[] {
  const out: { name: string; next: World; problems: string[] }[] = [];
  const happen = (name: string, body: (happening: Happening) => void, budget = world.budget) => {
    const happening = new Happening(variant, world);
    body(happening);
    out.push({ name, next: happening.result(budget), problems: happening.problems });
  };
  const { breaks, resets, silences } = world.budget;
  for (const side of [0, 1] as const) {
    for (const timer of world.armed[side]) {
      happen(`${side}: timer ${timer}`, (at) => {
        at.armed[side].delete(timer);
        at.event(side, { type: "timer", timer: timer as "connect" });
      });
    }
    if (resets > 0) {
      happen(
        `${side}: reset`,
        (at) => at.event(side, { type: "reset", problem: { code: "CONFIGURATION_CHANGED", message: "" } }),
        { breaks, resets: resets - 1, silences },
      );
    }
    for (const { id, step: at } of world.machines[side].connections) {
      if (silences > 0 && at !== "Connect") {
        happen(`${side}: silent ${id}`, (now) => now.event(side, { type: "silent", id }), {
          breaks,
          resets,
          silences: silences - 1,
        });
      }
    }
  }
  for (const [index, cable] of world.cables.entries()) {
    const initiator = cable.from;
    const acceptor: Side = initiator === 0 ? 1 : 0;
    if (!cable.accepted) {
      // The kernels' handshake: either end learns of it in its own time. The acceptor's is told at once, the initiator's when it wants.
      happen(`${acceptor}: accepts`, (at) => {
        at.cables[index]!.accepted = true;
        at.event(acceptor, { type: "accepted" }, index);
      });
      const id = cable.ends[initiator];
      const connecting = world.machines[initiator].connections.find((one) => one.id === id && one.step === "Connect");
      if (connecting && breaks > 0) {
        happen(
          `${initiator}: cannot connect`,
          (at) => {
            at.cables.splice(index, 1);
            at.event(initiator, { type: "connectFailed", id, problem: { code: "REFUSED", message: "" } });
          },
          { breaks: breaks - 1, resets, silences },
        );
      }
    }
    const connectingId = cable.ends[initiator];
    const connecting = world.machines[initiator].connections.find(
      (one) => one.id === connectingId && one.step === "Connect",
    );
    if (connecting && cable.accepted) {
      happen(`${initiator}: connected`, (at) => at.event(initiator, { type: "connected", id: connectingId }));
    }
    for (const side of [0, 1] as const) {
      const id = cable.ends[side];
      const [wire] = cable.towards[side];
      if (id === 0 || wire === undefined || (connecting && side === initiator)) continue;
      happen(`${side}: gets ${JSON.stringify(wire)} on ${id}`, (at) => {
        at.cables[index]!.towards[side].shift();
        if (wire === "OPEN") {
          const other: Side = side === 0 ? 1 : 0;
          at.event(side, {
            type: "open",
            id,
            open: openOf(variant, other),
            offered: capabilities(variant.restart),
          });
        } else if (wire === "KEEPALIVE") at.event(side, { type: "keepalive", id });
        else if (wire === "FIN") {
          at.cables[index]!.ends[side] = 0;
          at.event(side, { type: "lost", id });
        } else at.event(side, { type: "notification", id, notification: { ...wire, data: new Uint8Array(0) } });
      });
    }
    if (breaks > 0 && cable.accepted && (cable.ends[0] !== 0 || cable.ends[1] !== 0)) {
      happen(
        `cable ${index} breaks`,
        (at) => {
          for (const side of [0, 1] as const) at.cables[index]!.towards[side] = ["FIN"];
        },
        { breaks: breaks - 1, resets, silences },
      );
    }
  }
  return out;
}

/** Worlds that differ in numbers and counters alone are the same one. */
function keyOf(world: World): string {
  const names = world.machines.map(({ connections }) => new Map(connections.map(({ id }, index) => [id, index + 1])));
  const machines = world.machines.map(({ phase, connections, stable, failures }) => [
    phase,
    stable,
    failures > 0,
    connections.map(({ initiator, step: at }) => initiator + at),
  ]);
  const cables = world.cables
    .map(({ from, ends, towards, accepted }) =>
      JSON.stringify([from, names[0]!.get(ends[0]) ?? 0, names[1]!.get(ends[1]) ?? 0, towards, accepted]),
    )
    .sort();
  return JSON.stringify([machines, world.armed, cables, world.budget]);
}

function isGood(world: World): boolean {
  const up = world.machines.map(({ connections }) => connections.find(({ step: at }) => at === "Established"));
  return (
    world.machines.every(({ connections }) => connections.length === 1) &&
    world.cables.some(({ ends }) => up[0] !== undefined && ends[0] === up[0].id && ends[1] === up[1]?.id)
  );
}

function explore(variant: Variant): { worlds: number; faults: string[]; hopeless: string[] } {
  let start: World = {
    machines: [INITIAL, INITIAL],
    armed: [[], []],
    cables: [],
    budget: variant.budget,
  };
  for (const side of [0, 1] as const) {
    const happening = new Happening(variant, start);
    happening.event(side, { type: "start" });
    start = happening.result(variant.budget);
  }
  const seen = new Map<string, number>();
  const comesFrom: number[][] = [];
  /** By which happening, from which world. */
  const how: { readonly name: string; readonly before: number }[] = [];
  const story = (index: number): string => {
    const names: string[] = [];
    for (let at = index; at >= 0; at = how[at]!.before) names.unshift(how[at]!.name);
    return names.join(" > ");
  };
  const good: number[] = [];
  const faults: string[] = [];
  const queue: { world: World; index: number }[] = [];
  const visit = (world: World, name: string, before: number): number => {
    const key = keyOf(world);
    const known = seen.get(key);
    if (known !== undefined) return known;
    const index = seen.size;
    seen.set(key, index);
    comesFrom.push([]);
    how.push({ name, before });
    if (isGood(world)) good.push(index);
    queue.push({ world, index });
    return index;
  };
  visit(start, "start", -1);
  for (let head = 0; head < queue.length; head++) {
    const { world, index } = queue[head]!;
    for (const { name, next, problems } of successors(variant, world)) {
      for (const problem of problems) faults.push(`${problem} after ${story(index)} > ${name}`);
      comesFrom[visit(next, name, index)]!.push(index);
    }
    queue[head] = undefined as never;
  }
  // Backwards from what is good: whoever is not met has no way there.
  const reached = new Set(good);
  for (const stack = [...good]; stack.length > 0; ) {
    for (const before of comesFrom[stack.pop()!]!) {
      if (!reached.has(before)) {
        reached.add(before);
        stack.push(before);
      }
    }
  }
  const hopeless = how
    .flatMap((_, index) => (reached.has(index) ? [] : [index]))
    .slice(0, 3)
    .map(story);
  return { worlds: seen.size, faults, hopeless };
}

const none = { breaks: 0, resets: 0, silences: 0 };
const VARIANTS: readonly Variant[] = [
  { name: "both connect", passive: [false, false], ids: [1, 2], restart: false, budget: none },
  {
    name: "both connect, router ids the other way round",
    passive: [false, false],
    ids: [2, 1],
    restart: false,
    budget: none,
  },
  { name: "router ids are equal (RFC 6286)", passive: [false, false], ids: [1, 1], restart: false, budget: none },
  {
    name: "one is passive",
    passive: [false, true],
    ids: [1, 2],
    restart: true,
    budget: { breaks: 1, resets: 1, silences: 1 },
  },
  { name: "a connection breaks", passive: [false, false], ids: [1, 2], restart: false, budget: { ...none, breaks: 1 } },
  {
    name: "a connection breaks, with graceful restart",
    passive: [false, false],
    ids: [1, 2],
    restart: true,
    budget: { ...none, breaks: 1 },
  },
  { name: "one is reset", passive: [false, false], ids: [2, 1], restart: true, budget: { ...none, resets: 1 } },
  {
    name: "a hold timer goes off",
    passive: [false, false],
    ids: [1, 2],
    restart: true,
    budget: { ...none, silences: 1 },
  },
];

describe("two machines that are connected to each other, in every order of events", () => {
  it.each(VARIANTS)("$name: never two sessions at once, and always a way to one", (variant) => {
    const { worlds, faults, hopeless } = explore(variant);
    expect(faults.slice(0, 3)).toEqual([]);
    expect(hopeless).toEqual([]);
    expect(worlds).toBeGreaterThan(20);
  });
});
