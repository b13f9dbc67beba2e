import { expect, test } from "vitest";
import { releaseExecutable, unwrittenMappings } from "./resident.ts";

const mapping = (head: string, resident: number, anonymous: number): string =>
  `${head}\nSize:              24804 kB\nRss:               ${resident} kB\nAnonymous:         ${anonymous} kB\nVmFlags: rd ex mr\n`;

test("only what nobody has written to is let go", () => {
  const smaps = [
    mapping("00200000-01a39000 r--p 00000000 fe:00 42    /opt/calico node", 6372, 0),
    mapping("01a40000-0684a000 r-xp 01838000 fe:00 42    /opt/calico node", 30984, 0),
    // Relocations made it the process' own.
    mapping("0684a000-06867000 r--p 06641000 fe:00 42    /opt/calico node", 84, 48),
    mapping("06867000-07382000 rw-p 0665e000 fe:00 42    /opt/calico node", 3396, 0),
    mapping("7f0000000000-7f0000001000 r-xp 00000000 fe:00 43    /usr/lib/libc.so.6", 4, 0),
    mapping("7f0000002000-7f0000003000 r-xp 00000000 00:00 0 ", 4, 0),
  ].join("");
  expect(unwrittenMappings(smaps, "/opt/calico node")).toEqual([
    { start: 0x200000, size: 0x1839000, resident: 6372 * 1024 },
    { start: 0x1a40000, size: 0x4e0a000, resident: 30984 * 1024 },
  ]);
});

test("a process goes on without its executable's pages, and has fewer resident", () => {
  const before = process.memoryUsage.rss();
  expect(releaseExecutable()).toBeGreaterThan(2 ** 20);
  expect(process.memoryUsage.rss()).toBeLessThan(before);
  expect(JSON.parse(JSON.stringify({ still: /h(er)e/.exec("here")?.[1] }))).toEqual({ still: "er" });
});
