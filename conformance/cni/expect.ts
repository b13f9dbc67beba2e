import { expect } from "vitest";
import type { CniOutcome } from "../lab/index.ts";
import { type Cluster, interfaces } from "./cluster.ts";
import { contradictions, NOTHING, remains } from "./records.ts";
import { errorFaults } from "./result.ts";

/** No pod has left anything behind: no record, no address, no handle, and no interface on any node. */
export async function expectNothingLeft(cluster: Cluster): Promise<void> {
  const records = await cluster.records();
  expect(remains(records)).toEqual(NOTHING);
  expect(contradictions(records)).toEqual([]);
  for (const node of cluster.nodes) expect(await interfaces(node), node.name).toEqual([]);
}

export function expectSuccess(outcome: CniOutcome): void {
  expect(`${outcome.status} ${outcome.stderr}${outcome.status === 0 ? "" : outcome.stdout}`).toBe("0 ");
}

/** A well-formed error object on stdout, exit status 1, and nothing that only a programmer would want to see. */
export function expectError(outcome: CniOutcome, code: number | undefined, message?: RegExp): void {
  const error = outcome.json as { code: number; msg: string; details?: string } | undefined;
  expect(errorFaults(error), outcome.stdout + outcome.stderr).toEqual([]);
  expect(outcome.signal).toBeNull();
  expect(outcome.status).toBe(1);
  if (message) expect(`${error?.msg}; ${error?.details ?? ""}`).toMatch(message);
  if (code !== undefined) expect({ code: error?.code, msg: error?.msg }).toMatchObject({ code });
  expect(outcome.stdout + outcome.stderr).not.toMatch(/^\s+at .*[:(]\d+|\$bunfs/m);
}
