import { describe } from "vitest";
import { missingForLab } from "./prerequisites.ts";

/** A suite that stands on the lab. Where there can be none it is skipped, and its name says why. */
export function describeLab(name: string, suite: () => void, alsoMissing?: string): void {
  const missing = missingForLab() ?? alsoMissing;
  describe.skipIf(missing !== undefined)(missing ? `${name} (skipped: ${missing})` : name, suite);
}
