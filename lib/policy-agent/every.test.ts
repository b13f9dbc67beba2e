import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { every } from "./every.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test.each([
  [1_000, 60],
  [0, 0],
  // Longer than a timer can wait: 60 days.
  [5_184_000_000, 0],
])("an interval of %d ms runs %d times in a minute", (interval, times) => {
  const run = vi.fn();
  const timer = every(interval, run);
  vi.advanceTimersByTime(60_000);
  expect(run).toHaveBeenCalledTimes(times);
  clearInterval(timer);
});
