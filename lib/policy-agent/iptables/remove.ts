/** Clearing away what a Calico with iptables left, for a node that now uses something else. */
import { DataplaneError, type IpVersion, Program } from "../rules/index.ts";
import { IptablesDataplane, requireTools } from "./dataplane.ts";
import type { IptablesOptions } from "./options.ts";

export interface RemoveOptions extends Pick<IptablesOptions, "backend" | "namespace" | "lockTimeout" | "lockFile"> {
  readonly versions: readonly IpVersion[];
  /** The other back end is in use: both use the same sets, which therefore stay. */
  readonly keepSets?: boolean;
}

/**
 * Removes every chain and rule of Calico's of the back end, of any version of it, then the sets that nothing refers to any more, and nothing else.
 * Nothing to do when the tools are not there. Throws {@link DataplaneError} for what was refused.
 */
export async function removeIptables(options: RemoveOptions): Promise<void> {
  const { versions, keepSets = false, ...rest } = options;
  try {
    requireTools(options.backend, versions);
  } catch (error) {
    if (error instanceof DataplaneError && error.code === "DATAPLANE_TOOL_MISSING") return;
    throw error;
  }
  const v4 = new Program(4);
  const programs = versions.includes(6) ? { v4, v6: new Program(6) } : { v4 };
  const problems = await new IptablesDataplane({ ...rest, programs }).clear(!keepSets);
  if (problems.length > 0) throw new DataplaneError("DATAPLANE_REFUSED", problems.join("; "));
}
