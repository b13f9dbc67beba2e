import { lazyPlugin, runPlugin } from "../../lib/cni/index.ts";
import { processIo } from "../calico-cni/stdio.ts";

/** The IPAM plugin, for CNI plugins that delegate to it. Answers with the exit status. */
export function main(_args: readonly string[], env: Readonly<Record<string, string | undefined>>): Promise<number> {
  return runPlugin(
    lazyPlugin(async () => (await import("./verbs.ts")).plugin),
    processIo(env),
  );
}
