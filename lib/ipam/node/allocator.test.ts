import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openClient } from "../../datastore/index.ts";
import { memoryClient } from "../../datastore/testing.ts";
import { describeAllocator } from "../suite.ts";
import { fleet } from "./fleet.suite.ts";

describeAllocator("memory, by node allocators", { open: async () => memoryClient(), fleet });

describeAllocator("memory without transactions, by node allocators", {
  open: async () => memoryClient({ capabilities: { atomicBatch: false } }),
  fleet,
});

let folder = "";
let files = 0;
describeAllocator("sqlite, by node allocators", {
  start: async () => {
    folder = mkdtempSync(join(tmpdir(), "ipam-node-"));
  },
  open: () => openClient({ type: "sqlite", file: join(folder, `${files++}.db`), synchronous: "normal" }),
  close: async () => rmSync(folder, { recursive: true }),
  fleet,
});
