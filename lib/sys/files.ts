import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { SysError } from "./errno.ts";

/**
 * A file descriptor that is closed on exec. `flags` are node's ("r", "r+", "w") or numbers from `node:fs` constants;
 * `purpose` says what for and becomes part of the error's message.
 */
export function openFile(path: string, flags: string | number, purpose: string, mode = 0o600): number {
  return translate("open", purpose, () => openSync(path, flags, mode));
}

/** Closes a descriptor. Never throws: whatever close(2) answers, the descriptor is gone. */
export function closeFd(fd: number): void {
  try {
    closeSync(fd);
  } catch {
    // EBADF and EIO alike leave nothing to do.
  }
}

/**
 * Sets a value under /proc/sys in the network namespace that the thread is in. The name is a path,
 * `net/ipv4/conf/eth0.5/forwarding`, because interface names may contain dots.
 */
export function writeSysctl(name: string, value: string): void {
  translate("write", `set the sysctl ${name} to ${value}`, () => {
    const fd = openSync(`/proc/sys/${name}`, "r+");
    try {
      writeSync(fd, value);
    } finally {
      closeFd(fd);
    }
  });
}

/** The value, without the closing newline; undefined when the kernel has no such entry. */
export function readSysctl(name: string): string | undefined {
  return translate("read", `read the sysctl ${name}`, () => {
    try {
      return readFileSync(`/proc/sys/${name}`, "latin1").trimEnd();
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
      throw error;
    }
  });
}

/** Runs `action` and turns node's file error into ours. */
export function translate<T>(call: string, detail: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const { errno, syscall } = error as NodeJS.ErrnoException;
    if (typeof errno !== "number") throw error;
    throw new SysError(syscall ?? call, Math.abs(errno), detail, { cause: error });
  }
}
