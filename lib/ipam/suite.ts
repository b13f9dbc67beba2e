import { afterAll, beforeAll, beforeEach, describe, expect } from "vitest";
import type { Client } from "../datastore/index.ts";
import { describeAssigning } from "./assign.suite.ts";
import { Fixture } from "./fixture.suite.ts";
import type { Fleet } from "./node/fleet.suite.ts";
import { describeReleasing } from "./release.suite.ts";
import { contradictions } from "./testing.ts";

/** Where the suite runs. */
export interface SuiteDatastore {
  /** An empty datastore. */
  open(): Promise<Client>;
  start?(): Promise<void>;
  /** The end of all of them. */
  close?(): Promise<void>;
  /** The allocator, when it is not createIpam's. */
  readonly fleet?: () => Fleet;
}

/** The rules of the allocator, on one datastore. After every test the stored data must not contradict itself. */
export function describeAllocator(title: string, datastore: SuiteDatastore): void {
  describe(`allocator on ${title}`, () => {
    const f = new Fixture();
    beforeAll(() => datastore.start?.());
    afterAll(() => datastore.close?.());
    beforeEach(async () => {
      const fleet = datastore.fleet?.();
      f.open(await datastore.open(), fleet?.make);
      return async () => {
        await fleet?.close();
        expect(await contradictions(f.client)).toEqual([]);
        await f.client.close();
      };
    });
    describeAssigning(f);
    describeReleasing(f);
  });
}
