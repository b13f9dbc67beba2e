/** Which host endpoint holds for which interface of the host (felix/dataplane/linux/endpoint_mgr.go, resolveHostEndpoints). */

import { formatAddress, tryParseAddress } from "../../ip/index.ts";
import type { LocalHost } from "../calc/index.ts";
import { always, goto, RETURN, type RenderContext, rule } from "./context.ts";
import type { Dispatch, Rule, Table } from "./ir.ts";
import { ANY_INTERFACE, CHAIN, PREFIX } from "./names.ts";

/**
 * Interface → host endpoint; {@link ANY_INTERFACE} stands for all that are not named. One with an interface's name holds for it, whether or not it is
 * there yet; one without holds where one of its addresses is. Of several, the first by name wins.
 */
export function resolveHostEndpoints(
  hosts: Iterable<LocalHost>,
  addresses: ReadonlyMap<string, ReadonlySet<string>>,
): Map<string, LocalHost> {
  const resolved = new Map<string, LocalHost>();
  for (const host of [...hosts].sort((a, b) => (a.name < b.name ? -1 : 1))) {
    for (const name of interfacesOf(host, addresses)) if (!resolved.has(name)) resolved.set(name, host);
  }
  return resolved;
}

function interfacesOf(host: LocalHost, addresses: ReadonlyMap<string, ReadonlySet<string>>): string[] {
  if (host.interfaceName === "*") return [ANY_INTERFACE];
  if (host.interfaceName !== "") return [host.interfaceName];
  const expected = host.expectedIPs.map(canonicalAddress);
  return [...addresses].filter(([, has]) => expected.some((address) => has.has(address))).map(([name]) => name);
}

/** One text for one address; what is none stays as it is and equals nothing. */
export function canonicalAddress(text: string): string {
  const address = tryParseAddress(text);
  return address ? formatAddress(address) : text;
}

/** The dispatches that lead to host endpoints' chains, with the table of each. */
export function hostDispatches(
  context: RenderContext,
  resolved: ReadonlyMap<string, LocalHost>,
): { readonly table: Table; readonly dispatch: Dispatch }[] {
  const dispatch = (
    name: string,
    direction: "in" | "out",
    prefix: string,
    holds: (host: LocalHost) => boolean,
    beforeAny: readonly Rule[] = [],
  ): Dispatch => {
    const entries = new Map<string, string>();
    let otherwise: readonly Rule[] = [];
    for (const [name, host] of resolved) {
      if (!holds(host)) continue;
      const chain = context.endpointChain(prefix, name);
      if (name === ANY_INTERFACE) otherwise = [...beforeAny, always(goto(chain))];
      else entries.set(name, chain);
    }
    return { name, direction, entries, otherwise };
  };
  const all = () => true;
  const preDnat = (host: LocalHost) => host.preDnatTiers.length > 0;
  const untracked = (host: LocalHost) => hasUntracked(host) && host.interfaceName !== "*";
  // In the mangle table what goes to workloads comes by too; filter OUTPUT has let it pass before.
  const skipWorkloads = context.config.interfacePrefixes.map((prefix) =>
    rule(
      [{ is: "interface", direction: "out", name: `${prefix}*` }],
      RETURN,
      "Skip egress WHEP policy for traffic to local workload",
    ),
  );
  return [
    { table: "filter", dispatch: dispatch(CHAIN.fromHost, "in", PREFIX.fromHost, all) },
    { table: "filter", dispatch: dispatch(CHAIN.toHost, "out", PREFIX.toHost, all) },
    { table: "filter", dispatch: dispatch(CHAIN.fromHostForward, "in", PREFIX.fromHostForward, all) },
    { table: "filter", dispatch: dispatch(CHAIN.toHostForward, "out", PREFIX.toHostForward, all) },
    { table: "mangle", dispatch: dispatch(CHAIN.fromHost, "in", PREFIX.fromHost, preDnat) },
    { table: "mangle", dispatch: dispatch(CHAIN.toHost, "out", PREFIX.toHost, all, skipWorkloads) },
    { table: "raw", dispatch: dispatch(CHAIN.fromHost, "in", PREFIX.fromHost, untracked) },
    { table: "raw", dispatch: dispatch(CHAIN.toHost, "out", PREFIX.toHost, untracked) },
  ];
}

/** Untracked policy needs an interface: a host endpoint for `*` has none. */
export const hasUntracked = (host: LocalHost): boolean => host.untrackedTiers.length > 0;
