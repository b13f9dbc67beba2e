import { SysError } from "./errno.ts";
import { closeFd, syscall } from "./libc.ts";
import { allocate } from "./memory.ts";
import { setSocketOption } from "./socket.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const ETH_P_ALL = 0x0003;
const SOL_PACKET = 263;
const PACKET_IGNORE_OUTGOING = 23; // linux/if_packet.h
const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const MSG_DONTWAIT = 0x40;
const EINTR = 4;
const EAGAIN = 11;

/**
 * A packet(7) socket on the interface with this index, in the namespace that the thread is in: it sends whole frames, and gets those
 * that come in (not those that go out), with at most `receiveBuffer` bytes of them waiting.
 */
export function openPacketSocket(index: number, options: { receiveBuffer?: number } = {}): number {
  const purpose = `open a packet socket on interface ${index}`;
  // Protocol 0 at first: between socket and bind it would get the frames of every interface.
  const fd = syscall("socket", AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SysError("socket", -fd, purpose);
  try {
    setSocketOption(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, 1, purpose);
    if (options.receiveBuffer) setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, options.receiveBuffer, purpose);
    const name = allocate(20); // struct sockaddr_ll: family u16, protocol be16, index i32, hatype u16, pkttype u8, halen u8, address
    const view = new DataView(name.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, ETH_P_ALL, false);
    view.setInt32(4, index, true);
    const result = syscall("bind", fd, name, name.length);
    if (result < 0) throw new SysError("bind", -result, purpose);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/**
 * A raw(7) or IPv6 raw socket of `protocol`: it gets every packet of the protocol that is delivered to the namespace's own host.
 * Protocol 255 (IPPROTO_RAW) gets nothing, and sends packets that begin with their IP header.
 */
export function openRawSocket(version: 4 | 6, protocol: number): number {
  const fd = syscall("socket", version === 4 ? AF_INET : AF_INET6, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw new SysError("socket", -fd, `open a raw socket (IPv${version}, protocol ${protocol})`);
  return fd;
}

/** Sends through a raw socket to an address, given as its 4 or 16 bytes. */
export function sendRaw(fd: number, packet: Uint8Array<ArrayBuffer>, address: Uint8Array, purpose: () => string): void {
  const v6 = address.length === 16;
  const name = allocate(v6 ? 28 : 16); // struct sockaddr_in6: family, port, flow label, address, scope; sockaddr_in: family, port, address
  new DataView(name.buffer).setUint16(0, v6 ? AF_INET6 : AF_INET, true);
  name.set(address, v6 ? 8 : 4);
  for (;;) {
    const sent = syscall("sendto", fd, packet, packet.length, 0, name, name.length);
    if (sent === -EINTR) continue;
    if (sent < 0) throw new SysError("sendto", -sent, purpose());
    return;
  }
}

/** A packet of a raw socket, and the address it came from as its 4 or 16 bytes. */
export interface RawPacket {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly from: Uint8Array;
}

/** The next packet that is waiting, or undefined. IPv4 sockets give it with its IP header, IPv6 sockets without (RFC 3542). */
export function receiveRaw(fd: number, buffer: Uint8Array<ArrayBuffer>, purpose: () => string): RawPacket | undefined {
  const name = allocate(28);
  const length = allocate(4);
  for (;;) {
    new DataView(length.buffer).setUint32(0, name.length, true);
    const count = syscall("recvfrom", fd, buffer, buffer.length, MSG_DONTWAIT, name, length);
    if (count === -EINTR) continue;
    if (count === -EAGAIN) return undefined;
    if (count < 0) throw new SysError("recvfrom", -count, purpose());
    const v6 = new DataView(name.buffer).getUint16(0, true) === AF_INET6;
    return { bytes: buffer.slice(0, count), from: v6 ? name.slice(8, 24) : name.slice(4, 8) };
  }
}
