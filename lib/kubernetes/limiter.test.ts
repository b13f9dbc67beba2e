import fc from "fast-check";
import { expect, test } from "vitest";
import { Limiter } from "./limiter.ts";

test("a burst at once, then one after the other", () => {
  const limiter = new Limiter(5, 3, () => 0);
  expect([1, 2, 3, 4, 5].map(() => limiter.reserve())).toEqual([0, 0, 0, 200, 400]);
});

test("tokens come back with time, up to the burst", () => {
  let now = 0;
  const limiter = new Limiter(10, 2, () => now);
  limiter.reserve();
  limiter.reserve();
  now = 100;
  expect(limiter.reserve()).toBe(0);
  now = 1_000_000;
  expect([1, 2, 3].map(() => limiter.reserve())).toEqual([0, 0, 100]);
});

test("never more than burst + qps x time, and nobody waits without need", () => {
  const pauses = fc.array(fc.nat({ max: 500 }), { maxLength: 60 });
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 50 }), fc.integer({ min: 1, max: 20 }), pauses, (qps, burst, gaps) => {
      let now = 0;
      const limiter = new Limiter(qps, burst, () => now);
      const sent = gaps.map((gap) => {
        now += gap;
        return now + limiter.reserve();
      });
      for (const [first, from] of sent.entries())
        for (const [last, to] of sent.entries())
          if (last >= first) expect(last - first + 1).toBeLessThanOrEqual(burst + (qps * (to - from)) / 1000 + 1e-6);
    }),
  );
});

test("who cannot have a token in time is told so at once, and leaves it to others", async () => {
  const limiter = new Limiter(1, 1, () => 0);
  const { signal } = new AbortController();
  expect(await limiter.take(0, signal)).toBe(true);
  expect(await limiter.take(999, signal)).toBe(false);
  expect(limiter.reserve()).toBe(1000);
});

test("who gives up gives the token back", async () => {
  const limiter = new Limiter(0.001, 1, () => 0);
  const ending = new AbortController();
  limiter.reserve();
  const waiting = limiter.take(Number.POSITIVE_INFINITY, ending.signal);
  ending.abort();
  expect(await waiting).toBe(false);
  expect(limiter.reserve()).toBe(1_000_000);
});
