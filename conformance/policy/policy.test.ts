/**
 * What policies do, seen from nine pods, their node and a machine outside, with the built agent enforcing: every case of cases/ on every dataplane.
 * The same cases' expectations are compared with the oracle (oracle.test.ts), so that a mistake in one is not a mistake in both.
 */
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { missingBuild, missingTool } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { CASES } from "./cases/index.ts";
import { DATAPLANES, type DataplaneName, World } from "./world.ts";

const TOOLS: Readonly<Record<DataplaneName, readonly string[]>> = {
  nftables: [],
  "iptables-nft": ["iptables-nft-restore", "ipset"],
  "iptables-legacy": ["iptables-legacy-restore", "ipset"],
};

/** Whether two documents are about one resource: everything before the specification is the same. */
function isSame(a: string, b: string): boolean {
  return a.split("\nspec:")[0] === b.split("\nspec:")[0];
}

for (const dataplane of DATAPLANES) {
  const missing = missingBuild() ?? TOOLS[dataplane].map(missingTool).find((tool) => tool !== undefined);
  describeLab(
    `policy on ${dataplane}`,
    () => {
      let world: World;
      let applied: string[] = [];
      beforeAll(async () => {
        world = await World.create(dataplane);
      });
      afterEach(async () => {
        if (applied.length > 0) await world.delete(applied.toReversed().join("---\n"));
        applied = [];
      });
      afterAll(() => world?.dispose());

      const holds = async (
        resources: readonly string[],
        checks: Parameters<World["differences"]>[0],
      ): Promise<void> => {
        for (const resource of resources) if (!applied.some((one) => isSame(one, resource))) applied.push(resource);
        if (resources.length > 0) await world.apply(resources.join("---\n"));
        expect(await world.differences(checks)).toEqual([]);
      };

      for (const [about, cases] of Object.entries(CASES)) {
        describe(about, () => {
          for (const one of cases) {
            const reason = one.notOn?.[dataplane];
            if (reason !== undefined) {
              test.skip(`${one.name} [skipped: ${reason}]`, () => {});
              continue;
            }
            test(one.name, async () => {
              await holds(one.resources, one.checks);
              if (one.after) await holds(one.after.resources, one.after.checks);
            });
          }
        });
      }
    },
    missing,
  );
}
