import { expect, test } from "vitest";
import { fuzzMessages } from "./testing.ts";

test("a hundred thousand damaged messages: values that can be written again, or a WireError that can be sent", () => {
  const report = fuzzMessages({ count: 100_000, seed: 20_240_607 });
  // The damage is such that every way through the codec is taken.
  expect(report.read).toBeGreaterThan(20_000);
  expect(report.refused).toBeGreaterThan(20_000);
  expect(report.mended).toBeGreaterThan(5_000);
}, 180_000);
