/** Why a path is the best or is not, in words; and what a peer told or was sent. */
import { choose, whyNot } from "./decision.ts";
import { REFUSED_WHY } from "./import.ts";
import { PATH, STALE } from "./paths.ts";
import { FIRST_PEER, LOCAL_SOURCES, type Peer } from "./peers.ts";
import type { Table } from "./table.ts";
import type { Explained, PeerRoute, Prefix } from "./types.ts";

export function explain(table: Table, prefix: Prefix): Explained[] {
  const id = table.find(prefix);
  if (id < 0) return [];
  const { paths, attributes, loc } = table;
  const rows = table.in.pathsOf(id).filter((row) => (paths.flags[row]! & PATH.GONE) === 0);
  const all = rows.filter((row) => loc.eligible(row)).map((row) => loc.candidate(row));
  const chosen = all.slice();
  choose(chosen);
  const told = chosen[0]?.local === false ? new Set(loc.several(chosen)) : new Set<number>();
  const explained = rows.map((row): Explained & { readonly order: number } => {
    const index = paths.peer[row]!;
    const source = LOCAL_SOURCES[index] ?? "bgp";
    const accepted = paths.accepted[row]!;
    const candidate = all.find((other) => other.row === row);
    const place = candidate ? chosen.indexOf(candidate) : -1;
    let why: string;
    if (accepted < 0) why = REFUSED_WHY[accepted]!;
    else if (!candidate) why = "waits for all peers to have told everything after a restart";
    else if (place === 0) why = all.length === 1 ? "the only path" : "the best";
    else why = `${told.has(row) ? "used beside the best: " : ""}${whyNot(candidate, all, chosen)!}`;
    return {
      from: index < FIRST_PEER ? source : table.peer(index).session.name,
      source,
      attributes: attributes.sets[accepted >= 0 ? accepted : paths.received[row]!]!.attributes,
      best: place === 0 || told.has(row),
      why,
      stale: (paths.flags[row]! & STALE) !== 0,
      order: place >= 0 ? place : candidate ? rows.length : rows.length + 1,
    };
  });
  return explained.sort((a, b) => a.order - b.order || (a.from < b.from ? -1 : 1)).map(({ order: _, ...rest }) => rest);
}

/** A reader takes its time: what a peer told or was sent ends when the peer goes, and its numbers may be another's by then. */
export function* routesOf(table: Table, peer: Peer, which: "received" | "accepted" | "sent"): Iterable<PeerRoute> {
  const { paths, attributes, prefixes } = table;
  if (which === "sent") {
    const group = peer.feeds[table.family]?.group;
    for (let id = 0; group && id < prefixes.limit && peer.feeds[table.family]?.group === group; id++) {
      const set = group.sent(id);
      if (set < 0 || group.sentFrom(id) === peer.index) continue;
      yield { prefix: prefixes.prefix(id), attributes: attributes.sets[set]!.attributes, stale: false };
    }
    return;
  }
  const column = which === "received" ? "received" : "accepted";
  for (let row = 0; row < paths.limit && !peer.gone; row++) {
    if (paths.peer[row] !== peer.index || paths.received[row]! < 0 || (paths.flags[row]! & PATH.GONE) !== 0) continue;
    const set = paths[column][row]!;
    if (set < 0) continue;
    yield {
      prefix: prefixes.prefix(paths.prefix[row]!),
      attributes: attributes.sets[set]!.attributes,
      stale: (paths.flags[row]! & STALE) !== 0,
    };
  }
}
