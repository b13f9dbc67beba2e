/** The fake as a subject of the suite: its kernel, packets through it, and others' hands on it. */

import type { Applied, Dataplane, DataplaneCounts } from "../dataplane.ts";
import { interpret, type Surroundings } from "../interpret.ts";
import { icmpOf, type Packet, TCP } from "../interpret-packet.ts";
import type { IpVersion, Rule } from "../ir.ts";
import { TABLES } from "../ir.ts";
import { Program } from "../program.ts";
import { fakeDataplane, Kernel, type KernelChain } from "./fake.ts";
import {
  type Agent,
  type Counted,
  type Edits,
  type Flow,
  HOST,
  type Look,
  type Place,
  type Sighting,
  type SuiteSubject,
  type Tamper,
  type Testbed,
} from "./testbed.ts";

/** Runs without root. */
export function fakeSubject(): SuiteSubject {
  return { name: "fake", open: () => Promise.resolve(new FakeTestbed()) };
}

const ADDRESSES = { lo: ["127.0.0.1", "::1"], out0: [HOST[4], HOST[6]] };

class FakeTestbed implements Testbed {
  readonly #kernel = new Kernel();
  readonly #agents: FakeAgent[] = [];
  readonly #logged = new Map<number, string[]>();
  readonly tamper = tamperWith(this.#kernel);
  readonly look = lookAt(this.#kernel);

  start(): Promise<Agent> {
    const agent = new FakeAgent(this.#kernel);
    this.#agents.push(agent);
    return Promise.resolve(agent);
  }

  send(from: Place, packet: Packet): readonly Sighting[] {
    const state = this.#kernel[packet.version];
    const surroundings: Surroundings = {
      ...(from === "host" ? {} : { inInterface: from }),
      route: (address) => route(address),
      addresses: ADDRESSES,
      conntrack: state.conntrack,
      limits: state.limits,
    };
    const trace = interpret(state, packet, surroundings);
    for (const { group, prefix } of trace.logged) {
      if (group !== undefined) this.#logged.set(group, [...(this.#logged.get(group) ?? []), prefix]);
    }
    if (trace.verdict === "reject") return [{ at: from, packet: rejection(packet, trace.rejectWith ?? "icmp") }];
    if (trace.verdict !== "accept") return [];
    return [{ at: (trace.outInterface as Place | undefined) ?? "host", packet: trace.packet }];
  }

  async flood(flows: readonly Flow[], until: Promise<unknown>): Promise<readonly Counted[]> {
    let isDone = false;
    const done = (): void => {
      isDone = true;
    };
    until.then(done, done);
    const out = flows.map(() => 0);
    let sent = 0;
    for (; !isDone; sent++) {
      for (const [i, { from, to, packet }] of flows.entries())
        if (this.send(from, packet).some(({ at }) => at === to)) out[i]!++;
      await Promise.resolve();
    }
    return out.map((one) => ({ sent, out: one }));
  }

  nflogged(group: number): readonly string[] {
    const prefixes = this.#logged.get(group) ?? [];
    this.#logged.delete(group);
    return prefixes;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#agents.map((agent) => agent.kill()));
  }
}

function route(address: string): string | undefined {
  if (address === HOST[4] || address === HOST[6] || address === "127.0.0.1" || address === "::1") return "local";
  const workload = /^(?:10\.65\.0\.|fd65::)([123])$/.exec(address);
  return workload === null ? "out0" : `cali${workload[1]}`;
}

function rejection(packet: Packet, how: "tcp-reset" | "icmp" | "admin"): Packet {
  const { version } = packet;
  if (how === "tcp-reset" && packet.protocol === TCP) {
    return {
      version,
      protocol: TCP,
      source: packet.destination,
      destination: packet.source,
      sourcePort: packet.destinationPort ?? 0,
      destinationPort: packet.sourcePort ?? 40_000,
      flags: "rst-ack",
    };
  }
  const [type, code] = version === 4 ? [3, how === "admin" ? 13 : 3] : [1, how === "admin" ? 1 : 4];
  return {
    version,
    protocol: icmpOf(version),
    source: HOST[version],
    destination: packet.source,
    icmp: { type, code },
    about: packet,
  };
}

class Killed extends Error {}

class FakeAgent implements Agent {
  readonly #v4 = new Program(4);
  readonly #v6 = new Program(6);
  readonly #dataplane: Dataplane;
  #drift: string[] = [];
  #dead = false;
  #onDrift: () => void = () => {};

  constructor(kernel: Kernel) {
    const breathe = async (): Promise<void> => {
      await Promise.resolve();
      if (this.#dead) throw new Killed("the process was killed");
    };
    this.#dataplane = fakeDataplane({ v4: this.#v4, v6: this.#v6 }, kernel, breathe);
    this.#dataplane.onDrift((what) => {
      this.#drift.push(what);
      this.#onDrift();
    });
  }

  async edit(change: (v4: Edits, v6: Edits) => void): Promise<void> {
    change(this.#v4, this.#v6);
  }
  apply(): Promise<Applied> {
    return this.#dataplane.apply();
  }
  async recheck(): Promise<void> {
    this.#dataplane.recheck();
  }
  async counts(): Promise<DataplaneCounts> {
    return this.#dataplane.counts;
  }
  async drift(): Promise<readonly string[]> {
    if (this.#drift.length === 0) {
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => reject(new Error("nobody said that the kernel was changed by others")), 5000);
        this.#onDrift = () => {
          clearTimeout(late);
          resolve();
        };
      });
    }
    const said = this.#drift;
    this.#drift = [];
    return said;
  }
  async forgetDrift(): Promise<void> {
    this.#drift = [];
  }
  remove(): Promise<void> {
    return this.#dataplane.remove();
  }
  close(): Promise<void> {
    return this.#dataplane.close();
  }
  async kill(): Promise<void> {
    this.#dead = true;
    await this.#dataplane.close();
  }
}

const ACCEPT: Rule = { match: [], action: { do: "accept" } };

function tamperWith(kernel: Kernel): Tamper {
  const chainOf = (version: IpVersion, table: (typeof TABLES)[number], name: string): KernelChain => {
    const chain = kernel[version].chains(table).get(name);
    if (chain === undefined) throw new Error(`there is no chain ${table}-${name}`);
    return chain;
  };
  const setRules = (
    version: IpVersion,
    table: (typeof TABLES)[number],
    name: string,
    change: (rules: readonly Rule[]) => readonly Rule[],
  ): void => {
    const chain = chainOf(version, table, name);
    kernel[version].chains(table).set(name, { ...chain, rules: change(chain.rules), handle: kernel.nextHandle() });
    kernel.changedByOthers(`chain ${table}-${name}`);
  };
  const setMembers = (version: IpVersion, id: string, change: (members: Set<string>) => void): void => {
    const set = kernel[version].sets.get(id);
    if (set === undefined) throw new Error(`there is no set ${id}`);
    const members = new Set(set.members);
    change(members);
    kernel[version].sets.set(id, { ...set, members });
    kernel.changedByOthers(`set ${id}`);
  };
  return {
    deleteRule: (version, table, chain) => setRules(version, table, chain, (rules) => rules.slice(1)),
    insertRule: (version, table, chain) => setRules(version, table, chain, (rules) => [ACCEPT, ...rules]),
    flushChain: (version, table, chain) => setRules(version, table, chain, () => []),
    unhook(version, table, hook) {
      if (!kernel[version].hooks(table).delete(hook)) throw new Error(`nothing is hooked at ${table} ${hook}`);
      kernel.changedByOthers(`hook ${table}-${hook}`);
    },
    flushEverything(version) {
      const state = kernel[version];
      for (const table of TABLES) {
        state.hooks(table).clear();
        state.chains(table).clear();
        state.dispatches(table).clear();
      }
      kernel.changedByOthers("everything");
    },
    flushSet: (version, set) => setMembers(version, set, (members) => members.clear()),
    addMember: (version, set, member) => setMembers(version, set, (members) => members.add(member)),
    deleteMember: (version, set, member) => setMembers(version, set, (members) => members.delete(member)),
    plantLeftovers(version) {
      const state = kernel[version];
      state.sets.set("s:gone", { id: "s:gone", type: "net", members: new Set() });
      const rules: Rule[] = [{ match: [{ is: "set", side: "source", set: "s:gone" }], action: { do: "drop" } }];
      state.chains("filter").set("cali-tw-gone", { name: "cali-tw-gone", rules, handle: kernel.nextHandle() });
    },
    plantForeign(version) {
      kernel[version].foreign.push("a table, a chain, a counting rule and a set of somebody");
    },
  };
}

function lookAt(kernel: Kernel): Look {
  return {
    ours(version) {
      const state = kernel[version];
      const parts = TABLES.flatMap((table) => [
        ...[...state.hooks(table)].map(([hook, rules]) => `hook ${table} ${hook} ${JSON.stringify(rules)}`),
        ...[...state.dispatches(table).values()].map(
          (dispatch) => `dispatch ${table} ${JSON.stringify({ ...dispatch, entries: [...dispatch.entries] })}`,
        ),
        ...[...state.chains(table).values()].map(
          (chain) => `chain ${table} ${chain.name} ${JSON.stringify(chain.rules)}`,
        ),
      ]);
      const sets = [...state.sets.values()].map((set) => `set ${set.id} ${set.type} ${[...set.members].sort()}`);
      return [...parts, ...sets].sort().join("\n");
    },
    foreign: (version) => kernel[version].foreign.join("\n"),
    identity(version, table, name) {
      const chain = kernel[version].chains(table).get(name);
      if (chain === undefined) throw new Error(`there is no chain ${table}-${name}`);
      return `${chain.handle}`;
    },
    members(version, id) {
      const set = kernel[version].sets.get(id);
      if (set === undefined) throw new Error(`there is no set ${id}`);
      return [...set.members].sort();
    },
  };
}
