import { SysError } from "./errno.ts";
import { syscall } from "./libc.ts";
import { allocate } from "./memory.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0x80000;
const SOCK_NONBLOCK = 0x800;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const POLLIN = 1;
const EINTR = 4;
const EAGAIN = 11;

/** A netlink socket of `protocol` (0 is NETLINK_ROUTE) in the namespace that the thread is in. It stays in that namespace. */
export function openNetlinkSocket(protocol: number, options: { nonBlocking?: boolean } = {}): number {
  const type = SOCK_RAW | SOCK_CLOEXEC | (options.nonBlocking ? SOCK_NONBLOCK : 0);
  const fd = syscall("socket", AF_NETLINK, type, protocol);
  if (fd < 0) throw new SysError("socket", -fd, `open a netlink socket (protocol ${protocol})`);
  return fd;
}

/** Gives the socket a port id, so that the kernel can send to it; sending does this too. */
export function bindNetlinkSocket(fd: number): void {
  const name = allocate(12); // struct sockaddr_nl: family u16, pad u16, port id u32, groups u32
  new DataView(name.buffer).setUint16(0, AF_NETLINK, true);
  const result = syscall("bind", fd, name, name.length);
  if (result < 0) throw new SysError("bind", -result, "bind a netlink socket");
}

/** Subscribes to a multicast group by its number (RTNLGRP_…), not by a bit of the old group mask. */
export function joinNetlinkGroup(fd: number, group: number): void {
  setSocketOption(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, group, `join the netlink group ${group}`);
}

/** Sets an option whose value is a C int. */
export function setSocketOption(fd: number, level: number, option: number, value: number, purpose: string): void {
  const bytes = allocate(4);
  new DataView(bytes.buffer).setInt32(0, value, true);
  const result = syscall("setsockopt", fd, level, option, bytes, 4);
  if (result < 0) throw new SysError("setsockopt", -result, purpose);
}

/** Sends one datagram to the kernel. `purpose` is asked only for the message of an error. */
export function send(fd: number, datagram: Uint8Array<ArrayBuffer>, purpose: () => string): void {
  for (;;) {
    const sent = syscall("sendto", fd, datagram, datagram.length, 0, 0, 0);
    if (sent === -EINTR) continue;
    if (sent < 0) throw new SysError("sendto", -sent, purpose());
    return;
  }
}

/** One received datagram: `bytes` is a view of the caller's buffer; `length` is its whole size, more than fits when truncated. */
export interface Received {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly length: number;
}

/**
 * The next datagram, waiting for at most `timeout` milliseconds. The usual answer is there already and costs one system call.
 * Undefined when none came.
 */
export function receive(
  fd: number,
  buffer: Uint8Array<ArrayBuffer>,
  timeout: number,
  purpose: () => string,
): Received | undefined {
  for (;;) {
    const length = syscall("recvfrom", fd, buffer, buffer.length, MSG_DONTWAIT | MSG_TRUNC, 0, 0);
    if (length >= 0) return { bytes: buffer.subarray(0, Math.min(length, buffer.length)), length };
    if (length === -EAGAIN) {
      if (!waitReadable(fd, timeout)) return undefined;
    } else if (length !== -EINTR) {
      throw new SysError("recvfrom", -length, purpose());
    }
  }
}

/** Whether something can be read within `timeout` milliseconds. */
export function waitReadable(fd: number, timeout: number): boolean {
  const poll = allocate(8); // struct pollfd: fd i32, events i16, revents i16
  const view = new DataView(poll.buffer);
  view.setInt32(0, fd, true);
  view.setInt16(4, POLLIN, true);
  const deadline = performance.now() + timeout;
  for (;;) {
    const left = Math.max(0, deadline - performance.now());
    const time = allocate(16); // struct timespec
    const timeView = new DataView(time.buffer);
    timeView.setBigInt64(0, BigInt(Math.floor(left / 1000)), true);
    timeView.setBigInt64(8, BigInt(Math.floor((left % 1000) * 1e6)), true);
    const ready = syscall("ppoll", poll, 1, time, 0, 8);
    if (ready >= 0) return ready > 0;
    if (ready !== -EINTR) throw new SysError("ppoll", -ready, "wait for a socket");
  }
}
