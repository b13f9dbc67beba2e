/**
 * Routes between BGP and the kernel's main table: what is learned goes in, what is local comes out. BIRD's protocols `kernel` (`learn`, `persist`,
 * `merge paths`, `graceful restart`), `direct` and the kernel side of `static`, as upstream's templates set them up.
 *
 * Data flow: {@link KernelTable.setLearned} notes what is wanted at a destination (`learned.ts`: numbers in arrays beside the prefixes of
 * `prefixes.ts`). Its next hops are resolved to gateways on links (`resolve.ts`, RFC 4271 5.1.3) over the others' routes (`others.ts`) and over
 * learned ones; each distinct result is a numbered path (`next-hops.ts`). What the kernel has of our protocol is a path and a metric too, so that the
 * difference is a comparison of numbers, and a changed resolution concerns a scan of one array. `programmer.ts` sends differences in batches and
 * slices, with back-off; `listing.ts` reads the table at the start, after lost events, by the slow check and, in part, when a link changed;
 * `table.ts` holds them together and takes the kernel's events, of which the kernel leaves out our own. `local.ts` tells BGP what others' routes are,
 * and `costs.ts` what next hops cost, for its choice between paths.
 *
 * Ours is what carries our protocol in the main table. A route of another is never replaced nor deleted, even where it is in the way: that is a
 * problem in words. What another deletes or changes of ours is set right, at once and then ever more slowly while it goes on.
 *
 * As BIRD does: a next hop that a blackhole leads to, or that is the node's own, is unreachable; a blackhole of a block is a route in the kernel.
 * Beyond BIRD: a next hop may be reached through another learned route, as long as it does not lead back (for the choice it counts as unreachable, so
 * that it is used where there is no other); a route of lower metric decides, as
 * in the kernel, rather than a preference.
 *
 * Known gaps: weights of others' multipath routes are not passed on to next hops that resolve through them; link-local BGP next hops are
 * unreachable, because nothing says on which link; kernel nexthop objects and tables other than main are not used; routes of others with a type of
 * service are ignored.
 */
import { MainTable, type OpenOptions } from "./table.ts";
import type { KernelTable } from "./types.ts";

export { hasRoutesOf } from "./inherited.ts";
export { describeProblems, type KernelProblem } from "./problems.ts";
export type { OpenOptions } from "./table.ts";
export type * from "./types.ts";

/**
 * Follows the main table from now on, and programs what it is told to. Resolves once the table is read and `onLocal` had its first call. Throws
 * NetlinkError or SysError when the kernel does not answer. Programming needs CAP_NET_ADMIN.
 */
export async function openKernelTable(options: OpenOptions): Promise<KernelTable> {
  const table = new MainTable(options);
  await table.open();
  return table;
}
