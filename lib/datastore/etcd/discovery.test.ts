import { expect, test } from "vitest";
import { DatastoreError } from "../errors.ts";
import { discoverEndpoints } from "./discovery.ts";

const record = (name: string, port: number, priority: number, weight = 0) => ({ name, port, priority, weight });

test("SRV records name the endpoints, those with TLS first, by priority and weight", async () => {
  const records: Record<string, ReturnType<typeof record>[]> = {
    "_etcd-client-ssl._tcp.example.org": [record("c.example.org", 2379, 2), record("a.example.org.", 2379, 1, 5)],
    "_etcd-client._tcp.example.org": [record("d.example.org", 2380, 0)],
  };
  expect(await discoverEndpoints("example.org", async (name) => records[name]!)).toEqual([
    "https://a.example.org:2379",
    "https://c.example.org:2379",
    "http://d.example.org:2380",
  ]);
});

test("a domain without records is UNAVAILABLE by name", async () => {
  const found = discoverEndpoints("example.org", () => Promise.reject(new Error("ENOTFOUND")));
  await expect(found).rejects.toThrow(DatastoreError);
  await expect(found).rejects.toThrow("example.org has no SRV records");
});
