import type { Command } from "../../../lib/cli/index.ts";
import { check } from "./check.ts";
import { configure } from "./configure.ts";
import { release } from "./release.ts";
import { show } from "./show.ts";
import { split } from "./split.ts";

/** The commands of `calico-ipam`, which are those of `calicoctl ipam`, too. */
export const IPAM_COMMANDS: readonly Command[] = [check, release, show, split, configure];

/** Examples are written for `calico-ipam`; below another program they begin with its command. */
export function below(prefix: string, commands: readonly Command[]): Command[] {
  return commands.map((command) => ({
    ...command,
    examples: (command.examples ?? []).map((example) => ({ ...example, line: `${prefix} ${example.line}` })),
  }));
}
