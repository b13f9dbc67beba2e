import { expect, test } from "vitest";
import { IPPool } from "../../api/ippool.ts";
import { type Client, DatastoreError } from "../../datastore/index.ts";
import { memoryClient } from "../../datastore/testing.ts";
import { createContext } from "../context.ts";
import { addPool } from "../testing.ts";
import { Warm } from "./warm.ts";

test("a pool that cannot be read counts as absent, also where the watch tells what it was before", async () => {
  const plain = memoryClient();
  await addPool(plain, "good", "10.0.0.0/16");
  await addPool(plain, "spoilt", "10.1.0.0/16");
  const before = (await plain.get(IPPool, { name: "spoilt" }))!;
  await plain.delete(IPPool, { name: "spoilt" });
  const error = new DatastoreError("INVALID", "ippools spoilt: spec.cidr: 3: must be a CIDR");
  const watch = async function* (...[kind, options]: Parameters<Client["watch"]>) {
    const isPools = kind.kind === "IPPool";
    if (isPools) yield { type: "added", resource: before, revision: "1" };
    for await (const event of plain.watch(kind, options)) {
      if (isPools && event.type === "synced") yield { type: "invalid", key: "ippools spoilt", error, revision: "1" };
      yield event;
    }
  };
  let refusals = 1;
  const client = {
    get: (kind, ref) => plain.get(kind, ref),
    list: async (kind, index) => {
      if (kind.kind === "IPPool" && refusals-- > 0) throw new DatastoreError("UNAVAILABLE", "not now");
      return plain.list(kind, index);
    },
    watch,
  } as Partial<Client> as Client;
  const stop = new AbortController();
  const warm = new Warm(createContext(client, {}), "n1", stop.signal);
  await warm.inSync;
  expect(warm.facts()!.pools.map(({ name }) => name)).toEqual(["good"]);
  await addPool(plain, "later", "10.2.0.0/16");
  for (const deadline = Date.now() + 20_000; warm.facts()!.pools.length < 2 && Date.now() < deadline; )
    await new Promise((resolve) => setTimeout(resolve, 5));
  expect(warm.facts()!.pools.map(({ name }) => name)).toEqual(["good", "later"]);
  stop.abort();
  await plain.close();
});
