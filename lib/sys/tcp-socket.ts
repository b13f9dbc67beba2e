/** TCP sockets before the event loop has them: made, told what they have to know, connecting or listening. */
import { errnoName, SysError } from "./errno.ts";
import { readTextFile } from "./files.ts";
import { closeFd, syscall } from "./libc.ts";
import { allocate } from "./memory.ts";
import { setSocketOption } from "./socket.ts";

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0x80000;
const SOCK_NONBLOCK = 0x800;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_ERROR = 4;
const SO_BINDTODEVICE = 25;
const IPPROTO_IP = 0;
const IP_TOS = 1;
const IP_TTL = 2;
const IP_MINTTL = 21;
const IPPROTO_IPV6 = 41;
const IPV6_UNICAST_HOPS = 16;
const IPV6_V6ONLY = 26;
const IPV6_TCLASS = 67;
const IPV6_MINHOPCOUNT = 73;
const IPPROTO_TCP = 6;
const TCP_NODELAY = 1;
const TCP_MD5SIG = 14;
const TCP_MD5SIG_EXT = 32;
const TCP_MD5SIG_FLAG_PREFIX = 1;
/** linux/tcp.h: TCP_MD5SIG_MAXKEYLEN */
export const MD5_KEY_MOST = 80;
const SIOCGIFINDEX = 0x8933;
const EINPROGRESS = 115;
const EINTR = 4;
const ENOENT = 2;

/** One end of a connection. */
export interface Endpoint {
  /** 4 or 16. */
  readonly bytes: Uint8Array;
  readonly port: number;
  /** The interface's index, of a link-local address. */
  readonly scope?: number;
}

/** A TCP socket in the namespace that the thread is in; it does not block, and what it sends is not held back (TCP_NODELAY). */
export function openTcpSocket(version: 4 | 6): number {
  const fd = syscall("socket", family(version), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw new SysError("socket", -fd, `open a TCP socket (IPv${version})`);
  try {
    setSocketOption(fd, IPPROTO_TCP, TCP_NODELAY, 1, "send without delay");
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Gives the socket its own end. A port of 0: the kernel's choice. */
export function bindTcp(fd: number, end: Endpoint, purpose: string): void {
  const name = encodeEndpoint(end);
  const result = syscall("bind", fd, name, name.length);
  if (result < 0) throw new SysError("bind", -result, purpose);
}

/**
 * Begins to connect. What is known at once, such as that there is no route, is thrown; the rest is learned when the descriptor becomes
 * writable (see `connectStream`).
 */
export function beginConnect(fd: number, end: Endpoint, purpose: string): void {
  const name = encodeEndpoint(end);
  const result = syscall("connect", fd, name, name.length);
  // Interrupted, it goes on all the same (connect(2)).
  if (result < 0 && result !== -EINPROGRESS && result !== -EINTR) throw new SysError("connect", -result, purpose);
}

/** Binds and listens; of IPv6, for IPv6 alone, so that both families have sockets of their own. */
export function listenTcp(fd: number, end: Endpoint, backlog: number, purpose: string): void {
  setSocketOption(fd, SOL_SOCKET, SO_REUSEADDR, 1, purpose);
  if (end.bytes.length === 16) setSocketOption(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1, purpose);
  bindTcp(fd, end, purpose);
  const result = syscall("listen", fd, backlog);
  if (result < 0) throw new SysError("listen", -result, purpose);
}

/** Keeps the socket to one interface, whatever the routes say. */
export function bindToDevice(fd: number, name: string): void {
  const bytes = allocate(16); // IFNAMSIZ
  bytes.set(new TextEncoder().encode(name).subarray(0, 15));
  const result = syscall("setsockopt", fd, SOL_SOCKET, SO_BINDTODEVICE, bytes, bytes.length);
  if (result < 0) throw new SysError("setsockopt", -result, `bind a socket to the interface ${name}`);
}

/**
 * The key that segments from and to an address are signed with (TCP-MD5, RFC 2385); undefined removes it. On a listening socket keys of
 * many peers live side by side, and a connection that is accepted inherits its own. `prefixLength` makes it the key of a whole
 * network (TCP_MD5SIG_EXT); the longest match counts.
 */
export function setMd5Key(
  fd: number,
  address: Uint8Array,
  key: Uint8Array | undefined,
  purpose: string,
  prefixLength?: number,
): void {
  if (key && (key.length === 0 || key.length > MD5_KEY_MOST)) {
    throw new SysError("setsockopt", 22, `${purpose}: a TCP-MD5 key has 1 to ${MD5_KEY_MOST} bytes, not ${key.length}`);
  }
  // struct tcp_md5sig (linux/tcp.h): sockaddr_storage[128], flags u8, prefix length u8, key length u16, ifindex i32, key[80]
  const bytes = allocate(216);
  bytes.set(encodeEndpoint({ bytes: address, port: 0 }));
  if (prefixLength !== undefined) {
    bytes[128] = TCP_MD5SIG_FLAG_PREFIX;
    bytes[129] = prefixLength;
  }
  new DataView(bytes.buffer).setUint16(130, key?.length ?? 0, true);
  if (key) bytes.set(key, 136);
  const option = prefixLength === undefined ? TCP_MD5SIG : TCP_MD5SIG_EXT;
  const result = syscall("setsockopt", fd, IPPROTO_TCP, option, bytes, bytes.length);
  if (result < 0 && !(result === -ENOENT && !key)) throw new SysError("setsockopt", -result, purpose);
}

/**
 * Time to live of what is sent (-1: the kernel's default), and the least of what is taken (0: any). Packets with less are dropped
 * without an answer: GTSM (RFC 5082) has `{ ttl: 255, least: 256 - hops }`.
 */
export function setTtl(fd: number, version: 4 | 6, ttl: { readonly ttl: number; readonly least: number }): void {
  const purpose = `set a time to live of ${ttl.ttl}, and of at least ${ttl.least} for what comes in`;
  if (version === 4) {
    setSocketOption(fd, IPPROTO_IP, IP_TTL, ttl.ttl, purpose);
    setSocketOption(fd, IPPROTO_IP, IP_MINTTL, ttl.least, purpose);
  } else {
    setSocketOption(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, ttl.ttl, purpose);
    setSocketOption(fd, IPPROTO_IPV6, IPV6_MINHOPCOUNT, ttl.least, purpose);
  }
}

/** The DS field (RFC 2474): 0xc0 is CS6, network control. */
export function setTrafficClass(fd: number, version: 4 | 6, value: number): void {
  const purpose = `set the traffic class ${value}`;
  if (version === 4) setSocketOption(fd, IPPROTO_IP, IP_TOS, value, purpose);
  else setSocketOption(fd, IPPROTO_IPV6, IPV6_TCLASS, value, purpose);
}

/** The socket's own end; undefined when the descriptor is no socket any more. */
export function localEnd(fd: number): Endpoint | undefined {
  return name("getsockname", fd);
}

/** The other end; undefined while there is none. */
export function remoteEnd(fd: number): Endpoint | undefined {
  return name("getpeername", fd);
}

/** What went wrong on the socket since this was asked last (SO_ERROR), as an errno's name. */
export function takeSocketError(fd: number): string | undefined {
  const value = allocate(4);
  const length = allocate(4);
  new DataView(length.buffer).setUint32(0, 4, true);
  const result = syscall("getsockopt", fd, SOL_SOCKET, SO_ERROR, value, length);
  if (result < 0) return errnoName(-result);
  const error = new DataView(value.buffer).getInt32(0, true);
  return error === 0 ? undefined : errnoName(error);
}

/** The index that the interface has now, in the namespace of the socket; undefined when there is none of that name. */
export function interfaceIndex(fd: number, name: string): number | undefined {
  const request = allocate(40); // struct ifreq: name[16], then a union that begins with the index
  request.set(new TextEncoder().encode(name).subarray(0, 15));
  const result = syscall("ioctl", fd, SIOCGIFINDEX, request);
  return result < 0 ? undefined : new DataView(request.buffer).getInt32(16, true);
}

/** Segments that TCP has dropped in the namespace that the thread is in (TcpExt of /proc/net/netstat). */
export interface TcpDrops {
  /** Signed with another key, not signed though there is a key, or signed though there is none. */
  readonly md5: number;
  /** Of those, the ones that are signed though there is no key. */
  readonly unexpectedMd5: number;
  /** With less TTL than is asked for. */
  readonly ttl: number;
}

/** Undefined where the kernel does not say. */
export function tcpDrops(): TcpDrops | undefined {
  try {
    return parseTcpDrops(readTextFile("/proc/thread-self/net/netstat") ?? "");
  } catch {
    return undefined;
  }
}

/** Of netstat's pairs of lines: names, and below them values. */
export function parseTcpDrops(text: string): TcpDrops | undefined {
  const [names, values] = text.split("\n").filter((line) => line.startsWith("TcpExt:"));
  if (!names || !values) return undefined;
  const numbers = values.split(" ");
  const counters = new Map(names.split(" ").map((counter, index) => [counter, Number(numbers[index])]));
  const sum = (...wanted: string[]) => wanted.reduce((total, counter) => total + (counters.get(counter) ?? 0), 0);
  const unexpectedMd5 = sum("TCPMD5Unexpected");
  return { md5: sum("TCPMD5NotFound", "TCPMD5Failure") + unexpectedMd5, unexpectedMd5, ttl: sum("TCPMinTTLDrop") };
}

function family(version: 4 | 6): number {
  return version === 4 ? AF_INET : AF_INET6;
}

function encodeEndpoint({ bytes, port, scope = 0 }: Endpoint): Uint8Array<ArrayBuffer> {
  const v6 = bytes.length === 16;
  // struct sockaddr_in6: family, port, flow label, address, scope; sockaddr_in: family, port, address
  const name = allocate(v6 ? 28 : 16);
  const view = new DataView(name.buffer);
  view.setUint16(0, v6 ? AF_INET6 : AF_INET, true);
  view.setUint16(2, port, false);
  name.set(bytes, v6 ? 8 : 4);
  if (v6) view.setUint32(24, scope, true);
  return name;
}

function name(call: "getsockname" | "getpeername", fd: number): Endpoint | undefined {
  const bytes = allocate(28);
  const length = allocate(4);
  new DataView(length.buffer).setUint32(0, bytes.length, true);
  if (syscall(call, fd, bytes, length) < 0) return undefined;
  const view = new DataView(bytes.buffer);
  const port = view.getUint16(2, false);
  const kind = view.getUint16(0, true);
  if (kind === AF_INET) return { bytes: bytes.slice(4, 8), port };
  if (kind !== AF_INET6) return undefined;
  const scope = view.getUint32(24, true);
  return { bytes: bytes.slice(8, 24), port, ...(scope !== 0 && { scope }) };
}
