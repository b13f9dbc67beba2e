import { SysError } from "./errno.ts";
import { closeFd, syscall } from "./libc.ts";
import { allocate, cString } from "./memory.ts";

/**
 * Files by system calls. `node:fs` can do all of this, but costs a fresh process 2.5 ms to load, which every pod's ADD
 * and DEL would pay; what is rare (renaming, listing) is left to it.
 */

const AT_FDCWD = -100;
const ENOENT = 2;
const EINTR = 4;
const EAGAIN = 11;
const EEXIST = 17;
/** Of struct stat: the same on x64 and arm64, but for the mode (asm/stat.h). */
const STAT = { size: 144, inode: 8, length: 48 } as const;
const STAT_MODE = process.arch === "x64" ? 24 : 16;
const S_IFMT = 0o170000;
const S_IFREG = 0o100000;

/** Flags of open(2) that x64 and arm64 share (asm-generic/fcntl.h). Every descriptor is closed on exec besides. */
export const OPEN = { READ: 0, WRITE: 1, BOTH: 2, CREATE: 0o100, EXCLUSIVE: 0o200, APPEND: 0o2000 } as const;
const O_CLOEXEC = 0o2000000;

/** A file descriptor. `flags` are of {@link OPEN}; `purpose` says what for and becomes part of the error's message. */
export function openFile(path: string, flags: number, purpose: string, mode = 0o600): number {
  for (;;) {
    const fd = syscall("openat", AT_FDCWD, cString(path), flags | O_CLOEXEC, mode);
    if (fd >= 0) return fd;
    if (fd !== -EINTR) throw new SysError("open", -fd, purpose);
  }
}

/** What is known of an open file. `length` is in bytes. */
export interface FileStatus {
  readonly inode: number;
  readonly length: number;
  readonly isRegular: boolean;
}

/** fstat(2). */
export function statFd(fd: number, purpose: string): FileStatus {
  const bytes = allocate(STAT.size);
  const result = syscall("fstat", fd, bytes);
  if (result < 0) throw new SysError("fstat", -result, purpose);
  const view = new DataView(bytes.buffer);
  // Inode and length are below 2^53: bigints would cost a fresh process more than the call.
  return {
    inode: view.getUint32(STAT.inode, true) + view.getUint32(STAT.inode + 4, true) * 2 ** 32,
    length: view.getUint32(STAT.length, true) + view.getUint32(STAT.length + 4, true) * 2 ** 32,
    isRegular: (view.getUint32(STAT_MODE, true) & S_IFMT) === S_IFREG,
  };
}

/** Everything up to the end of the file or stream, as UTF-8 text. More than `limit` bytes are refused with EFBIG. */
export function readAll(fd: number, purpose: string, limit = 64 * 2 ** 20): string {
  let bytes = allocate(8192);
  let length = 0;
  for (;;) {
    if (length === bytes.length) {
      if (length >= limit) throw new SysError("read", 27, `${purpose} (more than ${limit} bytes)`);
      const larger = allocate(Math.min(limit, bytes.length * 4));
      larger.set(bytes);
      bytes = larger;
    }
    const count = syscall("read", fd, bytes.subarray(length), bytes.length - length);
    if (count === 0) return new TextDecoder().decode(bytes.subarray(0, length));
    if (count > 0) length += count;
    else if (count === -EAGAIN) Bun.sleepSync(1);
    else if (count !== -EINTR) throw new SysError("read", -count, purpose);
  }
}

/** The text of a file; undefined when there is none. */
export function readTextFile(path: string): string | undefined {
  // Most are asked for in case they exist: an error made and caught would cost more than all the rest.
  let fd = syscall("openat", AT_FDCWD, cString(path), OPEN.READ | O_CLOEXEC);
  if (fd === -ENOENT) return undefined;
  if (fd < 0) fd = openFile(path, OPEN.READ, `read ${path}`);
  try {
    return readAll(fd, `read ${path}`);
  } finally {
    closeFd(fd);
  }
}

/** Writes all of the text, as UTF-8, also where the other side reads slowly. */
export function writeAll(fd: number, text: string, purpose: string): void {
  const encoded = new TextEncoder().encode(text);
  const bytes = allocate(encoded.length);
  bytes.set(encoded);
  for (let written = 0; written < bytes.length; ) {
    const count = syscall("write", fd, bytes.subarray(written), bytes.length - written);
    if (count >= 0) written += count;
    else if (count === -EAGAIN) Bun.sleepSync(1);
    else if (count !== -EINTR) throw new SysError("write", -count, purpose);
  }
}

/** Whether there is something at the path that this process can see. */
export function pathExists(path: string): boolean {
  return syscall("faccessat", AT_FDCWD, cString(path), 0) >= 0;
}

/** Makes a folder and those above it; one that exists is fine. */
export function makeFolder(path: string, mode = 0o755): void {
  const result = syscall("mkdirat", AT_FDCWD, cString(path), mode);
  if (result >= 0 || result === -EEXIST) return;
  const above = path.replace(/\/+[^/]*\/*$/, "");
  if (result !== -ENOENT || above === "" || above === path) {
    throw new SysError("mkdir", -result, `make the folder ${path}`);
  }
  makeFolder(above, mode);
  makeFolder(path, mode);
}

/** The folder that a path lies in: "/a" for "/a/b", "/" for "/a", "." for "a". */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash > 0 ? path.slice(0, slash) : slash === 0 ? "/" : ".";
}

/**
 * Sets a value under /proc/sys in the network namespace that the thread is in. The name is a path,
 * `net/ipv4/conf/eth0.5/forwarding`, because interface names may contain dots.
 */
export function writeSysctl(name: string, value: string): void {
  const purpose = `set the sysctl ${name} to ${value}`;
  const fd = openFile(`/proc/sys/${name}`, OPEN.BOTH, purpose);
  try {
    writeAll(fd, value, purpose);
  } finally {
    closeFd(fd);
  }
}

/** The value, without the closing newline; undefined when the kernel has no such entry. */
export function readSysctl(name: string): string | undefined {
  return readTextFile(`/proc/sys/${name}`)?.trimEnd();
}
