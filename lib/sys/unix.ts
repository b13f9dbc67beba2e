/**
 * Unix sockets with what Bun's own cannot be asked for: descriptors that travel with a datagram, the kernel's word for who sent
 * it, waiting without an event loop. A door of its own, because few need it.
 */
import { ptr } from "bun:ffi";
import { SysError } from "./errno.ts";
import { closeFd, syscall } from "./libc.ts";
import { allocate } from "./memory.ts";
import { setSocketOption } from "./socket.ts";

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_NONBLOCK = 0x800;
const SOCK_CLOEXEC = 0x80000;
const SOL_SOCKET = 1;
const SO_PASSCRED = 16;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const SCM_RIGHTS = 1;
const SCM_CREDENTIALS = 2;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SHUT_RDWR = 2;
const AT_FDCWD = -100;
const ENOENT = 2;
const EINTR = 4;
const EAGAIN = 11;

/** sun_path is 108 bytes with its closing zero (include/uapi/linux/un.h). */
const LONGEST_PATH = 107;
const BACKLOG = 512;
/** struct msghdr of 64-bit Linux. */
const MSGHDR = { size: 56, name: 0, nameLength: 8, iov: 16, iovCount: 24, control: 32, controlLength: 40 } as const;
/** struct cmsghdr: length u64, level i32, type i32; what follows is padded to 8. */
const CMSGHDR = 16;
/** Room for the credentials and far more descriptors than anybody should send: those beyond it the kernel drops. */
const CONTROL_SIZE = 32 + CMSGHDR + 4 * 16;
const LARGEST_DATAGRAM = 256;

/** Who sent a datagram, by the kernel's word; the ids are as this process's namespaces see them. */
export interface Credentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** A datagram that was read. The descriptors are the receiver's to close. */
export interface FdDatagram {
  readonly bytes: Uint8Array;
  readonly fds: readonly number[];
  readonly credentials: Credentials | undefined;
}

/**
 * A stream socket that listens at `path`, which only its owner may connect to from the first moment on. What was at the path is
 * removed. For the event loop to adopt.
 */
export function listenUnix(path: string): number {
  const fd = bindUnix(path, SOCK_STREAM);
  const result = syscall("listen", fd, BACKLOG);
  if (result >= 0) return fd;
  closeFd(fd);
  throw new SysError("listen", -result, `listen at ${path}`);
}

/** A datagram socket at `path`, as {@link listenUnix}; each datagram comes with its sender's credentials. */
export function openFdSocket(path: string): number {
  // Before bind, so that no datagram comes without.
  return bindUnix(path, SOCK_DGRAM, (fd) =>
    setSocketOption(fd, SOL_SOCKET, SO_PASSCRED, 1, "ask for senders' credentials"),
  );
}

function bindUnix(path: string, type: number, prepare?: (fd: number) => void): number {
  removeSocket(path);
  const fd = openSocket(type | SOCK_NONBLOCK);
  try {
    prepare?.(fd);
    // bind(2) gives the path the socket's own mode (net/unix/af_unix.c): there is no moment at which it is everybody's.
    const mode = syscall("fchmod", fd, 0o600);
    if (mode < 0) throw new SysError("fchmod", -mode, `keep ${path} to its owner`);
    const name = unixAddress(path);
    const result = syscall("bind", fd, name, name.length);
    if (result < 0) throw new SysError("bind", -result, `bind a socket to ${path}`);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** Removes what is at the path; nothing there is fine. */
export function removeSocket(path: string): void {
  const bytes = new TextEncoder().encode(path);
  const name = allocate(bytes.length + 1);
  name.set(bytes);
  const result = syscall("unlinkat", AT_FDCWD, name, 0);
  if (result < 0 && result !== -ENOENT) throw new SysError("unlink", -result, `remove the socket ${path}`);
}

/**
 * A connection for a program that waits: connecting, each writing and each reading takes at most `timeout` milliseconds. Throws
 * {@link SysError}: ENOENT and ECONNREFUSED where nobody listens, EAGAIN where whoever does takes nobody in.
 */
export function connectUnix(path: string, timeout: number): number {
  const fd = openSocket(SOCK_STREAM);
  try {
    setTimeouts(fd, timeout);
    const name = unixAddress(path);
    let result: number;
    do result = syscall("connect", fd, name, name.length);
    while (result === -EINTR);
    if (result < 0) throw new SysError("connect", -result, `connect to ${path}`);
    return fd;
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

/** How long each reading and writing may take from now on, in milliseconds. */
export function setTimeouts(fd: number, timeout: number): void {
  const time = allocate(16); // struct timeval: seconds i64, microseconds i64
  const view = new DataView(time.buffer);
  view.setUint32(0, Math.floor(timeout / 1000), true);
  view.setUint32(8, Math.floor(timeout % 1000) * 1000, true);
  for (const option of [SO_RCVTIMEO, SO_SNDTIMEO]) {
    const result = syscall("setsockopt", fd, SOL_SOCKET, option, time, time.length);
    if (result < 0) throw new SysError("setsockopt", -result, "bound a socket's waiting");
  }
}

/** Writes all of it. Throws {@link SysError}: EPIPE or ECONNRESET when the other has gone, EAGAIN when it does not read in time. */
export function sendStream(fd: number, bytes: Uint8Array<ArrayBuffer>, purpose: string): void {
  for (let sent = 0; sent < bytes.length; ) {
    const count = syscall("sendto", fd, bytes.subarray(sent), bytes.length - sent, MSG_NOSIGNAL, 0, 0);
    if (count >= 0) sent += count;
    else if (count !== -EINTR) throw new SysError("sendto", -count, purpose);
  }
}

/** Some of what comes, into `buffer`: the number of bytes, 0 at the end. Throws EAGAIN when nothing comes in time, or, with `poll`, is there. */
export function receiveStream(fd: number, buffer: Uint8Array<ArrayBuffer>, purpose: string, poll = false): number {
  for (;;) {
    const count = syscall("recvfrom", fd, buffer, buffer.length, poll ? MSG_DONTWAIT : 0, 0, 0);
    if (count >= 0) return count;
    if (count !== -EINTR) throw new SysError("recvfrom", -count, purpose);
  }
}

/** Ends a connection both ways, and keeps the descriptor: what has come can be read, and from now on the other cannot write. */
export function shutDown(fd: number): void {
  syscall("shutdown", fd, SHUT_RDWR);
}

/**
 * Sends one datagram to the socket at `path`, with a descriptor or without. The receiver's copy lives on when ours is closed. Waits
 * at most `timeout` milliseconds for room: EAGAIN.
 */
export function sendFd(path: string, bytes: Uint8Array<ArrayBuffer>, fd: number | undefined, timeout: number): void {
  const socket = openSocket(SOCK_DGRAM);
  try {
    setTimeouts(socket, timeout);
    const name = unixAddress(path);
    const control = allocate(fd === undefined ? 0 : CMSGHDR + 8);
    if (fd !== undefined) {
      const view = new DataView(control.buffer);
      view.setUint32(0, CMSGHDR + 4, true);
      view.setInt32(8, SOL_SOCKET, true);
      view.setInt32(12, SCM_RIGHTS, true);
      view.setInt32(CMSGHDR, fd, true);
    }
    const message = messageHeader(bytes, control, name);
    for (;;) {
      const sent = syscall("sendmsg", socket, message.header, MSG_NOSIGNAL);
      if (sent >= 0) return;
      if (sent !== -EINTR) throw new SysError("sendmsg", -sent, `send a descriptor to ${path}`);
    }
  } finally {
    closeFd(socket);
  }
}

/** The next datagram that is there already; undefined when none is. */
export function receiveFd(fd: number): FdDatagram | undefined {
  const bytes = allocate(LARGEST_DATAGRAM);
  const control = allocate(CONTROL_SIZE);
  for (;;) {
    const message = messageHeader(bytes, control);
    const count = syscall("recvmsg", fd, message.header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (count === -EAGAIN) return undefined;
    if (count === -EINTR) continue;
    if (count < 0) throw new SysError("recvmsg", -count, "read a descriptor");
    const filled = new DataView(message.header.buffer).getUint32(MSGHDR.controlLength, true);
    return { bytes: bytes.slice(0, count), ...parseControl(control.subarray(0, Math.min(filled, control.length))) };
  }
}

/** Ancillary data (man 3 cmsg): every descriptor in it is open now, whatever else is wrong. */
function parseControl(control: Uint8Array<ArrayBuffer>): Omit<FdDatagram, "bytes"> {
  const view = new DataView(control.buffer, control.byteOffset, control.byteLength);
  const fds: number[] = [];
  let credentials: Credentials | undefined;
  for (let at = 0; at + CMSGHDR <= control.length; ) {
    const length = view.getUint32(at, true);
    const end = Math.min(at + length, control.length);
    if (length < CMSGHDR) break;
    const type = view.getInt32(at + 8, true) === SOL_SOCKET ? view.getInt32(at + 12, true) : -1;
    const data = at + CMSGHDR;
    if (type === SCM_RIGHTS) for (let i = data; i + 4 <= end; i += 4) fds.push(view.getInt32(i, true));
    if (type === SCM_CREDENTIALS && data + 12 <= end) {
      credentials = {
        pid: view.getInt32(data, true),
        uid: view.getUint32(data + 4, true),
        gid: view.getUint32(data + 8, true),
      };
    }
    at += (length + 7) & ~7;
  }
  return { fds, credentials };
}

/** `held` keeps what the header points to from being collected for as long as the caller has the header. */
interface MessageHeader {
  readonly header: Uint8Array<ArrayBuffer>;
  readonly held: readonly Uint8Array<ArrayBuffer>[];
}

function messageHeader(
  bytes: Uint8Array<ArrayBuffer>,
  control: Uint8Array<ArrayBuffer>,
  name?: Uint8Array<ArrayBuffer>,
): MessageHeader {
  const iov = allocate(16); // struct iovec: address u64, length u64
  const iovView = new DataView(iov.buffer);
  setAddress(iovView, 0, bytes);
  iovView.setUint32(8, bytes.length, true);
  const header = allocate(MSGHDR.size);
  const view = new DataView(header.buffer);
  if (name) {
    setAddress(view, MSGHDR.name, name);
    view.setUint32(MSGHDR.nameLength, name.length, true);
  }
  setAddress(view, MSGHDR.iov, iov);
  view.setUint32(MSGHDR.iovCount, 1, true);
  if (control.length > 0) {
    setAddress(view, MSGHDR.control, control);
    view.setUint32(MSGHDR.controlLength, control.length, true);
  }
  return { header, held: [bytes, control, iov, ...(name ? [name] : [])] };
}

function setAddress(view: DataView, at: number, bytes: Uint8Array<ArrayBuffer>): void {
  const address = ptr(bytes);
  view.setUint32(at, address % 2 ** 32, true);
  view.setUint32(at + 4, Math.floor(address / 2 ** 32), true);
}

function openSocket(type: number): number {
  const fd = syscall("socket", AF_UNIX, type | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SysError("socket", -fd, "open a unix socket");
  return fd;
}

/** struct sockaddr_un with its closing zero. */
function unixAddress(path: string): Uint8Array<ArrayBuffer> {
  const text = new TextEncoder().encode(path);
  if (text.length === 0 || text.length > LONGEST_PATH || text.includes(0)) {
    throw new RangeError(
      `${JSON.stringify(path)} cannot be a socket's path: it has 1 to ${LONGEST_PATH} bytes, none of them 0`,
    );
  }
  const name = allocate(2 + text.length + 1);
  new DataView(name.buffer).setUint16(0, AF_UNIX, true);
  name.set(text, 2);
  return name;
}
