/** Peers, and whose turn it is: the tables of both families, worked through in slices. */
import type { Family, Update } from "../wire/index.ts";
import { BestChanges } from "./best-changes.ts";
import { explain, routesOf } from "./explain.ts";
import { exportRules } from "./export.ts";
import { Feed } from "./feed.ts";
import { Group } from "./group.ts";
import { Importer, importRules } from "./import.ts";
import { NextHops } from "./next-hops.ts";
import { PATH } from "./paths.ts";
import { FIRST_PEER, Peer } from "./peers.ts";
import { Table } from "./table.ts";
import type {
  Best,
  Explained,
  LocalRoute,
  NextHopCost,
  PeerCounts,
  PeerId,
  PeerRoute,
  Policy,
  Prefix,
  Rib,
  RibOptions,
  RibPeer,
} from "./types.ts";

const FAMILIES: readonly Family[] = [4, 6];
/** Equally good paths that the kernel is told of (BIRD's `merge paths` has 16; the kernel takes 256). */
const MAX_PATHS = 64;
const SLICE_MS = 10;
/** Steps of deciding after which messages are made in any case: about as many prefixes as go into a batch. */
const FLUSHED_AFTER = 4;

/** An index that a peer had, to be used again when nothing in the tables refers to it any more. */
interface FreeIndex {
  readonly index: number;
  readonly after: Readonly<Record<Family, number>>;
}

export class Tables implements Rib {
  readonly #options: RibOptions;
  readonly #sliceMs: number;
  /** By index; undefined for the node's own sources and where nobody is. */
  readonly #peers: (Peer | undefined)[] = new Array<undefined>(FIRST_PEER).fill(undefined);
  readonly #byName = new Map<string, Peer>();
  readonly #free: FreeIndex[] = [];
  readonly #tables: Readonly<Record<Family, Table>>;
  readonly #importers: Readonly<Record<Family, Map<string, Importer>>> = { 4: new Map(), 6: new Map() };
  readonly #nextHops: NextHops | undefined;
  readonly #groups: Readonly<Record<Family, Map<string, Group>>> = { 4: new Map(), 6: new Map() };
  #restarting: boolean;
  /** Steps since the groups were flushed. */
  readonly #held: Record<Family, number> = { 4: 0, 6: 0 };
  readonly #changes: BestChanges;
  #scheduled = false;
  #closed = false;
  #waiting: (() => void)[] = [];

  constructor(options: RibOptions) {
    this.#options = options;
    this.#sliceMs = options.sliceMs ?? SLICE_MS;
    this.#restarting = options.restarting !== undefined && options.restarting !== false;
    this.#changes = new BestChanges(options.onBest);
    this.#nextHops = options.costs && new NextHops(options.costs);
    const table = (family: Family) =>
      new Table({
        family,
        maxPaths: options.maxPaths ?? MAX_PATHS,
        peers: this.#peers,
        onSwept: (peer) => this.#forget(peer),
        changes: this.#changes,
        nextHops: this.#nextHops,
      });
    this.#tables = { 4: table(4), 6: table(6) };
    for (const family of FAMILIES) this.#tables[family].loc.restarting = options.restarting === true;
  }

  addPeer(session: RibPeer): PeerId {
    let peer = this.#byName.get(session.name);
    if (peer?.up) this.removePeer(peer.index, []);
    // What is stale of it is kept by its record, which goes with the last of it.
    peer = this.#byName.get(session.name);
    let another = true;
    if (peer) {
      const { type, address, routerId } = peer.session;
      another = type !== session.type || address.value !== session.address.value || routerId !== session.routerId;
      peer.begin(session);
    } else {
      const index = this.#index();
      peer = new Peer(index, session);
      this.#peers[index] = peer;
      this.#byName.set(session.name, peer);
    }
    for (const family of FAMILIES) {
      if (!session.negotiated.families.includes(family)) {
        // A family that is spoken no more has nothing to wait for.
        this.#tables[family].upkeep.drop(peer, undefined);
        continue;
      }
      this.#setImporter(peer, family, session.importPolicy, another);
      const feed = new Feed(peer, this.#group(peer, family, session.exportPolicy), this.#tables[family].queued);
      peer.feeds[family] = feed;
      feed.group.join(feed);
    }
    this.#schedule();
    return peer.index;
  }

  update(id: PeerId, update: Update): void {
    const peer = this.#up(id);
    if (!peer) return;
    for (const family of FAMILIES) this.#tables[family].update(peer, update);
    this.#schedule();
  }

  endOfRib(id: PeerId, family: Family): void {
    this.#sweep(id, family, PATH.RESTART_STALE);
  }

  refreshBegins(id: PeerId, family: Family): void {
    const peer = this.#up(id);
    if (peer) this.#tables[family].upkeep.mark(peer, PATH.REFRESH_STALE);
  }

  refreshEnds(id: PeerId, family: Family): void {
    // It has told everything: what a restart left behind is not part of it either.
    this.#sweep(id, family, PATH.REFRESH_STALE | PATH.RESTART_STALE);
  }

  #sweep(id: PeerId, family: Family, flags: number): void {
    const peer = this.#up(id);
    if (!peer) return;
    this.#tables[family].upkeep.drop(peer, flags);
    this.#schedule();
  }

  sendAgain(id: PeerId, family: Family): void {
    const feed = this.#up(id)?.feeds[family];
    if (!feed) return;
    feed.refresh = true;
    this.#schedule();
  }

  removePeer(id: PeerId, keep: readonly Family[]): void {
    const peer = this.#up(id);
    if (!peer) return;
    peer.up = false;
    for (const family of FAMILIES) {
      const feed = peer.feeds[family];
      delete peer.feeds[family];
      if (feed) {
        feed.group.leave(feed);
        this.#dropGroup(feed.group, family);
      }
      if (keep.includes(family)) this.#tables[family].upkeep.mark(peer, PATH.RESTART_STALE);
      else this.#tables[family].upkeep.drop(peer, undefined);
    }
    this.#forget(peer);
    this.#schedule();
  }

  dropStale(name: string): void {
    const peer = this.#byName.get(name);
    if (!peer) return;
    for (const family of FAMILIES) this.#tables[family].upkeep.drop(peer, PATH.RESTART_STALE);
    this.#forget(peer);
    this.#schedule();
  }

  setPolicies(id: PeerId, importPolicy: Policy, exportPolicy: Policy): void {
    const peer = this.#up(id);
    if (!peer) return;
    for (const family of FAMILIES) {
      const feed = peer.feeds[family];
      if (!feed) continue;
      this.#setImporter(peer, family, importPolicy, false);
      feed.wanted = exportPolicy;
    }
    this.#schedule();
  }

  setLocal(prefix: Prefix, source: LocalRoute["source"], route: LocalRoute | undefined): void {
    this.#tables[prefix.family].local.set(prefix, source, route);
    this.#schedule();
  }

  costsChanged(changes: readonly NextHopCost[]): void {
    const nextHops = this.#nextHops;
    if (!nextHops?.change(changes)) return;
    for (const family of FAMILIES) this.#tables[family].upkeep.recost(nextHops.age);
    this.#schedule();
  }

  resume(id: PeerId): void {
    const peer = this.#up(id);
    if (!peer?.blocked) return;
    peer.blocked = false;
    this.#schedule();
  }

  counts(id: PeerId): PeerCounts {
    const peer = this.#peers[id];
    const of = <K extends "received" | "accepted" | "best">(key: K) => ({
      4: peer?.tallies[4][key] ?? 0,
      6: peer?.tallies[6][key] ?? 0,
    });
    const sent = (family: Family) => {
      const group = peer?.feeds[family]?.group;
      return group ? group.count - (group.countFrom[id] ?? 0) : 0;
    };
    return {
      received: of("received"),
      accepted: of("accepted"),
      best: of("best"),
      sent: { 4: sent(4), 6: sent(6) },
    };
  }

  explain(prefix: Prefix): readonly Explained[] {
    return explain(this.#tables[prefix.family], prefix);
  }

  routesOf(id: PeerId, which: "received" | "accepted" | "sent", family: Family): Iterable<PeerRoute> {
    const peer = this.#peers[id];
    return peer ? routesOf(this.#tables[family], peer, which) : [];
  }

  readonly entries = (family: Family): Iterable<Best> => entries(this.#tables[family]);

  choose(): void {
    for (const family of FAMILIES) {
      const table = this.#tables[family];
      if (!table.loc.restarting) continue;
      table.loc.restarting = false;
      table.in.queueAll();
    }
    this.#schedule();
  }

  endOfRestart(): void {
    if (!this.#restarting) return;
    this.#restarting = false;
    this.choose();
    for (const family of FAMILIES) {
      const table = this.#tables[family];
      for (const peer of this.#byName.values()) {
        const feed = peer.feeds[family];
        if (feed) feed.armAt = table.queued;
      }
    }
    this.#schedule();
  }

  async settled(): Promise<void> {
    if (this.#scheduled) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** How much there is of everything: for tests, which look for what was forgotten. */
  sizes(): Record<"prefixes" | "paths" | "attributes" | "groups" | "peers" | "nextHops", number> {
    const { 4: v4, 6: v6 } = this.#tables;
    return {
      prefixes: v4.prefixes.size + v6.prefixes.size,
      paths: v4.paths.size + v6.paths.size,
      attributes: v4.attributes.size + v6.attributes.size,
      groups: this.#groups[4].size + this.#groups[6].size,
      peers: this.#byName.size,
      nextHops: this.#nextHops?.size ?? 0,
    };
  }

  close(): void {
    this.#closed = true;
    this.#nextHops?.close();
    this.#changes.clear();
    this.#idle();
  }

  // Whose turn it is.

  #schedule(): void {
    if (this.#scheduled || this.#closed) return;
    this.#scheduled = true;
    setImmediate(this.#slice);
  }

  readonly #slice = (): void => {
    if (this.#closed) return;
    const until = performance.now() + this.#sliceMs;
    let worked: boolean;
    do {
      worked = false;
      for (const family of FAMILIES) if (this.#step(family)) worked = true;
    } while (worked && performance.now() < until);
    this.#changes.flush();
    if (worked) setImmediate(this.#slice);
    else this.#idle();
  };

  #step(family: Family): boolean {
    const table = this.#tables[family];
    let worked = table.work();
    // While there is more to decide, messages would go out before they are full.
    if (table.backlog && ++this.#held[family] < FLUSHED_AFTER) return true;
    this.#held[family] = 0;
    const armed = (feed: Feed) => !this.#restarting && !table.upkeep.sweeping && table.decided >= feed.armAt;
    for (const group of table.groups) {
      if (!group) continue;
      if (group.flush(armed)) worked = true;
    }
    for (const group of table.groups.slice()) if (group && this.#regroup(group, family)) worked = true;
    return worked;
  }

  #idle(): void {
    this.#scheduled = false;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }

  // Who shares what.

  /** Members of a group that are to have another export policy leave it once they have all of it. */
  #regroup(group: Group, family: Family): boolean {
    let worked = false;
    for (const feed of group.feeds) {
      const { wanted, peer } = feed;
      if (!wanted || peer.blocked || !group.upToDate(feed)) continue;
      feed.wanted = undefined;
      if (wanted.key === group.policy.key) continue;
      worked = true;
      const snapshot = group.snapshot();
      group.leave(feed);
      this.#group(peer, family, wanted).receive(feed, snapshot);
    }
    if (worked) this.#dropGroup(group, family);
    return worked;
  }

  #group(peer: Peer, family: Family, policy: Policy): Group {
    const { session } = peer;
    const to = exportRules(session, family);
    const { fourOctetAsn, extendedMessages, addPathSend } = session.negotiated;
    const key = JSON.stringify([
      to.type,
      to.localAsn,
      to.nextHop,
      to.self && `${to.self.version} ${to.self.value}`,
      to.extendedNextHop,
      to.clusterId ?? "",
      fourOctetAsn,
      extendedMessages,
      addPathSend.includes(family),
      policy.key,
    ]);
    const groups = this.#groups[family];
    let group = groups.get(key);
    if (!group) {
      const table = this.#tables[family];
      const gap = table.groups.indexOf(undefined);
      const index = gap < 0 ? table.groups.length : gap;
      group = new Group(key, index, to, policy, session, table);
      groups.set(key, group);
      table.groups[index] = group;
    }
    return group;
  }

  #dropGroup(group: Group, family: Family): void {
    if (group.feeds.size > 0) return;
    this.#groups[family].delete(group.key);
    this.#tables[family].groups[group.index] = undefined;
    group.close();
  }

  #setImporter(peer: Peer, family: Family, policy: Policy, another: boolean): void {
    const rules = importRules(peer.session, this.#options.routerId);
    const key = JSON.stringify([
      { ...rules, ownAddresses: rules.ownAddresses.map(({ version, value }) => `${version} ${value}`) },
      policy.key,
    ]);
    const before = peer.importers[family];
    if (before?.key !== key) {
      const importers = this.#importers[family];
      let importer = importers.get(key);
      if (!importer) {
        importer = new Importer(key, rules, policy, family, this.#tables[family].attributes);
        importers.set(key, importer);
      }
      importer.users++;
      peer.importers[family] = importer;
      this.#releaseImporter(before, family);
    } else if (!another) return;
    this.#tables[family].upkeep.reimport(peer, another);
  }

  #releaseImporter(importer: Importer | undefined, family: Family): void {
    if (importer && --importer.users === 0) this.#importers[family].delete(importer.key);
  }

  // Who is who.

  #up(id: PeerId): Peer | undefined {
    const peer = this.#peers[id];
    return peer?.up ? peer : undefined;
  }

  #index(): number {
    const { 4: v4, 6: v6 } = this.#tables;
    const at = this.#free.findIndex(({ after }) => v4.decided >= after[4] && v6.decided >= after[6]);
    return at < 0 ? this.#peers.length : this.#free.splice(at, 1)[0]!.index;
  }

  #forget(peer: Peer): void {
    if (!peer.gone || this.#peers[peer.index] !== peer) return;
    this.#byName.delete(peer.session.name);
    this.#peers[peer.index] = undefined;
    for (const family of FAMILIES) this.#releaseImporter(peer.importers[family], family);
    this.#free.push({
      index: peer.index,
      after: { 4: this.#tables[4].queued, 6: this.#tables[6].queued },
    });
  }
}

function* entries(table: Table): Iterable<Best> {
  for (let id = 0; id < table.prefixes.limit; id++) {
    if (!table.prefixes.has(id)) continue;
    if (table.stands(id)) {
      if (table.loc.bestOf(id) >= 0) yield table.loc.best(id);
      continue;
    }
    // What was told of it stands until it is decided again, which may come to the same and is then not told.
    const best = table.loc.best(id);
    if (best.paths.length > 0) yield best;
  }
}

/** The tables of a speaker, empty. */
export function createRib(options: RibOptions): Rib {
  return new Tables(options);
}
