import { beforeEach, describe, expect, test } from "vitest";
import { IPPool } from "../api/ippool.ts";
import { Node } from "../api/node.ts";
import type { Fixture } from "./fixture.suite.ts";
import { addNode, addPool, affinities, blocks, handles, owners, reserve, setConfig } from "./testing.ts";

/** How addresses are assigned. */
export function describeAssigning(f: Fixture): void {
  describe("assigning", () => {
    test("claims a block for the node, confirms it, and takes addresses from it in order", async () => {
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize: 28 });
      const result = await f.ipam.autoAssign({
        num4: 2,
        host: "n1",
        handle: "net.c1",
        use: "Workload",
        attributes: { pod: "web", namespace: "prod", node: "n1" },
      });
      const [block] = await blocks(f.client);
      expect(await affinities(f.client)).toEqual([`host:n1 ${block!.spec.cidr} confirmed`]);
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
      expect(await handles(f.client)).toEqual({ "net.c1": { [block!.spec.cidr]: 2 } });
      const base = block!.spec.cidr.split("/")[0];
      expect(result.v4[0]!.address).toBe(base);
    });

    test("every write of a block raises its sequence number by one", async () => {
      await addPool(f.client, "p", "10.0.0.0/26");
      await f.assign("n1", "a");
      const before = (await blocks(f.client))[0]!.spec.sequenceNumber;
      await f.assign("n1", "b");
      await f.ipam.releaseByHandle("b");
      expect((await blocks(f.client))[0]!.spec.sequenceNumber).toBe(before + 2n);
    });

    test("fills the node's own block before it claims another", async () => {
      await addPool(f.client, "p", "10.0.0.0/28", { blockSize: 30 });
      for (let i = 0; i < 5; i++) await f.assign("n1", `h${i}`);
      expect((await blocks(f.client)).map(({ spec }) => spec.unallocated.length).sort()).toEqual([0, 3]);
    });

    test("one request may take from several blocks", async () => {
      await addPool(f.client, "p", "10.0.0.0/28", { blockSize: 30 });
      expect(new Set(await f.assign("n1", "h", { num4: 10 })).size).toBe(10);
      expect(Object.values((await handles(f.client)).h!).sort()).toEqual([2, 4, 4]);
    });

    test("two nodes claim different blocks", async () => {
      await addPool(f.client, "p", "10.0.0.0/28", { blockSize: 30 });
      await f.assign("n1", "a");
      await f.assign("n2", "b");
      expect(new Set((await blocks(f.client)).map(({ spec }) => spec.affinity))).toEqual(
        new Set(["host:n1", "host:n2"]),
      );
    });

    test("concurrent requests get different addresses", async () => {
      await addPool(f.client, "p", "10.0.0.0/27", { blockSize: 29 });
      const requests = Array.from({ length: 24 }, (_, i) => f.assign(`n${i % 3}`, `h${i}`));
      const all = (await Promise.all(requests)).flat();
      expect(new Set(all).size).toBe(24);
    });

    test("IPv6", async () => {
      await addPool(f.client, "p6", "fd00:10::/112", { blockSize: 126 });
      const [address] = await f.assign("n1", "h", { num4: 0, num6: 1 });
      expect(address).toMatch(/^fd00:10::/);
      expect(Object.keys((await handles(f.client)).h!)[0]).toMatch(/\/126$/);
    });

    test("both families together, in one handle", async () => {
      await addPool(f.client, "p4", "10.0.0.0/28", { blockSize: 30 });
      await addPool(f.client, "p6", "fd00::/120", { blockSize: 126 });
      const result = await f.ipam.autoAssign({ num4: 1, num6: 1, host: "n1", handle: "h", use: "Workload" });
      expect([result.v4.length, result.v6.length]).toEqual([1, 1]);
      expect(Object.values((await handles(f.client)).h!)).toEqual([1, 1]);
    });

    test("both families or none", async () => {
      await addPool(f.client, "p4", "10.0.0.0/28", { blockSize: 30 });
      await addPool(f.client, "p6", "fd00::/126", { blockSize: 126 });
      await f.assign("n2", "full", { num4: 0, num6: 4 });
      await f.refused(f.assign("n1", "h", { num4: 1, num6: 1 }), "IPAM_POOL_EXHAUSTED", /IPv6/);
      expect([...(await owners(f.client)).values()]).toEqual(["full", "full", "full", "full"]);
      expect(Object.keys(await handles(f.client))).toEqual(["full"]);
    });

    test("all addresses of a request or none", async () => {
      await addPool(f.client, "p", "10.0.0.0/29", { blockSize: 30 });
      await f.refused(f.assign("n1", "h", { num4: 9 }), "IPAM_POOL_EXHAUSTED", /8 of 8|is full/);
      expect((await owners(f.client)).size).toBe(0);
    });

    test("without a handle", async () => {
      await addPool(f.client, "p", "10.0.0.0/28", { blockSize: 30 });
      await f.ipam.autoAssign({ num4: 1, host: "n1", use: "Workload" });
      expect(await handles(f.client)).toEqual({});
      expect((await owners(f.client)).size).toBe(1);
    });

    test("numbers that are none are refused by name", async () => {
      await f.refused(f.assign("n1", "h", { num4: -1 }), "IPAM_INVALID", /^num4: -1/);
      await f.refused(f.assign("", "h"), "IPAM_INVALID", /^host/);
    });

    test("a handle is cut at a carriage return", async () => {
      await addPool(f.client, "p", "10.0.0.0/28", { blockSize: 30 });
      await f.assign("n1", "cid\reth0");
      expect(Object.keys(await handles(f.client))).toEqual(["cid"]);
      expect((await f.ipam.releaseByHandle("cid\rother")).addresses.length).toBe(1);
    });
  });

  describe("pools", () => {
    test("that are disabled, being deleted, not allocatable, manual or for another use are passed over, and named", async () => {
      await addPool(f.client, "disabled", "10.1.0.0/26", { disabled: true });
      await addPool(f.client, "deleting", "10.2.0.0/26", {}, { deletionTimestamp: "2026-01-01T00:00:00Z" });
      await addPool(f.client, "manual", "10.4.0.0/26", { assignmentMode: "Manual" });
      await addPool(f.client, "tunnels", "10.5.0.0/26", { allowedUses: ["Tunnel"] });
      await addPool(f.client, "six", "fd00::/122");
      const error = await f.failure(f.assign("n1", "h"));
      expect(error.code).toBe("IPAM_NO_POOLS");
      expect(error.message).toMatch(
        /^no IPv4 pool may be used by node n1: deleting .*is being deleted; disabled .*is disabled; manual .*Manual.*; tunnels .*is for Tunnel, not for Workload$/,
      );
      expect(error.pools.map(({ pool }) => pool)).toEqual(["deleting", "disabled", "manual", "tunnels"]);
      await addPool(f.client, "good", "10.6.0.0/26");
      expect((await f.assign("n1", "h"))[0]).toMatch(/^10\.6\./);
      expect((await f.assign("n1", "t", { use: "Tunnel", pools4: ["tunnels"] }))[0]).toMatch(/^10\.5\./);
    });

    test("whose condition Allocatable is False are passed over", async () => {
      const conditions = [{ type: "Allocatable", status: "False" as const, reason: "CIDROverlap", message: "" }];
      await addPool(f.client, "overlapping", "10.3.0.0/26", {}, { status: { conditions } });
      await f.refused(f.assign("n1", "h"), "IPAM_NO_POOLS", /CIDROverlap/);
    });

    test("none at all is said so", async () => {
      await f.refused(f.assign("n1", "h"), "IPAM_NO_POOLS", /there is no IPv4 pool; make one/);
      // A pool that somebody makes by hand gives addresses of which no policy holds, where the agent leaves IPv6 alone.
      const six = f.assign("n1", "h", { num4: 0, num6: 1 });
      await f.refused(six, "IPAM_NO_POOLS", /there is no IPv6 pool; .*FELIX_IPV6SUPPORT=true/);
    });

    test("are chosen by the node's labels; a Node that does not exist has none", async () => {
      await addPool(f.client, "a", "10.1.0.0/26", { nodeSelector: "rack == 'a'" });
      await addPool(f.client, "b", "10.2.0.0/26", { nodeSelector: "rack == 'b'" });
      await addNode(f.client, "n1", { rack: "b" });
      expect((await f.assign("n1", "h1"))[0]).toMatch(/^10\.2\./);
      await f.refused(f.assign("ghost", "h2"), "IPAM_NO_POOLS", /a .*nodeSelector rack == 'a'.*; b /);
      expect((await f.assign("ghost", "h3", { nodeLabels: { rack: "a" } }))[0]).toMatch(/^10\.1\./);
    });

    test("are chosen by the namespace's labels", async () => {
      await addPool(f.client, "red", "10.1.0.0/26", { namespaceSelector: "team == 'red'", allowedUses: ["Workload"] });
      await f.refused(f.assign("n1", "h"), "IPAM_NO_POOLS", /namespaceSelector team == 'red'/);
      expect((await f.assign("n1", "h", { namespaceLabels: { team: "red" } }))[0]).toMatch(/^10\.1\./);
    });

    test("asked for by name or CIDR are used whatever they select, in that order", async () => {
      await addPool(f.client, "a", "10.1.0.0/30", { blockSize: 30, nodeSelector: "x == 'y'" });
      await addPool(f.client, "b", "10.2.0.0/30", { blockSize: 30, assignmentMode: "Manual" });
      const pools4 = ["b", "10.1.0.0/30"];
      const got = [await f.assign("n1", "h1", { num4: 4, pools4 }), await f.assign("n1", "h2", { pools4 })].flat();
      expect(got.map((address) => address.slice(0, 5))).toEqual(["10.2.", "10.2.", "10.2.", "10.2.", "10.1."]);
    });

    test("asked for that do not exist, are disabled or of the other family are refused by name", async () => {
      await addPool(f.client, "off", "10.1.0.0/26", { disabled: true });
      await addPool(f.client, "six", "fd00::/122");
      await addPool(f.client, "on", "10.2.0.0/26");
      await f.refused(f.assign("n1", "h", { pools4: ["nope"] }), "IPAM_POOL_NOT_FOUND", /"nope" .*does not exist/);
      await f.refused(f.assign("n1", "h", { pools4: ["off"] }), "IPAM_POOL_NOT_FOUND", /"off" .*is disabled/);
      await f.refused(f.assign("n1", "h", { pools4: ["six"] }), "IPAM_POOL_NOT_FOUND", /is not an IPv4 pool/);
    });

    test("a node's blocks of pools it may not use any more are not assigned from, and empty ones are given back", async () => {
      await addPool(f.client, "a", "10.1.0.0/28", { blockSize: 30, nodeSelector: "rack == 'a'" });
      await addPool(f.client, "b", "10.2.0.0/28", { blockSize: 30, nodeSelector: "rack == 'b'" });
      await addNode(f.client, "n1", { rack: "a" });
      await f.assign("n1", "old");
      await f.ipam.releaseByHandle("old");
      const node = (await f.client.get(Node, { name: "n1" }))!;
      node.metadata.labels = { rack: "b" };
      await f.client.update(Node, node);
      expect((await f.assign("n1", "new"))[0]).toMatch(/^10\.2\./);
      expect((await affinities(f.client)).map((row) => row.slice(8, 13))).toEqual(["10.2."]);
    });

    test("a block that becomes empty goes back when its pool does not select the node any more", async () => {
      await addPool(f.client, "a", "10.1.0.0/28", { blockSize: 30 });
      await addNode(f.client, "n1");
      await f.assign("n1", "h");
      const pool = (await f.client.get(IPPool, { name: "a" }))!;
      pool.spec.nodeSelector = "rack == 'a'";
      await f.client.update(IPPool, pool);
      await f.ipam.releaseByHandle("h");
      expect(await affinities(f.client)).toEqual([]);
      expect(await blocks(f.client)).toEqual([]);
    });
  });

  describe("reservations", () => {
    test("are never assigned automatically, whole blocks neither", async () => {
      await addPool(f.client, "p", "10.0.0.0/28", { blockSize: 30 });
      await reserve(f.client, "r", "10.0.0.0/29", "10.0.0.9");
      const got = await f.assign("n1", "h", { num4: 7 });
      expect(got.sort()).toEqual(
        ["10.0.0.10", "10.0.0.11", "10.0.0.8", "10.0.0.12", "10.0.0.13", "10.0.0.14", "10.0.0.15"].sort(),
      );
      await f.refused(f.assign("n1", "h2"), "IPAM_POOL_EXHAUSTED", /7 of 16 addresses in use, 9 reserved/);
      expect((await blocks(f.client)).length).toBe(2);
    });

    test("do not hold for an address that is asked for", async () => {
      await addPool(f.client, "p", "10.0.0.0/28", { blockSize: 30 });
      await reserve(f.client, "r", "10.0.0.0/28");
      await f.ipam.assignIp({ address: "10.0.0.5", host: "n1", handle: "h", use: "Workload" });
      expect((await owners(f.client)).get("10.0.0.5")).toBe("h");
    });
  });

  describe("when there is no unclaimed block left", () => {
    beforeEach(async () => {
      await addPool(f.client, "p", "10.0.0.0/29", { blockSize: 30 });
      await f.assign("n1", "a");
      await f.assign("n2", "b");
    });

    test("addresses are borrowed from another node's block", async () => {
      const [address] = await f.assign("n3", "c");
      expect((await owners(f.client)).get(address!)).toBe("c");
      expect((await affinities(f.client)).some((row) => row.includes("n3"))).toBe(false);
    });

    test("but not when affinity is strict", async () => {
      await setConfig(f.client, { strictAffinity: true });
      await f.refused(
        f.assign("n3", "c"),
        "IPAM_POOL_EXHAUSTED",
        /p \(10\.0\.0\.0\/29\) has 6 free addresses, but in blocks of others, and strictAffinity is on/,
      );
    });

    test("an empty block is reclaimed from another node a minute after it was claimed", async () => {
      await setConfig(f.client, { strictAffinity: true });
      await f.ipam.releaseByHandle("b");
      f.clock.advance(59);
      await f.refused(f.assign("n3", "c"), "IPAM_POOL_EXHAUSTED", /strictAffinity/);
      f.clock.advance(1);
      await f.assign("n3", "c");
      expect((await affinities(f.client)).map((row) => row.split(" ")[0])).toEqual(["host:n1", "host:n3"]);
    });

    test("a block that still cools down is not empty", async () => {
      await setConfig(f.client, { strictAffinity: true, ipCooldownSeconds: 1200 });
      await f.ipam.releaseByHandle("b");
      f.clock.advance(120);
      await f.refused(f.assign("n3", "c"), "IPAM_POOL_EXHAUSTED", /strictAffinity/);
    });

    test("an empty block without an owner is taken at once", async () => {
      await setConfig(f.client, { strictAffinity: true });
      await f.ipam.releaseOwner({ type: "host", name: "n2" });
      expect((await blocks(f.client)).length).toBe(2);
      await f.ipam.releaseByHandle("b");
      expect((await blocks(f.client)).length).toBe(1);
      await f.assign("n3", "c");
      expect((await affinities(f.client)).length).toBe(2);
    });

    test("a full pool is said to be full, and blocks of nodes that do not exist are pointed out", async () => {
      await addNode(f.client, "n1");
      await f.assign("n1", "rest", { num4: 6 });
      await f.refused(
        f.assign("n1", "x"),
        "IPAM_POOL_EXHAUSTED",
        /^no free IPv4 address in pools \[p\] for node n1: p \(10\.0\.0\.0\/29\) is full \(8 of 8 addresses in use\); 1 blocks are affine to nodes that do not exist, see 'calico-ipam check'$/,
      );
    });
  });

  describe("limits", () => {
    test("20 blocks a node unless configured, and no borrowing beyond", async () => {
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize: 32 });
      await f.assign("n1", "h", { num4: 20 });
      await f.refused(f.assign("n1", "i"), "IPAM_POOL_EXHAUSTED", /holds 20 and may hold 20 \(maxBlocksPerHost\)/);
      expect((await f.assign("n1", "i", { maxBlocksPerHost: 21 })).length).toBe(1);
    });

    test("the smaller of configuration and request", async () => {
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize: 32 });
      await setConfig(f.client, { strictAffinity: true, maxBlocksPerHost: 2 });
      await f.assign("n1", "h", { num4: 2, maxBlocksPerHost: 5 });
      await f.refused(f.assign("n1", "i", { maxBlocksPerHost: 5 }), "IPAM_POOL_EXHAUSTED", /may hold 2/);
      await f.ipam.releaseByHandle("h");
      expect((await f.assign("n1", "i", { num4: 2 })).length).toBe(2);
    });

    test("autoAllocateBlocks off: only blocks the node has already", async () => {
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize: 30 });
      await setConfig(f.client, { strictAffinity: true, autoAllocateBlocks: false });
      await f.refused(f.assign("n1", "h"), "IPAM_POOL_EXHAUSTED", /autoAllocateBlocks is off/);
      expect(await f.ipam.claimAffinity("10.0.0.0/30", { type: "host", name: "n1" })).toEqual({
        claimed: ["10.0.0.0/30"],
        taken: [],
      });
      expect(await f.assign("n1", "h")).toEqual(["10.0.0.0"]);
    });
  });

  describe("blocks of another size than the pool's", () => {
    const resize = async (blockSize: number) => {
      await f.client.delete(IPPool, { name: "p" });
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize });
    };

    test("are assigned from, released from, and never overlapped by new ones", async () => {
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize: 28 });
      const small = await f.assign("n1", "small");
      await resize(26);
      for (const host of ["n2", "n3", "n4"]) await f.assign(host, host);
      const cidrs = (await blocks(f.client)).map(({ spec }) => spec.cidr);
      expect(cidrs.filter((cidr) => cidr.endsWith("/26")).length).toBe(3);
      expect((await f.ipam.check({ endpoints: false })).findings).toEqual([]);
      expect((await f.assign("n1", "more"))[0]!.split(".")[3]).toBe(String(Number(small[0]!.split(".")[3]) + 1));
      expect(await f.ipam.releaseAddresses([{ address: small[0]! }])).toEqual([
        { address: small[0]!, outcome: "released" },
      ]);
    });

    test("larger ones as well, also when an address is asked for", async () => {
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize: 24 });
      await f.assign("n1", "large");
      await resize(28);
      const { block } = await f.ipam.assignIp({ address: "10.0.0.77", host: "n1", handle: "h", use: "Workload" });
      expect(block).toBe("10.0.0.0/24");
      expect((await f.ipam.allocationOf("10.0.0.77"))?.handle).toBe("h");
    });

    test("an address whose block would overlap smaller ones is refused", async () => {
      await addPool(f.client, "p", "10.0.0.0/24", { blockSize: 28 });
      await f.ipam.assignIp({ address: "10.0.0.1", host: "n1", handle: "a", use: "Workload" });
      await resize(26);
      await f.refused(
        f.ipam.assignIp({ address: "10.0.0.60", host: "n2", handle: "b", use: "Workload" }),
        "IPAM_ADDRESS_IN_USE",
        /shares addresses with block 10\.0\.0\.0\/28/,
      );
    });
  });

  describe("a given address", () => {
    beforeEach(() => addPool(f.client, "p", "10.0.0.0/24", { blockSize: 28 }));
    const ask = (address: string, host = "n1", handle = "h") =>
      f.ipam.assignIp({ address, host, handle, use: "Workload", attributes: { node: host } });

    test("claims its block for the node", async () => {
      const given = await ask("10.0.0.37");
      expect(given).toMatchObject({ address: "10.0.0.37", block: "10.0.0.32/28", pool: "p", version: 4 });
      expect(await affinities(f.client)).toEqual(["host:n1 10.0.0.32/28 confirmed"]);
      expect(await handles(f.client)).toEqual({ h: { "10.0.0.32/28": 1 } });
    });

    test("is refused when somebody has it, and says who", async () => {
      await ask("10.0.0.37");
      await f.refused(ask("10.0.0.37", "n2", "other"), "IPAM_ADDRESS_IN_USE", /10\.0\.0\.37 .* is in use by h;/);
      expect(await handles(f.client)).toEqual({ h: { "10.0.0.32/28": 1 } });
    });

    test("is granted again to the same handle only when that is asked for", async () => {
      const first = await ask("10.0.0.37");
      await f.refused(ask("10.0.0.37"), "IPAM_ADDRESS_IN_USE", /in use by h/);
      const again = await f.ipam.assignIp({ address: "10.0.0.37", host: "n1", handle: "h", reuse: true });
      expect(again).toEqual(first);
      expect(await handles(f.client)).toEqual({ h: { "10.0.0.32/28": 1 } });
    });

    test("may be in another node's block, unless affinity is strict", async () => {
      await ask("10.0.0.37");
      await ask("10.0.0.38", "n2", "b");
      await setConfig(f.client, { strictAffinity: true });
      await f.refused(
        ask("10.0.0.39", "n2", "b"),
        "IPAM_STRICT_AFFINITY",
        /belongs to n1, and strictAffinity is on: n2/,
      );
      await ask("10.0.0.39", "n1", "a");
    });

    test("must be in a pool that is enabled and allows the use", async () => {
      await addPool(f.client, "off", "10.1.0.0/24", { disabled: true });
      await addPool(f.client, "lb", "10.2.0.0/24", { allowedUses: ["LoadBalancer"] });
      await f.refused(ask("10.9.0.1"), "IPAM_NOT_IN_POOL", /10\.9\.0\.1 is in no IP pool/);
      await f.refused(ask("10.1.0.1"), "IPAM_NOT_IN_POOL", /is in pool off, which is disabled/);
      await f.refused(ask("10.2.0.1"), "IPAM_WRONG_USE", /pool lb, which is for LoadBalancer, not for Workload/);
      await f.refused(ask("10.2.0"), "IPAM_INVALID", /"10\.2\.0" is not an IP address/);
      await f.ipam.assignIp({ address: "10.2.0.1", host: "n1", handle: "any" });
    });

    test("that cools down is refused", async () => {
      await setConfig(f.client, { ipCooldownSeconds: 30 });
      await ask("10.0.0.37");
      await f.ipam.releaseByHandle("h");
      await f.refused(ask("10.0.0.37"), "IPAM_ADDRESS_IN_USE", /released at 2026-01-01T00:00:00Z and still cools down/);
      f.clock.advance(30);
      await ask("10.0.0.37");
    });

    test("of a load balancer belongs to a virtual owner, whose empty block goes at once", async () => {
      await addPool(f.client, "lb", "10.2.0.0/24", { blockSize: 28, allowedUses: ["LoadBalancer"] });
      await f.ipam.assignIp({ address: "10.2.0.1", host: "load-balancer", handle: "lb-x", use: "LoadBalancer" });
      expect(await affinities(f.client)).toEqual(["virtual:load-balancer 10.2.0.0/28 confirmed"]);
      await f.ipam.autoAssign({ num4: 1, host: "load-balancer", handle: "lb-y", use: "LoadBalancer" });
      await f.ipam.releaseByHandle("lb-x");
      expect((await blocks(f.client)).length).toBe(1);
      await f.ipam.releaseByHandle("lb-y");
      expect([await blocks(f.client), await affinities(f.client)]).toEqual([[], []]);
    });
  });
}
