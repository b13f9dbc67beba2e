/** natOutgoing and floating addresses (felix/rules/nat.go). */
import type { Nat } from "../calc/index.ts";
import { always, jump, PROTOCOL, protocol, RETURN, type RenderContext, rule } from "./context.ts";
import type { Action, Chain, IpVersion, Match, Rule } from "./ir.ts";
import { CHAIN, SET } from "./names.ts";

export function natStaticChains(): Chain[] {
  return [
    { name: CHAIN.prerouting, rules: [always(jump(CHAIN.floatingDnat))] },
    { name: CHAIN.output, rules: [always(jump(CHAIN.floatingDnat))] },
    { name: CHAIN.postrouting, rules: [always(jump(CHAIN.floatingSnat)), always(jump(CHAIN.natOutgoing))] },
  ];
}

/** `active`: some pool asks for it. */
export function natOutgoingChain(context: RenderContext, version: IpVersion, active: boolean): Chain {
  const name = CHAIN.natOutgoing;
  if (!active) return { name, rules: [] };
  const { natOutgoingExclusions, natOutgoingInterfaceFilter, natOutgoingAddress, natPortRange } = context.config;
  const match: Match[] = [
    { is: "set", side: "source", set: SET.natPools },
    { is: "set", side: "destination", set: SET.pools, not: true },
  ];
  if (natOutgoingExclusions === "IPPoolsAndHostIPs")
    match.push({ is: "set", side: "destination", set: SET.hosts, not: true });
  if (natOutgoingInterfaceFilter !== undefined)
    match.push({ is: "interface", direction: "out", name: natOutgoingInterfaceFilter });
  // The address is one of IPv4.
  const address = version === 4 ? natOutgoingAddress : undefined;
  const translate: Action = address === undefined ? { do: "masquerade" } : { do: "snat", address };
  const rules: Rule[] = [];
  if (natPortRange !== undefined) {
    for (const number of [PROTOCOL.tcp, PROTOCOL.udp]) {
      rules.push(rule([protocol(number), ...match], { ...translate, ports: natPortRange }));
      // When all ports of the range are taken, the packet is not translated by other ports.
      rules.push(rule([protocol(number), ...match], RETURN));
    }
  }
  rules.push(rule(match, translate));
  return { name, rules };
}

/** Addresses by which workloads can be reached beside their own. Of several owners of one, the lowest address wins. */
export function floatingChains(version: IpVersion, nats: Iterable<Nat>): Chain[] {
  const inside = new Map<string, string>();
  for (const { external, internal } of nats) {
    const other = inside.get(external);
    if (other === undefined || internal < other) inside.set(external, internal);
  }
  const externals = [...inside.keys()].sort();
  const outside = new Map<string, string>();
  for (const external of externals) {
    const internal = inside.get(external)!;
    if (!outside.has(internal)) outside.set(internal, external);
  }
  const host = (address: string): string => `${address}/${version === 4 ? 32 : 128}`;
  return [
    {
      name: CHAIN.floatingDnat,
      rules: externals.map((external) =>
        rule([{ is: "net", side: "destination", net: host(external) }], {
          do: "dnat",
          address: inside.get(external)!,
        }),
      ),
    },
    {
      name: CHAIN.floatingSnat,
      // A workload that reaches itself by its floating address must see that address answer.
      rules: [...outside.keys()].sort().map((internal) =>
        rule(
          [
            { is: "net", side: "source", net: host(internal) },
            { is: "net", side: "destination", net: host(internal) },
          ],
          { do: "snat", address: outside.get(internal)! },
        ),
      ),
    },
  ];
}
