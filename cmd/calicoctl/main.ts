import { type Env, type Io, type Program, processIo, runProgram } from "../../lib/cli/index.ts";
import { below, IPAM_COMMANDS } from "../calico-ipam/commands/index.ts";
import { deleteCommand } from "./commands/delete.ts";
import { explainCommand, probeCommand } from "./commands/explain.ts";
import { getCommand } from "./commands/get.ts";
import { nodeCommand } from "./commands/node.ts";
import { versionCommand } from "./commands/version.ts";
import { applyCommand, createCommand } from "./commands/write.ts";
import { GLOBAL_OPTIONS } from "./connect.ts";

const PROGRAM: Program = {
  name: "calicoctl",
  summary: "Manage Calico's resources.",
  description:
    "Create, update, show and delete Calico's resources, and manage how addresses are assigned.\n\n" +
    "The datastore is sqlite at /var/lib/calico/datastore.db unless DATASTORE_TYPE,\n" +
    "DATASTORE_FILE, ETCD_ENDPOINTS or the file of --config say otherwise.",
  options: GLOBAL_OPTIONS,
  commands: [
    createCommand,
    applyCommand,
    getCommand,
    deleteCommand,
    explainCommand,
    probeCommand,
    {
      name: "ipam",
      summary: "Inspect and manage how addresses are assigned",
      commands: below("ipam", IPAM_COMMANDS),
    },
    nodeCommand,
    versionCommand,
  ],
};

/** Answers the exit status. */
export async function main(argv: readonly string[], env: Env, io: Io = processIo()): Promise<number> {
  return runProgram(PROGRAM, argv, env, io);
}
