/** Packets as bytes, for tests that are no vitest files: probers. The suite and its fake are behind ../testing.ts. */
export { hasPorts, ICMP, ICMPV6, type Packet, SCTP, TCP, UDP, UDPLITE } from "../interpret-packet.ts";
export { decodePacket, encodePacket, withBody } from "./wire.ts";
