/**
 * Between a host and its own workloads policy is not all that counts, and some of it does not (felix/rules/static.go):
 *
 *     host -> workload   filter OUTPUT returns for the interfaces of workloads: neither end's policy is asked
 *     workload -> host   preDNAT policy of the host endpoint for all interfaces, then the workload's egress policy, then
 *                        DefaultEndpointToHostAction; never the host endpoint's untracked or plain policy
 */
import type { ResolvedEnd, ResolvedEnds } from "./resolve.ts";
import type { Resources } from "./resources.ts";
import type { By, Decision, EndpointName, EndpointToHostAction, Packet } from "./types.ts";
import { byWords } from "./words.ts";

/** What the parameter is where no FelixConfiguration sets it. */
const DEFAULT_ACTION: EndpointToHostAction = "DROP";

/** ICMPv6 by which a workload finds its router, and the router it (RFC 4861), and who listens to which multicast (RFC 2710). */
const ROUTER_ICMP6: ReadonlySet<number> = new Set([130, 131, 132, 133, 135, 136]);
const ICMP6 = 58;

/** Whether one end is the host of the workload at the other. */
export function betweenOwn(
  resources: Resources,
  { source, destination }: Pick<ResolvedEnds, "source" | "destination">,
): "to-workload" | "to-host" | undefined {
  if (isHostOf(resources, source, destination)) return "to-workload";
  return isHostOf(resources, destination, source) ? "to-host" : undefined;
}

function isHostOf(resources: Resources, host: ResolvedEnd, workload: ResolvedEnd): boolean {
  const [ends, at] = [workload.endpoint?.name, host.endpoint?.name];
  if (ends?.kind !== "WorkloadEndpoint" || at?.kind === "WorkloadEndpoint") return false;
  return ends.node === (at?.node ?? resources.nodeOf(host.address));
}

/** The host endpoint that holds for the interfaces of workloads, as for all that no other names: of several the first by name. */
export function hostOfWorkloads({ endpoints }: Resources, node: string): EndpointName | undefined {
  return endpoints
    .map(({ name }) => name)
    .filter(({ kind, node: of, interfaceName }) => kind === "HostEndpoint" && of === node && interfaceName === "*")
    .sort((a, b) => (a.name < b.name ? -1 : 1))[0];
}

/** Whether a packet to the host is let through before egress policy is asked. */
export function routerDecision({ protocol, icmp }: Packet): Decision | undefined {
  if (protocol !== ICMP6 || icmp === undefined || !ROUTER_ICMP6.has(icmp.type)) return undefined;
  const by: By = { kind: "router", icmpType: icmp.type };
  return { verdict: "allow", by, words: byWords(by, "egress") };
}

/** What becomes of what egress policy lets through to the host. `action`: what FelixConfiguration says; absent: nothing is known of it. */
export function actionDecision(action: EndpointToHostAction | undefined): Decision {
  const by: By = { kind: "endpoint-to-host", action: action ?? DEFAULT_ACTION };
  const rest = action === undefined ? " (the default; FelixConfiguration may say otherwise)" : "";
  return { verdict: by.action === "DROP" ? "deny" : "allow", by, words: `${byWords(by, "egress")}${rest}` };
}
