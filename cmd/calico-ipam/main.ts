import { type Env, type Io, type Program, processIo, runProgram } from "../../lib/cli/index.ts";
import { VERSION } from "../../lib/telemetry/index.ts";
import { GLOBAL_OPTIONS } from "../calicoctl/connect.ts";
import { IPAM_COMMANDS } from "./commands/index.ts";

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
  // Upstream's node agent starts its plugin so, before it lets the plugin assign addresses.
  if (first === "-upgrade" || first === "--upgrade") {
    io.stderr.write(
      "calico-ipam -upgrade imports the addresses that the host-local plugin assigned on this node. This version cannot do that yet.\n" +
        "Drain the node and recreate its pods instead: they then get addresses of Calico's pools. Nothing was changed.\n",
    );
    return 1;
  }
  return runProgram(PROGRAM, argv, env, io);
}
