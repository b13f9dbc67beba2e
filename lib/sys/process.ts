import { syscall } from "./libc.ts";

/** The effective user id of this process. */
export function geteuid(): number {
  return process.geteuid?.() ?? -1;
}

/** Whether the effective user is root. Says nothing about single capabilities. */
export function isRoot(): boolean {
  return geteuid() === 0;
}

/**
 * Ends the process this instant, with nothing torn down: no exit handlers, no closing of databases, no waiting for
 * threads. For a program whose work is done and written; what is still buffered is lost.
 */
export function endProcess(status: number): never {
  syscall("exit_group", status);
  throw new Error("exit_group came back");
}
