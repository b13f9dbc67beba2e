/**
 * The one executable. Which program runs is decided as upstream's multi-call `calico` decides it: by the name it was
 * called by, by CNI_COMMAND, or by the first argument. The command lines are chunks that only their import() reads. The plugins,
 * which start for every pod, are not: each chunk between here and a verb's code costs a new process a little.
 */
import * as cni from "../calico-cni/main.ts";
import * as ipamPlugin from "../calico-ipam/plugin.ts";
import { chooseProgram } from "./choose.ts";
import * as calico from "./help.ts";

const { program, args } = chooseProgram(
  process.argv0.slice(process.argv0.lastIndexOf("/") + 1),
  process.argv.slice(2),
  process.env,
);

switch (program) {
  case "calico-cni":
    process.exitCode = await cni.main(args, process.env);
    break;
  case "calico-ipam-plugin":
    process.exitCode = await ipamPlugin.main(args, process.env);
    break;
  case "calico-ipam":
    process.exitCode = await (await import("../calico-ipam/main.ts")).main(args, process.env);
    break;
  case "calicoctl":
    process.exitCode = await (await import("../calicoctl/main.ts")).main(args, process.env);
    break;
  case "calico-node":
    process.exitCode = await (await import("../calico-node/main.ts")).main(args, process.env);
    // Whatever a daemon still has open when it ends, must not keep it.
    process.exit();
    break;
  case "calico-kube-controllers":
    process.exitCode = await (await import("../calico-kube-controllers/main.ts")).main(args, process.env);
    process.exit();
    break;
  default:
    process.exitCode = await calico.main(args);
}
