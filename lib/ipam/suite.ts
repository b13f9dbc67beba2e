/** The rules of the allocator, as a suite that runs on every datastore. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { BlockAffinity, newBlockAffinity } from "../api/blockaffinity.ts";
import { ClusterInformation, newClusterInformation } from "../api/clusterinformation.ts";
import { IPAMBlock, ipamBlockRef, newIPAMBlock } from "../api/ipamblock.ts";
import { IPAMHandle, newIPAMHandle } from "../api/ipamhandle.ts";
import { IPPool } from "../api/ippool.ts";
import { API_VERSION } from "../api/meta.ts";
import { Profile } from "../api/profile.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import type { Client, Operation } from "../datastore/index.ts";
import { IpamError, type IpamErrorCode } from "./errors.ts";
import {
  addNode,
  addPool,
  affinities,
  blocks,
  type Cluster,
  cluster,
  contradictions,
  handles,
  owners,
  reserve,
  setConfig,
} from "./testing.ts";
import type { AutoAssignRequest } from "./types.ts";

export interface SuiteDatastore {
  /** An empty datastore. */
  open(): Promise<Client>;
  /** Of all of them. */
  close?(): Promise<void>;
  start?(): Promise<void>;
}

/** A profile as a stand-in for whatever a caller writes with an assignment. */
export function extraObject(name: string): Profile {
  return { apiVersion: API_VERSION, kind: "Profile", metadata: { name }, spec: {} };
}

export const createExtra = (name: string): Operation => ({
  op: "create",
  kind: Profile as unknown as Extract<Operation, { op: "create" }>["kind"],
  resource: extraObject(name),
});

const deleteExtra = (name: string): Operation => ({ op: "delete", kind: createExtra(name).kind, ref: { name } });

export function describeAllocator(title: string, datastore: SuiteDatastore): void {
  describe(`allocator on ${title}`, () => {
    let c: Cluster;
    let client: Client;
    beforeAll(() => datastore.start?.());
    afterAll(() => datastore.close?.());
    beforeEach(async () => {
      client = await datastore.open();
      c = cluster(client);
      return async () => {
        expect(await contradictions(client)).toEqual([]);
        await client.close();
      };
    });
    const assign = async (host: string, handle: string, more: Partial<AutoAssignRequest> = {}): Promise<string[]> => {
      const { v4, v6 } = await c.ipam.autoAssign({ num4: 1, host, handle, use: "Workload", ...more });
      return [...v4, ...v6].map(({ address }) => address);
    };
    const failure = async (promise: Promise<unknown>): Promise<IpamError> => {
      const error = await promise.then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(IpamError);
      return error as IpamError;
    };
    const refused = async (promise: Promise<unknown>, code: IpamErrorCode, text: RegExp): Promise<void> => {
      const error = await failure(promise);
      expect(error.code).toBe(code);
      expect(error.message).toMatch(text);
    };

    describe("assigning", () => {
      test("claims a block for the node, confirms it, and takes addresses from it in order", async () => {
        await addPool(client, "p", "10.0.0.0/24", { blockSize: 28 });
        const result = await c.ipam.autoAssign({
          num4: 2,
          host: "n1",
          handle: "net.c1",
          use: "Workload",
          attributes: { pod: "web", namespace: "prod", node: "n1" },
        });
        const [block] = await blocks(client);
        expect(await affinities(client)).toEqual([`host:n1 ${block!.spec.cidr} confirmed`]);
        expect(block!.spec.affinity).toBe("host:n1");
        expect(block!.spec.affinityClaimTime).toBe("2026-01-01T00:00:00Z");
        expect(block!.spec.sequenceNumber).toBeGreaterThan(2n ** 53n);
        expect(block!.spec.attributes).toEqual([
          { handle_id: "net.c1", secondary: { pod: "web", namespace: "prod", node: "n1" } },
        ]);
        expect(result.v4.map(({ block: cidr, pool }) => [cidr, pool])).toEqual([
          [block!.spec.cidr, "p"],
          [block!.spec.cidr, "p"],
        ]);
        expect(result.v4[0]!.sequenceNumber).toBe(block!.spec.sequenceNumber - 1n);
        expect(await handles(client)).toEqual({ "net.c1": { [block!.spec.cidr]: 2 } });
        const base = block!.spec.cidr.split("/")[0];
        expect(result.v4[0]!.address).toBe(base);
      });

      test("every write of a block raises its sequence number by one", async () => {
        await addPool(client, "p", "10.0.0.0/26");
        await assign("n1", "a");
        const before = (await blocks(client))[0]!.spec.sequenceNumber;
        await assign("n1", "b");
        await c.ipam.releaseByHandle("b");
        expect((await blocks(client))[0]!.spec.sequenceNumber).toBe(before + 2n);
      });

      test("fills the node's own block before it claims another", async () => {
        await addPool(client, "p", "10.0.0.0/28", { blockSize: 30 });
        for (let i = 0; i < 5; i++) await assign("n1", `h${i}`);
        expect((await blocks(client)).map(({ spec }) => spec.unallocated.length).sort()).toEqual([0, 3]);
      });

      test("one request may take from several blocks", async () => {
        await addPool(client, "p", "10.0.0.0/28", { blockSize: 30 });
        expect(new Set(await assign("n1", "h", { num4: 10 })).size).toBe(10);
        expect(Object.values((await handles(client)).h!).sort()).toEqual([2, 4, 4]);
      });

      test("two nodes claim different blocks", async () => {
        await addPool(client, "p", "10.0.0.0/28", { blockSize: 30 });
        await assign("n1", "a");
        await assign("n2", "b");
        expect(new Set((await blocks(client)).map(({ spec }) => spec.affinity))).toEqual(
          new Set(["host:n1", "host:n2"]),
        );
      });

      test("concurrent requests get different addresses", async () => {
        await addPool(client, "p", "10.0.0.0/27", { blockSize: 29 });
        const requests = Array.from({ length: 24 }, (_, i) => assign(`n${i % 3}`, `h${i}`));
        const all = (await Promise.all(requests)).flat();
        expect(new Set(all).size).toBe(24);
      });

      test("IPv6", async () => {
        await addPool(client, "p6", "fd00:10::/112", { blockSize: 126 });
        const [address] = await assign("n1", "h", { num4: 0, num6: 1 });
        expect(address).toMatch(/^fd00:10::/);
        expect(Object.keys((await handles(client)).h!)[0]).toMatch(/\/126$/);
      });

      test("both families together, in one handle", async () => {
        await addPool(client, "p4", "10.0.0.0/28", { blockSize: 30 });
        await addPool(client, "p6", "fd00::/120", { blockSize: 126 });
        const result = await c.ipam.autoAssign({ num4: 1, num6: 1, host: "n1", handle: "h", use: "Workload" });
        expect([result.v4.length, result.v6.length]).toEqual([1, 1]);
        expect(Object.values((await handles(client)).h!)).toEqual([1, 1]);
      });

      test("both families or none", async () => {
        await addPool(client, "p4", "10.0.0.0/28", { blockSize: 30 });
        await addPool(client, "p6", "fd00::/126", { blockSize: 126 });
        await assign("n2", "full", { num4: 0, num6: 4 });
        await refused(assign("n1", "h", { num4: 1, num6: 1 }), "IPAM_POOL_EXHAUSTED", /IPv6/);
        expect([...(await owners(client)).values()]).toEqual(["full", "full", "full", "full"]);
        expect(Object.keys(await handles(client))).toEqual(["full"]);
      });

      test("all addresses of a request or none", async () => {
        await addPool(client, "p", "10.0.0.0/29", { blockSize: 30 });
        await refused(assign("n1", "h", { num4: 9 }), "IPAM_POOL_EXHAUSTED", /8 of 8|is full/);
        expect((await owners(client)).size).toBe(0);
      });

      test("without a handle", async () => {
        await addPool(client, "p", "10.0.0.0/28", { blockSize: 30 });
        await c.ipam.autoAssign({ num4: 1, host: "n1", use: "Workload" });
        expect(await handles(client)).toEqual({});
        expect((await owners(client)).size).toBe(1);
      });

      test("numbers that are none are refused by name", async () => {
        await refused(assign("n1", "h", { num4: -1 }), "IPAM_INVALID", /^num4: -1/);
        await refused(assign("", "h"), "IPAM_INVALID", /^host/);
      });

      test("a handle is cut at a carriage return", async () => {
        await addPool(client, "p", "10.0.0.0/28", { blockSize: 30 });
        await assign("n1", "cid\reth0");
        expect(Object.keys(await handles(client))).toEqual(["cid"]);
        expect((await c.ipam.releaseByHandle("cid\rother")).addresses.length).toBe(1);
      });
    });

    describe("pools", () => {
      test("that are disabled, being deleted, not allocatable, manual or for another use are passed over, and named", async () => {
        await addPool(client, "disabled", "10.1.0.0/26", { disabled: true });
        await addPool(client, "deleting", "10.2.0.0/26", {}, { deletionTimestamp: "2026-01-01T00:00:00Z" });
        await addPool(client, "manual", "10.4.0.0/26", { assignmentMode: "Manual" });
        await addPool(client, "tunnels", "10.5.0.0/26", { allowedUses: ["Tunnel"] });
        await addPool(client, "six", "fd00::/122");
        const error = await failure(assign("n1", "h"));
        expect(error.code).toBe("IPAM_NO_POOLS");
        expect(error.message).toMatch(
          /^no IPv4 pool may be used by node n1: deleting .*is being deleted; disabled .*is disabled; manual .*Manual.*; tunnels .*is for Tunnel, not for Workload$/,
        );
        expect(error.pools.map(({ pool }) => pool)).toEqual(["deleting", "disabled", "manual", "tunnels"]);
        await addPool(client, "good", "10.6.0.0/26");
        expect((await assign("n1", "h"))[0]).toMatch(/^10\.6\./);
        expect((await assign("n1", "t", { use: "Tunnel", pools4: ["tunnels"] }))[0]).toMatch(/^10\.5\./);
      });

      test("whose condition Allocatable is False are passed over", async () => {
        const conditions = [{ type: "Allocatable", status: "False" as const, reason: "CIDROverlap", message: "" }];
        await addPool(client, "overlapping", "10.3.0.0/26", {}, { status: { conditions } });
        await refused(assign("n1", "h"), "IPAM_NO_POOLS", /CIDROverlap/);
      });

      test("none at all is said so", async () => {
        await refused(assign("n1", "h"), "IPAM_NO_POOLS", /there is no IPv4 pool; make one/);
      });

      test("are chosen by the node's labels; a Node that does not exist has none", async () => {
        await addPool(client, "a", "10.1.0.0/26", { nodeSelector: "rack == 'a'" });
        await addPool(client, "b", "10.2.0.0/26", { nodeSelector: "rack == 'b'" });
        await addNode(client, "n1", { rack: "b" });
        expect((await assign("n1", "h1"))[0]).toMatch(/^10\.2\./);
        await refused(assign("ghost", "h2"), "IPAM_NO_POOLS", /a .*nodeSelector rack == 'a'.*; b /);
        expect((await assign("ghost", "h3", { nodeLabels: { rack: "a" } }))[0]).toMatch(/^10\.1\./);
      });

      test("are chosen by the namespace's labels", async () => {
        await addPool(client, "red", "10.1.0.0/26", { namespaceSelector: "team == 'red'", allowedUses: ["Workload"] });
        await refused(assign("n1", "h"), "IPAM_NO_POOLS", /namespaceSelector team == 'red'/);
        expect((await assign("n1", "h", { namespaceLabels: { team: "red" } }))[0]).toMatch(/^10\.1\./);
      });

      test("asked for by name or CIDR are used whatever they select, in that order", async () => {
        await addPool(client, "a", "10.1.0.0/30", { blockSize: 30, nodeSelector: "x == 'y'" });
        await addPool(client, "b", "10.2.0.0/30", { blockSize: 30, assignmentMode: "Manual" });
        const pools4 = ["b", "10.1.0.0/30"];
        const got = [await assign("n1", "h1", { num4: 4, pools4 }), await assign("n1", "h2", { pools4 })].flat();
        expect(got.map((address) => address.slice(0, 5))).toEqual(["10.2.", "10.2.", "10.2.", "10.2.", "10.1."]);
      });

      test("asked for that do not exist, are disabled or of the other family are refused by name", async () => {
        await addPool(client, "off", "10.1.0.0/26", { disabled: true });
        await addPool(client, "six", "fd00::/122");
        await addPool(client, "on", "10.2.0.0/26");
        await refused(assign("n1", "h", { pools4: ["nope"] }), "IPAM_POOL_NOT_FOUND", /"nope" .*does not exist/);
        await refused(assign("n1", "h", { pools4: ["off"] }), "IPAM_POOL_NOT_FOUND", /"off" .*is disabled/);
        await refused(assign("n1", "h", { pools4: ["six"] }), "IPAM_POOL_NOT_FOUND", /is not an IPv4 pool/);
      });

      test("a node's blocks of pools it may not use any more are not assigned from, and empty ones are given back", async () => {
        await addPool(client, "a", "10.1.0.0/28", { blockSize: 30, nodeSelector: "rack == 'a'" });
        await addPool(client, "b", "10.2.0.0/28", { blockSize: 30, nodeSelector: "rack == 'b'" });
        await addNode(client, "n1", { rack: "a" });
        await assign("n1", "old");
        await c.ipam.releaseByHandle("old");
        const node = (await client.get((await import("../api/node.ts")).Node, { name: "n1" }))!;
        node.metadata.labels = { rack: "b" };
        await client.update((await import("../api/node.ts")).Node, node);
        expect((await assign("n1", "new"))[0]).toMatch(/^10\.2\./);
        expect((await affinities(client)).map((row) => row.slice(8, 13))).toEqual(["10.2."]);
      });

      test("a block that becomes empty goes back when its pool does not select the node any more", async () => {
        await addPool(client, "a", "10.1.0.0/28", { blockSize: 30 });
        await addNode(client, "n1");
        await assign("n1", "h");
        const pool = (await client.get(IPPool, { name: "a" }))!;
        pool.spec.nodeSelector = "rack == 'a'";
        await client.update(IPPool, pool);
        await c.ipam.releaseByHandle("h");
        expect(await affinities(client)).toEqual([]);
        expect(await blocks(client)).toEqual([]);
      });
    });

    describe("reservations", () => {
      test("are never assigned automatically, whole blocks neither", async () => {
        await addPool(client, "p", "10.0.0.0/28", { blockSize: 30 });
        await reserve(client, "r", "10.0.0.0/29", "10.0.0.9");
        const got = await assign("n1", "h", { num4: 7 });
        expect(got.sort()).toEqual(
          ["10.0.0.10", "10.0.0.11", "10.0.0.8", "10.0.0.12", "10.0.0.13", "10.0.0.14", "10.0.0.15"].sort(),
        );
        await refused(assign("n1", "h2"), "IPAM_POOL_EXHAUSTED", /7 of 16 addresses in use, 9 reserved/);
        expect((await blocks(client)).length).toBe(2);
      });

      test("do not hold for an address that is asked for", async () => {
        await addPool(client, "p", "10.0.0.0/28", { blockSize: 30 });
        await reserve(client, "r", "10.0.0.0/28");
        await c.ipam.assignIp({ address: "10.0.0.5", host: "n1", handle: "h", use: "Workload" });
        expect((await owners(client)).get("10.0.0.5")).toBe("h");
      });
    });

    describe("when there is no unclaimed block left", () => {
      beforeEach(async () => {
        await addPool(client, "p", "10.0.0.0/29", { blockSize: 30 });
        await assign("n1", "a");
        await assign("n2", "b");
      });

      test("addresses are borrowed from another node's block", async () => {
        const [address] = await assign("n3", "c");
        expect((await owners(client)).get(address!)).toBe("c");
        expect((await affinities(client)).some((row) => row.includes("n3"))).toBe(false);
      });

      test("but not when affinity is strict", async () => {
        await setConfig(client, { strictAffinity: true });
        await refused(
          assign("n3", "c"),
          "IPAM_POOL_EXHAUSTED",
          /p \(10\.0\.0\.0\/29\) has 6 free addresses, but in blocks of others, and strictAffinity is on/,
        );
      });

      test("an empty block is reclaimed from another node a minute after it was claimed", async () => {
        await setConfig(client, { strictAffinity: true });
        await c.ipam.releaseByHandle("b");
        c.clock.advance(59);
        await refused(assign("n3", "c"), "IPAM_POOL_EXHAUSTED", /strictAffinity/);
        c.clock.advance(1);
        await assign("n3", "c");
        expect((await affinities(client)).map((row) => row.split(" ")[0])).toEqual(["host:n1", "host:n3"]);
      });

      test("a block that still cools down is not empty", async () => {
        await setConfig(client, { strictAffinity: true, ipCooldownSeconds: 1200 });
        await c.ipam.releaseByHandle("b");
        c.clock.advance(120);
        await refused(assign("n3", "c"), "IPAM_POOL_EXHAUSTED", /strictAffinity/);
      });

      test("an empty block without an owner is taken at once", async () => {
        await setConfig(client, { strictAffinity: true });
        await c.ipam.releaseOwner({ type: "host", name: "n2" });
        expect((await blocks(client)).length).toBe(2);
        await c.ipam.releaseByHandle("b");
        expect((await blocks(client)).length).toBe(1);
        await assign("n3", "c");
        expect((await affinities(client)).length).toBe(2);
      });

      test("a full pool is said to be full, and blocks of nodes that do not exist are pointed out", async () => {
        await addNode(client, "n1");
        await assign("n1", "rest", { num4: 6 });
        await refused(
          assign("n1", "x"),
          "IPAM_POOL_EXHAUSTED",
          /^no free IPv4 address in pools \[p\] for node n1: p \(10\.0\.0\.0\/29\) is full \(8 of 8 addresses in use\); 1 blocks are affine to nodes that do not exist, see 'calico-ipam check'$/,
        );
      });
    });

    describe("limits", () => {
      test("20 blocks a node unless configured, and no borrowing beyond", async () => {
        await addPool(client, "p", "10.0.0.0/24", { blockSize: 32 });
        await assign("n1", "h", { num4: 20 });
        await refused(assign("n1", "i"), "IPAM_POOL_EXHAUSTED", /holds 20 and may hold 20 \(maxBlocksPerHost\)/);
        expect((await assign("n1", "i", { maxBlocksPerHost: 21 })).length).toBe(1);
      });

      test("the smaller of configuration and request", async () => {
        await addPool(client, "p", "10.0.0.0/24", { blockSize: 32 });
        await setConfig(client, { strictAffinity: true, maxBlocksPerHost: 2 });
        await assign("n1", "h", { num4: 2, maxBlocksPerHost: 5 });
        await refused(assign("n1", "i", { maxBlocksPerHost: 5 }), "IPAM_POOL_EXHAUSTED", /may hold 2/);
        await c.ipam.releaseByHandle("h");
        expect((await assign("n1", "i", { num4: 2 })).length).toBe(2);
      });

      test("autoAllocateBlocks off: only blocks the node has already", async () => {
        await addPool(client, "p", "10.0.0.0/24", { blockSize: 30 });
        await setConfig(client, { strictAffinity: true, autoAllocateBlocks: false });
        await refused(assign("n1", "h"), "IPAM_POOL_EXHAUSTED", /autoAllocateBlocks is off/);
        expect(await c.ipam.claimAffinity("10.0.0.0/30", { type: "host", name: "n1" })).toEqual({
          claimed: ["10.0.0.0/30"],
          taken: [],
        });
        expect(await assign("n1", "h")).toEqual(["10.0.0.0"]);
      });
    });

    describe("blocks of another size than the pool's", () => {
      const resize = async (blockSize: number) => {
        await client.delete(IPPool, { name: "p" });
        await addPool(client, "p", "10.0.0.0/24", { blockSize });
      };

      test("are assigned from, released from, and never overlapped by new ones", async () => {
        await addPool(client, "p", "10.0.0.0/24", { blockSize: 28 });
        const small = await assign("n1", "small");
        await resize(26);
        for (const host of ["n2", "n3", "n4"]) await assign(host, host);
        const cidrs = (await blocks(client)).map(({ spec }) => spec.cidr);
        expect(cidrs.filter((cidr) => cidr.endsWith("/26")).length).toBe(3);
        expect((await c.ipam.check({ endpoints: false })).findings).toEqual([]);
        expect((await assign("n1", "more"))[0]!.split(".")[3]).toBe(String(Number(small[0]!.split(".")[3]) + 1));
        expect(await c.ipam.releaseAddresses([{ address: small[0]! }])).toEqual([
          { address: small[0]!, outcome: "released" },
        ]);
      });

      test("larger ones as well, also when an address is asked for", async () => {
        await addPool(client, "p", "10.0.0.0/24", { blockSize: 24 });
        await assign("n1", "large");
        await resize(28);
        const { block } = await c.ipam.assignIp({ address: "10.0.0.77", host: "n1", handle: "h", use: "Workload" });
        expect(block).toBe("10.0.0.0/24");
        expect((await c.ipam.allocationOf("10.0.0.77"))?.handle).toBe("h");
      });

      test("an address whose block would overlap smaller ones is refused", async () => {
        await addPool(client, "p", "10.0.0.0/24", { blockSize: 28 });
        await c.ipam.assignIp({ address: "10.0.0.1", host: "n1", handle: "a", use: "Workload" });
        await resize(26);
        await refused(
          c.ipam.assignIp({ address: "10.0.0.60", host: "n2", handle: "b", use: "Workload" }),
          "IPAM_ADDRESS_IN_USE",
          /shares addresses with block 10\.0\.0\.0\/28/,
        );
      });
    });

    describe("a given address", () => {
      beforeEach(() => addPool(client, "p", "10.0.0.0/24", { blockSize: 28 }));
      const ask = (address: string, host = "n1", handle = "h") =>
        c.ipam.assignIp({ address, host, handle, use: "Workload", attributes: { node: host } });

      test("claims its block for the node", async () => {
        const given = await ask("10.0.0.37");
        expect(given).toMatchObject({ address: "10.0.0.37", block: "10.0.0.32/28", pool: "p", version: 4 });
        expect(await affinities(client)).toEqual(["host:n1 10.0.0.32/28 confirmed"]);
        expect(await handles(client)).toEqual({ h: { "10.0.0.32/28": 1 } });
      });

      test("is refused when somebody has it, and says who", async () => {
        await ask("10.0.0.37");
        await refused(ask("10.0.0.37", "n2", "other"), "IPAM_ADDRESS_IN_USE", /10\.0\.0\.37 .* is in use by h;/);
        expect(await handles(client)).toEqual({ h: { "10.0.0.32/28": 1 } });
      });

      test("is granted again to the same handle only when that is asked for", async () => {
        const first = await ask("10.0.0.37");
        await refused(ask("10.0.0.37"), "IPAM_ADDRESS_IN_USE", /in use by h/);
        const again = await c.ipam.assignIp({ address: "10.0.0.37", host: "n1", handle: "h", reuse: true });
        expect(again).toEqual(first);
        expect(await handles(client)).toEqual({ h: { "10.0.0.32/28": 1 } });
      });

      test("may be in another node's block, unless affinity is strict", async () => {
        await ask("10.0.0.37");
        await ask("10.0.0.38", "n2", "b");
        await setConfig(client, { strictAffinity: true });
        await refused(
          ask("10.0.0.39", "n2", "b"),
          "IPAM_STRICT_AFFINITY",
          /belongs to n1, and strictAffinity is on: n2/,
        );
        await ask("10.0.0.39", "n1", "a");
      });

      test("must be in a pool that is enabled and allows the use", async () => {
        await addPool(client, "off", "10.1.0.0/24", { disabled: true });
        await addPool(client, "lb", "10.2.0.0/24", { allowedUses: ["LoadBalancer"] });
        await refused(ask("10.9.0.1"), "IPAM_NOT_IN_POOL", /10\.9\.0\.1 is in no IP pool/);
        await refused(ask("10.1.0.1"), "IPAM_NOT_IN_POOL", /is in pool off, which is disabled/);
        await refused(ask("10.2.0.1"), "IPAM_WRONG_USE", /pool lb, which is for LoadBalancer, not for Workload/);
        await refused(ask("10.2.0"), "IPAM_INVALID", /"10\.2\.0" is not an IP address/);
        await c.ipam.assignIp({ address: "10.2.0.1", host: "n1", handle: "any" });
      });

      test("that cools down is refused", async () => {
        await setConfig(client, { ipCooldownSeconds: 30 });
        await ask("10.0.0.37");
        await c.ipam.releaseByHandle("h");
        await refused(ask("10.0.0.37"), "IPAM_ADDRESS_IN_USE", /released at 2026-01-01T00:00:00Z and still cools down/);
        c.clock.advance(30);
        await ask("10.0.0.37");
      });

      test("of a load balancer belongs to a virtual owner, whose empty block goes at once", async () => {
        await addPool(client, "lb", "10.2.0.0/24", { blockSize: 28, allowedUses: ["LoadBalancer"] });
        await c.ipam.assignIp({ address: "10.2.0.1", host: "load-balancer", handle: "lb-x", use: "LoadBalancer" });
        expect(await affinities(client)).toEqual(["virtual:load-balancer 10.2.0.0/28 confirmed"]);
        await c.ipam.autoAssign({ num4: 1, host: "load-balancer", handle: "lb-y", use: "LoadBalancer" });
        await c.ipam.releaseByHandle("lb-x");
        expect((await blocks(client)).length).toBe(1);
        await c.ipam.releaseByHandle("lb-y");
        expect([await blocks(client), await affinities(client)]).toEqual([[], []]);
      });
    });

    describe("releasing", () => {
      beforeEach(() => addPool(client, "p", "10.0.0.0/24", { blockSize: 28 }));

      test("by handle frees all it holds, and the handle", async () => {
        await addPool(client, "p6", "fd00::/120", { blockSize: 126 });
        const got = await assign("n1", "h", { num4: 20, num6: 5 });
        expect([...(await c.ipam.releaseByHandle("h")).addresses].sort()).toEqual(got.sort());
        expect(await handles(client)).toEqual({});
        expect((await owners(client)).size).toBe(0);
        expect(await c.ipam.releaseByHandle("h")).toEqual({ addresses: [], found: false });
      });

      test("keeps an empty block that has an owner", async () => {
        await assign("n1", "h");
        await c.ipam.releaseByHandle("h");
        expect((await affinities(client)).length).toBe(1);
      });

      test("by address lowers the count of its handle, and each address only once", async () => {
        const got = await assign("n1", "h", { num4: 3 });
        const outcomes = await c.ipam.releaseAddresses([
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
        expect(Object.values((await handles(client)).h!)).toEqual([2]);
        expect(await c.ipam.releaseAddresses([{ address: got[0]! }])).toEqual([
          { address: got[0]!, outcome: "not-allocated" },
        ]);
        await c.ipam.releaseAddresses(got.slice(1).map((address) => ({ address })));
        expect(await handles(client)).toEqual({});
      });

      test("is refused when the address was assigned again since, or belongs to another handle", async () => {
        const { v4 } = await c.ipam.autoAssign({ num4: 16, host: "n1", handle: "old", use: "Workload" });
        const { address, sequenceNumber } = v4[0]!;
        await c.ipam.releaseByHandle("old");
        await assign("n1", "new", { num4: 16 });
        const [stale, foreign] = await c.ipam.releaseAddresses([
          { address, sequenceNumber },
          { address: v4[1]!.address, handle: "old" },
        ]);
        expect(stale).toMatchObject({ outcome: "refused", reason: expect.stringMatching(/assigned again/) });
        expect(foreign).toMatchObject({ outcome: "refused", reason: "it belongs to new, not to old" });
        expect((await owners(client)).size).toBe(16);
        const [now] = (await c.ipam.ipsByHandle("new")).filter((one) => one.address === address);
        const right = { address, sequenceNumber: now!.sequenceNumber, handle: "new" };
        expect((await c.ipam.releaseAddresses([right]))[0]!.outcome).toBe("released");
      });

      test("a released address cools down before it is assigned again", async () => {
        await addPool(client, "tiny", "10.9.0.0/32", { blockSize: 32 });
        await setConfig(client, { ipCooldownSeconds: 60 });
        const pools4 = ["tiny"];
        await assign("n1", "a", { pools4 });
        await c.ipam.releaseByHandle("a");
        expect(await handles(client)).toEqual({});
        expect(await c.ipam.allocationOf("10.9.0.0")).toMatchObject({
          releasedAt: "2026-01-01T00:00:00Z",
          attributes: {},
        });
        expect((await c.ipam.releaseAddresses([{ address: "10.9.0.0" }]))[0]!.outcome).toBe("not-allocated");
        await refused(assign("n1", "b", { pools4 }), "IPAM_POOL_EXHAUSTED", /1 of 1 addresses in use/);
        c.clock.advance(60);
        expect(await assign("n1", "b", { pools4 })).toEqual(["10.9.0.0"]);
      });

      test("cooled addresses of blocks that nobody touches are collected on demand", async () => {
        await setConfig(client, { ipCooldownSeconds: 60 });
        await assign("n1", "a", { num4: 2 });
        await c.ipam.releaseByHandle("a");
        expect(await c.ipam.collectCooled()).toBe(0);
        c.clock.advance(61);
        expect(await c.ipam.collectCooled()).toBe(2);
        expect((await blocks(client))[0]!.spec.attributes).toEqual([]);
      });

      test("a block without an owner goes with its last address", async () => {
        await assign("n1", "a");
        const { released } = await c.ipam.releaseOwner({ type: "host", name: "n1" });
        expect(released.length).toBe(1);
        expect((await blocks(client))[0]!.spec.affinity).toBeUndefined();
        expect(await affinities(client)).toEqual([]);
        await c.ipam.releaseByHandle("a");
        expect(await blocks(client)).toEqual([]);
      });

      test("a handle that counts too much is removed all the same, and its block is written", async () => {
        await assign("n1", "other");
        const [block] = await blocks(client);
        await client.create(IPAMHandle, newIPAMHandle("h", { [block!.spec.cidr]: 1, "10.0.0.240/28": 1 }));
        expect(await c.ipam.releaseByHandle("h")).toEqual({ addresses: [], found: true });
        expect((await blocks(client))[0]!.spec.sequenceNumber).toBe(block!.spec.sequenceNumber + 1n);
      });
    });

    describe("what a handle and an address are", () => {
      test("can be asked for", async () => {
        await addPool(client, "p", "10.0.0.0/24", { blockSize: 28 });
        const attributes = { pod: "a", node: "n1" };
        const { v4 } = await c.ipam.autoAssign({ num4: 1, host: "n1", handle: "h", use: "Workload", attributes });
        const { address, block, sequenceNumber } = v4[0]!;
        const expected = { address, block, handle: "h", attributes, sequenceNumber };
        expect(await c.ipam.ipsByHandle("h")).toEqual([expected]);
        expect(await c.ipam.allocationOf(address)).toEqual(expected);
        expect(await c.ipam.ipsByHandle("none")).toEqual([]);
        expect(await c.ipam.allocationOf("10.0.0.250")).toBeUndefined();
      });
    });

    describe("an attempt that is made again", () => {
      beforeEach(() => addPool(client, "p", "10.0.0.0/24", { blockSize: 28 }));

      test("gets what it had, and only what is missing in addition", async () => {
        const first = await assign("n1", "h", { num4: 1 });
        expect(await assign("n1", "h", { num4: 1, reuse: true })).toEqual(first);
        const both = await assign("n1", "h", { num4: 2, reuse: true });
        expect(both[0]).toBe(first[0]);
        expect(both.length).toBe(2);
        expect(Object.values((await handles(client)).h!)).toEqual([2]);
      });

      test("gets what it had also when the block has to be claimed again", async () => {
        const first = await assign("n1", "h");
        const [row] = (await client.list(BlockAffinity)).items;
        row!.spec.state = "pendingDeletion";
        await client.update(BlockAffinity, row!);
        const both = await assign("n1", "h", { num4: 2, reuse: true });
        expect(both[0]).toBe(first[0]);
        expect(both.length).toBe(2);
      });

      test("corrects a count that was left too high", async () => {
        await client.create(IPAMHandle, newIPAMHandle("h", { "10.0.0.0/28": 1 }));
        await assign("n1", "h", { reuse: true });
        expect(Object.values((await handles(client)).h!)).toEqual([1]);
      });

      test("writes what the caller adds also when it has all it needs", async () => {
        await assign("n1", "h");
        await assign("n1", "h", { reuse: true, alsoWrite: () => [createExtra("x")] });
        expect(await client.get(Profile, { name: "x" })).toBeDefined();
      });
    });

    describe("operations of the caller", () => {
      beforeEach(() => addPool(client, "p", "10.0.0.0/24", { blockSize: 28 }));

      test("are written with the assignment and know it", async () => {
        let seen = "";
        const [address] = await assign("n1", "h", {
          alsoWrite: ({ v4 }) => {
            seen = v4[0]!.address;
            return [createExtra("x")];
          },
        });
        expect(seen).toBe(address);
        expect(await client.get(Profile, { name: "x" })).toBeDefined();
      });

      test("that are refused undo the assignment", async () => {
        await client.create(Profile, extraObject("x"));
        const alsoWrite = () => [createExtra("y"), createExtra("x")];
        await expect(assign("n1", "h", { num4: 2, alsoWrite })).rejects.toMatchObject({ code: "EXISTS" });
        await expect(
          c.ipam.assignIp({ address: "10.0.0.1", host: "n1", handle: "h", alsoWrite }),
        ).rejects.toMatchObject({ code: "EXISTS" });
        expect((await owners(client)).size).toBe(0);
        expect(await handles(client)).toEqual({});
        expect(await client.get(Profile, { name: "y" })).toBeUndefined();
      });

      test("are made anew on every attempt, so that a conflict of theirs can be resolved", async () => {
        await client.create(Profile, extraObject("x"));
        let calls = 0;
        await assign("n1", "h", { alsoWrite: () => (++calls === 1 ? [createExtra("x")] : [createExtra("y")]) });
        expect(calls).toBe(2);
        expect((await owners(client)).size).toBe(1);
      });

      test("are written with the release, also when there is nothing to release", async () => {
        await client.create(Profile, extraObject("x"));
        await client.create(Profile, extraObject("z"));
        await assign("n1", "h");
        await c.ipam.releaseByHandle("h", { alsoWrite: () => [deleteExtra("x")] });
        await c.ipam.releaseByHandle("h", { alsoWrite: () => [deleteExtra("z")] });
        expect((await client.list(Profile)).items).toEqual([]);
      });
    });

    describe("affinities", () => {
      beforeEach(() => addPool(client, "p", "10.0.0.0/26", { blockSize: 28 }));
      const n1 = { type: "host", name: "n1" } as const;
      const n2 = { type: "host", name: "n2" } as const;
      const row = (state: "pending" | "confirmed" | "pendingDeletion", cidr: string, node = "n1") =>
        client.create(BlockAffinity, newBlockAffinity({ type: "host", node, cidr, state }));
      const block = (cidr: string, affinity?: string) =>
        client.create(IPAMBlock, newIPAMBlock({ cidr, ...(affinity ? { affinity } : {}), sequenceNumber: 5n }));

      test("of a whole pool can be claimed, except for what others have", async () => {
        await c.ipam.claimAffinity("10.0.0.16/28", n2);
        expect(await c.ipam.claimAffinity("10.0.0.0/26", n1)).toEqual({
          claimed: ["10.0.0.0/28", "10.0.0.32/28", "10.0.0.48/28"],
          taken: ["10.0.0.16/28"],
        });
        await refused(c.ipam.claimAffinity("10.0.0.0/30", n1), "IPAM_INVALID", /smaller than a block/);
        await refused(c.ipam.claimAffinity("10.9.0.0/26", n1), "IPAM_NOT_IN_POOL", /in no IP pool/);
      });

      test("are given up by owner, by pool, and only when empty if that is asked for", async () => {
        await c.ipam.claimAffinity("10.0.0.0/27", n1);
        await c.ipam.claimAffinity("10.0.0.32/27", n2);
        await c.ipam.assignIp({ address: "10.0.0.1", host: "n1", handle: "h" });
        expect(await c.ipam.releaseOwner(n1, { mustBeEmpty: true })).toEqual({
          released: ["10.0.0.16/28"],
          notEmpty: ["10.0.0.0/28"],
        });
        const inPool = await c.ipam.releaseAffinities("10.0.0.0/26", { owner: n2 });
        expect(inPool.released).toEqual(["10.0.0.32/28", "10.0.0.48/28"]);
        await c.ipam.releaseAffinities("10.0.0.0/26");
        expect(await affinities(client)).toEqual([]);
        expect((await owners(client)).get("10.0.0.1")).toBe("h");
      });

      test.each(["pending", "pendingDeletion", "confirmed"] as const)(
        "%s without a block: the claim is finished",
        async (state) => {
          await row(state, "10.0.0.16/28");
          expect(await assign("n1", "h")).toEqual(["10.0.0.16"]);
          expect(await affinities(client)).toEqual(["host:n1 10.0.0.16/28 confirmed"]);
        },
      );

      test.each(["pending", "pendingDeletion"] as const)(
        "%s with a block: confirmed after the block is written",
        async (state) => {
          await row(state, "10.0.0.16/28");
          await block("10.0.0.16/28", "host:n1");
          expect(await assign("n1", "h")).toEqual(["10.0.0.16"]);
          const stored = await client.get(IPAMBlock, ipamBlockRef("10.0.0.16/28"));
          expect(stored!.spec.sequenceNumber).toBe(7n);
          expect(stored!.spec.sequenceNumberForAllocation).toEqual({ "0": 6n });
        },
      );

      test("for a block that is another's: deleted", async () => {
        await row("confirmed", "10.0.0.16/28");
        await row("confirmed", "10.0.0.16/28", "n2");
        await block("10.0.0.16/28", "host:n2");
        await assign("n1", "h");
        expect((await affinities(client)).filter((text) => text.includes("10.0.0.16"))).toEqual([
          "host:n2 10.0.0.16/28 confirmed",
        ]);
      });

      test("make sure of a block", async () => {
        const first = await c.ipam.ensureBlock({ host: "n1", versions: [4] });
        expect(await c.ipam.ensureBlock({ host: "n1", versions: [4] })).toEqual(first);
        expect((await blocks(client)).map(({ spec }) => spec.cidr)).toEqual([first.v4]);
      });
    });

    describe("configuration", () => {
      test("has upstream's defaults, and refuses what contradicts itself", async () => {
        expect(await c.ipam.configuration()).toEqual({
          strictAffinity: false,
          autoAllocateBlocks: true,
          maxBlocksPerHost: 0,
          kubeVirtVMAddressPersistence: "Enabled",
          ipCooldownSeconds: 0,
        });
        await refused(c.ipam.configure({ autoAllocateBlocks: false }), "IPAM_CONFIG", /autoAllocateBlocks/);
        await c.ipam.configure({ strictAffinity: true, maxBlocksPerHost: 3 });
        await c.ipam.configure({ ipCooldownSeconds: 9 });
        expect(await c.ipam.configuration()).toMatchObject({
          strictAffinity: true,
          maxBlocksPerHost: 3,
          ipCooldownSeconds: 9,
        });
      });
    });

    describe("utilisation", () => {
      test("discounts reservations, also where no block is yet, and counts what is both only once as unavailable", async () => {
        await addPool(client, "p", "10.0.0.0/26", { blockSize: 28 });
        await c.ipam.assignIp({ address: "10.0.0.1", host: "n1", handle: "h", attributes: { node: "n2" } });
        await c.ipam.assignIp({ address: "10.0.0.9", host: "n1", handle: "h", attributes: { node: "n1" } });
        await reserve(client, "r", "10.0.0.0/30", "10.0.0.0/31", "10.0.0.32/29");
        const report = await c.ipam.utilisation();
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
        await client.delete(IPPool, { name: "p" });
        expect((await c.ipam.utilisation()).orphans.map(({ cidr }) => cidr)).toEqual(["10.0.0.0/28"]);
        await refused(c.ipam.utilisation(["p"]), "IPAM_POOL_NOT_FOUND", /no IP pool "p"/);
      });
    });

    describe("splitting a pool", () => {
      test("needs a locked datastore, and keeps blocks and addresses", async () => {
        await addPool(client, "p", "10.0.0.0/26", { blockSize: 28, natOutgoing: true });
        await c.ipam.assignIp({ address: "10.0.0.40", host: "n1", handle: "h" });
        await refused(c.ipam.splitPool("p", 2), "IPAM_NOT_LOCKED", /migrate lock/);
        const information = newClusterInformation({ calicoVersion: "v1", clusterType: "test" });
        information.spec.datastoreReady = false;
        await client.create(ClusterInformation, information);
        await refused(c.ipam.splitPool("p", 3), "IPAM_INVALID", /power of two/);
        await refused(c.ipam.splitPool("p", 8), "IPAM_INVALID", /smaller than the blocks/);
        expect(await c.ipam.splitPool("p", 2)).toEqual({
          removed: "p",
          created: [
            { name: "split-p-0", cidr: "10.0.0.0/27" },
            { name: "split-p-1", cidr: "10.0.0.32/27" },
          ],
        });
        const pools = (await client.list(IPPool)).items;
        expect(pools.map(({ spec }) => [spec.cidr, spec.disabled ?? false, spec.natOutgoing, spec.blockSize])).toEqual([
          ["10.0.0.0/27", false, true, 28],
          ["10.0.0.32/27", false, true, 28],
        ]);
        expect((await c.ipam.allocationOf("10.0.0.40"))?.handle).toBe("h");
        expect((await c.ipam.check({ endpoints: false })).findings).toEqual([]);
      });
    });

    describe("check and repair", () => {
      const kinds = async (endpoints = false) =>
        (await c.ipam.check({ endpoints })).findings.map(({ kind }) => kind).sort();
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
      beforeEach(() => addPool(client, "p", "10.0.0.0/26", { blockSize: 28 }));

      test("find nothing in a sound datastore", async () => {
        const [address] = await assign("n1", "h");
        await addNode(client, "n1");
        await client.create(WorkloadEndpoint, endpoint(address!));
        expect(await c.ipam.check()).toEqual({
          findings: [],
          blocks: 1,
          allocations: 1,
          handles: 1,
          affinities: 1,
          cooling: 0,
        });
      });

      test("handles: missing, empty, and with wrong counts", async () => {
        await assign("n1", "lost");
        await assign("n1", "wrong");
        const [block] = await blocks(client);
        const { cidr } = block!.spec;
        await client.delete(IPAMHandle, { name: "lost", spec: { handleID: "lost" } });
        const wrong = (await client.get(IPAMHandle, { name: "wrong", spec: { handleID: "wrong" } }))!;
        wrong.spec.block = { [cidr]: 3, "10.0.0.48/28": 1 };
        await client.update(IPAMHandle, wrong);
        await client.create(IPAMHandle, newIPAMHandle("empty", { [cidr]: 1 }));
        expect(await kinds()).toEqual(["handle-count", "handle-count", "handle-empty", "handle-missing"]);
        const report = await c.ipam.repair();
        expect(report.remaining).toEqual([]);
        expect(report.repaired.length).toBe(4);
        expect(await handles(client)).toEqual({ lost: { [cidr]: 1 }, wrong: { [cidr]: 1 } });
      });

      test("affinities without block, blocks without affinity, and two owners of one block", async () => {
        const make = (node: string, cidr: string, state: "pending" | "confirmed") =>
          client.create(BlockAffinity, newBlockAffinity({ type: "host", node, cidr, state }));
        const block = (cidr: string, affinity: string) =>
          client.create(IPAMBlock, newIPAMBlock({ cidr, affinity, sequenceNumber: 1n }));
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
        expect((await c.ipam.repair()).remaining).toEqual([]);
        expect(await blocks(client)).toEqual([]);
      });

      test("a block in use without an affinity becomes its owner's again", async () => {
        await assign("n1", "h");
        const [row] = (await client.list(BlockAffinity)).items;
        await client.delete(BlockAffinity, { name: row!.metadata.name, spec: row!.spec });
        expect((await c.ipam.repair()).remaining).toEqual([]);
        expect((await affinities(client))[0]).toMatch(/^host:n1 .* confirmed$/);
      });

      test("corrupt blocks", async () => {
        await assign("n1", "h", { num4: 3 });
        const [block] = await blocks(client);
        block!.spec.unallocated = [0, 5, 5, 6];
        block!.spec.attributes.push({ handle_id: "nobody" });
        await client.update(IPAMBlock, block!);
        expect(new Set(await kinds())).toEqual(new Set(["block-corrupt"]));
        expect((await c.ipam.repair()).remaining).toEqual([]);
        expect((await assign("n1", "rest", { num4: 13 })).length).toBe(13);
      });

      test("addresses and blocks of nodes that do not exist are released only when that is asked for", async () => {
        await addNode(client, "n1");
        await assign("n1", "alive");
        await assign("gone", "dead", { attributes: { node: "gone" }, num4: 2 });
        expect(await kinds()).toEqual(["affinity-node-gone", "node-gone", "node-gone"]);
        expect((await c.ipam.repair()).remaining.length).toBe(3);
        expect((await c.ipam.repair({ goneNodes: true })).remaining).toEqual([]);
        expect([...(await owners(client)).values()]).toEqual(["alive"]);
        expect((await blocks(client)).length).toBe(1);
      });

      test("where there are no Node resources at all, no node counts as gone", async () => {
        await assign("n1", "h");
        expect(await kinds()).toEqual([]);
      });

      test("addresses that nothing uses, that are used but not allocated, and that no pool contains", async () => {
        const [address] = await assign("n1", "h");
        await client.create(WorkloadEndpoint, endpoint("10.0.0.63"));
        expect(await kinds(true)).toEqual(["not-allocated", "not-in-use"]);
        expect((await c.ipam.repair({ unused: true })).remaining.map(({ kind }) => kind)).toEqual(["not-allocated"]);
        expect((await owners(client)).has(address!)).toBe(false);
        await assign("n1", "i");
        await client.delete(IPPool, { name: "p" });
        expect(await kinds()).toEqual(["outside-pools"]);
      });

      test("what cools down is neither in use nor leaked", async () => {
        await setConfig(client, { ipCooldownSeconds: 60 });
        await assign("n1", "h");
        await c.ipam.releaseByHandle("h");
        expect(await c.ipam.check()).toMatchObject({ findings: [], allocations: 0, cooling: 1 });
      });

      test("overlapping blocks are pointed out and left alone", async () => {
        await c.ipam.claimAffinity("10.0.0.0/28", { type: "host", name: "n1" });
        await client.create(IPAMBlock, newIPAMBlock({ cidr: "10.0.0.0/30", sequenceNumber: 1n }));
        expect(await kinds()).toEqual(["blocks-overlap"]);
        expect((await c.ipam.repair()).remaining.length).toBe(1);
      });
    });
  });
}
