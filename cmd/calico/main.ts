/**
 * The one executable. Which program runs is decided as upstream's multi-call `calico` decides it: by the name it was
 * called by, by CNI_COMMAND, or by the first argument. Each program is a chunk of its own that only its import() reads.
 */
import { chooseProgram } from "./choose.ts";

const { program, args } = chooseProgram(
  process.argv0.slice(process.argv0.lastIndexOf("/") + 1),
  process.argv.slice(2),
  process.env,
);

switch (program) {
  case "calico-cni":
    process.exitCode = await (await import("../calico-cni/main.ts")).main(args, process.env);
    break;
  case "calico-ipam-plugin":
    process.exitCode = await (await import("../calico-ipam/plugin.ts")).main(args, process.env);
    break;
  case "calico-ipam":
    process.exitCode = await (await import("../calico-ipam/main.ts")).main(args, process.env);
    break;
  case "calicoctl":
    process.exitCode = await (await import("../calicoctl/main.ts")).main(args, process.env);
    break;
  default:
    process.exitCode = await (await import("./help.ts")).main(args);
}
