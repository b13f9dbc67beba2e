import { expect, test } from "vitest";
import { fuzzMessages } from "./testing.ts";

/** How many: `BGP_FUZZ_MESSAGES=1000000 npx bun --bun vitest run --project unit lib/bgp/wire/fuzz.test.ts` takes its time, and says what the heap was. */
const MESSAGES = Number(process.env.BGP_FUZZ_MESSAGES ?? 100_000);
const SEED = Number(process.env.BGP_FUZZ_SEED ?? 20_240_607);

/** Bytes in use, garbage apart. */
function heap(): number {
  Bun.gc(true);
  return process.memoryUsage().heapUsed;
}

const mib = (bytes: number): string => `${(bytes / 2 ** 20).toFixed(1)} MiB`;

test(`${MESSAGES} damaged messages: values that can be written again, or a WireError that can be sent; nothing stays in memory`, () => {
  // The first tenth compiles, and fills whatever is made once.
  const first = fuzzMessages({ count: MESSAGES / 10, seed: SEED + 1 });
  const before = heap();
  const rest = fuzzMessages({ count: MESSAGES - MESSAGES / 10, seed: SEED });
  const after = heap();
  const read = first.read + rest.read;
  const refused = first.refused + rest.refused;
  const mended = first.mended + rest.mended;
  if (process.env.BGP_FUZZ_MESSAGES !== undefined) {
    const counts = `${read} read, ${refused} refused, ${mended} mended`;
    console.log(`${MESSAGES} messages: ${counts}; heap before ${mib(before)}, after ${mib(after)}`);
  }
  // The damage is such that every way through the codec is taken.
  expect(read).toBeGreaterThan(MESSAGES / 5);
  expect(refused).toBeGreaterThan(MESSAGES / 5);
  expect(mended).toBeGreaterThan(MESSAGES / 20);
  expect(after - before, "bytes more").toBeLessThan(4 * 2 ** 20);
}, 3_600_000);
