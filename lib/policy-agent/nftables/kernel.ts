/** Reads what the kernel holds of our tables, by dumps: `nft -j list` takes seconds where there are thousands of sets. */
import {
  type Attributes,
  type Netfilter,
  type NetfilterMessage,
  NetlinkError,
  NF_FAMILY,
  NF_SUBSYSTEM,
  nfDump,
  nfRequest,
} from "../../netlink/netfilter/index.ts";
import type { Hook, IpVersion } from "../rules/index.ts";
import { emptyHeld, type Held } from "./diff.ts";
import { interfaceName, joinListed, type ListedElement, readElements, shapeOf } from "./elements.ts";
import { type BaseChain, baseText, HOOK_NUMBERS } from "./names.ts";
import { commentOf } from "./operations.ts";
import { hashOf } from "./render.ts";

const MSG = {
  NEWTABLE: 0,
  GETTABLE: 1,
  NEWCHAIN: 3,
  GETCHAIN: 4,
  NEWRULE: 6,
  GETRULE: 7,
  NEWSET: 9,
  GETSET: 10,
  NEWSETELEM: 12,
  GETSETELEM: 13,
  GETGEN: 16,
  NEWFLOWTABLE: 22,
  GETFLOWTABLE: 23,
} as const;
const TABLE = { NAME: 1, FLAGS: 2 } as const;
const CHAIN = { TABLE: 1, NAME: 3, HOOK: 4, POLICY: 5, TYPE: 7 } as const;
const HOOK = { NUMBER: 1, PRIORITY: 2 } as const;
const RULE = { TABLE: 1, CHAIN: 2, NOTES: 7 } as const;
const SET = { TABLE: 1, NAME: 2, FLAGS: 3, KEY_TYPE: 4, KEY_LENGTH: 5, DATA_TYPE: 6 } as const;
const ELEMENTS = { TABLE: 1, SET: 2, LIST: 3 } as const;
const FLOWTABLE = { TABLE: 1, NAME: 2 } as const;
const GEN_ID = 1;
const DORMANT = 1;
const DROP = 0;

/** How long reading may keep others waiting, in milliseconds. */
const SLICE = 10;

export const familyOf = (version: IpVersion): number => (version === 4 ? NF_FAMILY.IPV4 : NF_FAMILY.IPV6);

/** A table with all that is in it. */
export interface Snapshot extends Held {
  /** Of sets of ours, maps left out: as `keyText` makes them. */
  readonly elements: Map<string, ReadonlySet<string>>;
  /** Names of flow tables: the Go Calico's, if it offloaded flows. */
  readonly flowtables: string[];
}

/** Number of the ruleset: each change of anybody's makes it greater. And the port id of the socket that asked. */
export function readGeneration(netfilter: Netfilter): { readonly generation: number; readonly port: number } {
  return netfilter.request(
    nfRequest({
      subsystem: NF_SUBSYSTEM.NFTABLES,
      type: MSG.GETGEN,
      attempt: () => "read the generation of the nftables rules",
      decode: (message) => ({ generation: message.attributes().u32be(GEN_ID) ?? 0, port: message.port }),
    }),
  );
}

/** Reads one family's table; lets others work in between. Not of one moment: the caller compares generations. */
export async function readTable(netfilter: Netfilter, version: IpVersion, table: string): Promise<Snapshot> {
  const snapshot: Snapshot = { ...emptyHeld(), elements: new Map(), flowtables: [] };
  const list = <Item>(
    type: number,
    answer: number,
    what: string,
    decode: (attributes: Attributes) => Item | undefined,
    ask: Readonly<Record<number, string>> = { 1: table },
  ): Item[] =>
    netfilter.dump(
      nfDump({
        subsystem: NF_SUBSYSTEM.NFTABLES,
        type,
        family: familyOf(version),
        attempt: () => `list ${what} of the table ${version === 4 ? "ip" : "ip6"} ${table}`,
        attributes: (writer) => {
          for (const [attribute, text] of Object.entries(ask)) writer.attributeString(Number(attribute), text);
        },
        decode: (message: NetfilterMessage) => {
          if (message.type !== answer || message.family !== familyOf(version)) return undefined;
          const attributes = message.attributes();
          // All of these messages have the table's name for their first attribute; older kernels list every table's.
          return attributes.string(TABLE.NAME) === table ? decode(attributes) : undefined;
        },
      }),
    );
  const [flags] = list(MSG.GETTABLE, MSG.NEWTABLE, "the flags", (table) => table.u32be(TABLE.FLAGS) ?? 0, {});
  if (flags === undefined) return snapshot;
  snapshot.table = flags & DORMANT ? "dormant" : "present";

  const rules = new Map<string, string[]>();
  for (const { name, base } of list(MSG.GETCHAIN, MSG.NEWCHAIN, "the chains", readChain)) {
    const hashes: string[] = [];
    rules.set(name, hashes);
    snapshot.chains.set(name, { base, hashes: "", rules: 0 });
  }
  list(MSG.GETRULE, MSG.NEWRULE, "the rules", (rule) => {
    const notes = rule.get(RULE.NOTES);
    rules.get(rule.string(RULE.CHAIN) ?? "")?.push((notes && hashOf(commentOf(notes))) ?? "?");
    return undefined;
  });
  for (const [name, hashes] of rules) {
    const { base } = snapshot.chains.get(name)!;
    snapshot.chains.set(name, { base, hashes: hashes.join(" "), rules: hashes.length });
  }
  list(MSG.GETSET, MSG.NEWSET, "the sets", (set) => {
    const dataType = set.u32be(SET.DATA_TYPE);
    const shape = shapeOf(
      {
        flags: set.u32be(SET.FLAGS) ?? 0,
        keyType: set.u32be(SET.KEY_TYPE) ?? 0,
        keyLength: set.u32be(SET.KEY_LENGTH) ?? 0,
        ...(dataType !== undefined && { dataType }),
      },
      version,
    );
    const name = set.string(SET.NAME);
    if (shape && name) snapshot.sets.set(name, shape);
    return undefined;
  });
  snapshot.flowtables.push(
    ...list(MSG.GETFLOWTABLE, MSG.NEWFLOWTABLE, "the flow tables", (found) => found.string(FLOWTABLE.NAME)),
  );
  let begun = performance.now();
  for (const [name, shape] of snapshot.sets) {
    if (shape === "foreign") continue;
    const listed = readSet(netfilter, version, table, name);
    if (shape !== "map") snapshot.elements.set(name, new Set(joinListed(listed, shape)));
    else snapshot.maps.set(name, new Map(listed.map(({ key, chain }) => [nameOf(key), chain ?? ""])));
    if (performance.now() - begun > SLICE) {
      await new Promise((resolve) => setImmediate(resolve));
      begun = performance.now();
    }
  }
  return snapshot;
}

/** The elements of one set, beginnings and ends of intervals apart; none when there is no such set. */
export function readSet(netfilter: Netfilter, version: IpVersion, table: string, name: string): ListedElement[] {
  try {
    return netfilter
      .dump(
        nfDump({
          subsystem: NF_SUBSYSTEM.NFTABLES,
          type: MSG.GETSETELEM,
          family: familyOf(version),
          attempt: () => `list the elements of the set ${name}`,
          attributes: (writer) => {
            writer.attributeString(ELEMENTS.TABLE, table);
            writer.attributeString(ELEMENTS.SET, name);
          },
          decode: (message) => {
            if (message.type !== MSG.NEWSETELEM) return undefined;
            const list = message.attributes().get(ELEMENTS.LIST);
            return list && readElements(list);
          },
        }),
      )
      .flat();
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENOENT") return [];
    throw error;
  }
}

/** Of an interface, from a map's key. */
const nameOf = (key: string): string => interfaceName(Buffer.from(key, "latin1"));

const HOOK_NAMES = Object.entries(HOOK_NUMBERS) as [Hook, number][];

function readChain(chain: Attributes): { readonly name: string; readonly base: string } | undefined {
  const name = chain.string(CHAIN.NAME);
  if (name === undefined) return undefined;
  const hook = chain.nested(CHAIN.HOOK);
  if (!hook) return { name, base: "" };
  const found = HOOK_NAMES.find(([, number]) => number === hook.u32be(HOOK.NUMBER))?.[0];
  const base = baseText({
    type: (chain.string(CHAIN.TYPE) ?? "") as BaseChain["type"],
    hook: found ?? ("elsewhere" as Hook),
    priority: (hook.u32be(HOOK.PRIORITY) ?? 0) | 0,
  });
  // Ours accept what falls through: what another policy says is another chain.
  return { name, base: chain.u32be(CHAIN.POLICY) === DROP ? `${base} but drops` : base };
}
