import {
  assignForCaller,
  checkForCaller,
  collectForCaller,
  releaseForCaller,
  serveVerbs,
  statusOfPlugin,
} from "../../lib/attach/index.ts";
import { processIo } from "../calico-cni/stdio.ts";

/** The IPAM plugin, for CNI plugins that delegate to it. Answers with the exit status. */
export function main(_args: readonly string[], env: Readonly<Record<string, string | undefined>>): Promise<number> {
  return serveVerbs(
    {
      add: assignForCaller,
      del: releaseForCaller,
      check: checkForCaller,
      gc: collectForCaller,
      status: statusOfPlugin,
    },
    { ...processIo(env), component: "ipam" },
  );
}
