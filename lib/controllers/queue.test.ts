import { expect, test } from "vitest";
import { WorkQueue, type WorkQueueOptions } from "./queue.ts";
import type { Time } from "./time.ts";

/** Time that goes by only when it is told to. */
class FakeTime implements Time {
  #now = 0;
  readonly #timers: { readonly at: number; readonly ring: () => void }[] = [];
  now = (): number => this.#now;
  random = (): number => 0;
  sleep(milliseconds: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      this.#timers.push({ at: this.#now + milliseconds, ring: resolve });
      signal.addEventListener("abort", () => resolve());
    });
  }
  async advance(milliseconds: number): Promise<void> {
    this.#now += milliseconds;
    for (const { at, ring } of this.#timers) if (at <= this.#now) ring();
    await settle();
  }
}
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function open(work: WorkQueueOptions["work"], more: Partial<WorkQueueOptions> = {}) {
  const time = new FakeTime();
  const queue = new WorkQueue({ work, time, backoff: { first: 100, most: 1000 }, ...more });
  const stop = new AbortController();
  const done = queue.run(stop.signal);
  const end = (): Promise<void> => {
    stop.abort();
    return done;
  };
  return { time, queue, stop: end };
}

test("a key that is added many times is done once, and again when it is added while it is done", async () => {
  const log: string[] = [];
  let go = () => {};
  const { queue, stop } = open(async (key) => {
    log.push(key);
    await new Promise<void>((resolve) => {
      go = resolve;
    });
    return undefined;
  });
  for (const key of ["a", "a", "a"]) queue.add(key);
  await settle();
  expect(log).toEqual(["a"]);
  queue.add("a");
  queue.add("a");
  await settle();
  expect(log).toEqual(["a"]);
  go();
  await settle();
  expect(log).toEqual(["a", "a"]);
  go();
  await queue.settled();
  expect(queue.size).toBe(0);
  await stop();
});

test("a key that fails waits longer each time, and keeps no other back", async () => {
  const log: string[] = [];
  let isBroken = true;
  const { queue, time, stop } = open(
    async (key) => {
      log.push(`${key}@${time.now()}`);
      if (key === "bad" && isBroken) throw new Error("no");
      return undefined;
    },
    { workers: 1 },
  );
  queue.add("bad");
  queue.add("good");
  await settle();
  expect(log).toEqual(["bad@0", "good@0"]);
  for (let ms = 0; ms < 2900; ms += 50) await time.advance(50);
  expect(log).toEqual(["bad@0", "good@0", "bad@100", "bad@300", "bad@700", "bad@1500", "bad@2500"]);
  expect(queue.failing).toEqual(["bad"]);
  expect(queue.oldest).toBe(2900);
  // Something changed: it is tried at once.
  isBroken = false;
  queue.add("bad");
  await settle();
  expect(log.at(-1)).toBe("bad@2900");
  expect([queue.size, queue.oldest]).toEqual([0, 0]);
  await stop();
});

test("work that wants to be called again is, and a key that is due later can be brought forward", async () => {
  const log: string[] = [];
  const { queue, time, stop } = open(async (key) => {
    log.push(`${key}@${time.now()}`);
    return key === "tick" ? 1000 : undefined;
  });
  queue.add("tick");
  queue.addAfter("later", 5000);
  await settle();
  for (let ms = 0; ms < 2000; ms += 100) await time.advance(100);
  queue.addAfter("later", 100);
  await time.advance(100);
  expect(log).toEqual(["tick@0", "tick@1000", "tick@2000", "later@2100"]);
  await stop();
});

test("at most so many at once, and the end waits for those", async () => {
  let [now, most, done] = [0, 0, 0];
  const gates: (() => void)[] = [];
  const { queue, stop } = open(
    async () => {
      most = Math.max(most, ++now);
      await new Promise<void>((resolve) => gates.push(resolve));
      now--;
      done++;
      return undefined;
    },
    { workers: 3 },
  );
  for (const key of "abcdefgh") queue.add(key);
  await settle();
  expect([now, most]).toEqual([3, 3]);
  gates.shift()!();
  await settle();
  expect([now, most]).toEqual([3, 3]);
  const stopped = stop();
  for (const gate of gates) gate();
  await stopped;
  expect(done).toBe(4);
});
