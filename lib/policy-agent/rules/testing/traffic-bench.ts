/** A dataplane that holds what a test lays out and nothing else, and packets of which none continues another's conversation. */
import { afterAll, beforeAll } from "vitest";
import { type Packet, TCP } from "../interpret-packet.ts";
import type { Hook, IpVersion, Match, Rule, Table } from "../ir.ts";
import type { Agent, Place, SuiteSubject, Testbed } from "./testbed.ts";
import { fateOf, packet } from "./traffic.ts";

export const drop: Rule = { match: [], action: { do: "drop" } };
export const port = (number: number): Match[] => [
  { is: "protocol", protocol: TCP },
  { is: "ports", side: "destination", ports: [{ first: number, last: number }] },
];

/** Rules by where they stand; everything that is not there is empty. */
type Layout = Partial<Record<`${Table} ${Hook}`, readonly Rule[]>>;
export interface Setup {
  readonly at: Layout;
  readonly chains?: Readonly<Record<string, readonly Rule[]>>;
}

/** One test bed with one agent for all tests of a group. */
export interface TrafficBench {
  /** There from the group's first test on. */
  readonly bed: Testbed;
  /** Makes the kernel hold nothing but this, in both IP versions. */
  program(make: (version: IpVersion) => Setup): Promise<void>;
  /** Only what matches is forwarded. */
  only(...match: readonly Match[]): Promise<void>;
  /** What becomes of a packet, which is the first of a conversation unless `fields` say otherwise. */
  fate(version: IpVersion, from: Place, to: Place, fields?: Partial<Packet>): string;
  /** A port that no conversation has had. */
  nextPort(): number;
}

/** To be called in a group, whose hooks it sets. */
export function useTraffic(subject: SuiteSubject): TrafficBench {
  const use = {} as { bed: Testbed; agent: Agent };
  let before: Layout = {};
  let chainsBefore: string[] = [];
  let lastPort = 20_000;
  beforeAll(async () => {
    use.bed = await subject.open();
    use.agent = await use.bed.start();
  });
  afterAll(() => use.bed?.dispose());

  const nextPort = (): number => ++lastPort;
  const program = async (make: (version: IpVersion) => Setup): Promise<void> => {
    const made = { 4: make(4), 6: make(6) };
    const places = new Set([...Object.keys(before), ...Object.keys(made[4].at), ...Object.keys(made[6].at)]);
    const chains = new Set([...Object.keys(made[4].chains ?? {}), ...Object.keys(made[6].chains ?? {})]);
    await use.agent.edit((v4, v6) => {
      for (const [version, edits] of [
        [4, v4],
        [6, v6],
      ] as const) {
        for (const [name, rules] of Object.entries(made[version].chains ?? {})) {
          edits.setChain("filter", { name, rules });
        }
        for (const place of places) {
          const [table, hook] = place.split(" ") as [Table, Hook];
          edits.setHook(table, hook, { first: made[version].at[place as keyof Layout] ?? [], last: [] });
        }
        for (const name of chainsBefore) if (!chains.has(name)) edits.removeChain("filter", name);
      }
    });
    await use.agent.apply();
    before = made[4].at;
    chainsBefore = [...chains];
  };
  return {
    get bed() {
      return use.bed;
    },
    nextPort,
    program,
    only: (...match) => program(() => ({ at: { "filter FORWARD": [{ match, action: { do: "accept" } }, drop] } })),
    fate: (version, from, to, fields = {}) => {
      const mine = nextPort();
      return fateOf(use.bed, from, packet(version, from, to, { sourcePort: mine, echoId: mine, ...fields }));
    },
  };
}
