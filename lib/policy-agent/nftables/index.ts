/**
 * Programs made so by nftables: one table `calico` in each of the families ip and ip6.
 *
 * Data flow: a program's changes → what is wanted under the kernel's names (wants.ts, names.ts, render.ts) → compared with what the table
 * holds (diff.ts) → steps → one netlink transaction (operations.ts, expressions.ts, elements.ts, transaction.ts). The kernel is read by
 * dumps (kernel.ts), at the start, after an error, and when its events say that somebody else changed the table (events.ts).
 *
 * Rules go to the kernel as expressions and not through `nft`: with 2,000 chains and sets each start of `nft` costs 30-80 ms, and 500 ms where it
 * changes an element, because it reads what is there first. The text of a rule is rendered all the same: it is what the rule's hash covers, what errors
 * call it, and what the tests give to `nft` to compare its expressions with ours. `nft` need not be installed.
 *
 * Every rule carries `cali:<hash>` in its comment, by which a new process knows what it finds. Lists of ports are sets that rules share (names.ts).
 *
 * Gaps: members of one set of nets may not overlap (calc's promise). A saved mark takes the whole connection mark, as upstream's does. A negated
 * port set does not match a packet too short to have ports. No flow tables; those of the Go Calico are removed.
 */
import type { Dataplane } from "../rules/index.ts";
import { NftablesDataplane, type NftablesOptions } from "./dataplane.ts";

export type { NftablesOptions } from "./dataplane.ts";
export { findChains, listTables } from "./probe.ts";

/**
 * Opens the dataplane; it changes nothing before the first apply. Throws DataplaneError: DATAPLANE_TOOL_MISSING without nftables in
 * the kernel, DATAPLANE_REFUSED without CAP_NET_ADMIN.
 */
export async function openNftables(options: NftablesOptions): Promise<Dataplane> {
  return new NftablesDataplane(options);
}
