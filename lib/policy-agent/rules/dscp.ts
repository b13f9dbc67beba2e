/** Code points (RFC 2474) that workloads ask for, on what they send out of the cluster (felix/rules/dscp.go). */
import type { LocalWorkload } from "../calc/index.ts";
import { RETURN, rule } from "./context.ts";
import type { Chain, IpVersion, Match } from "./ir.ts";
import { CHAIN, SET } from "./names.ts";

/** What a workload asks for; undefined: nothing, or nonsense. */
export function dscpOf({ qos }: LocalWorkload): number | undefined {
  return qos?.dscp === undefined ? undefined : dscpValue(qos.dscp);
}

/** A number from 0 to 63, or a name of RFC 2474, 2597 and 3246. */
export function dscpValue(value: number | string): number | undefined {
  const text = String(value).trim().toUpperCase();
  if (/^\d+$/.test(text)) return Number(text) <= 63 ? Number(text) : undefined;
  if (text === "DF") return 0;
  if (text === "EF") return 46;
  const [, assured, precedence, selector] = /^(?:AF([1-4])([1-3])|CS([0-6]))$/.exec(text) ?? [];
  if (selector !== undefined) return 8 * Number(selector);
  return assured === undefined ? undefined : 8 * Number(assured) + 2 * Number(precedence);
}

/** Addresses of the workloads that ask for one: the members of the set, and the chain. */
export function dscpRules(
  version: IpVersion,
  workloads: Iterable<LocalWorkload>,
): { readonly members: readonly string[]; readonly chain: Chain } {
  const values = new Map<string, number>();
  for (const workload of workloads) {
    const value = dscpOf(workload);
    if (value === undefined) continue;
    for (const net of version === 4 ? workload.ipv4Nets : workload.ipv6Nets) values.set(net, value);
  }
  const members = [...values.keys()].sort();
  const set = (side: "source" | "destination", set: string, not = false): Match =>
    not ? { is: "set", side, set, not } : { is: "set", side, set };
  const outside = [
    rule([set("source", SET.dscp, true)], RETURN),
    rule([set("destination", SET.pools)], RETURN),
    rule([set("destination", SET.thisHost)], RETURN),
  ];
  const marks = members.map((net) =>
    rule([{ is: "net", side: "source", net }], { do: "dscp", value: values.get(net)! }),
  );
  return { members, chain: { name: CHAIN.egressDscp, rules: members.length === 0 ? [] : [...outside, ...marks] } };
}
