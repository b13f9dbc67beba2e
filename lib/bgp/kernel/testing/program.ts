/** Programs routes until it is killed: `program.ts NAMESPACE COUNT`. */
import { parseAddress } from "../../../ip/index.ts";
import { openNamespace } from "../../../sys/index.ts";
import { openKernelTable } from "../index.ts";

const [path = "", count = "0"] = process.argv.slice(2);
const table = await openKernelTable({
  protocol: 12,
  checkInterval: 60_000,
  namespace: openNamespace(path),
  onLocal: () => {},
  onProblems: () => {},
});
const nextHops = [parseAddress("10.0.0.9")];
for (let i = 0; i < Number(count); i++) {
  const destination = { version: 4 as const, base: 0x14000000n + BigInt(i), length: 32 };
  table.setLearned(destination, { destination, nextHops, metric: 1024, overridesLocal: false });
}
await table.settled();
