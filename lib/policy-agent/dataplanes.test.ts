import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { silentLogger } from "../telemetry/index.ts";
import { removeLeftovers } from "./dataplanes.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

test("what another dataplane left and could not be removed is tried again until it is gone, and said once", async () => {
  const warnings: string[] = [];
  const log = { ...silentLogger, warning: (_: string, fields?: object) => warnings.push(JSON.stringify(fields)) };
  const asked: string[] = [];
  const done = removeLeftovers("nftables", true, log, new AbortController().signal, async (mode) => {
    asked.push(mode);
    if (mode === "iptables-legacy" && asked.length < 5) throw new Error("the lock is held");
  });
  await vi.advanceTimersByTimeAsync(100_000);
  await done;
  expect(asked).toEqual(["iptables-nft", "iptables-legacy", "iptables-legacy", "iptables-legacy", "iptables-legacy"]);
  expect(warnings).toHaveLength(1);
});
