/**
 * Calico's rules through iptables-restore and ipset: a Dataplane (../rules/dataplane.ts) over both of iptables' back ends.
 *
 * Data flow: a program's chains → `render.ts` (the text of a rule) and `dispatch.ts` (trees of chains by prefixes of interface names) →
 * `hash.ts` (every rule carries a comment `cali:<16 characters>`, a hash over the chain's name and all rules up to it) → `table.ts`
 * compares those hashes with the ones that `read.ts` finds in iptables-save and says what differs → `restore.ts` sends that with one
 * iptables-restore an IP version, and when it is refused finds the chain that is to blame. `members.ts` and `sets.ts` do the same for IP sets and
 * `ipset restore`. `events.ts` notices what others change; `dataplane.ts` puts it all together; `detect.ts` chooses the back end.
 *
 * A round: sets are made and filled, then each IP version's tables change (each table at once, those that deny more first), then
 * sets that nothing refers to any more are destroyed. What the kernel refuses is put aside: a chain keeps what it last had, and one that never was
 * there denies (DROP; in the nat table, which must not filter, it is empty).
 *
 * Known gaps: a change that touches several tables is atomic in each only. A rule that somebody else edits and gives the very comment that
 * it had is not noticed. Of two edits to a set that leave its size as it was, only a comparison as a whole (`recheck`) knows.
 */

export { openIptables } from "./dataplane.ts";
export { type BackendChoice, type DetectOptions, detectBackend } from "./detect.ts";
export { type Backend, DEFAULTS, type IptablesOptions } from "./options.ts";
export { type RemoveOptions, removeIptables } from "./remove.ts";
