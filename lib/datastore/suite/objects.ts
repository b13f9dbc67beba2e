import { describe, expect, test } from "vitest";
import { BlockAffinity } from "../../api/blockaffinity.ts";
import { IPAMBlock, ipamBlockRef } from "../../api/ipamblock.ts";
import { IPAMConfiguration } from "../../api/ipamconfiguration.ts";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import type { Resource } from "../../api/meta.ts";
import { PROFILE_KEY } from "../../api/names.ts";
import { Profile } from "../../api/profile.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { IPAM, RESOURCES, refOf } from "../keys.ts";
import {
  affinity,
  block,
  type Context,
  codeOf,
  endpoint,
  type KeyValueContext,
  names,
  pool,
  touched,
} from "./support.ts";

/** Single objects. */
export function objectTests(on: Context): void {
  describe("one object", () => {
    test("is created, read, changed and deleted", async () => {
      await on.clear();
      const ref = { name: "main" };
      expect(await on.client.get(IPPool, ref)).toBeUndefined();
      const given = pool("main", "10.0.0.0/16");
      const created = await on.client.create(IPPool, given);
      expect(given).toEqual(pool("main", "10.0.0.0/16"));
      expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
      expect(created.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(created.spec).toMatchObject({ cidr: "10.0.0.0/16", blockSize: 26, ipipMode: "Never" });
      expect(await on.client.get(IPPool, ref)).toEqual(created);
      const updated = await on.client.update(IPPool, { ...created, spec: { ...created.spec, natOutgoing: true } });
      expect(updated.metadata.resourceVersion).not.toBe(created.metadata.resourceVersion);
      expect(updated.metadata.uid).toBe(created.metadata.uid);
      expect(await on.client.get(IPPool, ref)).toEqual(updated);
      expect(await on.client.delete(IPPool, ref)).toEqual(updated);
      expect(await on.client.get(IPPool, ref)).toBeUndefined();
      expect(await codeOf(on.client.delete(IPPool, ref))).toBe("NOT_FOUND");
    });

    test("is asked for without being read", async ({ skip }) => {
      if (on.client.capabilities.views) return skip("Profiles cannot be written");
      await on.clear();
      expect(await on.client.exists(PROFILE_KEY, { name: "net" })).toBe(false);
      const { apiVersion, kind } = Profile;
      await on.client.create(Profile, { apiVersion, kind, metadata: { name: "net" }, spec: {} });
      expect(await on.client.exists(PROFILE_KEY, { name: "net" })).toBe(true);
      expect(await on.client.exists(PROFILE_KEY, { name: "ne" })).toBe(false);
      expect(await on.client.exists(Profile, { name: "projectcalico-default-allow" })).toBe(true);
      await on.subject.spoil(Profile as unknown as Kind, "broken");
      expect(await on.client.exists(PROFILE_KEY, { name: "broken" })).toBe(true);
      expect(await codeOf(on.client.exists(PROFILE_KEY, { name: "a/b" }))).toBe("INVALID");
      expect(await codeOf(on.client.exists(BlockAffinity, { name: "n-10-0-0-0-26" }))).toBe("INVALID");
    });

    test("exists once, and only its present revision can be changed", async () => {
      await on.clear();
      const first = await on.client.create(IPPool, pool("main", "10.0.0.0/16"));
      expect(await codeOf(on.client.create(IPPool, pool("main", "10.1.0.0/16")))).toBe("EXISTS");
      const second = await on.client.update(IPPool, touched(first));
      expect(await codeOf(on.client.update(IPPool, touched(first)))).toBe("CONFLICT");
      const options = { resourceVersion: first.metadata.resourceVersion! };
      expect(await codeOf(on.client.delete(IPPool, { name: "main" }, options))).toBe("CONFLICT");
      expect(await on.client.get(IPPool, { name: "main" })).toEqual(second);
      await on.client.delete(IPPool, { name: "main" }, { resourceVersion: second.metadata.resourceVersion! });
      expect(await codeOf(on.client.update(IPPool, second))).toBe("NOT_FOUND");
    });

    test("is not deleted in place of its successor", async () => {
      await on.clear();
      for (const [kind, resource] of [
        [IPPool, pool("main", "10.0.0.0/16")],
        [IPAMHandle, newIPAMHandle("net.c1", { "10.0.0.0/26": 1 })],
      ] as unknown as [Kind, Resource][]) {
        const before = await on.client.create(kind, resource);
        await on.client.delete(kind, refOf(resource), { uid: before.metadata.uid! });
        const after = await on.client.create(kind, resource);
        expect(after.metadata.uid).not.toBe(before.metadata.uid);
        expect((await on.client.get(kind, refOf(resource)))!.metadata.uid).toBe(after.metadata.uid);
        expect(await codeOf(on.client.delete(kind, refOf(resource), { uid: before.metadata.uid! }))).toBe("CONFLICT");
        await on.client.update(kind, touched(after));
        await on.client.delete(kind, refOf(resource), { uid: after.metadata.uid! });
      }
    });

    test("keeps its uid and creation time when an update does not name them", async () => {
      await on.clear();
      const created = await on.client.create(IPPool, pool("main", "10.0.0.0/16"));
      const bare = pool("main", "10.0.0.0/16");
      bare.metadata.resourceVersion = created.metadata.resourceVersion!;
      const updated = await on.client.update(IPPool, bare);
      expect(updated.metadata.uid).toBe(created.metadata.uid);
      expect(updated.metadata.creationTimestamp).toBe(created.metadata.creationTimestamp);
    });

    test("is refused when it is not a valid one of its kind", async () => {
      await on.clear();
      expect(await codeOf(on.client.create(IPPool, pool("main", "10.0.0.0/99")))).toBe("INVALID");
      expect(await codeOf(on.client.create(IPPool, pool("a/b", "10.0.0.0/16")))).toBe("INVALID");
      expect(await codeOf(on.client.create(WorkloadEndpoint, endpoint("", "n", "web")))).toBe("INVALID");
      expect(await codeOf(on.client.update(IPPool, pool("main", "10.0.0.0/16")))).toBe("INVALID");
      expect((await on.client.list(IPPool)).items).toEqual([]);
    });

    test("fresh objects come out", async () => {
      await on.clear();
      await on.client.create(IPPool, pool("main", "10.0.0.0/16"));
      const first = (await on.client.get(IPPool, { name: "main" }))!;
      first.spec.cidr = "changed";
      expect((await on.client.get(IPPool, { name: "main" }))!.spec.cidr).toBe("10.0.0.0/16");
    });

    test("that is marked deleted counts as absent", async () => {
      await on.clear();
      const handle = await on.client.create(IPAMHandle, newIPAMHandle("h", {}));
      const marked = await on.client.update(IPAMHandle, { ...handle, spec: { ...handle.spec, deleted: true } });
      expect(await on.client.get(IPAMHandle, ipamHandleRef("h"))).toBeUndefined();
      expect((await on.client.list(IPAMHandle)).items).toEqual([]);
      const again = await on.client.create(IPAMHandle, newIPAMHandle("h", { "10.0.0.0/26": 1 }));
      expect(
        await codeOf(
          on.client.delete(IPAMHandle, ipamHandleRef("h"), { resourceVersion: marked.metadata.resourceVersion! }),
        ),
      ).toBe("CONFLICT");
      expect(await on.client.get(IPAMHandle, ipamHandleRef("h"))).toEqual(again);
    });
  });
}

/** What is stored for them. */
export function storedTests(on: KeyValueContext): void {
  describe("what is stored", () => {
    test("lies under upstream's keys, in upstream's JSON", async () => {
      await on.clear();
      await on.client.create(IPPool, pool("main", "10.0.0.0/16"));
      const stored = await on.raw(`${RESOURCES}ippools/main`);
      const value = JSON.parse(stored!.value);
      expect(Object.keys(value)).toEqual(["kind", "apiVersion", "metadata", "spec"]);
      expect(value).toMatchObject({ kind: "IPPool", apiVersion: "projectcalico.org/v3", metadata: { name: "main" } });
      expect(value.metadata).not.toHaveProperty("resourceVersion");

      await on.client.create(WorkloadEndpoint, endpoint("prod", "n", "web"));
      expect(await on.raw(`${RESOURCES}workloadendpoints/prod/n-k8s-web-eth0`)).toBeDefined();

      const attributes = [{ handle_id: "net.c1", secondary: { pod: "web", namespace: "prod" } }];
      const full = block("10.0.0.0/30", "host:n1");
      full.spec.affinityClaimTime = "2026-01-02T03:04:05Z";
      full.spec.allocations = [0, null, null, null];
      full.spec.unallocated = [1, 2, 3];
      full.spec.attributes = attributes;
      full.spec.sequenceNumberForAllocation = { "0": 1_700_000_000_123_456_789n };
      await on.client.create(IPAMBlock, full);
      expect((await on.raw(`${IPAM}assignment/ipv4/block/10.0.0.0-30`))!.value).toBe(
        '{"cidr":"10.0.0.0/30","affinity":"host:n1","affinity_claim_time":"2026-01-02T03:04:05Z",' +
          '"allocations":[0,null,null,null],"unallocated":[1,2,3],' +
          '"attributes":[{"handle_id":"net.c1","secondary":{"namespace":"prod","pod":"web"}}],' +
          '"sequenceNumber":1700000000123456789,"sequenceNumberForAllocation":{"0":1700000000123456789},"deleted":false}',
      );
      await on.client.create(IPAMBlock, block("fd00::/126"));
      expect((await on.raw(`${IPAM}assignment/ipv6/block/fd00::-126`))!.value).toContain('"affinity":null');

      await on.client.create(BlockAffinity, affinity("n1", "10.0.0.0/30"));
      await on.client.create(BlockAffinity, affinity("lb", "fd00::/126", "virtual"));
      expect((await on.raw(`${IPAM}host/n1/ipv4/block/10.0.0.0-30`))!.value).toBe(
        '{"state":"confirmed","deleted":false}',
      );
      expect(await on.raw(`${IPAM}virtual/lb/ipv6/block/fd00::-126`)).toBeDefined();

      await on.client.create(IPAMHandle, newIPAMHandle("Net.C1", { "10.0.0.0/30": 1 }));
      expect((await on.raw(`${IPAM}handle/Net.C1`))!.value).toBe('{"block":{"10.0.0.0/30":1},"deleted":false}');

      const settings = { strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 3 };
      const configuration = await on.client.create(IPAMConfiguration, {
        ...{ apiVersion: "projectcalico.org/v3", kind: "IPAMConfiguration", metadata: { name: "default" } },
        spec: settings as IPAMConfiguration["spec"],
      });
      expect((await on.raw(`${IPAM}config`))!.value).toBe(
        '{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":3}',
      );
      expect(configuration.spec).toMatchObject({ ...settings, kubeVirtVMAddressPersistence: "Enabled" });
    });

    test("by another Calico is read", async () => {
      await on.clear();
      await on.put(
        `${IPAM}assignment/ipv4/block/10.0.0.0-31`,
        '{"cidr":"10.0.0.0/31","hostAffinity":"old","strictAffinity":false,"allocations":[0,null],"unallocated":[1],' +
          '"attributes":[{"handle_id":null,"secondary":null,"newer":{"x":[1]}}],"sequenceNumber":18446744073709551615,' +
          '"sequenceNumberForAllocation":null,"deleted":false,"newest":true}',
      );
      const found = (await on.client.get(IPAMBlock, ipamBlockRef("10.0.0.0/31")))!;
      expect(found.spec).toMatchObject({ affinity: "host:old", sequenceNumber: 18446744073709551615n });
      expect(found.spec.attributes[0]!.handle_id).toBeUndefined();
      await on.client.update(IPAMBlock, { ...found, spec: { ...found.spec, unallocated: [] } });
      expect((await on.raw(`${IPAM}assignment/ipv4/block/10.0.0.0-31`))!.value).toBe(
        '{"cidr":"10.0.0.0/31","affinity":"host:old","allocations":[0,null],"unallocated":[],"attributes":[{"newer":{"x":[1]}}],' +
          '"sequenceNumber":18446744073709551615,"sequenceNumberForAllocation":{},"deleted":false,"newest":true}',
      );
      // Affinities were once stored without a value; a host has an object of its own among them.
      await on.put(`${IPAM}host/n1/ipv4/block/10.0.0.0-31`, "");
      await on.put(`${IPAM}host/n1`, "{}");
      const affinities = await on.client.list(BlockAffinity);
      expect(affinities.items.map(({ spec }) => spec)).toEqual([
        { state: "confirmed", node: "n1", type: "host", cidr: "10.0.0.0/31", deleted: false },
      ]);
      // Left out means false here, which is not the kind's default.
      await on.put(`${IPAM}config`, '{"strict_affinity":true}');
      const configuration = (await on.client.get(IPAMConfiguration, { name: "default" }))!;
      expect(configuration.spec).toMatchObject({ strictAffinity: true, autoAllocateBlocks: false });
      // Fields that a newer version has are kept.
      await on.put(
        `${RESOURCES}ippools/p`,
        '{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"p","uid":"u","creationTimestamp":null},"spec":{"cidr":"10.0.0.0/16","newer":12345678901234567890},"future":1}',
      );
      const read = (await on.client.get(IPPool, { name: "p" }))!;
      await on.client.update(IPPool, { ...read, spec: { ...read.spec, disabled: true } });
      const kept = (await on.raw(`${RESOURCES}ippools/p`))!.value;
      expect(kept).toContain('"newer":12345678901234567890');
      expect(kept).toContain('"future":1');
    });

    test("but cannot be read is INVALID, by key and field; it can be deleted", async () => {
      await on.clear();
      await on.client.create(IPPool, pool("good", "10.0.0.0/16"));
      const key = `${RESOURCES}ippools/bad`;
      for (const [value, field] of [
        ["{", "JSON"],
        ["[]", "object"],
        ['{"spec":{"cidr":7}}', "spec.cidr"],
        ['{"metadata":{"name":"other"},"spec":{"cidr":"10.0.0.0/8"}}', "metadata.name"],
        ['{"metadata":[],"spec":{"cidr":"10.0.0.0/8"}}', "metadata"],
      ] as const) {
        await on.put(key, value);
        await expect(on.client.get(IPPool, { name: "bad" })).rejects.toMatchObject({ code: "INVALID" });
        await expect(on.client.get(IPPool, { name: "bad" })).rejects.toThrow(key);
        await expect(on.client.get(IPPool, { name: "bad" })).rejects.toThrow(field);
        const { items, unreadable } = await on.client.list(IPPool);
        expect(names(items)).toEqual(["good"]);
        expect(unreadable).toEqual([
          { key, ref: { name: "bad" }, error: expect.objectContaining({ code: "INVALID" }) },
        ]);
        expect(unreadable[0]!.error.message).toContain(field);
      }
      expect((await on.client.delete(IPPool, { name: "bad" })).metadata.name).toBe("bad");
      expect(names((await on.client.list(IPPool)).items)).toEqual(["good"]);
    });
  });
}
