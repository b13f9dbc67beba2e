/** For tests: the same tables from scratch at every question, with plain objects, and peers that keep what they are sent. Never imported by the product. */
import { type Address, compareAddresses } from "../../ip/index.ts";
import {
  decodeRouteRefresh,
  decodeUpdate,
  eachPrefix,
  encodeAttributes,
  type Family,
  HEADER_LENGTH,
  MESSAGE,
  type Negotiated,
  type Nlri,
  type PathAttributes,
  type Update,
  UpdateWriter,
} from "../wire/index.ts";
import { attributesText } from "./attributes.ts";
import type { Best, LocalRoute, Policy, Prefix, RibPeer } from "./types.ts";

export function prefixText({ family, length, words }: Prefix): string {
  return `${family}:${words.slice(0, family === 4 ? 1 : 4).join(".")}/${length}`;
}

/** Of attributes as they travel. */
export function sentText(attributes: PathAttributes): string {
  return attributesText(attributes, 0);
}

/** What `Rib.update` takes, by way of the wire. */
export function updatesOf(
  session: Pick<RibPeer, "negotiated" | "type">,
  family: Family,
  parts: {
    readonly reach?: readonly (readonly [prefix: Prefix, pathId?: number])[];
    readonly attributes?: PathAttributes;
    readonly withdraw?: readonly (readonly [prefix: Prefix, pathId?: number])[];
  },
): readonly Update[] {
  const { negotiated } = session;
  // What it sends is what the other receives.
  const theirs: Negotiated = { ...negotiated, addPathSend: negotiated.addPathReceive };
  const updates: Update[] = [];
  const writer = new UpdateWriter(theirs, (message) =>
    updates.push(...decodeUpdate(message.subarray(HEADER_LENGTH), negotiated, { peer: session.type })),
  );
  const add = ([{ length, words }, pathId]: readonly [prefix: Prefix, pathId?: number]) =>
    writer.add(length, words[0] | 0, words[1] | 0, words[2] | 0, words[3] | 0, pathId ?? 0);
  if (parts.withdraw?.length) {
    writer.withdraw(family);
    parts.withdraw.forEach(add);
  }
  if (parts.reach?.length) {
    writer.reach(encodeAttributes(parts.attributes!, theirs, { family }));
    parts.reach.forEach(add);
  }
  writer.flush();
  return updates;
}

/** The other end of a session: what it has been sent, and how much room it has. */
export class Receiver {
  /** By prefix text: attributes as text. */
  readonly view = new Map<string, string>();
  readonly attributes = new Map<string, PathAttributes>();
  /** In order: `+prefix`, `-prefix`, `end 4`, `begin 4 again`, `end 4 again`. */
  readonly events: string[] = [];
  /** Messages that changed nothing for a prefix they name. */
  redundant = 0;
  messages = 0;
  /** So many messages are taken until somebody makes room. */
  room = Number.POSITIVE_INFINITY;
  readonly #negotiated: Negotiated;

  constructor(negotiated: Negotiated) {
    // What is sent to it is what it receives.
    this.#negotiated = { ...negotiated, addPathReceive: negotiated.addPathSend };
  }

  readonly send = (message: Uint8Array): boolean => {
    if (this.room <= 0) throw new Error("sent to somebody who had no room");
    this.messages++;
    this.room--;
    if (message[18] === MESSAGE.ROUTE_REFRESH) {
      const { kind, family } = decodeRouteRefresh(message.subarray(HEADER_LENGTH))!;
      this.events.push(`${kind} ${family} again`);
    } else {
      // As from iBGP: nothing is taken away that should not have been sent.
      for (const update of decodeUpdate(message.subarray(HEADER_LENGTH), this.#negotiated, { peer: "ibgp" }))
        this.#apply(update);
    }
    return this.room > 0;
  };

  #apply(update: Update): void {
    if (update.endOfRib) this.events.push(`end ${update.endOfRib}`);
    for (const nlri of update.withdrawn) {
      each(nlri, (prefix) => {
        if (!this.view.delete(prefix)) this.redundant++;
        this.attributes.delete(prefix);
        this.events.push(`-${prefix}`);
      });
    }
    if (update.reached.length === 0) return;
    const attributes = update.attributes();
    const text = sentText(attributes);
    for (const nlri of update.reached) {
      each(nlri, (prefix) => {
        if (this.view.get(prefix) === text) this.redundant++;
        this.view.set(prefix, text);
        this.attributes.set(prefix, attributes);
        this.events.push(`+${prefix}`);
      });
    }
  }
}

function each(nlri: Nlri, visit: (prefix: string) => void): void {
  eachPrefix(nlri, (length, w0, w1, w2, w3) =>
    visit(prefixText({ family: nlri.family, length, words: [w0 >>> 0, w1 >>> 0, w2 >>> 0, w3 >>> 0] })),
  );
}

interface NaiveRoute {
  readonly prefix: Prefix;
  readonly pathId: number;
  readonly attributes: PathAttributes;
  restartStale: boolean;
  refreshStale: boolean;
}

interface NaivePeer {
  session: RibPeer;
  up: boolean;
  routes: NaiveRoute[];
}

interface NaivePath {
  readonly from: NaivePeer | LocalRoute["source"];
  readonly pathId: number;
  readonly attributes: PathAttributes;
  readonly preference: number;
  /** Infinite where nothing leads to the next hop. */
  readonly cost: number;
  readonly local?: LocalRoute;
}

const WELL_KNOWN = { NO_EXPORT: 0xffffff01, NO_ADVERTISE: 0xffffff02, NO_EXPORT_SUBCONFED: 0xffffff03 };

/** The oracle. Its rules are written down once more, from the RFCs, and share nothing with the tables but the types. */
export class NaiveRib {
  readonly peers = new Map<string, NaivePeer>();
  readonly locals: { readonly prefix: Prefix; readonly source: LocalRoute["source"]; readonly route: LocalRoute }[] =
    [];
  restarting = false;
  readonly #routerId: number;
  readonly #maxPaths: number;
  readonly #costOf: (nextHop: Address) => number;

  constructor(options: {
    readonly routerId: number;
    readonly maxPaths?: number;
    readonly costOf?: (nextHop: Address) => number;
  }) {
    this.#routerId = options.routerId;
    this.#maxPaths = options.maxPaths ?? 64;
    this.#costOf = options.costOf ?? (() => 0);
  }

  addPeer(session: RibPeer): void {
    const known = this.peers.get(session.name);
    const routes = (known?.routes ?? []).filter(({ prefix }) => session.negotiated.families.includes(prefix.family));
    this.peers.set(session.name, { session, up: true, routes });
  }

  removePeer(name: string, keep: readonly Family[]): void {
    const peer = this.peers.get(name)!;
    peer.up = false;
    peer.routes = peer.routes.filter(({ prefix }) => keep.includes(prefix.family));
    for (const route of peer.routes) route.restartStale = true;
  }

  reach(name: string, prefix: Prefix, pathId: number, attributes: PathAttributes): void {
    this.withdraw(name, prefix, pathId);
    this.peers.get(name)!.routes.push({ prefix, pathId, attributes, restartStale: false, refreshStale: false });
  }

  withdraw(name: string, prefix: Prefix, pathId: number): void {
    const peer = this.peers.get(name)!;
    peer.routes = peer.routes.filter((r) => r.pathId !== pathId || prefixText(r.prefix) !== prefixText(prefix));
  }

  endOfRib(name: string, family: Family): void {
    this.#sweep(name, (route) => route.prefix.family === family && route.restartStale);
  }

  refreshBegins(name: string, family: Family): void {
    for (const route of this.peers.get(name)!.routes) if (route.prefix.family === family) route.refreshStale = true;
  }

  refreshEnds(name: string, family: Family): void {
    this.#sweep(name, (r) => r.prefix.family === family && (r.refreshStale || r.restartStale));
  }

  dropStale(name: string): void {
    this.#sweep(name, (route) => route.restartStale);
  }

  #sweep(name: string, stale: (route: NaiveRoute) => boolean): void {
    const peer = this.peers.get(name);
    if (peer) peer.routes = peer.routes.filter((route) => !stale(route));
  }

  setLocal(prefix: Prefix, source: LocalRoute["source"], route: LocalRoute | undefined): void {
    const at = this.locals.findIndex((l) => l.source === source && prefixText(l.prefix) === prefixText(prefix));
    if (at >= 0) this.locals.splice(at, 1);
    if (route) this.locals.push({ prefix, source, route });
  }

  /** What a peer has been sent when all is settled: attributes as text, by prefix text. */
  view(name: string): Map<string, string> {
    const peer = this.peers.get(name)!;
    const view = new Map<string, string>();
    for (const prefix of this.#prefixes()) {
      if (!peer.session.negotiated.families.includes(prefix.family)) continue;
      const best = this.#order(prefix)[0];
      const sent = best && this.#sent(prefix, best, peer);
      if (sent) view.set(prefixText(prefix), sentText(sent));
    }
    return view;
  }

  /** What `onBest` was told last, where it is something: names and attributes, by prefix text. */
  best(): Map<string, string> {
    const told = new Map<string, string>();
    for (const prefix of this.#prefixes()) {
      const order = this.#order(prefix);
      const first = order[0];
      if (!first || typeof first.from === "string") continue;
      const equal = order.filter((path) => typeof path.from !== "string" && sameUpToTies(path, first));
      // MED was judged between neighbours of an AS: whoever lost there is not as good.
      const good = equal.filter((path) => !order.some((other) => loses(path, other)));
      const hops = new Set<string>();
      const paths: string[] = [];
      for (const { from, attributes, preference } of good) {
        const hop = `${attributes.nextHop.version} ${attributes.nextHop.value}`;
        if (hops.has(hop) || paths.length === this.#maxPaths) continue;
        hops.add(hop);
        paths.push(`${(from as NaivePeer).session.name} ${attributesText(attributes, preference)}`);
      }
      told.set(prefixText(prefix), paths.join("\n"));
    }
    return told;
  }

  #prefixes(): Prefix[] {
    const all = new Map<string, Prefix>();
    for (const { prefix } of this.locals) all.set(prefixText(prefix), prefix);
    for (const { routes } of this.peers.values()) for (const { prefix } of routes) all.set(prefixText(prefix), prefix);
    return [...all.values()];
  }

  /** Every path that may be chosen, the best first. */
  #order(prefix: Prefix): NaivePath[] {
    const text = prefixText(prefix);
    const left: NaivePath[] = [];
    for (const local of this.locals) if (prefixText(local.prefix) === text) left.push(localPath(local));
    for (const peer of this.restarting ? [] : this.peers.values())
      for (const route of peer.routes) {
        if (prefixText(route.prefix) !== text) continue;
        const path = this.#import(peer, route);
        if (path) left.push(path);
      }
    // One after the other: of each neighbouring AS its best goes to a final that does not look at MED.
    const order: NaivePath[] = [];
    while (left.length > 0) {
      const leaders = left.filter((path) => left.every((other) => other === path || !beats(other, path, true)));
      const best = leaders.sort((a, b) => (beats(a, b, false) ? -1 : 1))[0]!;
      order.push(best);
      left.splice(left.indexOf(best), 1);
    }
    return order;
  }

  #import(peer: NaivePeer, { prefix, pathId, attributes }: NaiveRoute): NaivePath | undefined {
    const { session } = peer;
    const own = attributes.asPath.flatMap(({ asns }) => asns).filter((asn) => asn === session.localAsn).length;
    if (own > session.allowedOwnAsns) return undefined;
    for (const address of Object.values(session.localAddress))
      if (address.version === attributes.nextHop.version && address.value === attributes.nextHop.value)
        return undefined;
    let seen = attributes;
    if (session.type === "ibgp") {
      if (attributes.originatorId === this.#routerId) return undefined;
      if (session.reflectorClient !== undefined && attributes.clusterList.includes(session.reflectorClient))
        return undefined;
    } else {
      const { localPref: _l, originatorId: _o, ...rest } = attributes;
      seen = { ...rest, clusterList: [] };
    }
    const verdict = session.importPolicy.decide({ prefix, source: "bgp", attributes: seen });
    if (!verdict) return undefined;
    const cost = this.#costOf(verdict.attributes.nextHop);
    return { from: peer, pathId, attributes: verdict.attributes, preference: verdict.preference ?? 100, cost };
  }

  #sent(prefix: Prefix, path: NaivePath, to: NaivePeer): PathAttributes | undefined {
    const { from } = path;
    if (from === to) return undefined;
    const learned = typeof from === "string" ? undefined : from.session;
    const { session } = to;
    const has = (community: number) => path.attributes.communities.includes(community);
    if (has(WELL_KNOWN.NO_ADVERTISE)) return undefined;
    if (session.type === "ebgp" && (has(WELL_KNOWN.NO_EXPORT) || has(WELL_KNOWN.NO_EXPORT_SUBCONFED))) return undefined;
    const reflect = learned?.type === "ibgp" && session.type === "ibgp";
    if (reflect && learned.reflectorClient === undefined && session.reflectorClient === undefined) return undefined;
    const verdict = session.exportPolicy.decide({
      prefix,
      source: typeof from === "string" ? from : "bgp",
      attributes: path.attributes,
      ...(path.local?.interface !== undefined && { interface: path.local.interface }),
      ...(path.local?.metric !== undefined && { metric: path.local.metric }),
    });
    if (!verdict) return undefined;
    const { attributes } = verdict;
    const self = session.localAddress[prefix.family];
    const usable = attributes.nextHop.version === prefix.family && attributes.nextHop.value !== 0n;
    const keeps = session.nextHop === "keep" || (session.nextHop === "auto" && session.type === "ibgp");
    const nextHop = keeps && usable ? attributes.nextHop : self;
    if (!nextHop) return undefined;
    const sent: { -readonly [K in keyof PathAttributes]: PathAttributes[K] } = { ...attributes, nextHop };
    delete sent.linkLocalNextHop;
    if (session.type === "ebgp") {
      delete sent.med;
      delete sent.localPref;
      delete sent.originatorId;
      sent.clusterList = [];
      const [first, ...rest] = attributes.asPath;
      sent.asPath =
        first?.type === "sequence"
          ? [{ type: "sequence", asns: [session.localAsn, ...first.asns] }, ...rest]
          : [{ type: "sequence", asns: [session.localAsn] }, ...attributes.asPath];
      return sent;
    }
    sent.localPref ??= 100;
    if (reflect) {
      sent.originatorId ??= learned.routerId;
      const clusters = new Set<number>();
      if (learned.reflectorClient !== undefined && learned.reflectorClient !== session.reflectorClient)
        clusters.add(learned.reflectorClient);
      if (session.reflectorClient !== undefined) clusters.add(session.reflectorClient);
      sent.clusterList = [...clusters, ...attributes.clusterList];
    }
    return sent;
  }
}

function localPath({ source, prefix, route }: NaiveRib["locals"][number]): NaivePath {
  return {
    from: source,
    pathId: 0,
    preference: { static: 200, device: 240, kernel: 10 }[source],
    local: route,
    cost: 0,
    attributes: {
      origin: 0,
      asPath: [],
      nextHop: route.nextHop ?? { version: prefix.family, value: 0n },
      atomicAggregate: false,
      communities: [],
      largeCommunities: [],
      extendedCommunities: [],
      clusterList: [],
      unknown: [],
    },
  };
}

/** Higher is better, up to MED. */
function merit({ from, attributes, preference, cost }: NaivePath): number[] {
  let length = 0;
  for (const { type, asns } of attributes.asPath) length += type === "sequence" ? asns.length : type === "set" ? 1 : 0;
  const [local, reached] = [typeof from === "string" ? 1 : 0, Number.isFinite(cost) ? 1 : 0];
  return [preference, local, reached, attributes.localPref ?? 100, -length, -attributes.origin];
}

function neighbour({ attributes }: NaivePath): number {
  const first = attributes.asPath[0];
  return first?.type === "sequence" ? first.asns[0]! : 0;
}

function external({ from }: NaivePath): number {
  return typeof from !== "string" && from.session.type === "ibgp" ? 0 : 1;
}

function loses(path: NaivePath, other: NaivePath): boolean {
  return (
    merit(path).join() === merit(other).join() &&
    neighbour(path) === neighbour(other) &&
    (path.attributes.med ?? 0) > (other.attributes.med ?? 0)
  );
}

function sameUpToTies(a: NaivePath, b: NaivePath): boolean {
  return merit(a).join() === merit(b).join() && external(a) === external(b) && a.cost === b.cost;
}

/** `withinAs`: as between paths of one neighbouring AS; paths of two do not compare then. */
function beats(a: NaivePath, b: NaivePath, withinAs: boolean): boolean {
  const [mine, theirs] = [merit(a), merit(b)];
  for (const [at, value] of mine.entries()) if (value !== theirs[at]) return value > theirs[at]!;
  if (withinAs) {
    if (neighbour(a) !== neighbour(b)) return false;
    const difference = (a.attributes.med ?? 0) - (b.attributes.med ?? 0);
    if (difference !== 0) return difference < 0;
  }
  if (external(a) !== external(b)) return external(a) > external(b);
  if (a.cost !== b.cost) return a.cost < b.cost;
  if (typeof a.from === "string" || typeof b.from === "string") return false;
  const originator = (p: NaivePath) => p.attributes.originatorId ?? (p.from as NaivePeer).session.routerId;
  if (originator(a) !== originator(b)) return originator(a) < originator(b);
  const clusters = a.attributes.clusterList.length - b.attributes.clusterList.length;
  if (clusters !== 0) return clusters < 0;
  const addresses = compareAddresses(a.from.session.address, b.from.session.address);
  if (addresses !== 0) return addresses < 0;
  return a.pathId < b.pathId;
}

/** What `onBest` has been told, as {@link NaiveRib.best} says it. */
export class Told {
  readonly paths = new Map<string, string>();
  readonly #name: (peer: number) => string;

  constructor(name: (peer: number) => string) {
    this.#name = name;
  }

  readonly onBest = (changes: readonly Best[]): void => {
    for (const { prefix, paths } of changes) {
      if (paths.length === 0) this.paths.delete(prefixText(prefix));
      else this.paths.set(prefixText(prefix), this.text(paths));
    }
  };

  text(paths: Best["paths"]): string {
    return paths
      .map(({ peer, attributes, preference }) => `${this.#name(peer)} ${attributesText(attributes, preference)}`)
      .join("\n");
  }
}

export const ACCEPT: Policy = { key: "accept", ignoresPrefix: true, decide: ({ attributes }) => ({ attributes }) };
