import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MemoryData, memoryClient } from "../datastore/testing.ts";
import { IpamError } from "./errors.ts";
import { addNode, addPool, cluster, reserve, setConfig } from "./testing.ts";

const codeOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "",
    (error: unknown) => {
      if (!(error instanceof IpamError)) throw error;
      return error.code;
    },
  );

describe("whether a node could be given an address", () => {
  test("is what an assignment then finds, and asking changes nothing", async () => {
    const hosts = ["n1", "n2", "n3"] as const;
    const cases = fc.record({
      strictAffinity: fc.boolean(),
      autoAllocateBlocks: fc.boolean(),
      maxBlocksPerHost: fc.constantFrom(0, 1, 2),
      ipCooldownSeconds: fc.constantFrom(0, 3600),
      selector: fc.constantFrom("", "rack == 'a'", "rack == 'b'"),
      reserved: fc.constantFrom("10.0.0.0/29", "10.0.0.0/28", "10.9.0.0/28", "10.0.0.4/30"),
      asked: fc.constantFrom([], ["p"], ["q"], ["none"]),
      second: fc.boolean(),
      holds: fc.array(fc.record({ host: fc.constantFrom(...hosts), num4: fc.integer({ min: 1, max: 6 }) }), {
        maxLength: 5,
      }),
      released: fc.boolean(),
      hours: fc.constantFrom(0, 24),
    });
    const seen = new Set<string>();
    type Case = typeof cases extends fc.Arbitrary<infer T> ? T : never;
    const check = async (one: Case): Promise<void> => {
      const data = new MemoryData();
      const client = memoryClient({ data });
      const { ipam, clock } = cluster(client);
      await addPool(client, "p", "10.0.0.0/28", { blockSize: 30 });
      await addNode(client, "n1", { rack: "a" });
      for (const [index, { host, num4 }] of one.holds.entries())
        await codeOf(ipam.autoAssign({ num4, host, handle: `h${index}`, use: "Workload" }));
      await setConfig(client, { ...one });
      if (one.released) await ipam.releaseByHandle("h0");
      clock.advance(one.hours * 3600);
      await reserve(client, "r", one.reserved);
      if (one.second) await addPool(client, "q", "10.1.0.0/30", { blockSize: 30, nodeSelector: one.selector });
      const request = { num4: 1, host: "n1", use: "Workload", pools4: one.asked } as const;
      const { revision } = data;
      const answer = await codeOf(ipam.requireRoom(request));
      expect(data.revision).toBe(revision);
      seen.add(answer);
      expect(answer).toBe(await codeOf(ipam.autoAssign(request)));
    };
    await fc.assert(fc.asyncProperty(cases, check), { numRuns: 200 });
    expect([...seen].sort()).toEqual(["", "IPAM_POOL_EXHAUSTED", "IPAM_POOL_NOT_FOUND"]);
  });

  test("says why not, by pool", async () => {
    const client = memoryClient();
    const { ipam } = cluster(client);
    const ask = ipam.requireRoom({ num4: 1, num6: 1, host: "n1", use: "Workload" });
    await expect(ask).rejects.toMatchObject({ code: "IPAM_NO_POOLS", message: expect.stringContaining("IPv4") });
    await addPool(client, "p", "10.0.0.0/24", { nodeSelector: "rack == 'a'" });
    const selected = ipam.requireRoom({ num4: 1, host: "n1", use: "Workload" });
    await expect(selected).rejects.toMatchObject({ code: "IPAM_NO_POOLS", message: expect.stringContaining("rack") });
  });

  test("takes up a claim that was cut short, but not another's block", async () => {
    const client = memoryClient();
    const { ipam } = cluster(client);
    await addPool(client, "p", "10.0.0.0/30", { blockSize: 30 });
    await setConfig(client, { strictAffinity: true });
    const { BlockAffinity, newBlockAffinity } = await import("../api/blockaffinity.ts");
    const pending = { type: "host", node: "n1", cidr: "10.0.0.0/30", state: "pending" } as const;
    await client.create(BlockAffinity, newBlockAffinity(pending));
    const request = { num4: 1, host: "n1", use: "Workload" } as const;
    await ipam.requireRoom(request);
    const { IPAMBlock, newIPAMBlock } = await import("../api/ipamblock.ts");
    const block = { cidr: "10.0.0.0/30", affinity: "host:n2", sequenceNumber: 1n };
    await client.create(IPAMBlock, newIPAMBlock({ ...block, affinityClaimTime: "2026-01-01T00:00:00Z" }));
    expect(await codeOf(ipam.requireRoom(request))).toBe("IPAM_POOL_EXHAUSTED");
  });
});

describe("pools that select namespaces", () => {
  test("have room for pods of any namespace when it is not known for which", async () => {
    const client = memoryClient();
    const { ipam } = cluster(client);
    await addPool(client, "p", "10.0.0.0/26", { namespaceSelector: "team == 'blue'", allowedUses: ["Workload"] });
    const request = { num4: 1, host: "n1", use: "Workload" } as const;
    await ipam.requireRoom({ ...request, namespaceLabels: "any" });
    await ipam.requireRoom({ ...request, namespaceLabels: { team: "blue" } });
    expect(await codeOf(ipam.requireRoom(request))).toBe("IPAM_NO_POOLS");
  });

  test("are refused with the family that was asked for", async () => {
    const { ipam } = cluster(memoryClient());
    const refused = async (pools: object): Promise<unknown> =>
      ipam.autoAssign({ num4: 1, num6: 1, host: "n1", use: "Workload", ...pools }).catch((error: unknown) => error);
    expect(await refused({ pools4: ["none"] })).toMatchObject({ code: "IPAM_POOL_NOT_FOUND", family: 4 });
    expect(await refused({})).toMatchObject({ code: "IPAM_NO_POOLS", family: 4 });
  });
});
