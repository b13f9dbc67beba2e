/** Ports of the host that no host endpoint's policy may close: FailsafeInboundHostPorts, FailsafeOutboundHostPorts. */
import { ACCEPT, isVersion, protocol, rule } from "./context.ts";
import type { Chain, IpVersion, Match, Rule, Side, Table } from "./ir.ts";
import { CHAIN } from "./names.ts";
import type { ProtoPort, RulesConfig } from "./options.ts";

/** raw comes before connection tracking: there, the packets that answer must be let through too. */
export function failsafeChains(config: RulesConfig, version: IpVersion, table: Table): Chain[] {
  const inbound = config.failsafeInboundHostPorts;
  const outbound = config.failsafeOutboundHostPorts;
  const answers = table === "raw";
  return [
    {
      name: CHAIN.failsafeIn,
      rules: [
        ...accept(inbound, version, "destination", "source"),
        ...(answers ? accept(outbound, version, "source", "source") : []),
      ],
    },
    {
      name: CHAIN.failsafeOut,
      rules: [
        ...accept(outbound, version, "destination", "destination"),
        ...(answers ? accept(inbound, version, "source", "destination") : []),
      ],
    },
  ];
}

/** `far`: on which side of the packet the other host is. */
function accept(ports: readonly ProtoPort[], version: IpVersion, side: Side, far: Side): Rule[] {
  return ports
    .filter(({ net }) => net === undefined || isVersion(net, version))
    .map(({ protocol: number, port, net }) => {
      const match: Match[] = [protocol(number), { is: "ports", side, ports: [{ first: port, last: port }] }];
      if (net !== undefined) match.push({ is: "net", side: far, net });
      return rule(match, ACCEPT);
    });
}
