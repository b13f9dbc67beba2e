import { runAndEnd } from "../calico-cni/run.ts";

/** The IPAM plugin, for CNI plugins that delegate to it. Answers with the exit status. */
export function main(_args: readonly string[], env: Readonly<Record<string, string | undefined>>): Promise<number> {
  return runAndEnd(() => import("./verbs.ts"), env);
}
