/**
 * System calls by number through libc's `syscall`. One bound symbol serves all of them, because binding is what
 * costs at start-up. Numbers: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
 */
import { dlopen, FFIType, type Pointer, ptr, read } from "bun:ffi";
import { SysError } from "./errno.ts";

const NUMBERS = {
  x64: {
    read: 0,
    write: 1,
    close: 3,
    fstat: 5,
    madvise: 28,
    ioctl: 16,
    socket: 41,
    connect: 42,
    sendto: 44,
    recvfrom: 45,
    sendmsg: 46,
    recvmsg: 47,
    shutdown: 48,
    bind: 49,
    listen: 50,
    getsockname: 51,
    getpeername: 52,
    setsockopt: 54,
    getsockopt: 55,
    flock: 73,
    fchmod: 91,
    exit_group: 231,
    inotify_add_watch: 254,
    inotify_rm_watch: 255,
    openat: 257,
    mkdirat: 258,
    unlinkat: 263,
    faccessat: 269,
    ppoll: 271,
    inotify_init1: 294,
    setns: 308,
  },
  arm64: {
    read: 63,
    write: 64,
    close: 57,
    fstat: 80,
    ioctl: 29,
    socket: 198,
    connect: 203,
    sendto: 206,
    recvfrom: 207,
    sendmsg: 211,
    recvmsg: 212,
    shutdown: 210,
    bind: 200,
    listen: 201,
    getsockname: 204,
    getpeername: 205,
    setsockopt: 208,
    getsockopt: 209,
    madvise: 233,
    flock: 32,
    fchmod: 52,
    inotify_init1: 26,
    inotify_add_watch: 27,
    inotify_rm_watch: 28,
    exit_group: 94,
    openat: 56,
    mkdirat: 34,
    unlinkat: 35,
    faccessat: 48,
    ppoll: 73,
    setns: 268,
  },
} as const;

export type SyscallName = keyof (typeof NUMBERS)["x64"];

/** Numbers go as they are, byte arrays as their address. */
export type SyscallArgument = number | Uint8Array<ArrayBuffer> | null;

interface Libc {
  call(number: number, a: number, b: number, c: number, d: number, e: number, f: number): number;
  /** Address of this thread's errno: fixed for the thread's life. */
  readonly errnoAt: Pointer;
  readonly numbers: Readonly<Record<SyscallName, number>>;
}

let loaded: Libc | undefined;

function load(): Libc {
  const numbers = process.arch === "x64" ? NUMBERS.x64 : process.arch === "arm64" ? NUMBERS.arm64 : undefined;
  if (!numbers) throw new SysError("syscall", 38, `no system call table for the architecture ${process.arch}`);
  const i64 = FFIType.i64;
  const { symbols } = dlopen("libc.so.6", {
    // i64_fast: a number when it fits, and every result here does; plain i64 would make a bigint of each.
    syscall: { args: [i64, i64, i64, i64, i64, i64, i64], returns: FFIType.i64_fast },
    __errno_location: { args: [], returns: FFIType.ptr },
  });
  const errnoAt = symbols.__errno_location();
  if (typeof errnoAt !== "number") throw new SysError("__errno_location", 38, "libc gave no address for errno");
  return { call: symbols.syscall as unknown as Libc["call"], errnoAt, numbers };
}

function address(argument: Uint8Array<ArrayBuffer> | null): number {
  return argument === null || argument.byteLength === 0 ? 0 : ptr(argument);
}

/**
 * Closes a descriptor. Never throws: whatever close(2) answers, the descriptor is gone. Not through `syscall`, because an ADD
 * closes ten, and JavaScriptCore compiles, in threads that it starts for it, what a process calls more than 33 times.
 */
export function closeFd(fd: number): void {
  loaded ??= load();
  loaded.call(loaded.numbers.close, fd, 0, 0, 0, 0, 0);
}

/** The call's result, or the errno as a negative number. EINTR is passed on like any other. */
export function syscall(
  name: SyscallName,
  a: SyscallArgument,
  b: SyscallArgument = 0,
  c: SyscallArgument = 0,
  d: SyscallArgument = 0,
  e: SyscallArgument = 0,
  f: SyscallArgument = 0,
): number {
  loaded ??= load();
  const { call, errnoAt, numbers } = loaded;
  // Numbers are told apart here: a function that is called for each would be hot enough to be compiled, at every start.
  const result = call(
    numbers[name],
    typeof a === "number" ? a : address(a),
    typeof b === "number" ? b : address(b),
    typeof c === "number" ? c : address(c),
    typeof d === "number" ? d : address(d),
    typeof e === "number" ? e : address(e),
    typeof f === "number" ? f : address(f),
  );
  return result === -1 ? -read.i32(errnoAt, 0) : Number(result);
}
