import { describe, test } from "vitest";
import { openClient } from "../../datastore/index.ts";
import { type EtcdServer, findEtcd, startEtcd } from "../../datastore/testing.ts";
import { describeAllocator } from "../suite.ts";
import { fleet } from "./fleet.suite.ts";

if (findEtcd() === undefined) {
  describe("allocator on etcd, by node allocators", () =>
    test.skip("skipped: there is no etcd executable on this machine", () => {}));
} else {
  let server: EtcdServer;
  describeAllocator("etcd, by node allocators", {
    start: async () => {
      server = await startEtcd();
    },
    open: async () => {
      const everything = Buffer.from("\0").toString("base64");
      await server.call("/v3/kv/deleterange", { key: everything, range_end: everything });
      return openClient(server.config);
    },
    close: () => server.stop(),
    fleet,
  });
}
