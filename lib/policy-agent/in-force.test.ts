import { expect, test } from "vitest";
import type { LocalWorkload } from "./calc/index.ts";
import { InForce } from "./in-force.ts";

const workload = (mac: string): LocalWorkload => ({ mac }) as LocalWorkload;
const isMac = (mac: string) => (found: LocalWorkload) => found.mac === mac;
const never = new AbortController().signal;

/** Whether it has resolved by now. */
async function settled(promise: Promise<void>): Promise<boolean> {
  let done = false;
  void promise.then(
    () => {
      done = true;
    },
    () => {},
  );
  await new Promise((resolve) => setImmediate(resolve));
  return done;
}

test("what is in force already is not waited for", async () => {
  const inForce = new InForce();
  inForce.set(new Map([["a", workload("1")]]));
  await inForce.when("a", isMac("1"), never);
});

test("a workload that comes into force wakes those that wait for it, and nobody else", async () => {
  const inForce = new InForce();
  const one = inForce.when("a", isMac("1"), never);
  const again = inForce.when("a", isMac("1"), never);
  const other = inForce.when("b", isMac("1"), never);
  inForce.set(new Map([["a", workload("1")]]));
  await Promise.all([one, again]);
  expect(await settled(other)).toBe(false);
});

test("one of the name that is not the one does not count, before or after", async () => {
  const inForce = new InForce();
  inForce.set(new Map([["a", workload("old")]]));
  const waits = inForce.when("a", isMac("new"), never);
  inForce.set(new Map([["a", workload("old")]]));
  expect(await settled(waits)).toBe(false);
  inForce.set(new Map());
  expect(await settled(waits)).toBe(false);
  inForce.set(new Map([["a", workload("new")]]));
  await waits;
});

test("waiting ends with the signal, and what comes later wakes nobody", async () => {
  const inForce = new InForce();
  const stop = new AbortController();
  const waits = inForce.when("a", isMac("1"), stop.signal);
  stop.abort(new Error("too late"));
  await expect(waits).rejects.toThrow("too late");
  await expect(inForce.when("a", isMac("1"), stop.signal)).rejects.toThrow("too late");
  inForce.set(new Map([["a", workload("1")]]));
});
