/** From what a peer told to what may be chosen: RFC 4271 9.1.2 (loops), RFC 4456 8, RFC 7606 7.5, 7.9 and 7.10, and the import policy. */
import type { Address } from "../../ip/index.ts";
import type { Family, PathAttributes } from "../wire/index.ts";
import { type AttributeSet, type AttributeTable, BGP_PREFERENCE } from "./attributes.ts";
import type { Policy, Prefix, RibPeer } from "./types.ts";
import { Verdicts } from "./verdicts.ts";

/** Why a path is not let in. Below 0, so that a column has either this or the id of a set. */
export const REFUSED = { POLICY: -1, OWN_AS: -2, ORIGINATOR: -3, CLUSTER: -4, NEXT_HOP: -5 } as const;

export const REFUSED_WHY: Readonly<Record<number, string>> = {
  [REFUSED.POLICY]: "rejected by the import policy",
  [REFUSED.OWN_AS]: "AS path has our own AS",
  [REFUSED.ORIGINATOR]: "ORIGINATOR_ID is our own router id",
  [REFUSED.CLUSTER]: "CLUSTER_LIST has our own cluster id",
  [REFUSED.NEXT_HOP]: "the next hop is our own address",
};

/** What of a session counts for what comes in. */
export interface ImportRules {
  readonly type: "ibgp" | "ebgp";
  readonly localAsn: number;
  readonly routerId: number;
  readonly allowedOwnAsns: number;
  readonly clusterId: number | undefined;
  readonly ownAddresses: readonly Address[];
}

export function importRules(peer: RibPeer, routerId: number): ImportRules {
  return {
    type: peer.type,
    localAsn: peer.localAsn,
    routerId,
    allowedOwnAsns: peer.allowedOwnAsns,
    clusterId: peer.reflectorClient,
    ownAddresses: [peer.localAddress[4], peer.localAddress[6]].filter((address) => address !== undefined),
  };
}

/**
 * As the policy gets to see it, or why it is refused. An eBGP peer has no say in LOCAL_PREF, ORIGINATOR_ID and CLUSTER_LIST. Each session looks for its
 * own cluster id only, as BIRD does: two reflectors of one cluster that are not each other's clients keep each other's routes as a reserve.
 */
export function admitted(attributes: PathAttributes, rules: ImportRules): PathAttributes | number {
  let own = 0;
  for (const { asns } of attributes.asPath) for (const asn of asns) if (asn === rules.localAsn) own++;
  if (own > rules.allowedOwnAsns) return REFUSED.OWN_AS;
  const { nextHop } = attributes;
  for (const { version, value } of rules.ownAddresses)
    if (version === nextHop.version && value === nextHop.value) return REFUSED.NEXT_HOP;
  if (rules.type === "ibgp") {
    if (attributes.originatorId === rules.routerId) return REFUSED.ORIGINATOR;
    if (rules.clusterId !== undefined && attributes.clusterList.includes(rules.clusterId)) return REFUSED.CLUSTER;
    return attributes;
  }
  const { localPref, originatorId, clusterList, ...rest } = attributes;
  if (localPref === undefined && originatorId === undefined && clusterList.length === 0) return attributes;
  return { ...rest, clusterList: [] };
}

/** The way in of all peers with equal rules and policy. */
export class Importer {
  readonly key: string;
  readonly policy: Policy;
  /** Users. */
  users = 0;
  readonly #rules: ImportRules;
  readonly #table: AttributeTable;
  readonly #verdicts: Verdicts;
  readonly #nowhere: Prefix;

  constructor(key: string, rules: ImportRules, policy: Policy, family: Family, table: AttributeTable) {
    this.key = key;
    this.policy = policy;
    this.#rules = rules;
    this.#table = table;
    this.#verdicts = new Verdicts(table);
    this.#nowhere = { family, length: 0, words: [0, 0, 0, 0] };
  }

  /** What holds for all prefixes of a set: all there is to say where the policy ignores prefixes. For its last importer the set remembers it. */
  prepare(set: AttributeSet): AttributeSet | number {
    if (set.importer === this) {
      const { imported } = set;
      return typeof imported === "number" || imported.id >= 0 ? imported : this.#table.alive(imported);
    }
    let result: AttributeSet | number;
    const attributes = admitted(set.attributes, this.#rules);
    if (typeof attributes === "number") result = attributes;
    else {
      const clean = attributes === set.attributes ? set : this.#table.made(attributes, BGP_PREFERENCE);
      result = clean;
      if (this.policy.ignoresPrefix) {
        this.#table.refer(clean.id);
        result = this.#ask(clean, this.#nowhere);
        if (typeof result !== "number") this.#table.refer(result.id);
        this.#table.release(clean.id);
        if (typeof result !== "number") this.#table.unrefer(result.id);
      }
    }
    set.importer = this;
    set.imported = result;
    return result;
  }

  /** For one prefix; `prepared` by {@link prepare}. */
  decide(prepared: AttributeSet, prefix: Prefix): AttributeSet | number {
    return this.policy.ignoresPrefix ? prepared : this.#ask(prepared, prefix);
  }

  #ask(set: AttributeSet, prefix: Prefix): AttributeSet | number {
    const verdict = this.policy.decide({ prefix, source: "bgp", attributes: set.attributes });
    if (!verdict) return REFUSED.POLICY;
    const preference = verdict.preference ?? BGP_PREFERENCE;
    if (verdict.attributes === set.attributes && preference === set.preference) return set;
    return this.#verdicts.set(verdict.attributes, preference);
  }
}
