/**
 * The filters of a node's BGP for our own speaker: the same {@link NodeBgp} that `../bird` renders, compiled to policies over numbers. What BIRD 2
 * would do with the rendered text, these do; a differential test feeds both with the same routes.
 *
 * A model becomes a *ground* per family once (blocks, pools, services and communities as index tables over words; kept by the model's identity),
 * a peer adds its BGPFilters to it. Attributes are never changed in place: what a filter does to them is remembered per attributes object, so equal
 * input is the very same output object, and whoever interns attributes meets few objects. Export of a prefix allocates nothing.
 *
 * BIRD's meaning, where it surprises:
 * - Prefix sets (`minLength`, `maxLength`) compare with `in` and `notIn`; a prefix never *equals* a set, so `equal` with lengths never matches and
 *   `notEqual` always does. A range without lengths in it is an empty set.
 * - `ifname` is the empty string where a route has no interface, and is always defined: the pattern `*` matches it.
 * - In patterns `*` looks for the literal character behind it: `*?` and `**x` match only names that have `?` or `*` in them.
 * - LOCAL_PREF counts as 100 where it is absent, in import and export; differences to 2147483647 are of 32 bits without sign.
 * - A BGPFilter that accepts ends the filter: what stands behind it (elevated preference on import; disabled pools, tunnel routes, communities and
 *   aggregation on export) does not happen.
 *
 * Known gaps: a learned route has the interface that its caller says, or none (BIRD resolves its next hop first and has that interface). In BIRD 1.6 an eBGP peer's export
 * filter sees its own AS already in front of the path; here, as in BIRD 2, it is put in front afterwards. Routes to IPIP pools that need a tunnel are
 * never programmed by BGP, whatever programClusterRoutes says: only upstream's fork of BIRD can do that.
 */

export { type KernelPolicy, type KernelVerdict, kernelPolicy } from "./kernel.ts";
export { type StaticOrigin, staticRoutes } from "./origins.ts";
export { matchesPattern } from "./pattern.ts";
export { exportPolicy, importPolicy } from "./peer.ts";
