/** Somebody sets the machine's clock, by hours or days, either way. All that waits or measures here goes by a clock that nobody sets. */
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Health } from "../telemetry/daemon.ts";
import { pause } from "../wait/index.ts";
import { Slices } from "./slices.ts";

const DAY_MS = 86_400_000;
const NOON = Date.UTC(2026, 5, 1, 12);

beforeEach(() => {
  // Only the clock that people set.
  vi.useFakeTimers({ toFake: ["Date"], now: NOON });
});
afterEach(() => void vi.useRealTimers());

test.each([DAY_MS, -DAY_MS])("a part that has said that it is well is still well after a step of %i ms", (step) => {
  const health = new Health();
  health.register("InternalDataplaneMainLoop", { live: true, ready: true }, 90_000).report({ live: true, ready: true });
  vi.setSystemTime(NOON + step);
  expect(health.summary()).toMatchObject({ live: true, ready: true });
});

test.each([DAY_MS, -DAY_MS])("a wait that a step of %i ms falls into ends when it would have ended", async (step) => {
  const began = performance.now();
  const waited = pause(30, new AbortController().signal);
  vi.setSystemTime(NOON + step);
  await waited;
  expect(performance.now() - began).toBeGreaterThan(25);
});

test("work that has lasted long enough pauses, though the clock says that it has not begun", () => {
  const slices = new Slices();
  slices.begin();
  vi.setSystemTime(NOON - DAY_MS);
  const began = performance.now();
  while (performance.now() - began < 20);
  expect(slices.pause()).toBeInstanceOf(Promise);
});
