import type { Allocation, Pod } from "./facts.ts";

/**
 * Whether an allocation may be collected. What is not known to be unused is used: an address that stays allocated for too long costs an address, one
 * that is released too early breaks two pods.
 */
export type Verdict =
  | "used"
  /** Its pod is gone, or has other addresses, or is on another node. */
  | "unused";

/**
 * Of an allocation whose `use` is `pod`, by the pod of that name as it is now; undefined: there is none. `node` is Kubernetes' name of the
 * node the allocation was made on; undefined: not known.
 */
export function judgePod(allocation: Allocation, pod: Pod | undefined, node: string | undefined): Verdict {
  if (!pod) return "unused";
  if (pod.finished) return "unused";
  if (pod.unclear || pod.addresses.includes(allocation.address)) return "used";
  // Another pod of that name, which will get addresses of its own, as StatefulSets make them; or one whose node tells of it later.
  if (pod.node === "") return "used";
  if (node !== undefined && pod.node !== node) return "unused";
  return pod.reported ? "unused" : "used";
}

/**
 * Of those that are unused, the ones whose handle holds nothing that is used: what a pod holds is released as a whole or not at all, as a pod
 * that uses one of its addresses is not gone.
 */
export function wholeHandles(
  unused: readonly Allocation[],
  ofHandle: (handle: string) => Iterable<Allocation>,
): Allocation[] {
  const ids = new Set(unused.map(({ id }) => id));
  const whole = new Map<string, boolean>();
  return unused.filter(({ handle }) => {
    if (handle === undefined) return true;
    let all = whole.get(handle);
    if (all === undefined) {
      all = true;
      for (const { id } of ofHandle(handle)) if (!ids.has(id)) all = false;
      whole.set(handle, all);
    }
    return all;
  });
}

/** Since when something has looked superfluous, and how often it was seen so: two observations, a grace period apart. */
export class Observations {
  readonly #seen = new Map<string, { readonly since: number; times: number }>();

  /** Notes that it looks so now. True: it did before, and the grace period lies between. */
  note(id: string, now: number, grace: number): boolean {
    const known = this.#seen.get(id);
    if (!known) {
      this.#seen.set(id, { since: now, times: 1 });
      return false;
    }
    known.times++;
    return now - known.since >= grace;
  }

  /** It does not look so (any more). */
  clear(id: string): void {
    this.#seen.delete(id);
  }

  /** Forgets all but these: the rest is gone. */
  keep(ids: ReadonlySet<string>): void {
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id);
  }

  has(id: string): boolean {
    return this.#seen.has(id);
  }

  get size(): number {
    return this.#seen.size;
  }

  /** When the first one was seen; undefined: there is none. */
  get oldest(): number | undefined {
    let oldest: number | undefined;
    for (const { since } of this.#seen.values()) oldest = Math.min(oldest ?? since, since);
    return oldest;
  }
}

/**
 * Which empty blocks can be given back: of each node and address family all but one, and none while the node has no block that is in use or that is
 * younger. The one that stays is the first by CIDR.
 */
export function superfluousBlocks(
  blocks: Iterable<{ readonly cidr: string; readonly host: string; readonly empty: boolean }>,
): string[] {
  const groups = new Map<string, { cidr: string; empty: boolean }[]>();
  for (const { cidr, host, empty } of blocks) {
    const key = `${host} ${cidr.includes(":") ? 6 : 4}`;
    const group = groups.get(key);
    if (group) group.push({ cidr, empty });
    else groups.set(key, [{ cidr, empty }]);
  }
  const superfluous: string[] = [];
  for (const group of groups.values()) {
    const empty = group
      .filter((one) => one.empty)
      .map(({ cidr }) => cidr)
      .sort();
    superfluous.push(...(empty.length === group.length ? empty.slice(1) : empty));
  }
  return superfluous;
}
