import { describeDataplane, kernelSubject } from "../rules/testing.ts";

for (const backend of ["nft", "legacy"] as const) {
  describeDataplane(
    kernelSubject({ name: `iptables-${backend}`, module: import.meta.resolve("./driven.ts"), options: { backend } }),
  );
}
