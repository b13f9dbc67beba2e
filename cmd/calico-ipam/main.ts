import { type Env, type Io, type Program, processIo, runProgram } from "../../lib/cli/index.ts";
import { VERSION } from "../../lib/telemetry/index.ts";
import { GLOBAL_OPTIONS } from "../calicoctl/connect.ts";
import { IPAM_COMMANDS } from "./commands/index.ts";
import { upgrade } from "./upgrade.ts";

const PROGRAM: Program = {
  name: "calico-ipam",
  summary: "Inspect and manage how addresses are assigned.",
  description:
    "Inspect and manage how Calico assigns addresses. When a container runtime calls this\n" +
    "program (CNI_COMMAND is set), it is the IPAM plugin of the CNI specification instead.\n\n" +
    "The datastore is sqlite at /var/lib/calico/datastore.db unless DATASTORE_TYPE,\n" +
    "DATASTORE_FILE, ETCD_ENDPOINTS or the file of --config say otherwise.",
  options: GLOBAL_OPTIONS,
  commands: IPAM_COMMANDS,
};

/** The command line for people; answers the exit status. */
export async function main(argv: readonly string[], env: Env, io: Io = processIo()): Promise<number> {
  const [first] = argv;
  if (first === "-v" || first === "--version" || first === "version") {
    io.stdout.write(`${VERSION}\n`);
    return 0;
  }
  if (first === "-upgrade" || first === "--upgrade") return upgrade(io);
  return runProgram(PROGRAM, argv, env, io);
}
