import { describe, expect, test } from "vitest";
import { BlockAffinity, blockAffinityRef } from "../../api/blockaffinity.ts";
import { ClusterInformation } from "../../api/clusterinformation.ts";
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import { Tier } from "../../api/tier.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import type { WatchOptions } from "../client.ts";
import { ensureInitialized } from "../initialise.ts";
import { IPAM } from "../keys.ts";
import { affinity, block, type Context, codeOf, endpoint, type KeyValueContext, names, pool } from "./support.ts";

/** Lists, batches and initialisation. */
export function listTests(on: Context): void {
  describe("lists", () => {
    test("hold a kind, or an index of it", async () => {
      await on.clear();
      const other = "10.0.1.0/30";
      await on.client.batch([
        { op: "create", kind: BlockAffinity as unknown as Kind, resource: affinity("n1", "10.0.0.0/30") },
        { op: "create", kind: BlockAffinity as unknown as Kind, resource: affinity("n1", "fd00::/126") },
        { op: "create", kind: BlockAffinity as unknown as Kind, resource: affinity("n1", other, "virtual") },
        { op: "create", kind: BlockAffinity as unknown as Kind, resource: affinity("n10", "10.0.2.0/30") },
        { op: "create", kind: IPAMBlock as unknown as Kind, resource: block("10.0.0.0/30", "host:n1") },
        { op: "create", kind: IPAMBlock as unknown as Kind, resource: block("fd00::/126", "host:n1") },
        { op: "create", kind: IPAMBlock as unknown as Kind, resource: block(other, "virtual:n1") },
        { op: "create", kind: IPAMBlock as unknown as Kind, resource: block("10.0.2.0/30", "host:n10") },
      ]);
      const cidrs = async (kind: unknown, index?: WatchOptions["index"]) =>
        (await on.client.list(kind as Kind, index)).items.map(({ spec }) => (spec as { cidr: string }).cidr).sort();
      for (const kind of [BlockAffinity, IPAMBlock]) {
        expect(await cidrs(kind)).toEqual(["10.0.0.0/30", other, "10.0.2.0/30", "fd00::/126"]);
        expect(await cidrs(kind, { node: "n1" })).toEqual(["10.0.0.0/30", other, "fd00::/126"]);
        expect(await cidrs(kind, { node: "n1", affinityType: "host" })).toEqual(["10.0.0.0/30", "fd00::/126"]);
        expect(await cidrs(kind, { node: "n1", affinityType: "virtual" })).toEqual([other]);
        expect(await cidrs(kind, { node: "n" })).toEqual([]);
        expect(await cidrs(kind, { ipVersion: 6 })).toEqual(["fd00::/126"]);
      }
      await on.client.create(IPPool, pool("four", "10.0.0.0/16"));
      await on.client.create(IPPool, pool("six", "fd00::/64"));
      expect(await cidrs(IPPool, { ipVersion: 4 })).toEqual(["10.0.0.0/16"]);

      for (const [namespace, node, pod, iface] of [
        ["a", "n1", "web", "eth0"],
        ["a", "n1", "web", "eth1"],
        ["a", "n2", "db", "eth0"],
        ["ab", "n1", "web", "eth0"],
      ] as const)
        if (iface === "eth0" || !on.client.capabilities.views)
          await on.createEndpoint(endpoint(namespace, node, pod, iface));
      const found = async (index?: WatchOptions["index"]) =>
        (await on.client.list(WorkloadEndpoint, index)).items.map(
          ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
        );
      // On Kubernetes a pod has one.
      const second = on.client.capabilities.views ? [] : ["a/n1-k8s-web-eth1"];
      expect((await found()).length).toBe(3 + second.length);
      expect((await found({ namespace: "a" })).length).toBe(2 + second.length);
      expect(await found({ namespace: "a", namePrefix: "n1-k8s-web-" })).toEqual(["a/n1-k8s-web-eth0", ...second]);
      expect((await found({ node: "n1" })).length).toBe(2 + second.length);
    });

    test("an affinity is found by its name as well", async () => {
      await on.clear();
      const made = await on.client.create(BlockAffinity, affinity("n1", "10.0.0.0/30"));
      expect(await on.client.get(BlockAffinity, { name: made.metadata.name })).toEqual(made);
      expect(
        await on.client.get(BlockAffinity, blockAffinityRef({ type: "host", node: "n1", cidr: "10.0.0.0/30" })),
      ).toEqual(made);
      await on.client.create(IPAMBlock, block("fd00::/126"));
      expect((await on.client.get(IPAMBlock, { name: "fd00---126" }))!.spec.cidr).toBe("fd00::/126");
      await on.client.delete(BlockAffinity, { name: made.metadata.name });
      expect(await on.client.get(BlockAffinity, { name: made.metadata.name })).toBeUndefined();
    });
  });

  describe("batches", () => {
    test("commit all or nothing, and answer in order", async ({ skip }) => {
      if (!on.client.capabilities.atomicBatch) return skip("has no atomic batches");
      await on.clear();
      const main = await on.client.create(IPPool, pool("main", "10.0.0.0/16"));
      const old = await on.client.create(IPPool, pool("old", "10.1.0.0/16"));
      const kind = IPPool as unknown as Kind;
      const operations = [
        { op: "create", kind, resource: pool("new", "10.2.0.0/16") },
        { op: "update", kind, resource: { ...main, spec: { ...main.spec, disabled: true } } },
        { op: "delete", kind, ref: { name: "old" }, resourceVersion: old.metadata.resourceVersion! },
      ] as const;
      const answers = await on.client.batch(operations);
      expect(names(answers)).toEqual(["new", "main", "old"]);
      expect(answers[2]).toEqual(old);
      expect(await on.client.get(IPPool, { name: "main" })).toEqual(answers[1]);
      expect(new Set(answers.slice(0, 2).map(({ metadata }) => metadata.resourceVersion)).size).toBe(1);
      expect(names((await on.client.list(IPPool)).items)).toEqual(["main", "new"]);

      expect(
        await codeOf(on.client.batch([{ op: "create", kind, resource: pool("third", "10.3.0.0/16") }, operations[1]])),
      ).toBe("CONFLICT");
      expect(
        await codeOf(on.client.batch([{ op: "create", kind, resource: pool("third", "10.3.0.0/16") }, operations[2]])),
      ).toBe("NOT_FOUND");
      expect(
        await codeOf(on.client.batch([operations[0], { op: "create", kind, resource: pool("third", "10.3.0.0/16") }])),
      ).toBe("EXISTS");
      expect(names((await on.client.list(IPPool)).items)).toEqual(["main", "new"]);
      expect(await on.client.batch([])).toEqual([]);
      const twice = { op: "delete", kind, ref: { name: "new" } } as const;
      expect(await codeOf(on.client.batch([twice, twice]))).toBe("INVALID");
    });

    test("in order stop at the first that is refused", async ({ skip }) => {
      if (on.client.capabilities.atomicBatch) return skip("has atomic batches");
      await on.clear();
      const kind = IPPool as unknown as Kind;
      const old = await on.client.create(IPPool, pool("old", "10.1.0.0/16"));
      const create = (name: string, cidr: string) => ({ op: "create", kind, resource: pool(name, cidr) }) as const;
      const remove = { op: "delete", kind, ref: { name: "old" } } as const;
      const answers = await on.client.batch([create("new", "10.2.0.0/16"), remove]);
      expect(names(answers)).toEqual(["new", "old"]);
      expect(answers[1]).toEqual(old);
      const some = [create("third", "10.3.0.0/16"), remove, create("fourth", "10.4.0.0/16")] as const;
      expect(await codeOf(on.client.batch(some))).toBe("NOT_FOUND");
      expect(names((await on.client.list(IPPool)).items).sort()).toEqual(["new", "third"]);
    });

    test("of blocks that share addresses with a CIDR are found whatever their size, and no others", async () => {
      for (const [cidr, inside, outside] of [
        [
          "10.1.2.64/26",
          ["10.1.0.0/20", "10.1.2.64/26", "10.1.2.64/32", "10.1.2.127/32", "10.1.2.96/27"],
          ["10.1.2.63/32", "10.1.2.128/26", "10.1.3.64/26", "10.1.16.0/20"],
        ],
        ["10.1.4.0/22", ["10.1.0.0/20", "10.1.7.255/32", "10.1.4.0/26"], ["10.1.3.255/32", "10.1.8.0/26"]],
        [
          "fd00::40/122",
          ["fd00::/116", "fd00::40/122", "fd00::7f/128", "fd00::60/123"],
          ["fd00::3f/128", "fd00::80/122", "fd00::1:40/122"],
        ],
        ["10.1.2.4/30", ["10.1.2.0/24", "10.1.2.4/30", "10.1.2.6/31", "10.1.2.7/32"], ["10.1.2.3/32", "10.1.2.8/30"]],
        ["fd00::/118", ["fd00::/116", "fd00::3ff/128"], ["fd00::400/122"]],
      ] as const) {
        await on.clear();
        for (const one of [...inside, ...outside]) await on.client.create(IPAMBlock, block(one));
        const { items } = await on.client.list(IPAMBlock, { overlapping: cidr });
        expect(items.map(({ spec }) => spec.cidr).sort()).toEqual([...inside].sort());
      }
    });

    test("that nobody wants answered are written, refused and checked alike", async () => {
      await on.clear();
      const kind = IPPool as unknown as Kind;
      const made = block("10.0.0.0/30", "host:n1");
      const create = [
        { op: "create", kind: IPAMBlock as unknown as Kind, resource: made },
        { op: "create", kind, resource: pool("main", "10.0.0.0/16") },
      ] as const;
      expect(await on.client.commit(create)).toBeUndefined();
      const read = (await on.client.get(IPAMBlock, { name: "10-0-0-0-30" }))!;
      expect(read.spec).toEqual(made.spec);
      expect((await on.client.get(IPPool, { name: "main" }))!.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
      expect(await codeOf(on.client.commit(create))).toBe("EXISTS");
      const changed = { ...read, spec: { ...read.spec, sequenceNumber: read.spec.sequenceNumber + 1n } };
      const update = { op: "update", kind: IPAMBlock as unknown as Kind, resource: changed } as const;
      await on.client.commit([update]);
      expect(await codeOf(on.client.commit([update]))).toBe("CONFLICT");
      const wrong = { op: "create", kind, resource: pool("wrong", "10.1.0.0/99") } as const;
      expect(await codeOf(on.client.commit([wrong]))).toBe("INVALID");
    });

    test("of many clients lose no update", async () => {
      await on.clear();
      const clients = await Promise.all(Array.from({ length: 5 }, on.another));
      await on.client.create(IPAMHandle, newIPAMHandle("counter", { "10.0.0.0/26": 0 }));
      await Promise.all(
        clients.map(async (one) => {
          for (let done = 0; done < 5; ) {
            const handle = (await one.get(IPAMHandle, ipamHandleRef("counter")))!;
            handle.spec.block["10.0.0.0/26"]!++;
            const code = await codeOf(one.update(IPAMHandle, handle));
            if (code === "no error") done++;
            else expect(code).toBe("CONFLICT");
          }
        }),
      );
      expect((await on.client.get(IPAMHandle, ipamHandleRef("counter")))!.spec.block["10.0.0.0/26"]).toBe(25);
    });

    test("initialising at once makes one ClusterInformation and the built-in tiers", async () => {
      await on.clear();
      const clients = await Promise.all(Array.from({ length: 4 }, on.another));
      await Promise.all(
        clients.map((one, i) => ensureInitialized(one, { calicoVersion: "v3.33.0", clusterType: `k8s,t${i}` })),
      );
      const read = () => on.client.get(ClusterInformation, { name: "default" });
      const before = (await read())!;
      expect(before.spec).toMatchObject({
        clusterGUID: expect.stringMatching(/^[0-9a-f]{32}$/),
        datastoreReady: true,
        calicoVersion: "v3.33.0",
      });
      const kdd = on.client.capabilities.views ? ["kdd"] : [];
      expect(before.spec.clusterType!.split(",").sort()).toEqual(["k8s", ...kdd, "t0", "t1", "t2", "t3"]);
      expect(names((await on.client.list(Tier)).items)).toEqual(["default", "kube-admin", "kube-baseline"]);
      await ensureInitialized(on.client, { calicoVersion: "v3.33.0", clusterType: "t1" });
      expect(await read()).toEqual(before);
    });
  });
}

/** The same where keys and texts can be seen. */
export function keyListTests(on: KeyValueContext): void {
  test("lists are whole, however long", async () => {
    await on.clear();
    const count = 1203;
    for (let start = 0; start < count; start += 100)
      await on.store.transact(
        [],
        Array.from({ length: Math.min(100, count - start) }, (_, i) => ({
          key: `${IPAM}handle/h${start + i}`,
          value: '{"block":{},"deleted":false}',
        })),
      );
    expect((await on.client.list(IPAMHandle)).items.length).toBe(count);
    const keys = Array.from({ length: 300 }, (_, i) => ({ key: `${IPAM}handle/h${i}` }));
    const { results } = await on.store.read(keys);
    expect(results.map((found) => found.length)).toEqual(keys.map(() => 1));
    await on.clear();
  }, 30_000);
}
