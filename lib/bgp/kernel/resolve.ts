/**
 * From a BGP next hop to gateways on the node's links, as BIRD's `gateway recursive` does (RFC 4271, 5.1.3 and 9.1.2.1). Pure.
 *
 * Which routes may lead there is asked of a {@link Graph}; learned ones may, and the search goes on from their own next hops. The answer is
 * everything that can be reached so, whatever the order: a loop adds nothing, and when there is nothing else, the next hop is unreachable.
 */
import { type Address, compareAddresses, formatAddress, isLinkLocal } from "../../ip/index.ts";

/** A way out as the kernel takes it. */
export interface Hop {
  /** Absent only in what others programmed. */
  readonly gateway?: Address;
  readonly index: number;
  readonly onlink?: boolean;
}

/** The route that packets to an address take. */
export type Step =
  /** By an interface without a gateway: the address itself is the gateway. `onlink`: the kernel has to be told so. */
  | { readonly kind: "link"; readonly index: number; readonly onlink?: boolean }
  | { readonly kind: "gateways"; readonly hops: readonly Hop[] }
  /** A learned route. */
  | { readonly kind: "recursive"; readonly nextHops: readonly Address[] }
  /** A blackhole and the like; `name`: in words. */
  | { readonly kind: "end"; readonly name: string }
  | undefined;

export interface Graph {
  /** Whether it is an address of the node itself. */
  isOwn(address: Address): boolean;
  lookup(address: Address): Step;
}

export interface Resolution {
  /** In a fixed order, none twice. */
  readonly hops: readonly Hop[];
  /** Why there are none: "no route to it". */
  readonly problem?: string;
}

export function resolveNextHop(nextHop: Address, graph: Graph): Resolution {
  const hops = new Map<string, Hop>();
  const queue: Address[] = [nextHop];
  const seen = new Set([formatAddress(nextHop)]);
  let problem: string | undefined;
  for (let i = 0; i < queue.length; i++) {
    const address = queue[i]!;
    const fail = (reason: string): void => {
      problem ??= i === 0 ? reason : `its route leads through ${formatAddress(address)}: ${reason}`;
    };
    if (graph.isOwn(address)) {
      fail("it is an address of this node");
      continue;
    }
    if (isLinkLocal(address)) {
      fail("it is link-local, and BGP does not say on which link");
      continue;
    }
    const step = graph.lookup(address);
    if (step === undefined) {
      fail("no route to it");
    } else if (step.kind === "link") {
      add(hops, { gateway: address, index: step.index, ...(step.onlink && { onlink: true }) });
    } else if (step.kind === "gateways") {
      for (const hop of step.hops) add(hops, hop.gateway ? hop : { ...hop, gateway: address });
    } else if (step.kind === "end") {
      fail(`the route to it is ${step.name}`);
    } else {
      for (const next of step.nextHops) {
        const text = formatAddress(next);
        if (seen.has(text)) continue;
        seen.add(text);
        queue.push(next);
      }
    }
  }
  if (hops.size > 0) return { hops: [...hops.values()].sort(compareHops) };
  return { hops: [], problem: problem ?? "the routes to it lead back to it" };
}

function add(hops: Map<string, Hop>, { gateway, index, onlink }: Hop): void {
  const hop: Hop = { ...(gateway && { gateway }), index, ...(onlink && { onlink }) };
  hops.set(hopKey(hop), hop);
}

export function hopKey({ gateway, index, onlink }: Hop): string {
  return `${gateway ? gateway.value.toString(36) : ""}${gateway?.version === 6 ? ":" : ""}%${index}${onlink ? "!" : ""}`;
}

export function compareHops(a: Hop, b: Hop): number {
  if (a.gateway && b.gateway) {
    const order = compareAddresses(a.gateway, b.gateway);
    if (order !== 0) return order;
  } else if (a.gateway || b.gateway) {
    return a.gateway ? 1 : -1;
  }
  return a.index - b.index || Number(a.onlink ?? false) - Number(b.onlink ?? false);
}
