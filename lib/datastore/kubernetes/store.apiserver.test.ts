import { describe, test } from "vitest";
import { apiServerMissing, startApiServer } from "../../kubernetes/testing/index.ts";
import { clientSuite } from "../suite/index.ts";
import { apiServerSubject } from "./testing.ts";

const missing = apiServerMissing();

for (const group of ["v1", "v3"] as const) {
  const name = `Kubernetes, ${group}`;
  if (missing) describe(name, () => test.skip(`skipped: ${missing}`, () => {}));
  else clientSuite(name, async () => apiServerSubject(await startApiServer({ crds: group }), group));
}
