import { readFileSync, readlinkSync } from "node:fs";
import { syscall } from "./libc.ts";

/** include/uapi/asm-generic/mman-common.h */
const MADV_DONTNEED = 4;

/** A mapping of this process, as /proc/self/smaps has it. */
interface Mapping {
  readonly start: number;
  readonly size: number;
  /** In bytes. */
  readonly resident: number;
}

/**
 * The mappings of a file that nobody can have written to: private, without the right to write, and without one page that is no longer the
 * file's. Of those the kernel has the same pages again whenever they are asked for.
 */
export function unwrittenMappings(smaps: string, file: string): Mapping[] {
  return smaps.split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m).flatMap((mapping) => {
    const head = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ \S+ +(.*)$/m.exec(mapping);
    if (head?.[3] !== file || !/^Anonymous: +0 kB$/m.test(mapping)) return [];
    const [start, end] = [Number.parseInt(head[1]!, 16), Number.parseInt(head[2]!, 16)];
    return [{ start, size: end - start, resident: Number(/^Rss: +(\d+) kB$/m.exec(mapping)?.[1]) * 1024 }];
  });
}

/**
 * Takes the pages of this process' executable out of its resident memory, code and constants. What it goes on to use comes back page by page,
 * from memory while the kernel still has it there. Answers how many bytes there were; 0 where the kernel does not tell of them.
 */
export function releaseExecutable(): number {
  let released = 0;
  let mappings: Mapping[];
  try {
    mappings = unwrittenMappings(readFileSync("/proc/self/smaps", "utf8"), readlinkSync("/proc/self/exe"));
  } catch {
    return 0;
  }
  for (const { start, size, resident } of mappings) {
    if (syscall("madvise", start, size, MADV_DONTNEED) === 0) released += resident;
  }
  return released;
}
