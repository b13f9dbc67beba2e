/**
 * What goes wrong on a node, done on purpose to the built agent: through all of it nothing that has to be denied passes, what is established goes on,
 * and what is enforced in the end is what the datastore says. Each part of the list is a file of faults/.
 */
import { afterAll, beforeAll, describe } from "vitest";
import { missingBuild, missingTool } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { absenceTests } from "./faults/absences.ts";
import { Bed } from "./faults/bed.ts";
import { crashTests } from "./faults/crashes.ts";
import { loadTests } from "./faults/load.ts";
import { outageTests } from "./faults/outage.ts";
import { repairTests } from "./faults/repairs.ts";
import { resourceTests } from "./faults/resources.ts";
import { supervisionTests } from "./faults/supervision.ts";
import { changeOfDataplaneTests, takeoverTests } from "./faults/takeover.ts";
import { DATAPLANES, type DataplaneName } from "./world.ts";

const TOOLS: Readonly<Record<DataplaneName, readonly string[]>> = {
  nftables: ["nft"],
  "iptables-nft": ["iptables-nft-restore", "ipset", "nft"],
  "iptables-legacy": ["iptables-legacy-restore", "ipset"],
};

for (const dataplane of DATAPLANES) {
  describeLab(
    `faults on ${dataplane}`,
    () => {
      let bed: Bed;
      beforeAll(async () => {
        bed = await Bed.create({ dataplane });
      });
      afterAll(() => bed?.dispose());
      const parts: Readonly<Record<string, (bed: () => Bed, dataplane: DataplaneName) => void>> = {
        "others change what is enforced": repairTests,
        "killed while it changes the kernel": crashTests,
        "no agent for a while": absenceTests,
        "much to do": loadTests,
        "one agent after another": takeoverTests,
        // What these are about is the same whatever enforces.
        ...(dataplane === "nftables"
          ? {
              "from one way to enforce to another": changeOfDataplaneTests,
              "the supervisor": supervisionTests,
              "resources that are wrong": resourceTests,
            }
          : {}),
      };
      for (const [name, tests] of Object.entries(parts)) describe(name, () => tests(() => bed, dataplane));
    },
    missingBuild() ?? TOOLS[dataplane].map(missingTool).find((tool) => tool !== undefined),
  );
}

describeLab(
  "faults of the datastore",
  outageTests,
  missingBuild() ?? missingTool("etcd") ?? missingTool("etcdctl") ?? missingTool("nft"),
);
