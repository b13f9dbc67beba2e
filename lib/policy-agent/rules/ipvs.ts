/**
 * With kube-proxy in IPVS mode, what is forwarded to a Service passes INPUT and OUTPUT instead of FORWARD, and in OUTPUT the interface by
 * which it came is forgotten. INPUT therefore writes the endpoint's number into the mark, and OUTPUT finds the endpoint's chain by it
 * (felix/rules/static.go, dispatch.go). kube-proxy needs iptables for it, and policy does not: these are rules of either dataplane.
 */
import {
  always,
  clearMark,
  ESTABLISHED,
  goto,
  jump,
  marked,
  PROTOCOL,
  protocol,
  RETURN,
  type RenderContext,
  rule,
} from "./context.ts";
import type { Chain, Dispatch, Match, Rule } from "./ir.ts";
import type { EndpointMarks } from "./marks.ts";
import { CHAIN, PREFIX, SET } from "./names.ts";
import { chunkPorts } from "./policy.ts";

export function ipvsStaticChains(context: RenderContext): Chain[] {
  return [forwardCheck(context), forwardEndpointMark(context)];
}

/** In INPUT: what is not for the host itself gets the mark of the endpoint it comes from. */
function forwardCheck(context: RenderContext): Chain {
  const toHost: Match = { is: "set", side: "destination", set: SET.thisHost };
  return {
    name: CHAIN.forwardCheck,
    rules: [
      rule([ESTABLISHED], RETURN),
      ...chunkPorts(context.config.kubeNodePortRanges).flatMap((ports) =>
        [PROTOCOL.tcp, PROTOCOL.udp].map((number) =>
          rule(
            [protocol(number), { is: "ports", side: "destination", ports }, toHost],
            goto(CHAIN.setEndpointMark),
            "To kubernetes NodePort service",
          ),
        ),
      ),
      rule([{ ...toHost, not: true }], jump(CHAIN.setEndpointMark), "To kubernetes service"),
    ],
  };
}

/** In OUTPUT: policy of the endpoint a marked packet comes from, then of the one it goes to. */
function forwardEndpointMark(context: RenderContext): Chain {
  const { accept, endpoint, nonCaliEndpoint } = context.marks;
  return {
    name: CHAIN.forwardEndpointMark,
    rules: [
      rule([{ is: "mark", value: nonCaliEndpoint, mask: endpoint, not: true }], jump(CHAIN.fromEndpointMark)),
      ...context.config.interfacePrefixes.map((prefix) =>
        rule([{ is: "interface", direction: "out", name: `${prefix}*` }], jump(CHAIN.toWorkload)),
      ),
      always(jump(CHAIN.toHostForward)),
      // Encapsulated, the packet comes through here again, and is then not forwarded.
      always(clearMark(endpoint)),
      rule([marked(accept)], context.allow, "Policy explicitly accepted packet."),
    ],
  };
}

/** What changes with the endpoints. */
export interface EndpointMarkChains {
  readonly dispatch: Dispatch;
  readonly chains: readonly Chain[];
}

/** `workloads` and `hosts`: names of interfaces that have chains. */
export function endpointMarkChains(
  context: RenderContext,
  marks: EndpointMarks,
  workloads: readonly string[],
  hosts: readonly string[],
): EndpointMarkChains {
  const entries = new Map<string, string>();
  const chains: Chain[] = [];
  const fromMark: Rule[] = [];
  const add = (name: string, prefix: string): void => {
    const mark = marks.get(name);
    const chain = context.endpointChain(PREFIX.setMark, name);
    entries.set(name, chain);
    // Without a mark, the packet could not be told from one that is for the host.
    const rules = mark === undefined ? [always(context.deny("filter"), "No mark left for the endpoint")] : [];
    if (mark !== undefined) {
      rules.push(always({ do: "set-mark", value: mark, mask: marks.mask }));
      const match: Match = { is: "mark", value: mark, mask: marks.mask };
      fromMark.push(rule([match], goto(context.endpointChain(prefix, name))));
    }
    chains.push({ name: chain, rules });
  };
  for (const name of workloads) add(name, PREFIX.fromWorkload);
  for (const name of hosts) add(name, PREFIX.fromHostForward);
  fromMark.push(always(context.deny("filter"), "Unknown interface"));
  chains.push({ name: CHAIN.fromEndpointMark, rules: fromMark });
  const otherwise = [
    ...context.config.interfacePrefixes.map((prefix) =>
      rule([{ is: "interface", direction: "in", name: `${prefix}*` }], context.deny("filter"), "Unknown endpoint"),
    ),
    always({ do: "set-mark", value: context.marks.nonCaliEndpoint, mask: marks.mask }, "Non-Cali endpoint mark"),
  ];
  return { dispatch: { name: CHAIN.setEndpointMark, direction: "in", entries, otherwise }, chains };
}
