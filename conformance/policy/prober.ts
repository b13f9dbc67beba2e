/**
 * The resident prober: one process that has raw sockets in every pod's network namespace (a socket stays in the namespace that it was
 * opened in), so that a whole matrix is asked at once. A probe is the first packet of a conversation - a TCP SYN, a UDP datagram, an SCTP INIT,
 * an ICMP echo, or anything - sent through its pod's own IP stack, and is watched for at every place. Numbers in its ports or its
 * echo identifier tell it from all others, wherever and however translated it comes out.
 *
 * TCP has to be answered, too: nothing listens, so the target's kernel answers with a reset, which is an answer of an established connection that
 * has to find its way back. Arriving is known at once; what does not arrive is known when nothing has happened for {@link QUIET}.
 */
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from "../../lib/ip/index.ts";
import {
  decodePacket,
  encodePacket,
  hasPorts,
  ICMP,
  ICMPV6,
  type Packet,
  SCTP,
  TCP,
  UDP,
  UDPLITE,
  withBody,
} from "../../lib/policy-agent/rules/testing/index.ts";
import {
  allocate,
  closeFd,
  inNamespace,
  openNamespace,
  openRawSocket,
  type RawPacket,
  receiveRaw,
  sendRaw,
} from "../../lib/sys/index.ts";

/** Where packets begin and end: a pod, the node, a machine outside. */
export interface ProbePlace {
  readonly name: string;
  /** Path of its network namespace. */
  readonly netns: string;
  readonly addresses: Readonly<Record<4 | 6, string>>;
}

/** One packet to try. */
export interface Probe {
  readonly from: string;
  readonly to: string;
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly port?: number;
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Instead of the target's own. */
  readonly destination?: string;
  /** Instead of the sender's own. */
  readonly source?: string;
  /**
   * Of a protocol with ports, instead of a number that tells the probe from all others. Whoever asks sees to it that no two probes of one
   * turn have the same addresses and ports, in either direction, and that connection tracking has forgotten earlier ones.
   */
  readonly sourcePort?: number;
}

export interface ProbeResult {
  readonly verdict: "allow" | "deny" | "reject" | "unanswered";
  /** Where it came out, when it did; and as what. */
  readonly at?: string;
  readonly packet?: Packet;
}

/** Milliseconds without any arrival after which what is missing is taken for denied. */
const QUIET = 250;
const FIRST = 10_000;
const GRE = 47;
/** Each probe has a number that no earlier one had, of any prober: an old connection would let it through. */
let next = FIRST;
const PROTOCOLS = [ICMP, TCP, UDP, SCTP, UDPLITE, GRE, 99];

interface Socket {
  readonly place: string;
  readonly version: 4 | 6;
  readonly protocol: number;
  readonly fd: number;
}
interface Pending {
  readonly probe: Probe;
  arrived?: { readonly at: string; readonly packet: Packet };
  /** The sender heard of it: the target's reset, or that of a rule; which, only its arrival tells. */
  answered: boolean;
}

export class Prober {
  readonly #places: ReadonlyMap<string, ProbePlace>;
  readonly #senders = new Map<string, Readonly<Record<4 | 6, number>>>();
  readonly #sockets: Socket[] = [];
  readonly #buffer = allocate(65_536);

  constructor(places: readonly ProbePlace[]) {
    this.#places = new Map(places.map((place) => [place.name, place]));
    for (const place of places) {
      const namespace = openNamespace(place.netns);
      try {
        inNamespace(namespace, () => {
          this.#senders.set(place.name, { 4: openRawSocket(4, 255), 6: openRawSocket(6, 255) });
          for (const version of [4, 6] as const) {
            for (const number of PROTOCOLS) {
              const protocol = number === ICMP && version === 6 ? ICMPV6 : number;
              this.#sockets.push({ place: place.name, version, protocol, fd: openRawSocket(version, protocol) });
            }
          }
        });
      } finally {
        namespace.close();
      }
    }
  }

  /** Sends all at once; resolves when each has come to something. In the order of the probes. */
  async probe(probes: readonly Probe[]): Promise<readonly ProbeResult[]> {
    this.#drain(new Map());
    const pending = new Map<number, Pending>();
    for (const [index, probe] of probes.entries()) {
      const number = this.#number();
      pending.set(number, { probe, answered: false });
      this.#send(number, probe);
      // The receivers' buffers are finite.
      if (index % 64 === 63) this.#drain(pending);
    }
    let last = performance.now();
    for (;;) {
      const before = [...pending.values()].filter(isOpen).length;
      this.#drain(pending);
      const open = [...pending.values()].filter(isOpen).length;
      if (open === 0) break;
      if (open < before) last = performance.now();
      if (performance.now() - last > QUIET) break;
      await Bun.sleep(2);
    }
    return [...pending.values()].map(resultOf);
  }

  close(): void {
    for (const { fd } of this.#sockets) closeFd(fd);
    for (const senders of this.#senders.values()) for (const fd of Object.values(senders)) closeFd(fd);
    this.#sockets.length = 0;
    this.#senders.clear();
  }

  #number(): number {
    const number = next++;
    if (next > 65_000) next = FIRST;
    return number;
  }

  #send(number: number, probe: Probe): void {
    const { version, protocol, port = 0, icmp } = probe;
    const [from, to] = [this.#place(probe.from), this.#place(probe.to)];
    const destination = probe.destination ?? to.addresses[version];
    const bytes = encodePacket({
      version,
      protocol,
      source: probe.source ?? from.addresses[version],
      destination,
      sourcePort: probe.sourcePort ?? number,
      destinationPort: port,
      echoId: number,
      ...(icmp === undefined ? {} : { icmp }),
    });
    const sender = this.#senders.get(from.name);
    if (sender === undefined) throw new RangeError(`no sockets in ${from.name}`);
    try {
      sendRaw(sender[version], bytes, addressBytes(parseAddress(destination)), () => `send from ${from.name}`);
    } catch (error) {
      // The sender's own OUTPUT chain said no.
      if (!(error instanceof Error && error.message.includes("EPERM"))) throw error;
    }
  }

  #place(name: string): ProbePlace {
    const place = this.#places.get(name);
    if (place === undefined) throw new RangeError(`there is no place ${name}`);
    return place;
  }

  #drain(pending: ReadonlyMap<number, Pending>): void {
    for (const socket of this.#sockets) {
      for (;;) {
        const raw = receiveRaw(socket.fd, this.#buffer, () => `watch ${socket.place}`);
        if (raw === undefined) break;
        const packet = this.#decode(socket, raw);
        if (packet !== undefined) this.#note(pending, socket.place, packet);
      }
    }
  }

  /** Relates a packet that was seen somewhere to the probe that it is, or that it answers. */
  #note(pending: ReadonlyMap<number, Pending>, at: string, packet: Packet): void {
    const { about } = packet;
    if (about !== undefined) {
      const asked = this.#find(pending, about);
      if (asked?.probe.from === at) asked.answered = true;
      return;
    }
    const asked = this.#find(pending, packet);
    if (asked !== undefined && isProbe(asked.probe, packet)) {
      asked.arrived ??= { at, packet };
      return;
    }
    if (packet.protocol !== TCP) return;
    const { source, destination, sourcePort, destinationPort } = packet;
    const answered = this.#find(pending, {
      ...packet,
      source: destination,
      destination: source,
      ...(destinationPort === undefined ? {} : { sourcePort: destinationPort }),
      ...(sourcePort === undefined ? {} : { destinationPort: sourcePort }),
    });
    if (answered?.probe.from === at && answered.probe.protocol === TCP) answered.answered = true;
  }

  #find(pending: ReadonlyMap<number, Pending>, packet: Packet): Pending | undefined {
    const ported = hasPorts(packet.protocol);
    const number = ported ? packet.sourcePort : packet.echoId;
    const numbered = number === undefined ? undefined : pending.get(number);
    if (numbered?.probe.protocol === packet.protocol && numbered.probe.sourcePort === undefined) return numbered;
    if (number !== undefined && !ported) return undefined;
    // Without a number of its own: told by its addresses, and ports if it has any.
    return [...pending.values()].find(
      ({ probe }) =>
        probe.version === packet.version &&
        probe.protocol === packet.protocol &&
        (!ported || (probe.sourcePort === packet.sourcePort && (probe.port ?? 0) === packet.destinationPort)) &&
        packet.source === (probe.source ?? this.#place(probe.from).addresses[packet.version]) &&
        packet.destination === (probe.destination ?? this.#place(probe.to).addresses[packet.version]),
    );
  }

  #decode({ version, place, protocol }: Socket, raw: RawPacket): Packet | undefined {
    if (version === 4) return decodePacket(raw.bytes);
    const source = formatAddress(addressFromBytes(raw.from));
    return withBody({ version, source, destination: this.#place(place).addresses[6], protocol }, 0, raw.bytes);
  }
}

function resultOf({ probe, arrived, answered }: Pending): ProbeResult {
  if (arrived === undefined) return { verdict: answered ? "reject" : "deny" };
  return { verdict: probe.protocol === TCP && !answered ? "unanswered" : "allow", ...arrived };
}

function isOpen(pending: Pending): boolean {
  const { verdict } = resultOf(pending);
  return verdict === "deny" || verdict === "unanswered";
}

function isProbe(probe: Probe, packet: Packet): boolean {
  if (packet.version !== probe.version || packet.protocol !== probe.protocol) return false;
  return (
    packet.flags === undefined &&
    (packet.icmp === undefined || packet.icmp.type === (probe.icmp?.type ?? packet.icmp.type))
  );
}
