/** Packets as bytes: IPv4 (RFC 791), IPv6 (RFC 8200), TCP, UDP, ICMP, ICMPv6 and SCTP INIT (RFC 9260), as much of each as rules look at. */
import { addressBytes, addressFromBytes, formatAddress, parseAddress } from "../../../ip/index.ts";
import {
  hasPorts,
  ICMP,
  ICMPV6,
  icmpOf,
  isIcmpError,
  type Packet,
  SCTP,
  TCP,
  UDP,
  UDPLITE,
} from "../interpret-packet.ts";
import type { IpVersion } from "../ir.ts";

const FLAGS = { syn: 0x02, "syn-ack": 0x12, ack: 0x10, rst: 0x04, "rst-ack": 0x14, null: 0 } as const;

/** The packet from its IP header on, with every checksum right: conntrack calls a packet with a wrong one invalid. */
export function encodePacket(packet: Packet): Uint8Array<ArrayBuffer> {
  const source = addressBytes(parseAddress(packet.source));
  const destination = addressBytes(parseAddress(packet.destination));
  const body = encodeBody(packet, pseudoHeader(source, destination, packet.protocol));
  const tos = (packet.dscp ?? 0) << 2;
  if (packet.version === 4) {
    const bytes = new Uint8Array(20 + body.length);
    const view = new DataView(bytes.buffer);
    view.setUint8(0, 0x45);
    view.setUint8(1, tos);
    view.setUint16(2, bytes.length);
    view.setUint16(6, 0x4000); // don't fragment
    view.setUint8(8, 64);
    view.setUint8(9, packet.protocol);
    bytes.set(source, 12);
    bytes.set(destination, 16);
    view.setUint16(10, checksum(bytes.subarray(0, 20)));
    bytes.set(body, 20);
    return bytes;
  }
  const bytes = new Uint8Array(40 + body.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, (6 << 28) | (tos << 20));
  view.setUint16(4, body.length);
  view.setUint8(6, packet.protocol);
  view.setUint8(7, 64);
  bytes.set(source, 8);
  bytes.set(destination, 24);
  bytes.set(body, 40);
  return bytes;
}

/** What the bytes from the IP header on say, or undefined: no IP, or the network's own chatter (neighbour discovery, MLD). */
export function decodePacket(bytes: Uint8Array): Packet | undefined {
  if (bytes.length < 20) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint8(0) >> 4;
  const address = (from: number, length: number): string =>
    formatAddress(addressFromBytes(bytes.subarray(from, from + length)));
  if (version === 4) {
    const header = (view.getUint8(0) & 15) * 4;
    return withBody(
      { version: 4, source: address(12, 4), destination: address(16, 4), protocol: view.getUint8(9) },
      view.getUint8(1) >> 2,
      bytes.subarray(header, Math.max(header, Math.min(bytes.length, view.getUint16(2)))),
    );
  }
  if (version !== 6 || bytes.length < 40) return undefined;
  if (bytes[24] === 0xff) return undefined; // to everybody: MLD, router solicitations
  const tos = (view.getUint16(0) >> 4) & 255;
  return withBody(
    { version: 6, source: address(8, 16), destination: address(24, 16), protocol: view.getUint8(6) },
    tos >> 2,
    bytes.subarray(40, 40 + view.getUint16(4)),
  );
}

/** Completes a packet by what follows its IP header. */
export function withBody(
  head: { version: IpVersion; source: string; destination: string; protocol: number },
  dscp: number,
  body: Uint8Array,
): Packet | undefined {
  const view = new DataView(body.buffer, body.byteOffset, body.byteLength);
  const base = { ...head, ...(dscp === 0 ? {} : { dscp }) };
  if (hasPorts(head.protocol)) {
    if (body.length < 4) return base;
    const ported = { ...base, sourcePort: view.getUint16(0), destinationPort: view.getUint16(2) };
    if (head.protocol !== TCP || body.length < 14) return ported;
    const bits = view.getUint8(13);
    const flags = (Object.keys(FLAGS) as (keyof typeof FLAGS)[]).find((name) => FLAGS[name] === bits);
    return flags === undefined || flags === "syn" ? ported : { ...ported, flags };
  }
  if (head.protocol !== icmpOf(head.version) || body.length < 8) return base;
  const icmp = { type: view.getUint8(0), code: view.getUint8(1) };
  if (head.version === 6 && icmp.type >= 130 && icmp.type <= 143) return undefined;
  if (isIcmpError(head.version, icmp.type)) {
    const about = decodePacket(body.subarray(8));
    return { ...base, icmp, ...(about === undefined ? {} : { about }) };
  }
  const echoId = view.getUint16(4);
  return { ...base, icmp, ...(echoId === 1 ? {} : { echoId }) };
}

function encodeBody(packet: Packet, pseudo: (length: number) => Uint8Array): Uint8Array {
  const sourcePort = packet.sourcePort ?? 40_000;
  const destinationPort = packet.destinationPort ?? 0;
  switch (packet.protocol) {
    case TCP: {
      const body = new Uint8Array(20);
      const view = new DataView(body.buffer);
      view.setUint16(0, sourcePort);
      view.setUint16(2, destinationPort);
      const flags = packet.flags ?? "syn";
      // One conversation: the opener's numbers begin at 1000, the other side's at 5000.
      view.setUint32(4, flags === "syn" ? 1000 : flags === "syn-ack" ? 5000 : 1001);
      view.setUint32(8, flags === "syn-ack" ? 1001 : flags === "ack" ? 5001 : 0);
      view.setUint8(12, 5 << 4);
      view.setUint8(13, FLAGS[flags]);
      view.setUint16(14, 0xffff);
      view.setUint16(16, checksum(pseudo(body.length), body));
      return body;
    }
    case UDP:
    case UDPLITE: {
      const body = new Uint8Array(16);
      const view = new DataView(body.buffer);
      view.setUint16(0, sourcePort);
      view.setUint16(2, destinationPort);
      view.setUint16(4, body.length); // of UDP-Lite the checksum's coverage (RFC 3828)
      view.setUint16(6, checksum(pseudo(body.length), body));
      return body;
    }
    case SCTP: {
      const body = new Uint8Array(32);
      const view = new DataView(body.buffer);
      view.setUint16(0, sourcePort);
      view.setUint16(2, destinationPort);
      view.setUint8(12, 1); // INIT
      view.setUint16(14, 20);
      view.setUint32(16, 0x1234567); // initiate tag
      view.setUint32(20, 0xffff);
      view.setUint16(24, 1);
      view.setUint16(26, 1);
      view.setUint32(28, 1);
      view.setUint32(8, crc32c(body), true);
      return body;
    }
    case ICMP:
    case ICMPV6: {
      if ((packet.protocol === ICMP) !== (packet.version === 4)) return new Uint8Array(8);
      const about = packet.about === undefined ? new Uint8Array(8) : encodePacket(packet.about);
      const body = new Uint8Array(8 + about.length);
      const view = new DataView(body.buffer);
      view.setUint8(0, packet.icmp?.type ?? (packet.version === 4 ? 8 : 128));
      view.setUint8(1, packet.icmp?.code ?? 0);
      if (packet.about === undefined) {
        view.setUint16(4, packet.echoId ?? 1);
        view.setUint16(6, 1);
      }
      body.set(about, 8);
      view.setUint16(2, packet.version === 4 ? checksum(body) : checksum(pseudo(body.length), body));
      return body;
    }
    default:
      return new Uint8Array(8);
  }
}

/** The bytes that upper-layer checksums cover beside their own (RFC 8200 8.1; for IPv4 another order of the same numbers gives the same sum). */
function pseudoHeader(source: Uint8Array, destination: Uint8Array, protocol: number): (length: number) => Uint8Array {
  return (length) => Uint8Array.of(...source, ...destination, length >> 8, length & 255, 0, protocol);
}

/** The Internet checksum (RFC 1071) over all parts, of which only the last may be of odd length. */
function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let index = 0; index < part.length; index += 2) sum += ((part[index] ?? 0) << 8) | (part[index + 1] ?? 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  const result = ~sum & 0xffff;
  return result === 0 ? 0xffff : result;
}

/** CRC32c (Castagnoli), with which SCTP protects a packet (RFC 9260 appendix A). */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0x82f63b78 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}
