import { beforeEach, describe, expect, test } from "vitest";
import { BlockAffinity, newBlockAffinity } from "../api/blockaffinity.ts";
import { ClusterInformation, newClusterInformation } from "../api/clusterinformation.ts";
import { IPAMBlock, ipamBlockRef, newIPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle, newIPAMHandle } from "../api/ipamhandle.ts";
import { IPPool } from "../api/ippool.ts";
import { API_VERSION } from "../api/meta.ts";
import { Profile } from "../api/profile.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { createExtra, deleteExtra, extraObject, type Fixture } from "./fixture.suite.ts";
import { addNode, addPool, affinities, blocks, handles, owners, reserve, setConfig } from "./testing.ts";

/** How addresses and blocks are given back, and everything that looks at them. */
export function describeReleasing(f: Fixture): void {
  describe("releasing", () => {
    beforeEach(() => addPool(f.client, "p", "10.0.0.0/24", { blockSize: 28 }));

    test("by handle frees all it holds, and the handle", async () => {
      await addPool(f.client, "p6", "fd00::/120", { blockSize: 126 });
      const got = await f.assign("n1", "h", { num4: 20, num6: 5 });
      expect([...(await f.ipam.releaseByHandle("h")).addresses].sort()).toEqual(got.sort());
      expect(await handles(f.client)).toEqual({});
      expect((await owners(f.client)).size).toBe(0);
      expect(await f.ipam.releaseByHandle("h")).toEqual({ addresses: [], found: false });
    });

    test("keeps an empty block that has an owner", async () => {
      await f.assign("n1", "h");
      await f.ipam.releaseByHandle("h");
      expect((await affinities(f.client)).length).toBe(1);
    });

    test("by address lowers the count of its handle, and each address only once", async () => {
      const got = await f.assign("n1", "h", { num4: 3 });
      const outcomes = await f.ipam.releaseAddresses([
        { address: got[0]! },
        { address: got[0]! },
        { address: "10.0.0.200" },
        { address: "172.16.0.1" },
      ]);
      expect(outcomes.map(({ outcome }) => outcome)).toEqual([
        "released",
        "released",
        "not-allocated",
        "not-allocated",
      ]);
      expect(Object.values((await handles(f.client)).h!)).toEqual([2]);
      expect(await f.ipam.releaseAddresses([{ address: got[0]! }])).toEqual([
        { address: got[0]!, outcome: "not-allocated" },
      ]);
      await f.ipam.releaseAddresses(got.slice(1).map((address) => ({ address })));
      expect(await handles(f.client)).toEqual({});
    });

    test("is refused when the address was assigned again since, or belongs to another handle", async () => {
      const { v4 } = await f.ipam.autoAssign({ num4: 16, host: "n1", handle: "old", use: "Workload" });
      const { address, sequenceNumber } = v4[0]!;
      await f.ipam.releaseByHandle("old");
      await f.assign("n1", "new", { num4: 16 });
      const [stale, foreign] = await f.ipam.releaseAddresses([
        { address, sequenceNumber },
        { address: v4[1]!.address, handle: "old" },
      ]);
      expect(stale).toMatchObject({ outcome: "refused", reason: expect.stringMatching(/assigned again/) });
      expect(foreign).toMatchObject({ outcome: "refused", reason: "it belongs to new, not to old" });
      expect((await owners(f.client)).size).toBe(16);
      const [now] = (await f.ipam.ipsByHandle("new")).filter((one) => one.address === address);
      const right = { address, sequenceNumber: now!.sequenceNumber, handle: "new" };
      expect((await f.ipam.releaseAddresses([right]))[0]!.outcome).toBe("released");
    });

    test("a released address cools down before it is assigned again", async () => {
      await addPool(f.client, "tiny", "10.9.0.0/32", { blockSize: 32 });
      await setConfig(f.client, { ipCooldownSeconds: 60 });
      const pools4 = ["tiny"];
      await f.assign("n1", "a", { pools4 });
      await f.ipam.releaseByHandle("a");
      expect(await handles(f.client)).toEqual({});
      expect(await f.ipam.allocationOf("10.9.0.0")).toMatchObject({
        releasedAt: "2026-01-01T00:00:00Z",
        attributes: {},
      });
      expect((await f.ipam.releaseAddresses([{ address: "10.9.0.0" }]))[0]!.outcome).toBe("not-allocated");
      await f.refused(f.assign("n1", "b", { pools4 }), "IPAM_POOL_EXHAUSTED", /1 of 1 addresses in use/);
      f.clock.advance(60);
      expect(await f.assign("n1", "b", { pools4 })).toEqual(["10.9.0.0"]);
    });

    test("cooled addresses of blocks that nobody touches are collected on demand", async () => {
      await setConfig(f.client, { ipCooldownSeconds: 60 });
      await f.assign("n1", "a", { num4: 2 });
      await f.ipam.releaseByHandle("a");
      expect(await f.ipam.collectCooled()).toBe(0);
      f.clock.advance(61);
      expect(await f.ipam.collectCooled()).toBe(2);
      expect((await blocks(f.client))[0]!.spec.attributes).toEqual([]);
    });

    test("a block without an owner goes with its last address", async () => {
      await f.assign("n1", "a");
      const { released } = await f.ipam.releaseOwner({ type: "host", name: "n1" });
      expect(released.length).toBe(1);
      expect((await blocks(f.client))[0]!.spec.affinity).toBeUndefined();
      expect(await affinities(f.client)).toEqual([]);
      await f.ipam.releaseByHandle("a");
      expect(await blocks(f.client)).toEqual([]);
    });

    test("a handle that counts too much is removed all the same, and its block is written", async () => {
      await f.assign("n1", "other");
      const [block] = await blocks(f.client);
      await f.client.create(IPAMHandle, newIPAMHandle("h", { [block!.spec.cidr]: 1, "10.0.0.240/28": 1 }));
      expect(await f.ipam.releaseByHandle("h")).toEqual({ addresses: [], found: true });
      expect((await blocks(f.client))[0]!.spec.sequenceNumber).toBe(block!.spec.sequenceNumber + 1n);
    });
  });

  describe("what a handle and an address are", () => {
    test("can be asked for", async () => {
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize: 28 });
      const attributes = { pod: "a", node: "n1" };
      const { v4 } = await f.ipam.autoAssign({ num4: 1, host: "n1", handle: "h", use: "Workload", attributes });
      const { address, block, sequenceNumber } = v4[0]!;
      const expected = { address, block, handle: "h", attributes, sequenceNumber };
      expect(await f.ipam.ipsByHandle("h")).toEqual([expected]);
      expect(await f.ipam.allocationOf(address)).toEqual(expected);
      expect(await f.ipam.ipsByHandle("none")).toEqual([]);
      expect(await f.ipam.allocationOf("10.0.0.250")).toBeUndefined();
    });
  });

  describe("an attempt that is made again", () => {
    beforeEach(() => addPool(f.client, "p", "10.0.0.0/24", { blockSize: 28 }));

    test("gets what it had, and only what is missing in addition", async () => {
      const first = await f.assign("n1", "h", { num4: 1 });
      expect(await f.assign("n1", "h", { num4: 1, reuse: true })).toEqual(first);
      const both = await f.assign("n1", "h", { num4: 2, reuse: true });
      expect(both[0]).toBe(first[0]);
      expect(both.length).toBe(2);
      expect(Object.values((await handles(f.client)).h!)).toEqual([2]);
    });

    test("gets what it had also when the block has to be claimed again", async () => {
      const first = await f.assign("n1", "h");
      const [row] = (await f.client.list(BlockAffinity)).items;
      row!.spec.state = "pendingDeletion";
      await f.client.update(BlockAffinity, row!);
      const both = await f.assign("n1", "h", { num4: 2, reuse: true });
      expect(both[0]).toBe(first[0]);
      expect(both.length).toBe(2);
    });

    test("corrects a count that was left too high", async () => {
      await f.client.create(IPAMHandle, newIPAMHandle("h", { "10.0.0.0/28": 1 }));
      await f.assign("n1", "h", { reuse: true });
      expect(Object.values((await handles(f.client)).h!)).toEqual([1]);
    });

    test("writes what the caller adds also when it has all it needs", async () => {
      await f.assign("n1", "h");
      await f.assign("n1", "h", { reuse: true, alsoWrite: () => [createExtra("x")] });
      expect(await f.client.get(Profile, { name: "x" })).toBeDefined();
    });
  });

  describe("operations of the caller", () => {
    beforeEach(() => addPool(f.client, "p", "10.0.0.0/24", { blockSize: 28 }));

    test("are written with the assignment and know it", async () => {
      let seen = "";
      const [address] = await f.assign("n1", "h", {
        alsoWrite: ({ v4 }) => {
          seen = v4[0]!.address;
          return [createExtra("x")];
        },
      });
      expect(seen).toBe(address);
      expect(await f.client.get(Profile, { name: "x" })).toBeDefined();
    });

    test("that are refused undo the assignment", async () => {
      await f.client.create(Profile, extraObject("x"));
      const alsoWrite = () => [createExtra("y"), createExtra("x")];
      await expect(f.assign("n1", "h", { num4: 2, alsoWrite })).rejects.toMatchObject({ code: "EXISTS" });
      await expect(f.ipam.assignIp({ address: "10.0.0.1", host: "n1", handle: "h", alsoWrite })).rejects.toMatchObject({
        code: "EXISTS",
      });
      expect((await owners(f.client)).size).toBe(0);
      expect(await handles(f.client)).toEqual({});
      expect(await f.client.get(Profile, { name: "y" })).toBeUndefined();
    });

    test("are made anew on every attempt, so that a conflict of theirs can be resolved", async () => {
      await f.client.create(Profile, extraObject("x"));
      let calls = 0;
      await f.assign("n1", "h", { alsoWrite: () => (++calls === 1 ? [createExtra("x")] : [createExtra("y")]) });
      expect(calls).toBe(2);
      expect((await owners(f.client)).size).toBe(1);
    });

    test("are written with the release, also when there is nothing to release", async () => {
      await f.client.create(Profile, extraObject("x"));
      await f.client.create(Profile, extraObject("z"));
      await f.assign("n1", "h");
      await f.ipam.releaseByHandle("h", { alsoWrite: () => [deleteExtra("x")] });
      await f.ipam.releaseByHandle("h", { alsoWrite: () => [deleteExtra("z")] });
      const { name } = Profile.builtIn!;
      expect((await f.client.list(Profile)).items.map(({ metadata }) => metadata.name)).toEqual([name]);
    });
  });

  describe("affinities", () => {
    beforeEach(() => addPool(f.client, "p", "10.0.0.0/26", { blockSize: 28 }));
    const n1 = { type: "host", name: "n1" } as const;
    const n2 = { type: "host", name: "n2" } as const;
    const row = (state: "pending" | "confirmed" | "pendingDeletion", cidr: string, node = "n1") =>
      f.client.create(BlockAffinity, newBlockAffinity({ type: "host", node, cidr, state }));
    const block = (cidr: string, affinity?: string) =>
      f.client.create(IPAMBlock, newIPAMBlock({ cidr, ...(affinity ? { affinity } : {}), sequenceNumber: 5n }));

    test("of a whole pool can be claimed, except for what others have", async () => {
      await f.ipam.claimAffinity("10.0.0.16/28", n2);
      expect(await f.ipam.claimAffinity("10.0.0.0/26", n1)).toEqual({
        claimed: ["10.0.0.0/28", "10.0.0.32/28", "10.0.0.48/28"],
        taken: ["10.0.0.16/28"],
      });
      await f.refused(f.ipam.claimAffinity("10.0.0.0/30", n1), "IPAM_INVALID", /smaller than a block/);
      await f.refused(f.ipam.claimAffinity("10.9.0.0/26", n1), "IPAM_NOT_IN_POOL", /in no IP pool/);
    });

    test("are given up by owner, by pool, and only when empty if that is asked for", async () => {
      await f.ipam.claimAffinity("10.0.0.0/27", n1);
      await f.ipam.claimAffinity("10.0.0.32/27", n2);
      await f.ipam.assignIp({ address: "10.0.0.1", host: "n1", handle: "h" });
      expect(await f.ipam.releaseOwner(n1, { mustBeEmpty: true })).toEqual({
        released: ["10.0.0.16/28"],
        notEmpty: ["10.0.0.0/28"],
      });
      const inPool = await f.ipam.releaseAffinities("10.0.0.0/26", { owner: n2 });
      expect(inPool.released).toEqual(["10.0.0.32/28", "10.0.0.48/28"]);
      await f.ipam.releaseAffinities("10.0.0.0/26");
      expect(await affinities(f.client)).toEqual([]);
      expect((await owners(f.client)).get("10.0.0.1")).toBe("h");
    });

    test.each(["pending", "pendingDeletion", "confirmed"] as const)(
      "%s without a block: the claim is finished",
      async (state) => {
        await row(state, "10.0.0.16/28");
        expect(await f.assign("n1", "h")).toEqual(["10.0.0.16"]);
        expect(await affinities(f.client)).toEqual(["host:n1 10.0.0.16/28 confirmed"]);
      },
    );

    test.each(["pending", "pendingDeletion"] as const)(
      "%s with a block: confirmed after the block is written",
      async (state) => {
        await row(state, "10.0.0.16/28");
        await block("10.0.0.16/28", "host:n1");
        expect(await f.assign("n1", "h")).toEqual(["10.0.0.16"]);
        const stored = await f.client.get(IPAMBlock, ipamBlockRef("10.0.0.16/28"));
        expect(stored!.spec.sequenceNumber).toBe(7n);
        expect(stored!.spec.sequenceNumberForAllocation).toEqual({ "0": 6n });
      },
    );

    test("for a block that is another's: deleted", async () => {
      await row("confirmed", "10.0.0.16/28");
      await row("confirmed", "10.0.0.16/28", "n2");
      await block("10.0.0.16/28", "host:n2");
      await f.assign("n1", "h");
      expect((await affinities(f.client)).filter((text) => text.includes("10.0.0.16"))).toEqual([
        "host:n2 10.0.0.16/28 confirmed",
      ]);
    });

    test("make sure of a block", async () => {
      const first = await f.ipam.ensureBlock({ host: "n1", versions: [4] });
      expect(await f.ipam.ensureBlock({ host: "n1", versions: [4] })).toEqual(first);
      expect((await blocks(f.client)).map(({ spec }) => spec.cidr)).toEqual([first.v4]);
    });
  });

  describe("configuration", () => {
    test("has upstream's defaults, and refuses what contradicts itself", async () => {
      expect(await f.ipam.configuration()).toEqual({
        strictAffinity: false,
        autoAllocateBlocks: true,
        maxBlocksPerHost: 0,
        kubeVirtVMAddressPersistence: "Enabled",
        ipCooldownSeconds: 0,
      });
      await f.refused(f.ipam.configure({ autoAllocateBlocks: false }), "IPAM_CONFIG", /autoAllocateBlocks/);
      await f.ipam.configure({ strictAffinity: true, maxBlocksPerHost: 3 });
      await f.ipam.configure({ ipCooldownSeconds: 9 });
      expect(await f.ipam.configuration()).toMatchObject({
        strictAffinity: true,
        maxBlocksPerHost: 3,
        ipCooldownSeconds: 9,
      });
    });
  });

  describe("utilisation", () => {
    test("discounts reservations, also where no block is yet, and counts what is both only once as unavailable", async () => {
      await addPool(f.client, "p", "10.0.0.0/26", { blockSize: 28 });
      await f.ipam.assignIp({ address: "10.0.0.1", host: "n1", handle: "h", attributes: { node: "n2" } });
      await f.ipam.assignIp({ address: "10.0.0.9", host: "n1", handle: "h", attributes: { node: "n1" } });
      await reserve(f.client, "r", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.32/29");
      const report = await f.ipam.utilisation();
      expect(report.pools).toEqual([
        {
          name: "p",
          cidr: "10.0.0.0/26",
          capacity: 64n,
          inUse: 2n,
          reserved: 12n,
          available: 64n - 12n - 1n,
          blocks: [
            {
              cidr: "10.0.0.0/28",
              affinity: "host:n1",
              borrowed: 1,
              capacity: 16n,
              inUse: 2n,
              reserved: 4n,
              available: 11n,
            },
          ],
        },
      ]);
      await f.client.delete(IPPool, { name: "p" });
      expect((await f.ipam.utilisation()).orphans.map(({ cidr }) => cidr)).toEqual(["10.0.0.0/28"]);
      await f.refused(f.ipam.utilisation(["p"]), "IPAM_POOL_NOT_FOUND", /no IP pool "p"/);
    });
  });

  describe("splitting a pool", () => {
    test("needs a locked datastore, and keeps blocks and addresses", async () => {
      await addPool(f.client, "p", "10.0.0.0/26", { blockSize: 28, natOutgoing: true });
      await f.ipam.assignIp({ address: "10.0.0.40", host: "n1", handle: "h" });
      await f.refused(f.ipam.splitPool("p", 2), "IPAM_NOT_LOCKED", /migrate lock/);
      const information = newClusterInformation({ calicoVersion: "v1", clusterType: "test" });
      information.spec.datastoreReady = false;
      await f.client.create(ClusterInformation, information);
      await f.refused(f.ipam.splitPool("p", 3), "IPAM_INVALID", /power of two/);
      await f.refused(f.ipam.splitPool("p", 8), "IPAM_INVALID", /smaller than the blocks/);
      expect(await f.ipam.splitPool("p", 2)).toEqual({
        removed: "p",
        created: [
          { name: "split-p-0", cidr: "10.0.0.0/27" },
          { name: "split-p-1", cidr: "10.0.0.32/27" },
        ],
      });
      const pools = (await f.client.list(IPPool)).items;
      expect(pools.map(({ spec }) => [spec.cidr, spec.disabled ?? false, spec.natOutgoing, spec.blockSize])).toEqual([
        ["10.0.0.0/27", false, true, 28],
        ["10.0.0.32/27", false, true, 28],
      ]);
      expect((await f.ipam.allocationOf("10.0.0.40"))?.handle).toBe("h");
      expect((await f.ipam.check({ endpoints: false })).findings).toEqual([]);
    });
  });

  describe("check and repair", () => {
    const kinds = async (endpoints = false) =>
      (await f.ipam.check({ endpoints })).findings.map(({ kind }) => kind).sort();
    const endpoint = (address: string): WorkloadEndpoint => ({
      apiVersion: API_VERSION,
      kind: "WorkloadEndpoint",
      metadata: { name: "n1-k8s-w-eth0", namespace: "default" },
      spec: {
        node: "n1",
        orchestrator: "k8s",
        pod: "w",
        endpoint: "eth0",
        ipNetworks: [`${address}/32`],
        interfaceName: "cali1",
      },
    });
    beforeEach(() => addPool(f.client, "p", "10.0.0.0/26", { blockSize: 28 }));

    test("find nothing in a sound datastore", async () => {
      const [address] = await f.assign("n1", "h");
      await addNode(f.client, "n1");
      await f.client.create(WorkloadEndpoint, endpoint(address!));
      expect(await f.ipam.check()).toEqual({
        findings: [],
        blocks: 1,
        allocations: 1,
        handles: 1,
        affinities: 1,
        cooling: 0,
      });
    });

    test("handles: missing, empty, and with wrong counts", async () => {
      await f.assign("n1", "lost");
      await f.assign("n1", "wrong");
      const [block] = await blocks(f.client);
      const { cidr } = block!.spec;
      await f.client.delete(IPAMHandle, { name: "lost", spec: { handleID: "lost" } });
      const wrong = (await f.client.get(IPAMHandle, { name: "wrong", spec: { handleID: "wrong" } }))!;
      wrong.spec.block = { [cidr]: 3, "10.0.0.48/28": 1 };
      await f.client.update(IPAMHandle, wrong);
      await f.client.create(IPAMHandle, newIPAMHandle("empty", { [cidr]: 1 }));
      expect(await kinds()).toEqual(["handle-count", "handle-count", "handle-empty", "handle-missing"]);
      const report = await f.ipam.repair();
      expect(report.remaining).toEqual([]);
      expect(report.repaired.length).toBe(4);
      expect(await handles(f.client)).toEqual({ lost: { [cidr]: 1 }, wrong: { [cidr]: 1 } });
    });

    test("affinities without block, blocks without affinity, and two owners of one block", async () => {
      const make = (node: string, cidr: string, state: "pending" | "confirmed") =>
        f.client.create(BlockAffinity, newBlockAffinity({ type: "host", node, cidr, state }));
      const block = (cidr: string, affinity: string) =>
        f.client.create(IPAMBlock, newIPAMBlock({ cidr, affinity, sequenceNumber: 1n }));
      await make("n1", "10.0.0.0/28", "confirmed");
      await block("10.0.0.16/28", "host:n2");
      await make("n1", "10.0.0.16/28", "confirmed");
      await block("10.0.0.32/28", "host:n3");
      await make("n3", "10.0.0.32/28", "pending");
      expect(await kinds()).toEqual([
        "affinity-of-another",
        "affinity-without-block",
        "block-without-affinity",
        "block-without-affinity",
      ]);
      expect((await f.ipam.repair()).remaining).toEqual([]);
      expect(await blocks(f.client)).toEqual([]);
    });

    test("a block in use without an affinity becomes its owner's again", async () => {
      await f.assign("n1", "h");
      const [row] = (await f.client.list(BlockAffinity)).items;
      await f.client.delete(BlockAffinity, { name: row!.metadata.name, spec: row!.spec });
      expect((await f.ipam.repair()).remaining).toEqual([]);
      expect((await affinities(f.client))[0]).toMatch(/^host:n1 .* confirmed$/);
    });

    test("corrupt blocks", async () => {
      await f.assign("n1", "h", { num4: 3 });
      const [block] = await blocks(f.client);
      block!.spec.unallocated = [0, 5, 5, 6];
      block!.spec.attributes.push({ handle_id: "nobody" });
      await f.client.update(IPAMBlock, block!);
      expect(new Set(await kinds())).toEqual(new Set(["block-corrupt"]));
      expect((await f.ipam.repair()).remaining).toEqual([]);
      expect((await f.assign("n1", "rest", { num4: 13 })).length).toBe(13);
    });

    test("addresses and blocks of nodes that do not exist are released only when that is asked for", async () => {
      await addNode(f.client, "n1");
      await f.assign("n1", "alive");
      await f.assign("gone", "dead", { attributes: { node: "gone" }, num4: 2 });
      expect(await kinds()).toEqual(["affinity-node-gone", "node-gone", "node-gone"]);
      expect((await f.ipam.repair()).remaining.length).toBe(3);
      expect((await f.ipam.repair({ goneNodes: true })).remaining).toEqual([]);
      expect([...(await owners(f.client)).values()]).toEqual(["alive"]);
      expect((await blocks(f.client)).length).toBe(1);
    });

    test("where there are no Node resources at all, no node counts as gone", async () => {
      await f.assign("n1", "h");
      expect(await kinds()).toEqual([]);
    });

    test("addresses that nothing uses, that are used but not allocated, and that no pool contains", async () => {
      const [address] = await f.assign("n1", "h");
      await f.client.create(WorkloadEndpoint, endpoint("10.0.0.63"));
      expect(await kinds(true)).toEqual(["not-allocated", "not-in-use"]);
      expect((await f.ipam.repair({ unused: true })).remaining.map(({ kind }) => kind)).toEqual(["not-allocated"]);
      expect((await owners(f.client)).has(address!)).toBe(false);
      await f.assign("n1", "i");
      await f.client.delete(IPPool, { name: "p" });
      expect(await kinds()).toEqual(["outside-pools"]);
    });

    test("what cools down is neither in use nor leaked", async () => {
      await setConfig(f.client, { ipCooldownSeconds: 60 });
      await f.assign("n1", "h");
      await f.ipam.releaseByHandle("h");
      expect(await f.ipam.check()).toMatchObject({ findings: [], allocations: 0, cooling: 1 });
    });

    test("overlapping blocks are pointed out and left alone", async () => {
      await f.ipam.claimAffinity("10.0.0.0/28", { type: "host", name: "n1" });
      await f.client.create(IPAMBlock, newIPAMBlock({ cidr: "10.0.0.0/30", sequenceNumber: 1n }));
      expect(await kinds()).toEqual(["blocks-overlap"]);
      expect((await f.ipam.repair()).remaining.length).toBe(1);
    });
  });
}
