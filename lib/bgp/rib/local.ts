/** Routes of the node itself: paths like those of peers, with what only local ones have beside them. */
import type { Address } from "../../ip/index.ts";
import type { Family, PathAttributes } from "../wire/index.ts";
import type { AdjRibIn } from "./adj-rib-in.ts";
import { LOCAL_PREFERENCE, LOCAL_SOURCES, type Tally } from "./peers.ts";
import type { LocalRoute, Prefix } from "./types.ts";

export class LocalRoutes {
  readonly #family: Family;
  readonly #in: AdjRibIn;
  /** By path. */
  readonly #routes = new Map<number, LocalRoute>();
  /** By source; nobody asks for them. */
  readonly #tallies: readonly Tally[] = LOCAL_SOURCES.map(() => ({ received: 0, accepted: 0, best: 0 }));

  constructor(family: Family, adjRibIn: AdjRibIn) {
    this.#family = family;
    this.#in = adjRibIn;
  }

  /** The one of that path. */
  at(path: number): LocalRoute | undefined {
    return this.#routes.get(path);
  }

  /** The one of that prefix and source; undefined: none any more. */
  set({ length, words }: Prefix, source: LocalRoute["source"], route: LocalRoute | undefined): void {
    const { attributes, prefixes } = this.#in;
    const index = LOCAL_SOURCES.indexOf(source);
    const tally = this.#tallies[index]!;
    const [w0, w1, w2, w3] = [words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0];
    if (!route) {
      const id = prefixes.find(length, w0, w1, w2, w3);
      const row = id < 0 ? -1 : this.#in.find(id, index, 0);
      if (row < 0) return;
      this.#routes.delete(row);
      this.#in.remove(row, tally);
      return;
    }
    const set = attributes.made(localAttributes(this.#family, route.nextHop), LOCAL_PREFERENCE[source]);
    const id = this.#in.intern(length, w0, w1, w2, w3);
    let row = this.#in.find(id, index, 0);
    if (row < 0) row = this.#in.add(id, index, 0, set.id, set.id, tally);
    else {
      this.#in.receive(row, set.id);
      this.#in.accept(row, set.id, tally);
    }
    this.#routes.set(row, route);
    // Also where the attributes are as before: policies ask for interface and metric.
    this.#in.queue(id);
  }
}

/** Of no route at all. */
export const NO_ATTRIBUTES: PathAttributes = {
  origin: 0,
  asPath: [],
  nextHop: { version: 4, value: 0n },
  atomicAggregate: false,
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  clusterList: [],
  unknown: [],
};

/** As BIRD makes them: ORIGIN IGP, an empty path. The next hop is unspecified where the node is where it ends. */
const localAttributes = (family: Family, nextHop: Address | undefined): PathAttributes => ({
  ...NO_ATTRIBUTES,
  nextHop: nextHop ?? { version: family, value: 0n },
});
