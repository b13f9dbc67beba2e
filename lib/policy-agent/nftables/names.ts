/**
 * Names and places in the table `calico` (felix/nftables/table.go, felix/ipsets/ipset_defs.go): one table a family for what iptables has
 * four of, so a chain's name begins with the table that it would be in.
 */
import { createHash } from "node:crypto";
import type { PortRange, SetId } from "../calc/index.ts";
import type { Hook, IpVersion, Table } from "../rules/index.ts";

/** Upstream cuts names of sets where ipset would: the ids end in a hash, of which enough is left. */
const MAX_SET_NAME = 31;

/** Of a chain, and of the verdict map of a dispatch beside its chain: `filter-cali-FORWARD`. */
export function nameIn(table: Table, name: string): string {
  return `${table}-${name}`;
}

/** Of the set `s:abc…` in IPv4: `cali40s-abc…`. */
export function setName(version: IpVersion, id: SetId): string {
  return `cali${version}0${id}`.slice(0, MAX_SET_NAME).replaceAll(":", "-");
}

/**
 * A set of port numbers that rules share. Upstream writes lists of ports into the rule, as anonymous sets; the kernel looks through all sets of the table
 * for each one that it makes, so that 6,000 such rules beside 2,000 sets take it 16 s, and 0.8 s with sets that are shared.
 */
export interface PortSet {
  readonly name: string;
  readonly ranges: readonly PortRange[];
}

/** Named by what it holds. */
export function portSet(version: IpVersion, ranges: readonly PortRange[]): PortSet {
  const text = ranges.map(({ first, last }) => `${first}-${last}`).join(",");
  return { name: `cali${version}p-${createHash("sha224").update(text).digest("base64url").slice(0, 16)}`, ranges };
}

/** Where the kernel enters a base chain. */
export interface BaseChain {
  readonly type: "filter" | "nat" | "route";
  readonly hook: Hook;
  readonly priority: number;
}

// Beside kube-proxy's chains (filter -110, nat-postrouting 100) the order is fixed by these, see the top of felix/nftables/table.go.
const RAW = -300;
const MANGLE = -150;
const DNAT = -100;
const FILTER = 0;
const SNAT = 110;

const BASE_CHAINS: Readonly<Record<Table, Partial<Record<Hook, Omit<BaseChain, "hook">>>>> = {
  raw: {
    PREROUTING: { type: "filter", priority: RAW },
    OUTPUT: { type: "filter", priority: RAW },
  },
  mangle: {
    PREROUTING: { type: "filter", priority: MANGLE },
    INPUT: { type: "filter", priority: MANGLE },
    FORWARD: { type: "filter", priority: MANGLE },
    // A changed mark has to change the route.
    OUTPUT: { type: "route", priority: MANGLE },
    POSTROUTING: { type: "filter", priority: MANGLE },
  },
  nat: {
    PREROUTING: { type: "nat", priority: DNAT },
    INPUT: { type: "nat", priority: DNAT },
    OUTPUT: { type: "nat", priority: SNAT },
    POSTROUTING: { type: "nat", priority: SNAT },
  },
  filter: {
    INPUT: { type: "filter", priority: FILTER },
    FORWARD: { type: "filter", priority: FILTER },
    OUTPUT: { type: "filter", priority: FILTER },
  },
};

/** Undefined for a hook that the table has none at. */
export function baseChain(table: Table, hook: Hook): BaseChain | undefined {
  const place = BASE_CHAINS[table][hook];
  return place && { ...place, hook };
}

/** NF_INET_… (include/uapi/linux/netfilter.h) */
export const HOOK_NUMBERS: Readonly<Record<Hook, number>> = {
  PREROUTING: 0,
  INPUT: 1,
  FORWARD: 2,
  OUTPUT: 3,
  POSTROUTING: 4,
};

/** As nft writes it. */
export function baseText(base: BaseChain): string {
  return `type ${base.type} hook ${base.hook.toLowerCase()} priority ${base.priority}; policy accept;`;
}
