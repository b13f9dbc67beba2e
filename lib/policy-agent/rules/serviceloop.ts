/**
 * ServiceLoopPrevention: a packet to an address of a Service that kube-proxy did not translate has nowhere to go. Where the addresses are announced
 * to routers, it would come back again and again.
 */
import { isVersion, type RenderContext, rule } from "./context.ts";
import type { Action, Chain, IpVersion } from "./ir.ts";
import { CHAIN } from "./names.ts";

export function cidrBlockChain(context: RenderContext, version: IpVersion, cidrs: readonly string[]): Chain {
  const { serviceLoopPrevention } = context.config;
  const action: Action = serviceLoopPrevention === "Reject" ? { do: "reject", with: "icmp" } : { do: "drop" };
  const blocked = serviceLoopPrevention === "Disabled" ? [] : [...new Set(cidrs)].sort();
  return {
    name: CHAIN.cidrBlock,
    rules: blocked
      .filter((cidr) => isVersion(cidr, version))
      .map((net) => rule([{ is: "net", side: "destination", net }], action)),
  };
}
