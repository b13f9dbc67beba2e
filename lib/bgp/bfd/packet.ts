/** The BFD control packet (RFC 5880 4.1), without the optional authentication section. */
import type { BfdState } from "./types.ts";

/** Bytes of a packet without authentication. */
export const PACKET_LENGTH = 24;
const VERSION = 1;

const STATES: readonly BfdState[] = ["AdminDown", "Down", "Init", "Up"];

/** Diagnostic codes, RFC 5880 4.1, in its words. */
export const DIAGNOSTICS = [
  "No Diagnostic",
  "Control Detection Time Expired",
  "Echo Function Failed",
  "Neighbor Signaled Session Down",
  "Forwarding Plane Reset",
  "Path Down",
  "Concatenated Path Down",
  "Administratively Down",
  "Reverse Concatenated Path Down",
] as const;

export const DIAGNOSTIC = { NONE: 0, EXPIRED: 1, SIGNALED_DOWN: 3, ADMINISTRATIVELY_DOWN: 7 } as const;

/** Intervals are in microseconds, as on the wire. */
export interface ControlPacket {
  readonly diagnostic: number;
  readonly state: BfdState;
  readonly poll: boolean;
  readonly final: boolean;
  /** C: BFD does not share its fate with the control plane. */
  readonly independent: boolean;
  readonly demand: boolean;
  readonly multiplier: number;
  readonly myDiscriminator: number;
  /** 0: not known yet. */
  readonly yourDiscriminator: number;
  readonly desiredMinTx: number;
  readonly requiredMinRx: number;
  readonly requiredMinEchoRx: number;
}

const BIT = {
  POLL: 0x20,
  FINAL: 0x10,
  INDEPENDENT: 0x08,
  AUTHENTICATED: 0x04,
  DEMAND: 0x02,
  MULTIPOINT: 0x01,
} as const;

/** Into `bytes`, whose first {@link PACKET_LENGTH} bytes it fills. */
export function encodePacket(packet: ControlPacket, bytes: Uint8Array): void {
  bytes[0] = (VERSION << 5) | packet.diagnostic;
  bytes[1] =
    (STATES.indexOf(packet.state) << 6) |
    (packet.poll ? BIT.POLL : 0) |
    (packet.final ? BIT.FINAL : 0) |
    (packet.independent ? BIT.INDEPENDENT : 0) |
    (packet.demand ? BIT.DEMAND : 0);
  bytes[2] = packet.multiplier;
  bytes[3] = PACKET_LENGTH;
  putWord(bytes, 4, packet.myDiscriminator);
  putWord(bytes, 8, packet.yourDiscriminator);
  putWord(bytes, 12, packet.desiredMinTx);
  putWord(bytes, 16, packet.requiredMinRx);
  putWord(bytes, 20, packet.requiredMinEchoRx);
}

/** Cheaper than a DataView, which would have to be made for each of thousands of packets a second. */
function putWord(bytes: Uint8Array, at: number, word: number): void {
  bytes[at] = word >>> 24;
  bytes[at + 1] = word >>> 16;
  bytes[at + 2] = word >>> 8;
  bytes[at + 3] = word;
}

/** The packet, or why it is to be dropped: the checks of RFC 5880 6.8.6 that need no session. Never throws. */
export function decodePacket(bytes: Uint8Array): ControlPacket | string {
  if (bytes.length < PACKET_LENGTH) return `${bytes.length} bytes are too few`;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = bytes[0]! >> 5;
  if (version !== VERSION) return `version ${version} is not spoken`;
  const flags = bytes[1]!;
  const length = bytes[3]!;
  if (length < PACKET_LENGTH || length > bytes.length) return `its length field says ${length}, it has ${bytes.length}`;
  if (flags & BIT.AUTHENTICATED) return "it is authenticated, which no session here is";
  if (flags & BIT.MULTIPOINT) return "it is of a multipoint session";
  if (bytes[2] === 0) return "its detection multiplier is 0";
  const myDiscriminator = view.getUint32(4);
  if (myDiscriminator === 0) return "its discriminator is 0";
  const state = STATES[flags >> 6]!;
  const yourDiscriminator = view.getUint32(8);
  if (yourDiscriminator === 0 && state !== "Down" && state !== "AdminDown") return `it is ${state} with nobody`;
  return {
    diagnostic: bytes[0]! & 0x1f,
    state,
    poll: (flags & BIT.POLL) !== 0,
    final: (flags & BIT.FINAL) !== 0,
    independent: (flags & BIT.INDEPENDENT) !== 0,
    demand: (flags & BIT.DEMAND) !== 0,
    multiplier: bytes[2]!,
    myDiscriminator,
    yourDiscriminator,
    desiredMinTx: view.getUint32(12),
    requiredMinRx: view.getUint32(16),
    requiredMinEchoRx: view.getUint32(20),
  };
}

/** In words. Codes above 8 have none yet. */
export const diagnosticText = (code: number): string => DIAGNOSTICS[code] ?? `diagnostic ${code}`;
