import { describe, expect, test } from "vitest";
import { askUntilServed } from "./boot.ts";
import type { Served } from "./client.ts";

/** A node on which policy comes into force and the agent serves, each after so many milliseconds; undefined: never. */
async function wait(options: { force?: number; serves?: number; patience?: number; grace?: number }) {
  let now = 0;
  let told = 0;
  let asked = 0;
  const answer: Served = await askUntilServed(
    { forceMs: options.patience ?? 10_000, serveMs: options.grace ?? 1_000 },
    {
      ask: async () => {
        asked++;
        return now >= (options.serves ?? Number.POSITIVE_INFINITY)
          ? { served: true }
          : { served: false, why: "nobody" };
      },
      isOpen: () => now < (options.force ?? Number.POSITIVE_INFINITY),
      tell: () => {
        told++;
      },
      pause: async (milliseconds) => {
        now += milliseconds;
      },
      now: () => now,
    },
  );
  return { served: answer.served, now, told, asked };
}

describe("an ADD that no agent serves", () => {
  test("does not wait where policy is in force", async () => {
    expect(await wait({ force: 0 })).toEqual({ served: false, now: 0, told: 0, asked: 0 });
  });

  test("waits for policy and the agent after a boot, and says so once", async () => {
    expect(await wait({ force: 3_000, serves: 3_250 })).toMatchObject({ served: true, now: 3_300, told: 1 });
  });

  test("is given back when there is no policy in time, and soon when there is policy and nobody who serves", async () => {
    expect(await wait({})).toMatchObject({ served: false, now: 10_000, told: 1 });
    expect(await wait({ patience: 50 })).toMatchObject({ served: false, now: 50, asked: 1 });
    expect(await wait({ force: 3_000 })).toMatchObject({ served: false, now: 4_000 });
    expect(await wait({ force: 3_000, grace: 0 })).toMatchObject({ served: false, now: 3_000 });
    expect(await wait({ force: 9_500 })).toMatchObject({ served: false, now: 10_000 });
  });

  test("ends with the error of the agent that took it", async () => {
    const failing = askUntilServed(
      { forceMs: 10_000, serveMs: 1_000 },
      {
        ask: async () => {
          throw new Error("no address is left");
        },
        isOpen: () => true,
        tell() {},
        pause: async () => {},
        now: () => 0,
      },
    );
    await expect(failing).rejects.toThrow("no address is left");
  });
});
