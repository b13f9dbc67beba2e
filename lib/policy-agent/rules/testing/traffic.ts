/** How the suite speaks of packets: from a place to a place, and in one word what became of them. */
import { ICMP, icmpOf, type Packet, SCTP, TCP, UDP } from "../interpret-packet.ts";
import type { IpVersion } from "../ir.ts";
import { HOST, type Place, type Sighting, type Testbed } from "./testbed.ts";

export const VERSIONS: readonly IpVersion[] = [4, 6];
/** Somebody far behind out0. */
export const REMOTE: Readonly<Record<IpVersion, string>> = { 4: "192.0.2.2", 6: "2001:db8::2" };

/** The address at a place. */
export function addressOf(place: Place, version: IpVersion): string {
  if (place === "host") return HOST[version];
  if (place === "out0") return REMOTE[version];
  const number = place.slice("cali".length);
  return version === 4 ? `10.65.0.${number}` : `fd65::${number}`;
}

/** The CIDR of one address. */
export function netOf(place: Place, version: IpVersion): string {
  return `${addressOf(place, version)}/${version === 4 ? 32 : 128}`;
}

/** A TCP SYN from a place to a place, unless `fields` say otherwise. */
export function packet(version: IpVersion, from: Place, to: Place, fields: Partial<Packet> = {}): Packet {
  return {
    version,
    source: addressOf(from, version),
    destination: addressOf(to, version),
    protocol: TCP,
    sourcePort: 40_000,
    destinationPort: 80,
    ...fields,
  };
}

export const tcp = (destinationPort: number, fields: Partial<Packet> = {}): Partial<Packet> => ({
  protocol: TCP,
  destinationPort,
  ...fields,
});
export const udp = (destinationPort: number, fields: Partial<Packet> = {}): Partial<Packet> => ({
  protocol: UDP,
  destinationPort,
  ...fields,
});
export const sctp = (destinationPort: number, fields: Partial<Packet> = {}): Partial<Packet> => ({
  protocol: SCTP,
  destinationPort,
  ...fields,
});
/** An echo request of the IP version. */
export const echo = (version: IpVersion, fields: Partial<Packet> = {}): Partial<Packet> => ({
  protocol: icmpOf(version),
  icmp: { type: version === 4 ? 8 : 128, code: 0 },
  ...fields,
});

/** What a packet comes to: where it came out, or how it was refused. */
export type Fate = Place | "silence" | "reset" | "port-unreachable" | "admin-prohibited";

/** Sends a packet; one word for what became of it. */
export function fateOf(bed: Testbed, from: Place, sent: Packet): Fate {
  const sightings = bed.send(from, sent);
  const through = sightings.find((sighting) => !isAnswer(sighting, sent));
  if (through?.at === from)
    throw new Error(`it came back to where it was sent: ${JSON.stringify([sent, through.packet])}`);
  if (through !== undefined) return through.at;
  const answer = sightings[0]?.packet;
  if (answer === undefined) return "silence";
  if (answer.protocol === TCP) return "reset";
  const { type, code } = answer.icmp ?? { type: -1, code: -1 };
  const said = `${answer.protocol === ICMP ? 4 : 6} ${type}/${code}`;
  if (said === "4 3/3" || said === "6 1/4") return "port-unreachable";
  if (said === "4 3/13" || said === "6 1/1") return "admin-prohibited";
  throw new Error(`an answer that no rule asks for: ${JSON.stringify(answer)}`);
}

/** The packet as it came out at the other side; throws when it did not. */
export function cameOut(bed: Testbed, from: Place, sent: Packet): Packet {
  const through = bed.send(from, sent).find((sighting) => !isAnswer(sighting, sent));
  if (through === undefined) throw new Error(`the packet did not come out: ${JSON.stringify(sent)}`);
  return through.packet;
}

/** Whether it is what the router itself says to the sender, and not the packet. */
function isAnswer({ packet: seen }: Sighting, sent: Packet): boolean {
  if (seen.about !== undefined && sent.about === undefined) return true;
  if (seen.icmp?.type === (seen.version === 4 ? 0 : 129) && sent.icmp?.type !== seen.icmp.type) return true;
  return seen.flags === "rst-ack" && seen.destination === sent.source && sent.flags !== "rst-ack";
}
