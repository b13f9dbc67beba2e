/** UDP sockets with what Bun's own cannot be asked for: hop limits that are sent and required, traffic class, a device, an address that is not there yet. */
import { SysError } from "./errno.ts";
import { attachSocketFilter, type SocketFilter } from "./filter.ts";
import { closeFd, syscall } from "./libc.ts";
import { allocate, cString } from "./memory.ts";
import { inNamespace, type Namespace } from "./namespace.ts";
import { setSocketOption } from "./socket.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_BINDTODEVICE = 25;
const IPPROTO_IP = 0;
const IP = { TOS: 1, TTL: 2, FREEBIND: 15 } as const;
const IPPROTO_IPV6 = 41;
const IPV6 = { UNICAST_HOPS: 16, V6ONLY: 26, TCLASS: 67, FREEBIND: 78 } as const;
const MSG_DONTWAIT = 0x40;
const EINTR = 4;
const EAGAIN = 11;

export interface UdpOptions {
  /** 4 or 16 bytes. It need not be on an interface yet; until it is, sending fails. */
  readonly address: Uint8Array;
  readonly port: number;
  /** Name of the device that packets go out through and come in by; needed with a link-local address. */
  readonly device?: string;
  /** TTL or hop limit of what is sent. */
  readonly hops?: number;
  /** The kernel drops, without waking anybody, what does not arrive with exactly this TTL or hop limit (GTSM, RFC 5082). */
  readonly requireHops?: number;
  /** DSCP and ECN, as the byte of the header. */
  readonly trafficClass?: number;
  /** Drops all that arrives. */
  readonly sendOnly?: boolean;
  readonly namespace?: Namespace;
}

/** A datagram socket, bound. Throws {@link SysError}: EADDRINUSE, ENODEV when there is no such device. */
export function openUdpSocket(options: UdpOptions): number {
  const { namespace } = options;
  const v6 = options.address.length === 16;
  const make = () => syscall("socket", v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  const fd = namespace ? inNamespace(namespace, make) : make();
  if (fd < 0) throw new SysError("socket", -fd, "open a UDP socket");
  try {
    prepare(fd, v6, options);
    const name = udpAddress(options.address, options.port);
    const result = syscall("bind", fd, name, name.length);
    if (result < 0) throw new SysError("bind", -result, `bind a UDP socket to port ${options.port}`);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

function prepare(fd: number, v6: boolean, options: UdpOptions): void {
  const { device, hops, requireHops, trafficClass, sendOnly } = options;
  const set = (v4Option: number, v6Option: number, value: number, purpose: string) =>
    setSocketOption(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? v6Option : v4Option, value, purpose);
  // Before bind: nothing that fails the filter may be queued between the two.
  if (sendOnly) {
    attachSocketFilter(fd, [{ code: RETURN, k: 0 }], "have a UDP socket take nothing");
    setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, 0, "shrink a receive buffer");
  } else if (requireHops !== undefined) {
    attachSocketFilter(fd, hopFilter(v6, requireHops), "require a hop limit of what a UDP socket takes");
  }
  if (v6) setSocketOption(fd, IPPROTO_IPV6, IPV6.V6ONLY, 1, "keep a socket to IPv6");
  set(IP.FREEBIND, IPV6.FREEBIND, 1, "bind before the address is there");
  if (hops !== undefined) set(IP.TTL, IPV6.UNICAST_HOPS, hops, `send with a hop limit of ${hops}`);
  if (trafficClass !== undefined) set(IP.TOS, IPV6.TCLASS, trafficClass, "set the traffic class");
  if (device !== undefined) {
    const name = cString(device);
    const result = syscall("setsockopt", fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length);
    if (result < 0) throw new SysError("setsockopt", -result, `bind a socket to the interface ${device}`);
  }
}

/** Instructions of classic BPF (linux/filter.h): load a byte, jump if equal, return. */
const LOAD_BYTE = 0x30;
const JUMP_EQUAL = 0x15;
const RETURN = 0x06;
/** Offsets from here on are into the network header (SKF_NET_OFF). */
const NETWORK_HEADER = -0x100000;

const hopFilter = (v6: boolean, hops: number): SocketFilter => [
  { code: LOAD_BYTE, k: (NETWORK_HEADER + (v6 ? 7 : 8)) >>> 0 },
  { code: JUMP_EQUAL, jumpFalse: 1, k: hops },
  { code: RETURN, k: 0xffff },
  { code: RETURN, k: 0 },
];

/** struct sockaddr_in or sockaddr_in6, for {@link sendUdp}. */
export function udpAddress(address: Uint8Array, port: number): Uint8Array<ArrayBuffer> {
  const v6 = address.length === 16;
  const name = allocate(v6 ? 28 : 16);
  const view = new DataView(name.buffer);
  view.setUint16(0, v6 ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port, false);
  name.set(address, v6 ? 8 : 4);
  return name;
}

/** Sends one datagram. Throws {@link SysError}: ENETUNREACH, ENODEV, EINVAL when the socket's address is not on this machine. */
export function sendUdp(fd: number, datagram: Uint8Array<ArrayBuffer>, to: Uint8Array<ArrayBuffer>): void {
  for (;;) {
    const sent = syscall("sendto", fd, datagram, datagram.length, MSG_DONTWAIT, to, to.length);
    // A full queue drops the datagram, as the network may.
    if (sent >= 0 || sent === -EAGAIN) return;
    if (sent !== -EINTR) throw new SysError("sendto", -sent, "send a datagram");
  }
}

/** A datagram that was read: `bytes` is the caller's to keep; `from` is called while it is handed over only. */
export type UdpReceiver = (bytes: Uint8Array, from: () => Uint8Array) => void;

/** Hands over what is waiting in the socket at this moment, whether or not the event loop has noticed. */
export function drainUdp(fd: number, receive: UdpReceiver): void {
  const buffer = allocate(2048);
  const name = allocate(28);
  const length = allocate(4);
  for (;;) {
    new DataView(length.buffer).setUint32(0, name.length, true);
    const count = syscall("recvfrom", fd, buffer, buffer.length, MSG_DONTWAIT, name, length);
    if (count === -EINTR) continue;
    if (count === -EAGAIN) return;
    if (count < 0) throw new SysError("recvfrom", -count, "read a datagram");
    receive(buffer.slice(0, count), () =>
      new DataView(name.buffer).getUint16(0, true) === AF_INET6 ? name.slice(8, 24) : name.slice(4, 8),
    );
  }
}

/** Reads the socket in the event loop; `from` is the sender's address as text, with no zone. Closing it closes the descriptor. */
export async function adoptUdp(
  fd: number,
  receive: (bytes: Uint8Array, from: string) => void,
): Promise<{ close(): void }> {
  // Bun adopts a descriptor, but its types do not say so yet.
  const options: Bun.udp.SocketOptions<"uint8array"> & { fd: number } = {
    fd,
    binaryType: "uint8array",
    socket: {
      data: (_socket, bytes, _port, from) => receive(bytes, from.replace(/%.*/, "")),
      // What the network answers to packets of others is not about this socket.
      error: () => {},
    },
  };
  const socket = await Bun.udpSocket(options);
  return { close: () => socket.close() };
}
