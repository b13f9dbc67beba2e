import { describeDataplane, kernelSubject } from "../rules/testing.ts";

describeDataplane(kernelSubject({ name: "nftables", module: import.meta.resolve("./driven.ts") }));
