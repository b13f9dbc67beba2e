/**
 * Connections as the interpreter sees them: as much of conntrack as the states that rules ask for and the translations that they make
 * (net/netfilter/nf_conntrack_core.c, nf_conntrack_proto_tcp.c). No timeouts; a connection that has begun lasts.
 */
import { hasPorts, icmpOf, isIcmpError, type Packet, TCP } from "./interpret-packet.ts";
import type { ConntrackState } from "./ir.ts";

/** Addresses and ports of one direction. */
export interface Tuple {
  readonly protocol: number;
  readonly source: string;
  readonly destination: string;
  /** Ports; of an echo its number, twice. */
  readonly sourcePort: number;
  readonly destinationPort: number;
}

/** One connection. `reply` is what an answer looks like on the wire: without translation, `original` turned round. */
export interface Connection {
  readonly original: Tuple;
  reply: Tuple;
  answered: boolean;
  mark: number;
  sourceTranslated: boolean;
  destinationTranslated: boolean;
}

/** How a packet belongs to a connection. */
export interface Tracked {
  readonly state: ConntrackState;
  readonly connection?: Connection;
  /** The packet goes from the side that answered. */
  readonly isReply: boolean;
}

/** The connections of one IP version. */
export class ConntrackTable {
  readonly #byTuple = new Map<string, { readonly connection: Connection; readonly isReply: boolean }>();

  /** Finds or begins the packet's connection. A new one is not in the table before {@link confirm}. */
  track(packet: Packet): Tracked {
    const { protocol, version, icmp } = packet;
    if (icmp !== undefined && protocol === icmpOf(version) && isIcmpError(version, icmp.type)) {
      const about = packet.about === undefined ? undefined : this.#byTuple.get(key(tupleOf(packet.about)));
      if (about === undefined) return { state: "invalid", isReply: false };
      // The error travels against the packet that it is about.
      return { state: "related", connection: about.connection, isReply: !about.isReply };
    }
    const tuple = tupleOf(packet);
    const known = this.#byTuple.get(key(tuple));
    if (known !== undefined) {
      if (protocol === TCP && packet.flags === "null") return { state: "invalid", isReply: false };
      if (known.isReply) known.connection.answered = true;
      return { ...known, state: known.connection.answered ? "established" : "new" };
    }
    if (!mayBegin(packet)) return { state: "invalid", isReply: false };
    const connection: Connection = {
      original: tuple,
      reply: turned(tuple),
      answered: false,
      mark: 0,
      sourceTranslated: false,
      destinationTranslated: false,
    };
    return { state: "new", connection, isReply: false };
  }

  /** The connection's first packet left the host or was delivered: it is remembered. */
  confirm(connection: Connection): void {
    this.#byTuple.set(key(connection.original), { connection, isReply: false });
    this.#byTuple.set(key(connection.reply), { connection, isReply: true });
  }

  clear(): void {
    this.#byTuple.clear();
  }
}

export function tupleOf(packet: Packet): Tuple {
  const { protocol, source, destination } = packet;
  if (hasPorts(protocol)) {
    const sourcePort = packet.sourcePort ?? 40_000;
    return { protocol, source, destination, sourcePort, destinationPort: packet.destinationPort ?? 0 };
  }
  const id = protocol === icmpOf(packet.version) ? (packet.echoId ?? 1) : 0;
  return { protocol, source, destination, sourcePort: id, destinationPort: id };
}

export function turned(tuple: Tuple): Tuple {
  return {
    protocol: tuple.protocol,
    source: tuple.destination,
    destination: tuple.source,
    sourcePort: tuple.destinationPort,
    destinationPort: tuple.sourcePort,
  };
}

/** Whether conntrack takes the packet for the first of a connection: not an answer, a reset or nonsense. An `ack` is picked up in the middle. */
function mayBegin(packet: Packet): boolean {
  if (packet.protocol === TCP) return packet.flags === undefined || packet.flags === "syn" || packet.flags === "ack";
  if (packet.protocol !== icmpOf(packet.version)) return true;
  const type = packet.icmp?.type ?? (packet.version === 4 ? 8 : 128);
  return packet.version === 4 ? [8, 13, 15, 17].includes(type) : type === 128;
}

function key(tuple: Tuple): string {
  return `${tuple.protocol} ${tuple.source} ${tuple.sourcePort} ${tuple.destination} ${tuple.destinationPort}`;
}
