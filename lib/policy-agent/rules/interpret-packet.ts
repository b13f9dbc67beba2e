/** The packet that the interpreter walks through the rules, and tests send through a kernel. */
import type { IpVersion } from "./ir.ts";

/** An IP packet as far as rules look at it. */
export interface Packet {
  readonly version: IpVersion;
  readonly source: string;
  readonly destination: string;
  /** 1, 6, 17, 58, 132 carry what belongs to them; any other has 8 bytes of payload. */
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  /** TCP only. Default: `syn`. */
  readonly flags?: "syn" | "syn-ack" | "ack" | "rst" | "rst-ack" | "null";
  readonly icmp?: { readonly type: number; readonly code: number };
  /** Of an echo: the same number is the same conversation. Default: 1. */
  readonly echoId?: number;
  /** Of an ICMP error: the packet it is about. */
  readonly about?: Packet;
  readonly dscp?: number;
}

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;
export const SCTP = 132;
export const UDPLITE = 136;

/** Whether the first four bytes of what the protocol carries are two ports. */
export function hasPorts(protocol: number): boolean {
  return protocol === TCP || protocol === UDP || protocol === SCTP || protocol === UDPLITE;
}

/** ICMP or ICMPv6, whichever the IP version has. */
export function icmpOf(version: IpVersion): number {
  return version === 4 ? ICMP : ICMPV6;
}

/** Destination unreachable, too big, time exceeded, parameter problem, redirect (RFC 792, RFC 4443): they are about another packet. */
export function isIcmpError(version: IpVersion, type: number): boolean {
  return version === 4 ? [3, 5, 11, 12].includes(type) : type >= 1 && type <= 4;
}
