/**
 * What every datastore does, as one suite that runs against each of them: the in-memory one that other tests rely on, sqlite, and a
 * real etcd server. Not a test file by itself.
 */
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BlockAffinity, blockAffinityRef, newBlockAffinity } from "../api/blockaffinity.ts";
import { IPAMBlock, ipamBlockRef, newIPAMBlock } from "../api/ipamblock.ts";
import { IPAMConfiguration } from "../api/ipamconfiguration.ts";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../api/ipamhandle.ts";
import { IPPool } from "../api/ippool.ts";
import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { parseCidr } from "../ip/index.ts";
import type { Client, WatchEvent, WatchOptions } from "./client.ts";
import { DatastoreError, type DatastoreErrorCode } from "./errors.ts";
import { ensureInitialized } from "./initialise.ts";
import { KeyValueClient } from "./key-value-client.ts";
import { blockKey, IPAM, keyOf, RESOURCES, refOf } from "./keys.ts";
import { type KeyValueStore, prefixRange, type Stored } from "./store.ts";

/** An empty datastore under test. */
export interface Subject {
  /** Another connection to it. */
  open(): Promise<KeyValueStore>;
  /** Makes it forget how it came to its present state. */
  compact(): Promise<void>;
  /** Ends and restarts its server, where it has one. */
  restart?(): Promise<void>;
  remove(): Promise<void>;
}

const pool = (name: string, cidr: string): IPPool => ({
  apiVersion: IPPool.apiVersion,
  kind: "IPPool",
  metadata: { name },
  spec: { cidr } as IPPool["spec"],
});

const endpoint = (namespace: string, node: string, pod: string, iface = "eth0"): WorkloadEndpoint => ({
  apiVersion: WorkloadEndpoint.apiVersion,
  kind: "WorkloadEndpoint",
  metadata: { name: `${node}-k8s-${pod}-${iface}`, namespace },
  spec: {
    orchestrator: "k8s",
    node,
    pod,
    endpoint: iface,
    ipNetworks: ["10.0.0.1/32"],
    interfaceName: "cali0",
  } as WorkloadEndpoint["spec"],
});

const block = (cidr: string, affinity?: string): IPAMBlock =>
  newIPAMBlock({ cidr, sequenceNumber: 1_700_000_000_123_456_789n, ...(affinity ? { affinity } : {}) });

const affinity = (node: string, cidr: string, type: "host" | "virtual" = "host"): BlockAffinity =>
  newBlockAffinity({ node, cidr, type, state: "confirmed" });

const names = (resources: readonly Resource[]): string[] => resources.map(({ metadata }) => metadata.name);

/** The code of the DatastoreError that `work` throws. */
export async function codeOf(work: Promise<unknown>): Promise<DatastoreErrorCode | "no error"> {
  try {
    await work;
    return "no error";
  } catch (error) {
    if (error instanceof DatastoreError) return error.code;
    throw error;
  }
}

/** A watch whose events are collected. */
export class Watcher<R extends Resource> {
  readonly events: WatchEvent<R>[] = [];
  failure: unknown;
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;

  constructor(client: Client, kind: Kind<R>, options: WatchOptions = {}) {
    this.#done = (async () => {
      try {
        for await (const event of client.watch(kind, { ...options, signal: this.#abort.signal }))
          this.events.push(event);
      } catch (error) {
        this.failure = error;
      }
    })();
  }

  /** `added web`, `synced`… without the first `skip`. */
  told(skip = 0): string[] {
    return this.events.slice(skip).map((event) => {
      if (event.type === "synced") return "synced";
      return `${event.type} ${event.type === "invalid" ? event.key : event.resource.metadata.name}`;
    });
  }

  /** Waits until `condition` holds of what was told. */
  async until(condition: (told: string[]) => boolean): Promise<string[]> {
    for (const deadline = Date.now() + 20_000; !condition(this.told()); ) {
      if (this.failure) throw this.failure;
      if (Date.now() > deadline) throw new Error(`not told in time, only: ${this.told().join(", ")}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    return this.told();
  }

  count(events: number): Promise<string[]> {
    return this.until((told) => told.length >= events);
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.#done;
    if (this.failure) throw this.failure;
  }
}

export function datastoreSuite(name: string, make: () => Promise<Subject>): void {
  describe(name, () => {
    let subject: Subject;
    let store: KeyValueStore;
    let client: Client;
    const opened: Client[] = [];
    const another = async (): Promise<Client> => {
      const made = new KeyValueClient(await subject.open());
      opened.push(made);
      return made;
    };
    const raw = async (key: string): Promise<Stored | undefined> => (await store.read([{ key }])).results[0]?.[0];
    const put = async (key: string, value: string | undefined) => {
      expect((await store.transact([], [{ key, value }])).succeeded).toBe(true);
    };
    /** Removes what earlier tests left of a kind. */
    const clear = async (...prefixes: string[]) => {
      for (const prefix of prefixes.length > 0 ? prefixes : ["/calico/"]) {
        const { results } = await store.read([prefixRange(prefix)]);
        for (const { key } of results[0]!) await put(key, undefined);
      }
    };

    beforeAll(async () => {
      subject = await make();
      store = await subject.open();
      client = await another();
    });
    afterAll(async () => {
      for (const one of opened) await one.close();
      await store?.close();
      await subject?.remove();
    });

    describe("one object", () => {
      test("is created, read, changed and deleted", async () => {
        await clear();
        const ref = { name: "main" };
        expect(await client.get(IPPool, ref)).toBeUndefined();
        const given = pool("main", "10.0.0.0/16");
        const created = await client.create(IPPool, given);
        expect(given).toEqual(pool("main", "10.0.0.0/16"));
        expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
        expect(created.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
        expect(created.spec).toMatchObject({ cidr: "10.0.0.0/16", blockSize: 26, ipipMode: "Never" });
        expect(await client.get(IPPool, ref)).toEqual(created);
        const updated = await client.update(IPPool, { ...created, spec: { ...created.spec, natOutgoing: true } });
        expect(updated.metadata.resourceVersion).not.toBe(created.metadata.resourceVersion);
        expect(updated.metadata.uid).toBe(created.metadata.uid);
        expect(await client.get(IPPool, ref)).toEqual(updated);
        expect(await client.delete(IPPool, ref)).toEqual(updated);
        expect(await client.get(IPPool, ref)).toBeUndefined();
        expect(await codeOf(client.delete(IPPool, ref))).toBe("NOT_FOUND");
      });

      test("exists once, and only its present revision can be changed", async () => {
        await clear();
        const first = await client.create(IPPool, pool("main", "10.0.0.0/16"));
        expect(await codeOf(client.create(IPPool, pool("main", "10.1.0.0/16")))).toBe("EXISTS");
        const second = await client.update(IPPool, first);
        expect(await codeOf(client.update(IPPool, first))).toBe("CONFLICT");
        const options = { resourceVersion: first.metadata.resourceVersion! };
        expect(await codeOf(client.delete(IPPool, { name: "main" }, options))).toBe("CONFLICT");
        expect(await client.get(IPPool, { name: "main" })).toEqual(second);
        await client.delete(IPPool, { name: "main" }, { resourceVersion: second.metadata.resourceVersion! });
        expect(await codeOf(client.update(IPPool, second))).toBe("NOT_FOUND");
      });

      test("is not deleted in place of its successor", async () => {
        await clear();
        for (const [kind, resource] of [
          [IPPool, pool("main", "10.0.0.0/16")],
          [IPAMHandle, newIPAMHandle("net.c1", { "10.0.0.0/26": 1 })],
        ] as unknown as [Kind, Resource][]) {
          const before = await client.create(kind, resource);
          await client.delete(kind, refOf(resource), { uid: before.metadata.uid! });
          const after = await client.create(kind, resource);
          expect(after.metadata.uid).not.toBe(before.metadata.uid);
          expect((await client.get(kind, refOf(resource)))!.metadata.uid).toBe(after.metadata.uid);
          expect(await codeOf(client.delete(kind, refOf(resource), { uid: before.metadata.uid! }))).toBe("CONFLICT");
          await client.update(kind, after);
          await client.delete(kind, refOf(resource), { uid: after.metadata.uid! });
        }
      });

      test("keeps its uid and creation time when an update does not name them", async () => {
        await clear();
        const created = await client.create(IPPool, pool("main", "10.0.0.0/16"));
        const bare = pool("main", "10.0.0.0/16");
        bare.metadata.resourceVersion = created.metadata.resourceVersion!;
        const updated = await client.update(IPPool, bare);
        expect(updated.metadata.uid).toBe(created.metadata.uid);
        expect(updated.metadata.creationTimestamp).toBe(created.metadata.creationTimestamp);
      });

      test("is refused when it is not a valid one of its kind", async () => {
        await clear();
        expect(await codeOf(client.create(IPPool, pool("main", "10.0.0.0/99")))).toBe("INVALID");
        expect(await codeOf(client.create(IPPool, pool("a/b", "10.0.0.0/16")))).toBe("INVALID");
        expect(await codeOf(client.create(WorkloadEndpoint, endpoint("", "n", "web")))).toBe("INVALID");
        expect(await codeOf(client.update(IPPool, pool("main", "10.0.0.0/16")))).toBe("INVALID");
        expect((await client.list(IPPool)).items).toEqual([]);
      });

      test("fresh objects come out", async () => {
        await clear();
        await client.create(IPPool, pool("main", "10.0.0.0/16"));
        const first = (await client.get(IPPool, { name: "main" }))!;
        first.spec.cidr = "changed";
        expect((await client.get(IPPool, { name: "main" }))!.spec.cidr).toBe("10.0.0.0/16");
      });
    });

    describe("what is stored", () => {
      test("lies under upstream's keys, in upstream's JSON", async () => {
        await clear();
        await client.create(IPPool, pool("main", "10.0.0.0/16"));
        const stored = await raw(`${RESOURCES}ippools/main`);
        const value = JSON.parse(stored!.value);
        expect(Object.keys(value)).toEqual(["kind", "apiVersion", "metadata", "spec"]);
        expect(value).toMatchObject({ kind: "IPPool", apiVersion: "projectcalico.org/v3", metadata: { name: "main" } });
        expect(value.metadata).not.toHaveProperty("resourceVersion");

        await client.create(WorkloadEndpoint, endpoint("prod", "n", "web"));
        expect(await raw(`${RESOURCES}workloadendpoints/prod/n-k8s-web-eth0`)).toBeDefined();

        const attributes = [{ handle_id: "net.c1", secondary: { pod: "web", namespace: "prod" } }];
        const full = block("10.0.0.0/30", "host:n1");
        full.spec.affinityClaimTime = "2026-01-02T03:04:05Z";
        full.spec.allocations = [0, null, null, null];
        full.spec.unallocated = [1, 2, 3];
        full.spec.attributes = attributes;
        full.spec.sequenceNumberForAllocation = { "0": 1_700_000_000_123_456_789n };
        await client.create(IPAMBlock, full);
        expect((await raw(`${IPAM}assignment/ipv4/block/10.0.0.0-30`))!.value).toBe(
          '{"cidr":"10.0.0.0/30","affinity":"host:n1","affinity_claim_time":"2026-01-02T03:04:05Z",' +
            '"allocations":[0,null,null,null],"unallocated":[1,2,3],' +
            '"attributes":[{"handle_id":"net.c1","secondary":{"namespace":"prod","pod":"web"}}],' +
            '"sequenceNumber":1700000000123456789,"sequenceNumberForAllocation":{"0":1700000000123456789},"deleted":false}',
        );
        await client.create(IPAMBlock, block("fd00::/126"));
        expect((await raw(`${IPAM}assignment/ipv6/block/fd00::-126`))!.value).toContain('"affinity":null');

        await client.create(BlockAffinity, affinity("n1", "10.0.0.0/30"));
        await client.create(BlockAffinity, affinity("lb", "fd00::/126", "virtual"));
        expect((await raw(`${IPAM}host/n1/ipv4/block/10.0.0.0-30`))!.value).toBe(
          '{"state":"confirmed","deleted":false}',
        );
        expect(await raw(`${IPAM}virtual/lb/ipv6/block/fd00::-126`)).toBeDefined();

        await client.create(IPAMHandle, newIPAMHandle("Net.C1", { "10.0.0.0/30": 1 }));
        expect((await raw(`${IPAM}handle/Net.C1`))!.value).toBe('{"block":{"10.0.0.0/30":1},"deleted":false}');

        const settings = { strictAffinity: true, autoAllocateBlocks: true, maxBlocksPerHost: 3 };
        const configuration = await client.create(IPAMConfiguration, {
          ...{ apiVersion: "projectcalico.org/v3", kind: "IPAMConfiguration", metadata: { name: "default" } },
          spec: settings as IPAMConfiguration["spec"],
        });
        expect((await raw(`${IPAM}config`))!.value).toBe(
          '{"strict_affinity":true,"auto_allocate_blocks":true,"maxBlocksPerHost":3}',
        );
        expect(configuration.spec).toMatchObject({ ...settings, kubeVirtVMAddressPersistence: "Enabled" });
      });

      test("by another Calico is read", async () => {
        await clear();
        await put(
          `${IPAM}assignment/ipv4/block/10.0.0.0-31`,
          '{"cidr":"10.0.0.0/31","affinity":null,"hostAffinity":"old","strictAffinity":false,"allocations":[0,null],"unallocated":[1],' +
            '"attributes":[{"handle_id":null,"secondary":null,"newer":{"x":[1]}}],"sequenceNumber":18446744073709551615,' +
            '"sequenceNumberForAllocation":null,"deleted":false,"newest":true}',
        );
        const found = (await client.get(IPAMBlock, ipamBlockRef("10.0.0.0/31")))!;
        expect(found.spec).toMatchObject({ affinity: "host:old", sequenceNumber: 18446744073709551615n });
        expect(found.spec.attributes[0]!.handle_id).toBeUndefined();
        await client.update(IPAMBlock, { ...found, spec: { ...found.spec, unallocated: [] } });
        expect((await raw(`${IPAM}assignment/ipv4/block/10.0.0.0-31`))!.value).toBe(
          '{"cidr":"10.0.0.0/31","affinity":"host:old","allocations":[0,null],"unallocated":[],"attributes":[{"newer":{"x":[1]}}],' +
            '"sequenceNumber":18446744073709551615,"sequenceNumberForAllocation":{},"deleted":false,"newest":true}',
        );
        // Affinities were once stored without a value; a host has an object of its own among them.
        await put(`${IPAM}host/n1/ipv4/block/10.0.0.0-31`, "");
        await put(`${IPAM}host/n1`, "{}");
        const affinities = await client.list(BlockAffinity);
        expect(affinities.items.map(({ spec }) => spec)).toEqual([
          { state: "confirmed", node: "n1", type: "host", cidr: "10.0.0.0/31", deleted: false },
        ]);
        // Left out means false here, which is not the kind's default.
        await put(`${IPAM}config`, '{"strict_affinity":true}');
        const configuration = (await client.get(IPAMConfiguration, { name: "default" }))!;
        expect(configuration.spec).toMatchObject({ strictAffinity: true, autoAllocateBlocks: false });
        // Fields that a newer version has are kept.
        await put(
          `${RESOURCES}ippools/p`,
          '{"kind":"IPPool","apiVersion":"projectcalico.org/v3","metadata":{"name":"p","uid":"u","creationTimestamp":null},"spec":{"cidr":"10.0.0.0/16","newer":12345678901234567890},"future":1}',
        );
        const read = (await client.get(IPPool, { name: "p" }))!;
        await client.update(IPPool, { ...read, spec: { ...read.spec, disabled: true } });
        const kept = (await raw(`${RESOURCES}ippools/p`))!.value;
        expect(kept).toContain('"newer":12345678901234567890');
        expect(kept).toContain('"future":1');
      });

      test("but cannot be read is INVALID, by key and field; it can be deleted", async () => {
        await clear();
        await client.create(IPPool, pool("good", "10.0.0.0/16"));
        const key = `${RESOURCES}ippools/bad`;
        for (const [value, field] of [
          ["{", "JSON"],
          ["[]", "object"],
          ['{"spec":{"cidr":7}}', "spec.cidr"],
          ['{"metadata":{"name":"other"},"spec":{"cidr":"10.0.0.0/8"}}', "metadata.name"],
          ['{"metadata":[],"spec":{"cidr":"10.0.0.0/8"}}', "metadata"],
        ] as const) {
          await put(key, value);
          await expect(client.get(IPPool, { name: "bad" })).rejects.toMatchObject({ code: "INVALID" });
          await expect(client.get(IPPool, { name: "bad" })).rejects.toThrow(key);
          await expect(client.get(IPPool, { name: "bad" })).rejects.toThrow(field);
          await expect(client.list(IPPool)).rejects.toThrow(key);
        }
        expect((await client.delete(IPPool, { name: "bad" })).metadata.name).toBe("bad");
        expect(names((await client.list(IPPool)).items)).toEqual(["good"]);
      });

      test("and marked deleted counts as absent", async () => {
        await clear();
        const handle = await client.create(IPAMHandle, newIPAMHandle("h", {}));
        const marked = await client.update(IPAMHandle, { ...handle, spec: { ...handle.spec, deleted: true } });
        expect(await client.get(IPAMHandle, ipamHandleRef("h"))).toBeUndefined();
        expect((await client.list(IPAMHandle)).items).toEqual([]);
        const again = await client.create(IPAMHandle, newIPAMHandle("h", { "10.0.0.0/26": 1 }));
        expect(
          await codeOf(
            client.delete(IPAMHandle, ipamHandleRef("h"), { resourceVersion: marked.metadata.resourceVersion! }),
          ),
        ).toBe("CONFLICT");
        expect(await client.get(IPAMHandle, ipamHandleRef("h"))).toEqual(again);
      });
    });

    describe("lists", () => {
      test("hold a kind, or an index of it", async () => {
        await clear();
        const other = "10.0.1.0/30";
        await client.batch([
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
          (await client.list(kind as Kind, index)).items.map(({ spec }) => (spec as { cidr: string }).cidr).sort();
        for (const kind of [BlockAffinity, IPAMBlock]) {
          expect(await cidrs(kind)).toEqual(["10.0.0.0/30", other, "10.0.2.0/30", "fd00::/126"]);
          expect(await cidrs(kind, { node: "n1" })).toEqual(["10.0.0.0/30", other, "fd00::/126"]);
          expect(await cidrs(kind, { node: "n1", affinityType: "host" })).toEqual(["10.0.0.0/30", "fd00::/126"]);
          expect(await cidrs(kind, { node: "n1", affinityType: "virtual" })).toEqual([other]);
          expect(await cidrs(kind, { node: "n" })).toEqual([]);
          expect(await cidrs(kind, { ipVersion: 6 })).toEqual(["fd00::/126"]);
        }
        await client.create(IPPool, pool("four", "10.0.0.0/16"));
        await client.create(IPPool, pool("six", "fd00::/64"));
        expect(await cidrs(IPPool, { ipVersion: 4 })).toEqual(["10.0.0.0/16"]);

        for (const [namespace, node, pod, iface] of [
          ["a", "n1", "web", "eth0"],
          ["a", "n1", "web", "eth1"],
          ["a", "n2", "db", "eth0"],
          ["ab", "n1", "web", "eth0"],
        ] as const)
          await client.create(WorkloadEndpoint, endpoint(namespace, node, pod, iface));
        const found = async (index?: WatchOptions["index"]) =>
          (await client.list(WorkloadEndpoint, index)).items.map(
            ({ metadata }) => `${metadata.namespace}/${metadata.name}`,
          );
        expect((await found()).length).toBe(4);
        expect((await found({ namespace: "a" })).length).toBe(3);
        expect(await found({ namespace: "a", namePrefix: "n1-k8s-web-" })).toEqual([
          "a/n1-k8s-web-eth0",
          "a/n1-k8s-web-eth1",
        ]);
        expect((await found({ node: "n1" })).length).toBe(3);
      });

      test("are whole, however long", async () => {
        await clear();
        const count = 1203;
        for (let start = 0; start < count; start += 100)
          await store.transact(
            [],
            Array.from({ length: Math.min(100, count - start) }, (_, i) => ({
              key: `${IPAM}handle/h${start + i}`,
              value: '{"block":{},"deleted":false}',
            })),
          );
        expect((await client.list(IPAMHandle)).items.length).toBe(count);
        const keys = Array.from({ length: 300 }, (_, i) => ({ key: `${IPAM}handle/h${i}` }));
        const { results } = await store.read(keys);
        expect(results.map((found) => found.length)).toEqual(keys.map(() => 1));
        await clear();
      }, 30_000);

      test("an affinity is found by its name as well", async () => {
        await clear();
        const made = await client.create(BlockAffinity, affinity("n1", "10.0.0.0/30"));
        expect(await client.get(BlockAffinity, { name: made.metadata.name })).toEqual(made);
        expect(
          await client.get(BlockAffinity, blockAffinityRef({ type: "host", node: "n1", cidr: "10.0.0.0/30" })),
        ).toEqual(made);
        await client.create(IPAMBlock, block("fd00::/126"));
        expect((await client.get(IPAMBlock, { name: "fd00---126" }))!.spec.cidr).toBe("fd00::/126");
        await client.delete(BlockAffinity, { name: made.metadata.name });
        expect(await client.get(BlockAffinity, { name: made.metadata.name })).toBeUndefined();
      });
    });

    describe("batches", () => {
      test("commit all or nothing, and answer in order", async () => {
        await clear();
        const main = await client.create(IPPool, pool("main", "10.0.0.0/16"));
        const old = await client.create(IPPool, pool("old", "10.1.0.0/16"));
        const kind = IPPool as unknown as Kind;
        const operations = [
          { op: "create", kind, resource: pool("new", "10.2.0.0/16") },
          { op: "update", kind, resource: { ...main, spec: { ...main.spec, disabled: true } } },
          { op: "delete", kind, ref: { name: "old" }, resourceVersion: old.metadata.resourceVersion! },
        ] as const;
        const answers = await client.batch(operations);
        expect(names(answers)).toEqual(["new", "main", "old"]);
        expect(answers[2]).toEqual(old);
        expect(await client.get(IPPool, { name: "main" })).toEqual(answers[1]);
        expect(new Set(answers.slice(0, 2).map(({ metadata }) => metadata.resourceVersion)).size).toBe(1);
        expect(names((await client.list(IPPool)).items)).toEqual(["main", "new"]);

        expect(
          await codeOf(client.batch([{ op: "create", kind, resource: pool("third", "10.3.0.0/16") }, operations[1]])),
        ).toBe("CONFLICT");
        expect(
          await codeOf(client.batch([{ op: "create", kind, resource: pool("third", "10.3.0.0/16") }, operations[2]])),
        ).toBe("NOT_FOUND");
        expect(
          await codeOf(client.batch([operations[0], { op: "create", kind, resource: pool("third", "10.3.0.0/16") }])),
        ).toBe("EXISTS");
        expect(names((await client.list(IPPool)).items)).toEqual(["main", "new"]);
        expect(await client.batch([])).toEqual([]);
        const twice = { op: "delete", kind, ref: { name: "new" } } as const;
        expect(await codeOf(client.batch([twice, twice]))).toBe("INVALID");
      });

      test("of many clients lose no update", async () => {
        await clear();
        const clients = await Promise.all(Array.from({ length: 5 }, another));
        await client.create(IPAMHandle, newIPAMHandle("counter", { "10.0.0.0/26": 0 }));
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
        expect((await client.get(IPAMHandle, ipamHandleRef("counter")))!.spec.block["10.0.0.0/26"]).toBe(25);
      });

      test("initialising at once makes one ClusterInformation and the built-in tiers", async () => {
        await clear();
        const clients = await Promise.all(Array.from({ length: 4 }, another));
        await Promise.all(
          clients.map((one, i) => ensureInitialized(one, { calicoVersion: "v3.33.0", clusterType: `k8s,t${i}` })),
        );
        const { value } = (await raw(`${RESOURCES}clusterinformations/default`))!;
        const { spec } = JSON.parse(value);
        expect(spec).toMatchObject({
          clusterGUID: expect.stringMatching(/^[0-9a-f]{32}$/),
          datastoreReady: true,
          calicoVersion: "v3.33.0",
        });
        expect(spec.clusterType.split(",").sort()).toEqual(["k8s", "t0", "t1", "t2", "t3"]);
        const tiers = (await store.read([prefixRange(`${RESOURCES}tiers/`)])).results[0]!;
        expect(tiers.map(({ key }) => key.split("/").at(-1))).toEqual(["default", "kube-admin", "kube-baseline"]);
        const before = await raw(`${RESOURCES}clusterinformations/default`);
        await ensureInitialized(client, { calicoVersion: "v3.33.0", clusterType: "t1" });
        expect(await raw(`${RESOURCES}clusterinformations/default`)).toEqual(before);
      });
    });

    describe("watches", () => {
      test("tell what is there, then every change", async () => {
        await clear();
        await client.create(IPPool, pool("a", "10.0.0.0/16"));
        const watcher = new Watcher(client, IPPool);
        await watcher.count(2);
        const writer = await another();
        const b = await writer.create(IPPool, pool("b", "10.1.0.0/16"));
        await client.update(IPPool, b);
        await writer.create(IPAMHandle, newIPAMHandle("other", {}));
        await writer.delete(IPPool, { name: "a" });
        expect(await watcher.count(5)).toEqual(["added a", "synced", "added b", "modified b", "deleted a"]);
        const last = watcher.events.at(-1)!;
        expect(last.type === "deleted" && last.resource.spec.cidr).toBe("10.0.0.0/16");
        await watcher.stop();
      });

      test("resume at a revision, and tell deletions of the time between", async () => {
        await clear();
        await client.create(IPPool, pool("a", "10.0.0.0/16"));
        await client.create(IPPool, pool("gone", "10.1.0.0/16"));
        const { revision } = await client.list(IPPool);
        await client.create(IPPool, pool("b", "10.2.0.0/16"));
        await client.delete(IPPool, { name: "gone" });
        await client.update(IPPool, (await client.get(IPPool, { name: "a" }))!);
        await client.create(IPPool, pool("brief", "10.3.0.0/16"));
        await client.delete(IPPool, { name: "brief" });
        const watcher = new Watcher(client, IPPool, { from: revision });
        expect(await watcher.count(5)).toEqual([
          "added b",
          "deleted gone",
          "modified a",
          "added brief",
          "deleted brief",
        ]);
        const at = watcher.events[1]!.revision;
        const second = new Watcher(client, IPPool, { from: at });
        expect(await second.count(3)).toEqual(["modified a", "added brief", "deleted brief"]);
        await Promise.all([watcher.stop(), second.stop()]);
      });

      test("list again when their revision was compacted", async () => {
        await clear();
        await client.create(IPPool, pool("a", "10.0.0.0/16"));
        const { revision } = await client.list(IPPool);
        await client.create(IPPool, pool("b", "10.1.0.0/16"));
        await client.update(IPPool, (await client.get(IPPool, { name: "a" }))!);
        await subject.compact();
        const watcher = new Watcher(client, IPPool, { from: revision });
        const told = await watcher.until((events) => events.includes("synced"));
        expect(told.slice(0, 2).sort()).toEqual(["added b", "modified a"]);
        await client.delete(IPPool, { name: "b" });
        expect((await watcher.count(4)).slice(2)).toEqual(["synced", "deleted b"]);
        await watcher.stop();
      });

      test("survive compaction while they run", async () => {
        await clear();
        const watcher = new Watcher(client, IPPool);
        await watcher.count(1);
        for (let i = 0; i < 3; i++) {
          await client.create(IPPool, pool(`p${i}`, `10.${i}.0.0/16`));
          await subject.compact();
        }
        await watcher.until((told) => ["added p0", "added p1", "added p2"].every((event) => told.includes(event)));
        await watcher.stop();
      });

      test("report what cannot be read, and go on", async () => {
        await clear();
        const watcher = new Watcher(client, IPPool);
        await watcher.count(1);
        const key = `${RESOURCES}ippools/a`;
        await client.create(IPPool, pool("a", "10.0.0.0/16"));
        await put(key, "{");
        await client.create(IPPool, pool("b", "10.1.0.0/16"));
        await put(key, undefined);
        expect(await watcher.count(5)).toEqual(["synced", "added a", `invalid ${key}`, "added b", "deleted a"]);
        await put(key, "{");
        const late = new Watcher(client, IPPool);
        await late.until((told) => told.includes("synced"));
        expect(late.told().sort()).toEqual(["added b", `invalid ${key}`, "synced"]);
        await Promise.all([watcher.stop(), late.stop()]);
      });

      test("of an index tell who enters and who leaves", async () => {
        await clear();
        const watcher = new Watcher(client, IPAMBlock, { index: { node: "n1" } });
        const hosts = new Watcher(client, BlockAffinity, { index: { node: "n1" } });
        await Promise.all([watcher.count(1), hosts.count(1)]);
        const moving = await client.create(IPAMBlock, block("10.0.0.0/30", "host:n2"));
        const here = await client.update(IPAMBlock, { ...moving, spec: { ...moving.spec, affinity: "host:n1" } });
        const still = await client.update(IPAMBlock, here);
        await client.update(IPAMBlock, { ...still, spec: { ...still.spec, affinity: "host:n3" } });
        const name = moving.metadata.name;
        expect(await watcher.count(4)).toEqual(["synced", `added ${name}`, `modified ${name}`, `deleted ${name}`]);
        await client.create(BlockAffinity, affinity("n2", "10.0.9.0/30"));
        await client.create(BlockAffinity, affinity("n1", "10.0.0.0/30", "virtual"));
        const made = await client.create(BlockAffinity, affinity("n1", "10.0.1.0/30"));
        await client.update(BlockAffinity, { ...made, spec: { ...made.spec, deleted: true } });
        expect(await hosts.count(4)).toEqual([
          "synced",
          "added n1-10-0-0-0-30",
          "added n1-10-0-1-0-30",
          "deleted n1-10-0-1-0-30",
        ]);
        await Promise.all([watcher.stop(), hosts.stop()]);
      });

      test("end when they are told to, also when nobody reads them", async () => {
        const abort = new AbortController();
        const events = client.watch(IPPool, { signal: abort.signal })[Symbol.asyncIterator]();
        abort.abort();
        for (let next = await events.next(); !next.done; next = await events.next());
        for await (const event of client.watch(IPPool)) if (event.type === "synced") break;
      });

      test("refuse a revision that is none", async () => {
        const events = client.watch(IPPool, { from: "later" })[Symbol.asyncIterator]();
        expect(await codeOf(events.next())).toBe("INVALID");
      });

      test("survive a restart of the server, and tell what was deleted meanwhile", async ({ skip }) => {
        if (!subject.restart) return skip("has no server");
        await clear();
        await client.create(IPPool, pool("a", "10.0.0.0/16"));
        const watcher = new Watcher(client, IPPool);
        await watcher.count(2);
        await subject.restart();
        await client.create(IPPool, pool("b", "10.1.0.0/16"));
        await client.delete(IPPool, { name: "a" });
        expect(await watcher.count(4)).toEqual(["added a", "synced", "added b", "deleted a"]);
        await watcher.stop();
      });
    });

    describe("the store", () => {
      test("agrees with a naive model on any sequence of operations", async () => {
        const keys = ["/m/a", "/m/a/b", "/m/a0", "/m/b", "/m/\u{1F600}", "/m/\uffee", "/m/é"];
        const key = fc.constantFrom(...keys);
        const write = fc.record({
          key,
          value: fc.option(fc.string({ unit: "binary", maxLength: 8 }), { nil: undefined }),
        });
        const compare = fc.record({ key, kind: fc.constantFrom("right", "any", "absent", "wrong") });
        const step = fc.record({
          compares: fc.uniqueArray(compare, { maxLength: 2, selector: (one) => one.key }),
          writes: fc.uniqueArray(write, { maxLength: 4, selector: (one) => one.key }),
        });
        await fc.assert(
          fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
            await clear("/m/");
            const model = new Map<string, Stored>();
            const start = (await store.read([])).revision;
            const history: string[] = [];
            for (const { compares, writes } of steps) {
              const asked = compares.map(({ key, kind }) => {
                const now = model.get(key)?.modRevision ?? 0;
                return {
                  key,
                  modRevision:
                    kind === "any" ? ("any" as const) : kind === "right" ? now : kind === "absent" ? 0 : now + 7,
                };
              });
              const holds = asked.every(({ key, modRevision }) =>
                modRevision === "any" ? model.has(key) : (model.get(key)?.modRevision ?? 0) === modRevision,
              );
              const result = await store.transact(asked, writes);
              expect(result.succeeded).toBe(holds);
              if (!result.succeeded) {
                expect(result.current).toEqual(asked.map(({ key }) => model.get(key)));
                continue;
              }
              expect(result.previous).toEqual(
                writes.map(({ key, value }) => (value === undefined ? model.get(key) : undefined)),
              );
              for (const { key, value } of writes) {
                const before = model.get(key);
                if (value !== undefined) {
                  const { revision } = result;
                  model.set(key, {
                    key,
                    value,
                    modRevision: revision,
                    createRevision: before?.createRevision ?? revision,
                  });
                  history.push(`put ${key} ${JSON.stringify(value)} after ${JSON.stringify(before?.value)}`);
                } else if (model.delete(key)) history.push(`delete ${key} after ${JSON.stringify(before?.value)}`);
              }
            }
            const sorted = [...model.values()].sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
            const { results } = await store.read([prefixRange("/m/"), { key: "/m/a" }, { start: "/m/a", end: "/m/b" }]);
            expect(results[0]).toEqual(sorted);
            expect(results[1]).toEqual(sorted.filter((one) => one.key === "/m/a"));
            expect(results[2]).toEqual(sorted.filter((one) => /^\/m\/a/.test(one.key)));

            const told: string[] = [];
            const abort = new AbortController();
            if (history.length > 0)
              for await (const events of store.watch(prefixRange("/m/"), start, abort.signal)) {
                for (const event of events)
                  told.push(
                    event.type === "put"
                      ? `put ${event.stored.key} ${JSON.stringify(event.stored.value)} after ${JSON.stringify(event.previous?.value)}`
                      : `delete ${event.key} after ${JSON.stringify(event.previous?.value)}`,
                  );
                if (told.length >= history.length) abort.abort();
              }
            // Within one transaction the order is the store's own.
            expect(told.sort()).toEqual(history.sort());
          }),
          { numRuns: 25 },
        );
      }, 60_000);

      test("reads of one moment are one round trip and one state", async () => {
        await clear();
        let reads = 0;
        const counted = new KeyValueClient({
          name: store.name,
          read: (ranges) => {
            reads++;
            return store.read(ranges);
          },
          transact: (compares, writes) => store.transact(compares, writes),
          watch: (range, from, signal) => store.watch(range, from, signal),
          close: async () => {},
        });
        await client.create(Node, {
          apiVersion: Node.apiVersion,
          kind: "Node",
          metadata: { name: "n1" },
          spec: {},
        } as Node);
        const [node, pools, handle] = await Promise.all([
          counted.get(Node, { name: "n1" }),
          counted.list(IPPool),
          counted.get(IPAMHandle, ipamHandleRef("h")),
        ]);
        expect(reads).toBe(1);
        expect([node?.metadata.name, pools.items, handle]).toEqual(["n1", [], undefined]);
      });

      test("a closed client says so", async () => {
        const one = new KeyValueClient(await subject.open());
        await one.close();
        await one.close();
        expect(await codeOf(one.get(IPPool, { name: "main" }))).toBe("UNAVAILABLE");
      });
    });

    test("keys of blocks are canonical", () => {
      expect(blockKey(parseCidr("10.0.0.77/26"))).toBe(`${IPAM}assignment/ipv4/block/10.0.0.64-26`);
      expect(keyOf(IPAMBlock as unknown as Kind, { name: "x", spec: { cidr: "FD00:0::/122" } })).toBe(
        `${IPAM}assignment/ipv6/block/fd00::-122`,
      );
    });
  });
}
