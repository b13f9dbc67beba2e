import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "vitest";
import { openClient } from "../datastore/index.ts";
import { type EtcdServer, findEtcd, memoryClient, startEtcd } from "../datastore/testing.ts";
import { describeAllocator } from "./suite.ts";

describeAllocator("memory", { open: async () => memoryClient() });

describeAllocator("memory without transactions", {
  open: async () => memoryClient({ capabilities: { atomicBatch: false } }),
});

let folder = "";
let files = 0;
describeAllocator("sqlite", {
  start: async () => {
    folder = mkdtempSync(join(tmpdir(), "ipam-"));
  },
  open: () => openClient({ type: "sqlite", file: join(folder, `${files++}.db`), synchronous: "normal" }),
  close: async () => rmSync(folder, { recursive: true }),
});

if (findEtcd() === undefined) {
  describe("allocator on etcd", () => test.skip("skipped: there is no etcd executable on this machine", () => {}));
} else {
  let server: EtcdServer;
  describeAllocator("etcd", {
    start: async () => {
      server = await startEtcd();
    },
    open: async () => {
      const everything = Buffer.from("\0").toString("base64");
      await server.call("/v3/kv/deleterange", { key: everything, range_end: everything });
      return openClient(server.config);
    },
    close: () => server.stop(),
  });
}
