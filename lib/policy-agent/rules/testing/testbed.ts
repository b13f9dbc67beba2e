/** What the behaviour suite of dataplanes stands on: a router with a few interfaces, packets through it, and hands that spoil what it holds. */
import type { Applied, Dataplane, DataplaneCounts, Programs } from "../dataplane.ts";
import type { Packet } from "../interpret-packet.ts";
import type { Hook, IpVersion, Table } from "../ir.ts";
import type { Program } from "../program.ts";

export type { Packet } from "../interpret-packet.ts";

/** What {@link kernelSubject}'s module exports under the name `open`: called in a process inside the router's network namespace. */
export type OpenDataplane = (programs: Programs, options: unknown) => Dataplane | Promise<Dataplane>;

/**
 * The router's interfaces. Behind `cali1`, `cali2` and `cali3` is one address each (10.65.0.N, fd65::N), routed as a workload's is (/32, /128);
 * behind `out0` is everything else: the default route. The router's own addresses are {@link HOST}.
 */
export type Port = "cali1" | "cali2" | "cali3" | "out0";
export const PORTS: readonly Port[] = ["cali1", "cali2", "cali3", "out0"];
/** Where a packet comes from or is seen: a port (its far end), or the router itself. */
export type Place = Port | "host";

/** The router's addresses, on out0. */
export const HOST: Readonly<Record<IpVersion, string>> = { 4: "10.9.0.1", 6: "fd09::1" };

/** A packet that came out. At `host`: it was delivered to the router itself. */
export interface Sighting {
  readonly at: Place;
  readonly packet: Packet;
}

/** The part of a program that a caller writes to. */
export type Edits = Pick<
  Program,
  "setChain" | "removeChain" | "setDispatch" | "removeDispatch" | "setHook" | "setSet" | "changeSet" | "removeSet"
>;

/** One process with one dataplane over programs of its own, which begin empty. */
export interface Agent {
  /** Writes to the programs; takes effect with the next apply. */
  edit(change: (v4: Edits, v6: Edits) => void): Promise<void>;
  /** Rejects with the dataplane's DataplaneError. */
  apply(): Promise<Applied>;
  recheck(): Promise<void>;
  counts(): Promise<DataplaneCounts>;
  /** What onDrift has said and nobody has taken yet; waits for the first. Rejects when there was none after 5 s. */
  drift(): Promise<readonly string[]>;
  /** Forgets what onDrift has said so far. */
  forgetDrift(): Promise<void>;
  remove(): Promise<void>;
  /** Dataplane.close, and the end of the process. */
  close(): Promise<void>;
  /** kill -9, whatever it is doing. What was asked of it and not answered rejects. */
  kill(): Promise<void>;
}

/** What others do to the kernel. Each throws when it found nothing to do it to. */
export interface Tamper {
  deleteRule(version: IpVersion, table: Table, chain: string): void;
  /** Puts a rule that accepts everything in front of the chain's. */
  insertRule(version: IpVersion, table: Table, chain: string): void;
  flushChain(version: IpVersion, table: Table, chain: string): void;
  /** Takes the way from the kernel's hook to our rules away. */
  unhook(version: IpVersion, table: Table, hook: Hook): void;
  /** `nft flush ruleset`, `iptables -F` and `-X` in every table. */
  flushEverything(version: IpVersion): void;
  flushSet(version: IpVersion, set: string): void;
  addMember(version: IpVersion, set: string, member: string): void;
  deleteMember(version: IpVersion, set: string, member: string): void;
  /** What an earlier version or a killed one left behind: a chain with a rule, and a set, under names of ours that no program has. */
  plantLeftovers(version: IpVersion): void;
  /** A table (where there are any), chains, rules and a set of somebody else; one of the rules counts, one is in a chain that we hook into. */
  plantForeign(version: IpVersion): void;
}

/** What the kernel holds, as text to compare; without counters where not said otherwise. */
export interface Look {
  /** Everything that is ours; empty when there is nothing. */
  ours(version: IpVersion): string;
  /** Everything that is not. */
  foreign(version: IpVersion): string;
  /** Identity of the rules of one of our chains: changes when a rule is made anew, though it says the same. */
  identity(version: IpVersion, table: Table, chain: string): string;
  members(version: IpVersion, set: string): readonly string[];
}

/** A packet, and where it is sent from and would come out. */
export interface Flow {
  readonly from: Port;
  readonly to: Port;
  readonly packet: Packet;
}

/** How many of a flow's packets were sent, and came out where they would. */
export interface Counted {
  readonly sent: number;
  readonly out: number;
}

/** An own kernel (a network namespace), empty at first. */
export interface Testbed {
  /** Starts a process over this kernel. Several may follow one another. */
  start(): Promise<Agent>;
  /** Sends a packet and returns what came of it, wherever it came out. Synchronous: the kernel has dealt with it when this returns. */
  send(from: Place, packet: Packet): readonly Sighting[];
  /** Sends a packet of each flow in turn, over and over, as fast as it can, until it is told that something is done: for moments too short to hit. */
  flood(flows: readonly Flow[], until: Promise<unknown>): Promise<readonly Counted[]>;
  /** Prefixes of packets that were logged to an NFLOG group since the last call. */
  nflogged(group: number): readonly string[];
  readonly tamper: Tamper;
  readonly look: Look;
  dispose(): Promise<void>;
}

/** A dataplane, and where to run it. */
export interface SuiteSubject {
  readonly name: Dataplane["name"];
  /** Why it cannot be run here. */
  readonly missing?: string | undefined;
  /** What this one does not have, by name of the suite's test group, with the reason. */
  readonly without?: Readonly<Record<string, string>>;
  open(): Promise<Testbed>;
}
