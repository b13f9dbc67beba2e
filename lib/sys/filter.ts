import { ptr } from "bun:ffi";
import { SysError } from "./errno.ts";
import { syscall } from "./libc.ts";
import { allocate } from "./memory.ts";

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;

/** A classic BPF program (Documentation/networking/filter.rst): it answers how many bytes of a datagram the socket gets, 0 for none. */
export type SocketFilter = readonly {
  readonly code: number;
  readonly jumpTrue?: number;
  readonly jumpFalse?: number;
  readonly k: number;
}[];

/** Has the kernel drop what the filter drops, before it takes room in the socket's queue. */
export function attachSocketFilter(fd: number, filter: SocketFilter, purpose: string): void {
  const program = allocate(filter.length * 8); // struct sock_filter: code u16, jt u8, jf u8, k u32
  const view = new DataView(program.buffer);
  for (const [index, { code, jumpTrue = 0, jumpFalse = 0, k }] of filter.entries()) {
    view.setUint16(index * 8, code, true);
    view.setUint8(index * 8 + 2, jumpTrue);
    view.setUint8(index * 8 + 3, jumpFalse);
    view.setUint32(index * 8 + 4, k, true);
  }
  const description = allocate(16); // struct sock_fprog: length u16, padding, pointer
  const header = new DataView(description.buffer);
  header.setUint16(0, filter.length, true);
  header.setBigUint64(8, BigInt(ptr(program)), true);
  const result = syscall("setsockopt", fd, SOL_SOCKET, SO_ATTACH_FILTER, description, description.length);
  if (result < 0) throw new SysError("setsockopt", -result, purpose);
}
