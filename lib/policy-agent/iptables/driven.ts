/** How the behaviour suite opens this dataplane, in a process of its own inside the router's namespace. */
import type { Dataplane, Programs } from "../rules/index.ts";
import { openIptables } from "./index.ts";
import type { IptablesOptions } from "./options.ts";

export function open(programs: Programs, options: unknown): Promise<Dataplane> {
  return openIptables({ programs, ...(options as Omit<IptablesOptions, "programs">) });
}
