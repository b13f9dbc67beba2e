/**
 * Calico's rules through iptables-restore and ipset: a Dataplane (../rules/dataplane.ts) over both of iptables' back ends.
 *
 * Data flow: a program's changes → `intake.ts` renders them: `render.ts` (the text of a rule), `dispatch.ts` (trees of chains by prefixes of
 * interface names), `hash.ts` (every rule carries a comment `cali:<16 characters>`, a hash over the chain's name and all rules up to it) →
 * `table.ts` compares the hashes with those that `read.ts` finds in iptables-save and says what differs → `family.ts` sends that with one
 * iptables-restore an IP version (`run.ts`), and when it is refused finds the chain that is to blame. `members.ts` and `sets.ts` do the same for
 * IP sets and `ipset restore`; a rule that a set cannot be relied on for is closed (rules/). `events.ts` notices what others change; `dataplane.ts`
 * puts it all together; `detect.ts` chooses the back end, `remove.ts` clears away what one left.
 *
 * A round: sets are made and filled, then each IP version's tables change (each table at once, those that deny more first), then
 * sets that nothing refers to any more are destroyed. What the kernel refuses is put aside: a chain keeps what it last had, and one that never was
 * there denies (DROP; in the nat table, which must not filter, it is empty). A set that is full keeps what fits, and rules that would let through
 * what is missing deny instead.
 *
 * Known gaps: a change that touches several tables is atomic in each only; where sets and rules change in one round, the sets are there first, and the
 * rules of before meet them for as long as iptables-restore takes (nftables has no such gap). A rule that somebody else edits and gives the very comment that
 * it had is not noticed. Of two edits to a set that leave its size as it was, only a comparison as a whole (`recheck`) knows. While a set of named ports is full, a rule that denies
 * by it and by other ports (through mark bits) may miss what did not fit.
 */

export { openIptables } from "./dataplane.ts";
export { type BackendChoice, type DetectOptions, detectBackend, KUBERNETES_CHAINS, legacyChains } from "./detect.ts";
export { type Backend, DEFAULTS, type IptablesOptions } from "./options.ts";
export { type RemoveOptions, removeIptables } from "./remove.ts";
