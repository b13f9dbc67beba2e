/**
 * Asks the network whether another machine has an IPv4 address: an ARP probe (RFC 5227 2.1.1, with fewer and faster questions). The sender's address in it is
 * 0.0.0.0, so that nobody's table changes, and nobody answers who only answers for others. For IPv6 the kernel does this itself.
 */
import { type Address, addressBytes, formatMac, parseMac } from "../ip/index.ts";
import { linkGet, NetlinkError, openNetlink } from "../netlink/index.ts";
import {
  allocate,
  attachSocketFilter,
  closeFd,
  inNamespace,
  type Namespace,
  openPacketSocket,
  receive,
  SysError,
  send,
} from "../sys/index.ts";

const PROBES = 3;
/** Milliseconds that an answer to one of them is waited for. */
const PATIENCE = 100;
const STEP = 5;

const ARP_FRAME = 42;
const ETH_P_ARP = 0x0806;
const OP = 20; // offsets within an Ethernet frame that holds ARP for IPv4
const SENDER_MAC = 22;
const SENDER = 28;
const TARGET = 38;

/** The MAC of another machine that says it has the address; undefined when none says so, or when that cannot be asked on this interface. */
export async function ownerByArp(
  address: Address,
  interfaceName: string,
  namespace?: Namespace,
): Promise<string | undefined> {
  try {
    using netlink = openNetlink(namespace);
    const { mac, index, up } = netlink.request(linkGet({ name: interfaceName }));
    if (mac === undefined || !up || address.version !== 4) return undefined;
    const fd = namespace ? inNamespace(namespace, () => openPacketSocket(index)) : openPacketSocket(index);
    try {
      return await ask(fd, parseMac(mac), addressBytes(address));
    } finally {
      closeFd(fd);
    }
  } catch (error) {
    // Not allowed to, or the interface went while it was asked: then nothing is known, as without this question.
    if (error instanceof SysError || error instanceof NetlinkError) return undefined;
    throw error;
  }
}

async function ask(fd: number, mac: Uint8Array, address: Uint8Array): Promise<string | undefined> {
  // Load the half word at 12, jump if it is ARP's, return.
  const filter = [
    { code: 0x28, k: 12 },
    { code: 0x15, jumpFalse: 1, k: ETH_P_ARP },
    { code: 0x06, k: 0xffff },
    { code: 0x06, k: 0 },
  ];
  attachSocketFilter(fd, filter, "filter ARP");
  const buffer = allocate(2048);
  for (let probe = 0; probe < PROBES; probe++) {
    send(fd, probeFrame(mac, address), () => "send an ARP probe");
    for (let waited = 0; waited < PATIENCE; waited += STEP) {
      await new Promise((resolve) => setTimeout(resolve, STEP));
      for (let frame = receive(fd, buffer, 0, readArp); frame; frame = receive(fd, buffer, 0, readArp)) {
        const owner = claimant(frame.bytes, address);
        if (owner !== undefined && owner !== formatMac(mac)) return owner;
      }
    }
  }
  return undefined;
}

const readArp = (): string => "read ARP";

function probeFrame(mac: Uint8Array, address: Uint8Array): Uint8Array<ArrayBuffer> {
  const frame = allocate(ARP_FRAME);
  const view = new DataView(frame.buffer);
  frame.fill(0xff, 0, 6);
  frame.set(mac, 6);
  view.setUint16(12, ETH_P_ARP);
  view.setUint16(14, 1); // Ethernet
  view.setUint16(16, 0x0800); // IPv4
  frame.set([6, 4], 18);
  view.setUint16(OP, 1); // request
  frame.set(mac, SENDER_MAC);
  frame.set(address, TARGET);
  return frame;
}

/** Who says in this frame, by an answer or a question of its own, that the address is its own. */
export function claimant(frame: Uint8Array, address: Uint8Array): string | undefined {
  if (frame.length < ARP_FRAME || ((frame[12]! << 8) | frame[13]!) !== ETH_P_ARP) return undefined;
  if (!address.every((byte, i) => frame[SENDER + i] === byte)) return undefined;
  return formatMac(frame.subarray(SENDER_MAC, SENDER_MAC + 6));
}
