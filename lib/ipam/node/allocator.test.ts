import { memoryClient } from "../../datastore/testing.ts";
import { describeAllocator } from "../suite.ts";
import { fleet } from "./fleet.suite.ts";

describeAllocator("memory, by node allocators", { open: async () => memoryClient(), fleet });

describeAllocator("memory without transactions, by node allocators", {
  open: async () => memoryClient({ capabilities: { atomicBatch: false } }),
  fleet,
});
