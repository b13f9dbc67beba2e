import { describe, expect, test } from "vitest";
import { BlockAffinity, newBlockAffinity } from "../../api/blockaffinity.ts";
import { IPAMBlock, newIPAMBlock } from "../../api/ipamblock.ts";
import { IPAMConfiguration } from "../../api/ipamconfiguration.ts";
import { IPAMHandle, newIPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import { Secret } from "../../api/kubernetes/index.ts";
import type { Resource } from "../../api/meta.ts";
import { type KubernetesObject, urlPath } from "../../kubernetes/index.ts";
import { parseJson, stringifyJson } from "../json.ts";
import { keyOf, type Mapping, mappingOf } from "./mapping.ts";

const SERVER = "kubernetes https://a:6443";
const plain = <R extends Resource>(kind: Kind<R>): Kind => kind as unknown as Kind;
const of = <R extends Resource>(kind: Kind<R>, group: "v1" | "v3"): Mapping => mappingOf(plain(kind), group);
/** What an API server makes of an object. */
const text = (map: Mapping, resource: Resource): string => stringifyJson(map.encode(resource));
const again = (map: Mapping, resource: Resource): Resource =>
  map.decode(parseJson(text(map, resource)) as KubernetesObject, SERVER);
const spec = (map: Mapping, resource: Resource): unknown => (parseJson(text(map, resource)) as { spec: unknown }).spec;

describe("where objects are", () => {
  test("in each group", () => {
    expect(urlPath(of(IPPool, "v1").path({ name: "main" }))).toBe("/apis/crd.projectcalico.org/v1/ippools/main");
    expect(urlPath(of(IPPool, "v3").path({ name: "main" }))).toBe("/apis/projectcalico.org/v3/ippools/main");
    const configuration = { name: "default" };
    expect(urlPath(of(IPAMConfiguration, "v1").path(configuration))).toMatch(/v1\/ipamconfigs\/default$/);
    expect(urlPath(of(IPAMConfiguration, "v3").path(configuration))).toMatch(/v3\/ipamconfigurations\/default$/);
    expect(urlPath(of(Secret, "v1").path({ name: "s", namespace: "n" }))).toBe("/api/v1/namespaces/n/secrets/s");
  });

  test("under names that are made of what identifies them", () => {
    const name = (kind: Mapping, ref: object) => kind.path({ name: "x", ...ref }).name;
    expect(name(of(IPAMBlock, "v1"), { spec: { cidr: "FD00:0::/122" } })).toBe("fd00---122");
    expect(name(of(IPAMBlock, "v1"), { spec: { cidr: "10.0.0.77/26" } })).toBe("10-0-0-64-26");
    expect(name(of(IPAMHandle, "v3"), { spec: { handleID: "Net.C1" } })).toBe("net.c1");
    expect(() => name(of(IPAMBlock, "v1"), { spec: { cidr: "7" } })).toThrow("spec.cidr");
    for (const bad of ["", "a/b"]) expect(() => of(IPPool, "v1").path({ name: bad })).toThrow("metadata.name");
    expect(() => of(Secret, "v1").path({ name: "s" })).toThrow("metadata.namespace");
    expect(keyOf(of(Secret, "v1").collection, { metadata: { name: "s", namespace: "n" } })).toBe("secrets n/s");
  });
});

describe("objects of IPAM", () => {
  const full = newIPAMBlock({
    ...{ cidr: "10.0.0.0/30", affinity: "host:n1", affinityClaimTime: "2026-01-02T03:04:05Z" },
    sequenceNumber: 1_700_000_000_123_456_789n,
  });
  full.spec.allocations = [0, null, null, null];
  full.spec.unallocated = [1, 2, 3];
  full.spec.attributes = [{ handle_id: "net.c1", secondary: { pod: "web", namespace: "prod" } }];
  full.spec.sequenceNumberForAllocation = { "0": 1_700_000_000_123_456_788n };

  test("a block is upstream's custom resource", () => {
    const wanted =
      '{"affinity":"host:n1","cidr":"10.0.0.0/30","affinityClaimTime":"2026-01-02T03:04:05Z",' +
      '"allocations":[0,null,null,null],"unallocated":[1,2,3],' +
      '"attributes":[{"handle_id":"net.c1","secondary":{"namespace":"prod","pod":"web"}}],' +
      '"sequenceNumber":1700000000123456789,"sequenceNumberForAllocation":{"0":1700000000123456788},' +
      '"deleted":false,"strictAffinity":false}';
    expect(text(of(IPAMBlock, "v1"), full)).toBe(
      '{"apiVersion":"crd.projectcalico.org/v1","kind":"IPAMBlock","metadata":{"name":"10-0-0-0-30",' +
        `"annotations":{"projectcalico.org/metadata":"{}"}},"spec":${wanted}}`,
    );
    expect(text(of(IPAMBlock, "v3"), full)).toBe(
      `{"apiVersion":"projectcalico.org/v3","kind":"IPAMBlock","metadata":{"name":"10-0-0-0-30"},"spec":${wanted}}`,
    );
    for (const group of ["v1", "v3"] as const) {
      expect(again(of(IPAMBlock, group), full)).toEqual(full);
      const ownerless = newIPAMBlock({ cidr: "fd00::/126", sequenceNumber: 18446744073709551615n });
      expect(spec(of(IPAMBlock, group), ownerless)).not.toHaveProperty("affinity");
      expect(again(of(IPAMBlock, group), ownerless)).toEqual(ownerless);
    }
  });

  test("fields that nobody here knows are written back", () => {
    const map = of(IPAMBlock, "v3");
    const object = parseJson(text(map, full)) as { spec: object };
    const read = map.decode({ ...object, spec: { ...object.spec, newer: { x: [1] } } } as KubernetesObject, SERVER);
    expect(spec(map, read)).toMatchObject({ newer: { x: [1] } });
  });

  test("an affinity has labels, and says in v1 by a text whether it is deleted", () => {
    const affinity = newBlockAffinity({ node: "node1", cidr: "10.0.0.0/26", type: "host", state: "pending" });
    const labels = {
      "projectcalico.org/affinity-type": "host",
      "projectcalico.org/hostname-hash": "7DS2CCNJGGLTHBDQLLFO6SX24SY2YDDEG3W2VN556FA2W4DLLV5A",
      "projectcalico.org/ip-version": "4",
    };
    const v1 = of(BlockAffinity, "v1").encode({ ...affinity, metadata: { name: "node1-10-0-0-0-26" } });
    expect(v1).toMatchObject({ metadata: { labels }, spec: { deleted: "false", state: "pending", node: "node1" } });
    expect(v1.metadata!.annotations!["projectcalico.org/metadata"]).toBe(JSON.stringify({ labels }));
    expect(of(BlockAffinity, "v3").encode(affinity)).toMatchObject({ metadata: { labels }, spec: { deleted: false } });
    for (const group of ["v1", "v3"] as const) expect(again(of(BlockAffinity, group), affinity)).toEqual(affinity);
    const deleted = (value: unknown) =>
      of(BlockAffinity, "v1").decode({ ...v1, spec: { ...affinity.spec, deleted: value } } as KubernetesObject, SERVER)
        .spec;
    expect(deleted("true")).toMatchObject({ deleted: true });
    expect(deleted("")).toMatchObject({ deleted: false });
    expect(() => deleted("maybe")).toThrow("spec.deleted");
    // As versions before types wrote them.
    const old = { metadata: { name: "n-10-0-0-0-26" }, spec: { node: "n", cidr: "10.0.0.0/26", state: "" } };
    expect(of(BlockAffinity, "v1").decode(old as KubernetesObject, SERVER).spec).toEqual({
      ...{ state: "confirmed", node: "n", type: "host", cidr: "10.0.0.0/26", deleted: false },
    });
  });

  test("a handle keeps the case of its ID", () => {
    const handle = newIPAMHandle("Net.C1", { "10.0.0.0/30": 1 });
    for (const group of ["v1", "v3"] as const) {
      const map = of(IPAMHandle, group);
      expect(spec(map, handle)).toEqual({ handleID: "Net.C1", block: { "10.0.0.0/30": 1 }, deleted: false });
      expect(again(map, handle)).toEqual(handle);
    }
  });

  test("the configuration has another kind in v1, and what it leaves out is false", () => {
    const object = { metadata: { name: "default" }, spec: { strictAffinity: true } } as KubernetesObject;
    const read = of(IPAMConfiguration, "v1").decode(object, SERVER);
    expect(read).toMatchObject({
      kind: "IPAMConfiguration",
      spec: { strictAffinity: true, autoAllocateBlocks: false, kubeVirtVMAddressPersistence: "Enabled" },
    });
    expect(of(IPAMConfiguration, "v1").encode(read)).toMatchObject({
      ...{ apiVersion: "crd.projectcalico.org/v1", kind: "IPAMConfig" },
      spec: { strictAffinity: true, autoAllocateBlocks: false },
    });
  });
});

describe("what cannot be read", () => {
  test("is named by server, object and field", () => {
    const block = of(IPAMBlock, "v1").encode(newIPAMBlock({ cidr: "10.0.0.0/30", sequenceNumber: 1n })) as {
      metadata: object;
      spec: object;
    };
    const where = `${SERVER}: ipamblocks.crd.projectcalico.org 10-0-0-0-30: `;
    for (const [changed, problem] of [
      [{ cidr: "10.0.0.0/29" }, "spec.cidr"],
      [{ allocations: [null] }, "spec.allocations: 1: must be a list of 4 entries"],
      [{ allocations: [null, "x", null, null] }, "spec.allocations[1]"],
      [{ attributes: [{ secondary: { pod: 7 } }] }, "spec.attributes[0].secondary.pod"],
      [{ sequenceNumber: -1 }, "spec.sequenceNumber"],
    ] as const) {
      const object = { ...block, spec: { ...block.spec, ...changed } } as unknown as KubernetesObject;
      const decode = () => of(IPAMBlock, "v1").decode(object, SERVER);
      expect(decode).toThrow(where);
      expect(decode).toThrow(problem);
    }
    const handle = { metadata: { name: "a" }, spec: { handleID: "b", block: {} } } as KubernetesObject;
    expect(() => of(IPAMHandle, "v3").decode(handle, SERVER)).toThrow("spec.handleID");
    const pool = { metadata: { name: "p" }, spec: { cidr: 7 } } as KubernetesObject;
    expect(() => of(IPPool, "v3").decode(pool, SERVER)).toThrow(`${SERVER}: ippools.projectcalico.org p: spec.cidr`);
    expect(() => of(IPPool, "v3").decode({ metadata: { name: "p" }, spec: [] } as KubernetesObject, SERVER)).toThrow(
      "spec: []: must be an object",
    );
  });
});

test("Kubernetes' own kinds are kept as they are", () => {
  const object = {
    ...{ apiVersion: "v1", kind: "Secret", type: "Opaque", data: { a: "YQ==" } },
    metadata: { name: "s", namespace: "n", uid: "u", resourceVersion: "7", managedFields: [{}] },
  } as KubernetesObject;
  const read = of(Secret, "v1").decode(object, SERVER);
  expect(read).toEqual({
    ...{ apiVersion: "v1", kind: "Secret", type: "Opaque", data: { a: "YQ==" } },
    metadata: { name: "s", namespace: "n", uid: "u", resourceVersion: "7" },
  });
  expect(of(Secret, "v3").encode(read)).toEqual(read);
});
