/** Explain, the oracle and the kernel on each dataplane agree about random flows through random policies: see differential/. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { missingBuild, missingTool } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { compare, DifferentialBed, describeDisagreement } from "./differential/index.ts";
import { DATAPLANES, type DataplaneName } from "./world.ts";

/** With fewer flows each of more cases, more rules have a flow that shows what they do. */
const CASES = 40;
const FLOWS = 50;

const TOOLS: Readonly<Record<DataplaneName, readonly string[]>> = {
  nftables: ["conntrack"],
  "iptables-nft": ["conntrack", "iptables-nft-restore", "ipset"],
  "iptables-legacy": ["conntrack", "iptables-legacy-restore", "ipset"],
};

for (const dataplane of DATAPLANES) {
  describeLab(
    `explain, oracle and kernel agree about ${CASES * FLOWS} flows on ${dataplane}`,
    () => {
      let bed: DifferentialBed;
      beforeAll(async () => {
        bed = await DifferentialBed.create(dataplane);
      });
      afterAll(() => bed?.dispose());

      for (let seed = 1; seed <= CASES; seed++) {
        test(`seed ${seed}`, async () => {
          const { flows, disagreements } = await compare(bed, seed, FLOWS);
          expect(disagreements.map(describeDisagreement).join("\n")).toBe("");
          expect(flows).toBe(FLOWS);
        });
      }
    },
    missingBuild() ?? TOOLS[dataplane].map(missingTool).find((tool) => tool !== undefined),
  );
}
