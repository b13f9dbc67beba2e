/** Reads the kernel's main table, or a part of it, datagram by datagram beside other work, and makes what is known agree with it. */
import type { Cidr } from "../../ip/index.ts";
import { type Netlink, NetlinkError, type RouteInfo, RT_TABLE, routes } from "../../netlink/index.ts";
import { PATH, type Paths } from "./next-hops.ts";
import { routeKey } from "./others.ts";
import type { Family } from "./programmer.ts";

/** What is listed; absent: whatever. */
export interface Part {
  readonly version?: 4 | 6;
  readonly index?: number;
  readonly protocol?: number;
}

/** How long other work waits, in milliseconds. */
const SLICE = 8;
/** How often a listing is repeated during which the table changed; after that what it did not show may still be there. */
const ATTEMPTS = 4;

export interface ListingOptions {
  readonly netlink: Netlink;
  readonly families: readonly Family[];
  readonly paths: Paths;
  readonly protocol: number;
  /** Another's route is there, is another, or is gone. */
  readonly onOther: (destination: Cidr) => void;
  readonly isClosed: () => boolean;
}

export class Lister {
  readonly #options: ListingOptions;
  /** Destinations of others' routes that events told of while a listing runs: it may be older than they are. */
  #touched: Set<string> | undefined;

  constructor(options: ListingOptions) {
    this.#options = options;
  }

  /** An event told of a route of another. */
  touch(destination: Cidr): void {
    this.#touched?.add(destinationKey(destination));
  }

  /** False: the table changed all the time, and what is gone is not known. */
  async list(part: Part): Promise<boolean> {
    let complete = true;
    for (const family of this.#options.families) {
      if (part.version === undefined || part.version === family.version) {
        if (!(await this.#listFamily(family, part))) complete = false;
      }
    }
    return complete;
  }

  async #listFamily(family: Family, part: Part): Promise<boolean> {
    const { isClosed } = this.#options;
    for (let attempt = 0; attempt < ATTEMPTS && !isClosed(); attempt++) {
      const seen = new Set<string>();
      this.#touched = new Set();
      family.own.beginListing();
      try {
        const consistent = await this.#read(family, part, seen);
        if (isClosed()) return false;
        if (consistent) {
          this.#forgetUnseen(family, part, seen, this.#touched);
          return true;
        }
      } finally {
        this.#touched = undefined;
      }
    }
    return false;
  }

  async #read(family: Family, part: Part, seen: Set<string>): Promise<boolean> {
    const { netlink, isClosed } = this.#options;
    const { version } = family;
    const pieces = netlink.pieces(routes({ ...part, version, table: RT_TABLE.MAIN }));
    try {
      for (let end = performance.now() + SLICE; ; ) {
        const { value, done } = pieces.next();
        if (done) return value as boolean;
        for (const route of value as RouteInfo[]) this.#take(family, route, seen);
        if (performance.now() < end) continue;
        await new Promise<void>((resolve) => void setImmediate(resolve));
        if (isClosed()) return false;
        end = performance.now() + SLICE;
      }
    } catch (error) {
      // A table without routes may not be there at all (ENOENT), and an interface may be gone by now (ENODEV).
      if (error instanceof NetlinkError && (error.code === "ENOENT" || error.code === "ENODEV")) return true;
      throw error;
    }
  }

  #take(family: Family, route: RouteInfo, seen: Set<string>): void {
    if (route.protocol === this.#options.protocol) {
      family.own.found(route, false);
      return;
    }
    const key = destinationKey(route.destination);
    if (this.#touched?.has(key)) return;
    seen.add(`${key} ${routeKey(route)}`);
    const { others } = family;
    if (others.add(route)) this.#options.onOther(route.destination);
  }

  #forgetUnseen(family: Family, part: Part, seen: ReadonlySet<string>, touched: ReadonlySet<string>): void {
    const { paths, protocol, onOther } = this.#options;
    const { index } = part;
    if (part.protocol === undefined || part.protocol === protocol) {
      family.own.endListing(
        (path) => index === undefined || (path > PATH.FOREIGN && paths.hops(path).some((hop) => hop.index === index)),
      );
    }
    const gone: RouteInfo[] = [];
    for (const route of family.others.all()) {
      if (!isPart(route, part)) continue;
      const key = destinationKey(route.destination);
      if (!touched.has(key) && !seen.has(`${key} ${routeKey(route)}`)) gone.push(route);
    }
    for (const route of gone) {
      family.others.remove(route.destination, (other) => other === route);
      onOther(route.destination);
    }
  }
}

function isPart(route: RouteInfo, { index, protocol }: Part): boolean {
  if (protocol !== undefined && route.protocol !== protocol) return false;
  if (index === undefined || route.index === index) return true;
  return route.nextHops?.some((hop) => hop.index === index) ?? false;
}

export function destinationKey({ version, base, length }: Cidr): string {
  return `${version}/${length}/${base.toString(36)}`;
}
