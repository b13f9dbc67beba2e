/** The dataplane as the behaviour suite's process opens it. */
import type { Dataplane, Programs } from "../rules/index.ts";
import { type NftablesOptions, openNftables } from "./index.ts";

export function open(programs: Programs, options: unknown): Promise<Dataplane> {
  return openNftables({ ...(options as Omit<NftablesOptions, "programs">), programs });
}
