import { describe } from "vitest";
import { missingForVm } from "./index.ts";

/** A suite that needs the virtual machine. Where there can be none it is skipped, and its name says why. */
export function describeVm(name: string, suite: () => void, alsoMissing?: string): void {
  const missing = missingForVm() ?? alsoMissing;
  describe.skipIf(missing !== undefined)(missing ? `${name} (skipped: ${missing})` : name, suite);
}
