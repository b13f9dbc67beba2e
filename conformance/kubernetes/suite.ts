import { describe } from "vitest";
import { apiServerMissing } from "../../lib/kubernetes/testing/index.ts";
import { missingBuild } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { MODES, type Mode } from "./cluster.ts";

const missing = apiServerMissing() ?? missingBuild();

/** A suite against an API server, once for each way of storing Calico's kinds. Where there can be none it is skipped, and its name says why. */
export function describeModes(name: string, suite: (mode: Mode) => void): void {
  describe.each(MODES)("%s", (mode) => {
    describe.skipIf(missing !== undefined)(missing ? `${name} (skipped: ${missing})` : name, () => suite(mode));
  });
}

/** The same, for a suite that needs the lab as well. */
export function describeLabModes(name: string, suite: (mode: Mode) => void): void {
  describe.each(MODES)("%s", (mode) => describeLab(name, () => suite(mode), missing));
}
