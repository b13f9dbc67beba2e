/** What BGP was told of the others' routes, so that it is told of differences only. */
import { type Cidr, formatCidr } from "../../ip/index.ts";
import { destinationKey } from "./listing.ts";
import type { NodeLinks } from "./node.ts";
import { connectedRoutes, learnable, sameKernelRoute } from "./others.ts";
import type { Family } from "./programmer.ts";
import type { KernelRoute, LocalChange } from "./types.ts";

export class LocalRoutes {
  readonly #families: readonly Family[];
  readonly #links: NodeLinks;
  readonly #told = new Map<string, KernelRoute>();
  #connected = new Map<string, KernelRoute>();
  readonly #changed = new Map<string, Cidr>();
  #linksChanged = true;
  /** Made when asked for. */
  #now: Map<string, KernelRoute> | undefined;

  constructor(families: readonly Family[], links: NodeLinks) {
    this.#families = families;
    this.#links = links;
  }

  get pending(): boolean {
    return this.#linksChanged || this.#changed.size > 0;
  }

  routeChanged(destination: Cidr): void {
    this.#changed.set(destinationKey(destination), destination);
  }

  /** Links or their addresses are others; `named`: their names too, or whether they are up. */
  linksChanged(named: boolean): void {
    this.#linksChanged = true;
    this.#now = undefined;
    if (!named) return;
    for (const { others } of this.#families) for (const route of others.all()) this.routeChanged(route.destination);
  }

  #connectedNow(): Map<string, KernelRoute> {
    this.#now ??= connectedRoutes(this.#links.links, this.#links.addresses);
    return this.#now;
  }

  /** Whether it is a network of an interface of the node, by its addresses. */
  isConnected(destination: Cidr): boolean {
    return this.#connectedNow().has(formatCidr(destination));
  }

  /** What changed since it was called last, the connected ones first. */
  take(): LocalChange[] {
    const changes: LocalChange[] = [];
    if (this.#linksChanged) {
      this.#linksChanged = false;
      const now = this.#connectedNow();
      for (const [key, route] of now) add(changes, route.destination, this.#connected.get(key), route);
      for (const [key, was] of this.#connected) if (!now.has(key)) add(changes, was.destination, was, undefined);
      this.#connected = now;
    }
    for (const [key, destination] of this.#changed) {
      const { others } = this.#families.find(({ version }) => version === destination.version)!;
      const now = learnable(others.at(destination), (index) => this.#links.nameOf(index));
      add(changes, destination, this.#told.get(key), now);
      if (now) this.#told.set(key, now);
      else this.#told.delete(key);
    }
    this.#changed.clear();
    return changes;
  }
}

function add(
  changes: LocalChange[],
  destination: Cidr,
  was: KernelRoute | undefined,
  now: KernelRoute | undefined,
): void {
  if (sameKernelRoute(was, now)) return;
  changes.push({ destination, ...(was && { was }), ...(now && { now }) });
}
