/**
 * What is always there: where the kernel enters Calico's chains, and the chains that lead from there to the endpoints' (felix/rules/static.go).
 *
 *     raw     PREROUTING  → spoofed? → untracked policy of host endpoints        OUTPUT → untracked policy
 *     mangle  PREROUTING  → pre-DNAT policy of host endpoints
 *     filter  INPUT       → from workloads to the host; normal ingress policy of host endpoints
 *             FORWARD     → forward ingress, from workload, to workload, forward egress, service loops
 *             OUTPUT      → normal egress policy of host endpoints
 *     mangle  POSTROUTING → the same, for connections whose destination was translated
 *
 * A verdict of Allow only sets the accept bit and returns, because policy of another endpoint may be still to come.
 */
import {
  ACCEPT,
  always,
  clearMark,
  DROP,
  ESTABLISHED,
  goto,
  jump,
  marked,
  PROTOCOL,
  protocol,
  RETURN,
  type RenderContext,
  rule,
  setMark,
  someMarked,
  unmarked,
} from "./context.ts";
import { failsafeChains } from "./failsafe.ts";
import { ipvsStaticChains } from "./ipvs.ts";
import type { Action, Chain, Hook, IpVersion, Match, Rule, Table } from "./ir.ts";
import { CHAIN, SET } from "./names.ts";
import type { HookRules } from "./program.ts";

/** Which tunnels between hosts are in use. */
export interface Tunnels {
  /** IPv4 only. */
  readonly ipip: boolean;
  /** In the IP version at hand. */
  readonly vxlan: boolean;
}

/** What the kernel runs at its hooks. */
export function hooks(
  context: RenderContext,
): { readonly table: Table; readonly hook: Hook; readonly rules: HookRules }[] {
  const first = (table: Table, hook: Hook, chain: string) => ({
    table,
    hook,
    rules: { first: [always(jump(chain))], last: [] },
  });
  const { accept } = context.marks;
  return [
    first("raw", "PREROUTING", CHAIN.prerouting),
    first("raw", "OUTPUT", CHAIN.output),
    first("mangle", "PREROUTING", CHAIN.prerouting),
    first("mangle", "POSTROUTING", CHAIN.postrouting),
    first("nat", "PREROUTING", CHAIN.prerouting),
    first("nat", "OUTPUT", CHAIN.output),
    // Last: kube-proxy marks what it masquerades, and clears that mark in its own chain.
    { table: "nat", hook: "POSTROUTING", rules: { first: [], last: [always(jump(CHAIN.postrouting))] } },
    first("filter", "INPUT", CHAIN.input),
    first("filter", "OUTPUT", CHAIN.output),
    {
      table: "filter",
      hook: "FORWARD",
      rules: {
        first: [always(jump(CHAIN.forward))],
        last: [
          rule([marked(accept)], context.allow, "Policy explicitly accepted packet."),
          // mangle POSTROUTING tells by it what was forwarded, and leaves it alone.
          always(setMark(accept)),
        ],
      },
    },
  ];
}

/** By table. The dispatches, and chains that change with workloads and Services, are not among them. */
export function staticChains(
  context: RenderContext,
  version: IpVersion,
  tunnels: Tunnels,
): { readonly table: Table; readonly chain: Chain }[] {
  const { config } = context;
  const byTable: Partial<Record<Table, Chain[]>> = {
    raw: [rawPrerouting(context, tunnels), rawOutput(context, tunnels), ...failsafeChains(config, version, "raw")],
    mangle: [manglePrerouting(context), manglePostrouting(context), ...failsafeChains(config, version, "mangle")],
    filter: [
      input(context, version, tunnels),
      workloadToHost(context, version),
      forward(context),
      output(context, version, tunnels),
      ...failsafeChains(config, version, "filter"),
      ...(config.kubeIPVSSupportEnabled ? ipvsStaticChains(context) : []),
    ],
  };
  return Object.entries(byTable).flatMap(([table, chains]) =>
    chains.map((chain) => ({ table: table as Table, chain })),
  );
}

/** One rule for each prefix of workloads' interfaces. */
function perPrefix(context: RenderContext, direction: "in" | "out", action: Action): Rule[] {
  return context.config.interfacePrefixes.map((prefix) =>
    rule([{ is: "interface", direction, name: `${prefix}*` }], action),
  );
}

const destinationPort = (port: number): Match => ({
  is: "ports",
  side: "destination",
  ports: [{ first: port, last: port }],
});
const vxlanPackets = (context: RenderContext): Match[] => [
  protocol(PROTOCOL.udp),
  destinationPort(context.config.vxlanPort),
];
const LOCAL_SOURCE: Match = { is: "local-address", side: "source" };
const LOCAL_DESTINATION: Match = { is: "local-address", side: "destination" };
const from = (set: string): Match => ({ is: "set", side: "source", set });
const to = (set: string): Match => ({ is: "set", side: "destination", set });

function rawPrerouting(context: RenderContext, tunnels: Tunnels): Chain {
  const { accept, scratch0: fromWorkload } = context.marks;
  return {
    name: CHAIN.prerouting,
    rules: [
      // Whoever came before us may have used our bits.
      always(clearMark(context.ownBits)),
      // The two directions have different source ports: tracked, they would be connections without an answer.
      ...(tunnels.vxlan ? [rule(vxlanPackets(context), { do: "notrack" })] : []),
      ...perPrefix(context, "in", setMark(fromWorkload)),
      rule([marked(fromWorkload)], jump(CHAIN.rpfSkip)),
      rule([marked(fromWorkload), { is: "reverse-path-failed" }], context.deny("raw")),
      rule([unmarked(fromWorkload)], jump(CHAIN.fromHost)),
      rule([marked(accept)], ACCEPT),
    ],
  };
}

function rawOutput(context: RenderContext, tunnels: Tunnels): Chain {
  return {
    name: CHAIN.output,
    rules: [
      always(clearMark(context.ownBits)),
      always(jump(CHAIN.toHost)),
      ...(tunnels.vxlan ? [rule(vxlanPackets(context), { do: "notrack" })] : []),
      rule([marked(context.marks.accept)], ACCEPT),
    ],
  };
}

function manglePrerouting(context: RenderContext): Chain {
  const { accept } = context.marks;
  return {
    name: CHAIN.prerouting,
    rules: [
      rule([ESTABLISHED], context.mangleAllow),
      // Untracked policy has accepted it.
      rule([marked(accept)], context.mangleAllow),
      always(jump(CHAIN.fromHost)),
      rule([marked(accept)], context.mangleAllow, "Host endpoint policy accepted packet."),
    ],
  };
}

function manglePostrouting(context: RenderContext): Chain {
  const { accept, endpoint } = context.marks;
  return {
    name: CHAIN.postrouting,
    rules: [
      always(jump(CHAIN.egressDscp)),
      // Forwarded, or accepted before.
      rule([marked(accept)], RETURN),
      ...(context.config.kubeIPVSSupportEnabled ? [rule([someMarked(endpoint)], RETURN)] : []),
      always(clearMark(context.ownBits)),
      rule([{ is: "dnatted" }], jump(CHAIN.toHost)),
      rule([marked(accept)], RETURN, "Host endpoint policy accepted packet."),
    ],
  };
}

function input(context: RenderContext, version: IpVersion, tunnels: Tunnels): Chain {
  const { accept, endpoint } = context.marks;
  return {
    name: CHAIN.input,
    rules: [
      ...tunnelsIn(context, version, tunnels),
      ...(context.config.kubeIPVSSupportEnabled
        ? [
            // With IPVS, what is forwarded to a Service comes by here.
            always(clearMark(endpoint)),
            always(jump(CHAIN.forwardCheck)),
            rule([someMarked(endpoint)], RETURN),
          ]
        : []),
      ...perPrefix(context, "in", goto(CHAIN.workloadToHost)),
      // By untracked or pre-DNAT policy.
      rule([marked(accept)], context.allow),
      always(clearMark(context.ownBits)),
      always(jump(CHAIN.fromHost)),
      rule([marked(accept)], context.allow, "Host endpoint policy accepted packet."),
    ],
  };
}

/** Tunnelled packets are for hosts of the cluster only, whatever host endpoints say. */
function tunnelsIn(context: RenderContext, version: IpVersion, { ipip, vxlan }: Tunnels): Rule[] {
  const rules: Rule[] = [];
  if (ipip) {
    const match = protocol(PROTOCOL.ipip);
    rules.push(
      rule([match, from(SET.hosts), LOCAL_DESTINATION], context.allow, "Allow IPIP packets from Calico hosts"),
      rule([match], context.deny("filter"), `${context.denyWord("filter")} IPIP packets from non-Calico hosts`),
    );
  }
  if (vxlan) {
    const match = vxlanPackets(context);
    const word = `IPv${version} VXLAN packets`;
    rules.push(
      rule([...match, from(SET.vxlanHosts), LOCAL_DESTINATION], context.allow, `Allow ${word} from allowed hosts`),
      rule([...match, LOCAL_DESTINATION], DROP, `Drop ${word} from non-allowed hosts`),
    );
  }
  const wireguard = wireguardPort(context, version);
  if (wireguard !== undefined)
    rules.push(
      rule(
        [protocol(PROTOCOL.udp), destinationPort(wireguard), LOCAL_DESTINATION],
        context.allow,
        `Allow incoming IPv${version} Wireguard packets`,
      ),
    );
  return rules;
}

const wireguardPort = ({ config }: RenderContext, version: IpVersion): number | undefined =>
  version === 4 ? config.wireguardPort : config.wireguardPortV6;

/** ICMPv6 by which a workload finds its router, and the router it: RFC 4861 and multicast listeners (RFC 2710). */
const ICMP6_TO_ROUTER = [130, 131, 132, 133, 135, 136];

function workloadToHost(context: RenderContext, version: IpVersion): Chain {
  const { defaultEndpointToHostAction } = context.config;
  const actions: Record<typeof defaultEndpointToHostAction, Action> = {
    DROP,
    REJECT: { do: "reject", with: "icmp" },
    ACCEPT,
    RETURN,
  };
  return {
    name: CHAIN.workloadToHost,
    rules: [
      ...(version === 6
        ? ICMP6_TO_ROUTER.map((type) => rule([protocol(PROTOCOL.icmp6), { is: "icmp", type }], context.allow))
        : []),
      always(jump(CHAIN.fromWorkload)),
      always(actions[defaultEndpointToHostAction], "Configured DefaultEndpointToHostAction"),
    ],
  };
}

function forward(context: RenderContext): Chain {
  const { accept } = context.marks;
  return {
    name: CHAIN.forward,
    rules: [
      // The accept bit tells what untracked and pre-DNAT policy have accepted.
      always(clearMark((context.ownBits & ~accept) >>> 0)),
      rule([unmarked(accept)], jump(CHAIN.fromHostForward)),
      ...context.config.interfacePrefixes.flatMap((prefix) => [
        rule([{ is: "interface", direction: "in", name: `${prefix}*` }], jump(CHAIN.fromWorkload)),
        rule([{ is: "interface", direction: "out", name: `${prefix}*` }], jump(CHAIN.toWorkload)),
      ]),
      always(jump(CHAIN.toHostForward)),
      always(jump(CHAIN.cidrBlock)),
    ],
  };
}

function output(context: RenderContext, version: IpVersion, tunnels: Tunnels): Chain {
  const { accept, endpoint } = context.marks;
  const wireguard = wireguardPort(context, version);
  const rules: Rule[] = [
    rule([marked(accept)], context.allow),
    ...(context.config.kubeIPVSSupportEnabled ? [rule([someMarked(endpoint)], goto(CHAIN.forwardEndpointMark))] : []),
    // The host may always reach its own workloads.
    ...perPrefix(context, "out", RETURN),
  ];
  if (tunnels.ipip)
    rules.push(
      rule(
        [protocol(PROTOCOL.ipip), to(SET.hosts), LOCAL_SOURCE],
        context.allow,
        "Allow IPIP packets to other Calico hosts",
      ),
    );
  if (tunnels.vxlan)
    rules.push(
      rule(
        [...vxlanPackets(context), LOCAL_SOURCE, to(SET.vxlanHosts)],
        context.allow,
        `Allow IPv${version} VXLAN packets to other allowed hosts`,
      ),
    );
  if (wireguard !== undefined)
    rules.push(
      rule(
        [protocol(PROTOCOL.udp), destinationPort(wireguard), LOCAL_SOURCE],
        context.allow,
        `Allow outgoing IPv${version} Wireguard packets`,
      ),
    );
  rules.push(
    always(clearMark(context.ownBits)),
    // Translated ones: mangle POSTROUTING.
    rule([{ is: "dnatted", not: true }], jump(CHAIN.toHost)),
    rule([marked(accept)], context.allow, "Host endpoint policy accepted packet."),
  );
  return { name: CHAIN.output, rules };
}
