/**
 * The kernel's door: libc through bun:ffi, and what needs it. The only folder that imports bun:ffi.
 *
 * Loading this costs nothing: libc is opened by the first call, and of libc only `syscall` and `__errno_location` are
 * bound (each bound symbol costs about 8 µs of start-up). Every call is synchronous; every failure is a
 * {@link SysError} that names the call, the object and the errno.
 */
export { errnoName, SysError } from "./errno.ts";
export {
  type FileStatus,
  folderOf,
  makeFolder,
  OPEN,
  openFile,
  pathExists,
  readAll,
  readSysctl,
  readTextFile,
  statFd,
  writeAll,
  writeSysctl,
} from "./files.ts";
export { attachSocketFilter, type SocketFilter } from "./filter.ts";
export { closeFd } from "./libc.ts";
export { type FileLock, type LockOptions, lockFile, lockFileSync } from "./lock.ts";
export { allocate, cString } from "./memory.ts";
export { currentNamespace, inNamespace, type Namespace, openNamespace } from "./namespace.ts";
export { openPacketSocket, openRawSocket, type RawPacket, receiveRaw, sendRaw } from "./packet.ts";
export { endProcess, geteuid, isRoot } from "./process.ts";
export {
  bindNetlinkSocket,
  joinNetlinkGroup,
  openNetlinkSocket,
  type Received,
  receive,
  send,
  setSocketOption,
  waitReadable,
} from "./socket.ts";
