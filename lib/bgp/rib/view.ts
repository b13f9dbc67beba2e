/** Routes as policies see them, in objects that are used again: a policy is asked for every prefix of a table. */
import type { Family, PathAttributes } from "../wire/index.ts";
import type { AdjRibIn } from "./adj-rib-in.ts";
import { type LocalRoutes, NO_ATTRIBUTES } from "./local.ts";
import { FIRST_PEER, LOCAL_SOURCES } from "./peers.ts";
import type { Prefix, Route } from "./types.ts";

export class View {
  readonly #in: AdjRibIn;
  readonly #local: LocalRoutes;
  readonly #prefix: { family: Family; length: number; words: [number, number, number, number] };
  readonly #route: { -readonly [K in "source" | "attributes"]: Route[K] } & {
    prefix: Prefix;
    interface?: string;
    metric?: number;
  };

  constructor(family: Family, adjRibIn: AdjRibIn, local: LocalRoutes) {
    this.#in = adjRibIn;
    this.#local = local;
    this.#prefix = { family, length: 0, words: [0, 0, 0, 0] };
    this.#route = { prefix: this.#prefix, source: "bgp", attributes: NO_ATTRIBUTES };
  }

  prefix(id: number): Prefix {
    this.#in.prefixes.read(id, this.#prefix);
    return this.#prefix;
  }

  route(id: number, path: number, attributes: PathAttributes): Route {
    const route = this.#route;
    this.prefix(id);
    const source = this.#in.paths.peer[path]!;
    route.source = LOCAL_SOURCES[source] ?? "bgp";
    route.attributes = attributes;
    const local = source < FIRST_PEER ? this.#local.at(path) : undefined;
    if (local?.interface !== undefined) route.interface = local.interface;
    else delete route.interface;
    if (local?.metric !== undefined) route.metric = local.metric;
    else delete route.metric;
    return route;
  }
}
