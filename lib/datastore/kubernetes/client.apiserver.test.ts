import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BlockAffinity, newBlockAffinity } from "../../api/blockaffinity.ts";
import { IPAMBlock, newIPAMBlock } from "../../api/ipamblock.ts";
import { IPAMConfiguration } from "../../api/ipamconfiguration.ts";
import { IPAMHandle, ipamHandleRef, newIPAMHandle } from "../../api/ipamhandle.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import { Secret } from "../../api/kubernetes/index.ts";
import type { Resource } from "../../api/meta.ts";
import { hostnameHash } from "../../api/names.ts";
import { NetworkPolicy } from "../../api/networkpolicy.ts";
import { Node } from "../../api/node.ts";
import { Profile } from "../../api/profile.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { convertUid } from "../../kubernetes/conversion/index.ts";
import { type ApiServer, apiServerMissing, startApiServer, type UserName } from "../../kubernetes/testing/index.ts";
import type { Client, Operation } from "../client.ts";
import { DatastoreError } from "../errors.ts";
import { codeOf, Watcher } from "../suite/index.ts";
import { openKubernetesClient } from "./open.ts";
import { clientOf, makeNamespace, podObject } from "./testing.ts";

const missing = apiServerMissing();
const P = "projectcalico.org/";

const error = async (work: Promise<unknown>): Promise<DatastoreError> => {
  const caught: unknown = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (caught instanceof DatastoreError) return caught;
  throw caught ?? new Error("no error");
};

describe.skipIf(missing)(`the Client of an API server${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;
  const clients: Client[] = [];
  const as = async (user: UserName, apiGroup?: "v1" | "v3"): Promise<Client> => {
    const client = await clientOf(server, user, apiGroup);
    clients.push(client);
    return client;
  };
  let admin: Client;
  beforeAll(async () => {
    server = await startApiServer({ crds: "v1", audit: true });
    await makeNamespace(server, "prod");
    admin = await as("admin");
  });
  afterAll(async () => {
    for (const client of clients) await client.close();
    await server?.stop();
  });
  const raw = (plural: string, name: string) =>
    server.request<{ metadata: Record<string, unknown>; spec: Record<string, unknown> }>(
      "GET",
      `/apis/crd.projectcalico.org/v1/${plural}/${name}`,
    );
  /** The requests of a user that `work` causes: "get ippools". */
  async function requestsOf(user: string, work: () => Promise<unknown>): Promise<string[]> {
    const before = (await server.audit()).length;
    await work();
    const events = (await server.audit()).slice(before).filter((event) => event.user.includes(user));
    return events.map(
      ({ verb, resource, uri }) => `${verb} ${resource?.replace(/\.crd\.projectcalico\.org$/, "") ?? uri}`,
    );
  }

  describe("custom resources in v1", () => {
    test("have the metadata in an annotation, and a uid of their own", async () => {
      const made = await admin.create(IPPool, {
        ...{ apiVersion: IPPool.apiVersion, kind: "IPPool" },
        metadata: { name: "main", labels: { app: "a", [`${P}x`]: "1" }, annotations: { note: "n" } },
        spec: { cidr: "10.0.0.0/16" } as IPPool["spec"],
      });
      const stored = await raw("ippools", "main");
      expect(stored.metadata).toMatchObject({
        labels: { [`${P}x`]: "1" },
        annotations: {
          [`${P}metadata`]:
            `{"creationTimestamp":"${made.metadata.creationTimestamp}","labels":{"app":"a","${P}x":"1"},` +
            '"annotations":{"note":"n"}}',
        },
      });
      expect(convertUid(String(stored.metadata.uid))).toBe(made.metadata.uid);
      expect(made.metadata).not.toHaveProperty("managedFields");
      const options = { uid: String(stored.metadata.uid) };
      expect(await codeOf(admin.delete(IPPool, { name: "main" }, options))).toBe("CONFLICT");
      await admin.delete(IPPool, { name: "main" }, { uid: made.metadata.uid! });
    });

    test("keep the status apart", async () => {
      const status = {
        conditions: [
          {
            type: "Allocatable",
            status: "True",
            reason: "OK",
            message: "",
            lastTransitionTime: "2026-01-02T03:04:05Z",
          },
        ],
      } as const;
      const pool = await admin.create(IPPool, {
        ...{ apiVersion: IPPool.apiVersion, kind: "IPPool", metadata: { name: "main" } },
        spec: { cidr: "10.0.0.0/16" } as IPPool["spec"],
      });
      const updated = await admin.update(IPPool, {
        ...pool,
        status: status as unknown as NonNullable<IPPool["status"]>,
      });
      expect(updated.status).toMatchObject(status);
      expect(await admin.get(IPPool, { name: "main" })).toEqual(updated);
      await admin.delete(IPPool, { name: "main" });
    });

    test("of IPAM have upstream's shapes", async () => {
      const sequenceNumber = 1_700_000_000_123_456_789n;
      const block = newIPAMBlock({ cidr: "10.0.0.0/30", affinity: "host:n1", sequenceNumber });
      const made = await admin.create(IPAMBlock, block);
      expect(made.spec.sequenceNumber).toBe(sequenceNumber);
      const text = await fetch(`${server.url}/apis/crd.projectcalico.org/v1/ipamblocks/10-0-0-0-30`, {
        tls: { ca: server.ca },
        headers: { authorization: `Bearer ${server.token("admin-token")}` },
      });
      expect(await text.text()).toContain('"sequenceNumber":1700000000123456789');
      expect(await admin.update(IPAMBlock, made)).toMatchObject({ spec: { sequenceNumber } });
      const id = { node: "n1", cidr: "10.0.0.0/30", type: "host" } as const;
      await admin.create(BlockAffinity, newBlockAffinity({ ...id, state: "confirmed" }));
      const affinity = await raw("blockaffinities", "n1-10-0-0-0-30");
      expect(affinity.spec).toEqual({ ...id, state: "confirmed", deleted: "false" });
      expect(affinity.metadata.labels).toMatchObject({ [`${P}hostname-hash`]: hostnameHash("n1") });
      await admin.create(IPAMConfiguration, {
        ...{ apiVersion: IPPool.apiVersion, kind: "IPAMConfiguration", metadata: { name: "default" } },
        spec: { strictAffinity: true } as IPAMConfiguration["spec"],
      });
      expect((await raw("ipamconfigs", "default")).spec).toMatchObject({
        strictAffinity: true,
        autoAllocateBlocks: true,
      });
      await admin.delete(IPAMConfiguration, { name: "default" });
      await admin.delete(BlockAffinity, { name: "n1-10-0-0-0-30" });
      await admin.delete(IPAMBlock, { name: "10-0-0-0-30" });
      expect((await admin.list(IPAMBlock)).items).toEqual([]);
    });

    test("that an older Calico stored as default.<name> are found by that name", async () => {
      await server.apply({
        ...{ apiVersion: "crd.projectcalico.org/v1", kind: "NetworkPolicy" },
        metadata: { name: "default.web", namespace: "prod", annotations: { [`${P}metadata`]: "{}" } },
        spec: { tier: "default", selector: "all()", types: ["Ingress"] },
      });
      const { items } = await admin.list(NetworkPolicy, { namespace: "prod" });
      expect(items.map(({ metadata }) => metadata.name)).toEqual(["web"]);
      await server.request("DELETE", "/apis/crd.projectcalico.org/v1/namespaces/prod/networkpolicies/default.web");
    });
  });

  describe("objects that are marked deleted", () => {
    const path = "/apis/crd.projectcalico.org/v1/ipamhandles/h";
    const leave = () =>
      server.apply({
        ...{ apiVersion: "crd.projectcalico.org/v1", kind: "IPAMHandle", metadata: { name: "h" } },
        spec: { handleID: "h", block: {}, deleted: true },
      });

    test("are absent, and gone once somebody looks for them", async () => {
      await leave();
      expect((await admin.list(IPAMHandle)).items).toEqual([]);
      expect(await admin.get(IPAMHandle, ipamHandleRef("h"))).toBeUndefined();
      await expect(server.request("GET", path)).rejects.toMatchObject({ status: 404 });
      expect(await codeOf(admin.delete(IPAMHandle, ipamHandleRef("h")))).toBe("NOT_FOUND");
    });

    test("make room for those that are created, or deleted, in their place", async () => {
      await leave();
      const made = await admin.create(IPAMHandle, newIPAMHandle("h", { "10.0.0.0/26": 1 }));
      expect(await admin.get(IPAMHandle, ipamHandleRef("h"))).toEqual(made);
      await admin.delete(IPAMHandle, ipamHandleRef("h"));
      await leave();
      expect(await codeOf(admin.delete(IPAMHandle, ipamHandleRef("h")))).toBe("NOT_FOUND");
      await expect(server.request("GET", path)).rejects.toMatchObject({ status: 404 });
    });

    test("are left so by others: a change that came before the deletion of what was read is not lost", async () => {
      const made = await admin.create(IPAMHandle, newIPAMHandle("h", {}));
      const { resourceVersion, uid } = made.metadata;
      const other = await as("admin");
      const changed = { ...made, spec: { ...made.spec, block: { "10.0.0.0/26": 1 } } };
      const { metadata: now } = await other.update(IPAMHandle, changed);
      const options = { resourceVersion: resourceVersion!, uid: uid! };
      const old = { op: "delete", kind: IPAMHandle as unknown as Kind, ref: ipamHandleRef("h"), ...options } as const;
      for (const user of [admin, other]) {
        expect(await codeOf(user.delete(IPAMHandle, ipamHandleRef("h"), options))).toBe("CONFLICT");
        expect(await codeOf(user.commit([old]))).toBe("CONFLICT");
      }
      await other.commit([{ ...old, resourceVersion: now.resourceVersion! }]);
      expect(await codeOf(other.commit([old]))).toBe("NOT_FOUND");
    });

    test("and at the revision that somebody has marked since, are gone for whoever deletes what was read", async () => {
      const made = await admin.create(IPAMHandle, newIPAMHandle("h", {}));
      const { resourceVersion } = made.metadata;
      await server.request("PATCH", path, { spec: { deleted: true } }, "application/merge-patch+json");
      const kind = IPAMHandle as unknown as Kind;
      const deletion = { op: "delete", kind, ref: ipamHandleRef("h"), resourceVersion: resourceVersion! } as const;
      expect(await codeOf(admin.commit([deletion]))).toBe("NOT_FOUND");
      await expect(server.request("GET", path)).rejects.toMatchObject({ status: 404 });
    });
  });

  test("the deletion of what is known is one request, whoever has told of it", async () => {
    const user = await as("cni", "v1");
    const block = newIPAMBlock({ cidr: "10.9.0.0/30", affinity: "host:n9", sequenceNumber: 1n });
    const affinity = newBlockAffinity({ node: "n9", cidr: "10.9.0.0/30", type: "host", state: "confirmed" });
    await admin.create(IPAMHandle, newIPAMHandle("h", {}));
    await admin.create(IPAMBlock, block);
    await admin.create(BlockAffinity, affinity);
    // Of a list, as a watch would tell of them: this client has read none of them by name.
    const kinds = [IPAMHandle, BlockAffinity, IPAMBlock] as unknown as Kind[];
    const deletions = await Promise.all(
      kinds.map(async (kind): Promise<Operation> => {
        const { items } = await user.list(kind);
        const { metadata, spec } = items.find(
          ({ metadata }) => metadata.name === "h" || /10-9-0-0/.test(metadata.name),
        )!;
        const { resourceVersion, uid, name } = metadata;
        return {
          op: "delete",
          kind,
          ref: { name, spec: spec as Readonly<Record<string, unknown>> },
          resourceVersion: resourceVersion!,
          uid: uid!,
        };
      }),
    );
    const requests = await requestsOf("calico-cni-plugin", () => user.commit(deletions));
    expect(requests).toEqual(["delete ipamhandles", "delete blockaffinities", "delete ipamblocks"]);
    for (const kind of kinds) expect((await admin.list(kind)).items.length, kind.kind).toBe(0);
  });

  test("affinities of a Calico that wrote no labels are found, and get them", async () => {
    const old = (name: string, node: string, cidr: string) => ({
      ...{ apiVersion: "crd.projectcalico.org/v1", kind: "BlockAffinity", metadata: { name } },
      spec: { state: "confirmed", node, cidr, deleted: "false" },
    });
    await server.apply(old("n7-10-7-0-0-26", "n7", "10.7.0.0/26"), old("n8-10-8-0-0-26", "n8", "10.8.0.0/26"));
    const cni = await as("cni", "v1");
    const mine = async () =>
      (await cni.list(BlockAffinity, { node: "n7", affinityType: "host" })).items.map(({ spec }) => spec.cidr);
    expect(await mine()).toEqual(["10.7.0.0/26"]);
    expect((await raw("blockaffinities", "n7-10-7-0-0-26")).metadata.labels).toMatchObject({
      [`${P}hostname-hash`]: hostnameHash("n7"),
    });
    expect((await raw("blockaffinities", "n8-10-8-0-0-26")).metadata).not.toHaveProperty("labels");
    expect(await requestsOf("calico-cni-plugin", mine)).toEqual(["list blockaffinities"]);
    const reader = await as("reader", "v1");
    expect((await reader.list(BlockAffinity, { node: "n8" })).items.length).toBe(1);
    for (const name of ["n7-10-7-0-0-26", "n8-10-8-0-0-26"]) await admin.delete(BlockAffinity, { name });
  });

  describe("a WorkloadEndpoint", () => {
    const name = "n1-k8s-web-eth0";
    const ref = { name, namespace: "prod" };
    const pod = () =>
      server.request<{ metadata: { uid: string; annotations?: Record<string, string> } }>(
        "GET",
        "/api/v1/namespaces/prod/pods/web",
      );
    const wanted = (uid?: string): WorkloadEndpoint => ({
      apiVersion: WorkloadEndpoint.apiVersion,
      kind: "WorkloadEndpoint",
      metadata: { ...ref, ...(uid ? { uid } : {}) },
      spec: {
        ...{ orchestrator: "k8s", node: "n1", pod: "web", endpoint: "eth0", containerID: "c1" },
        ...{ ipNetworks: ["10.0.0.1/32", "fd00::1/128"], interfaceName: "cali1", mac: "ee:ee:ee:ee:ee:ee" },
      },
    });

    test("is its Pod, and its addresses are annotations, written with the plugin's rights", async () => {
      const cni = await as("cni", "v1");
      expect(await cni.get(WorkloadEndpoint, ref)).toBeUndefined();
      expect(await codeOf(cni.create(WorkloadEndpoint, wanted()))).toBe("NOT_FOUND");
      await server.apply(podObject("prod", "web", "n1", { labels: { app: "a" } }));
      const before = (await cni.get(WorkloadEndpoint, ref))!;
      expect(before).toMatchObject({
        metadata: { labels: { app: "a", [`${P}namespace`]: "prod", [`${P}orchestrator`]: "k8s" } },
        spec: { pod: "web", profiles: ["kns.prod", "ksa.prod.default"], ipNetworks: [] },
      });
      const { uid } = before.metadata;
      expect(uid).toBe((await pod()).metadata.uid);
      const requests = await requestsOf("calico-cni-plugin", async () => {
        const written = await cni.create(WorkloadEndpoint, wanted(uid));
        expect(written.spec).toMatchObject({ containerID: "c1", ipNetworks: ["10.0.0.1/32", "fd00::1/128"] });
      });
      expect(requests).toEqual(["patch pods/status"]);
      expect((await pod()).metadata.annotations).toEqual({
        "cni.projectcalico.org/containerID": "c1",
        "cni.projectcalico.org/podIP": "10.0.0.1/32",
        "cni.projectcalico.org/podIPs": "10.0.0.1/32,fd00::1/128",
      });
      const index = { namespace: "prod", namePrefix: "n1-k8s-web-" };
      const listing = await requestsOf("calico-cni-plugin", async () =>
        expect((await cni.list(WorkloadEndpoint, index)).items.map(({ metadata }) => metadata.name)).toEqual([name]),
      );
      expect(listing).toEqual(["get pods"]);
      expect((await cni.list(WorkloadEndpoint, { namespace: "prod", namePrefix: "n1-k8s-none-" })).items).toEqual([]);
      expect(await codeOf(cni.list(WorkloadEndpoint, { node: "n1" }))).toBe("UNAUTHORIZED");
    });

    test("is changed whatever its revision, and deleted only at the one that was read", async () => {
      const cni = await as("cni", "v1");
      const read = (await cni.get(WorkloadEndpoint, ref))!;
      const again = await cni.update(WorkloadEndpoint, {
        ...read,
        spec: { ...read.spec, containerID: "c2", ipNetworks: ["10.0.0.2/32"] },
      });
      await cni.update(WorkloadEndpoint, { ...read, spec: { ...read.spec, ipNetworks: ["10.0.0.3/32"] } });
      const { uid, resourceVersion } = again.metadata;
      const options = { uid: uid!, resourceVersion: resourceVersion! };
      expect(await codeOf(cni.delete(WorkloadEndpoint, ref, options))).toBe("CONFLICT");
      const last = (await cni.get(WorkloadEndpoint, ref))!;
      const at = { uid: uid!, resourceVersion: last.metadata.resourceVersion! };
      expect((await cni.delete(WorkloadEndpoint, ref, at)).spec.ipNetworks).toEqual([]);
      expect((await pod()).metadata.annotations).toEqual({
        "cni.projectcalico.org/containerID": "c1",
        "cni.projectcalico.org/podIP": "",
        "cni.projectcalico.org/podIPs": "",
      });
    });

    test("is not written to another pod of the name", async () => {
      const { uid } = (await pod()).metadata;
      await server.request("DELETE", "/api/v1/namespaces/prod/pods/web?gracePeriodSeconds=0");
      await server.apply(podObject("prod", "web", "n1"));
      const cni = await as("cni", "v1");
      expect(await codeOf(cni.create(WorkloadEndpoint, wanted(uid)))).toBe("CONFLICT");
      expect(await codeOf(cni.delete(WorkloadEndpoint, ref, { uid }))).toBe("CONFLICT");
      expect((await pod()).metadata.annotations ?? {}).toEqual({});
    });

    test("is no other's than a pod's", async () => {
      const other = { ...wanted(), metadata: { name: "n1-cni-c1-eth0", namespace: "prod" } };
      other.spec = { ...other.spec, orchestrator: "cni", containerID: "c1" };
      expect((await error(admin.create(WorkloadEndpoint, other))).message).toContain("metadata.name");
      expect(await admin.get(WorkloadEndpoint, { name: "n1-cni-c1-eth0", namespace: "prod" })).toBeUndefined();
      // Its node is part of its name.
      expect(await admin.get(WorkloadEndpoint, { name: "n2-k8s-web-eth0", namespace: "prod" })).toBeUndefined();
    });

    test("that cannot be read is named by pod and annotation, and the others are told", async () => {
      await server.apply(
        podObject("prod", "bad", "n1", { annotations: { "cni.projectcalico.org/podIPs": "nonsense" } }),
      );
      const { items, unreadable } = await admin.list(WorkloadEndpoint, { namespace: "prod" });
      expect(items.map(({ metadata }) => metadata.name)).toEqual([name]);
      expect(unreadable[0]).toMatchObject({ key: "pods prod/bad", ref: { name: "bad", namespace: "prod" } });
      expect(unreadable[0]!.error.message).toContain(`${admin.name}: pods prod/bad: `);
      expect(unreadable[0]!.error.message).toContain("podIPs");
      await server.request("DELETE", "/api/v1/namespaces/prod/pods/bad?gracePeriodSeconds=0");
    });

    test("is watched: its addresses come and go", async () => {
      const node = await as("node", "v1");
      const watcher = new Watcher(node, WorkloadEndpoint, { index: { node: "n1" } });
      await watcher.until((told) => told.includes("synced"));
      await server.apply(podObject("prod", "elsewhere", "n2"));
      await admin.create(WorkloadEndpoint, wanted());
      await watcher.count(3);
      await admin.delete(WorkloadEndpoint, ref);
      await watcher.count(4);
      await server.request("DELETE", "/api/v1/namespaces/prod/pods/web?gracePeriodSeconds=0");
      const told = await watcher.until((events) => events.includes(`deleted ${name}`));
      expect(told[0]).toBe(`added ${name}`);
      expect(told.slice(2, 4)).toEqual([`modified ${name}`, `modified ${name}`]);
      const networks = watcher.events.map((event) => (event.type === "modified" ? event.resource.spec.ipNetworks : []));
      expect(networks.slice(2, 4)).toEqual([["10.0.0.1/32", "fd00::1/128"], []]);
      await watcher.stop();
    });
  });

  describe("a Node", () => {
    test("alone can be watched", async () => {
      const node = (name: string) => ({ apiVersion: "v1", kind: "Node", metadata: { name } });
      await server.apply(node("one"), node("one-more"));
      const watcher = new Watcher(await as("node", "v1"), Node, { index: { node: "one" } });
      await watcher.count(2);
      await server.request("DELETE", "/api/v1/nodes/one-more");
      await server.request("DELETE", "/api/v1/nodes/one");
      expect((await watcher.count(3)).filter((told) => !told.startsWith("modified"))).toEqual([
        ...["added one", "synced", "deleted one"],
      ]);
      await watcher.stop();
    });

    test("is Kubernetes', changed through its status with an agent's rights", async () => {
      await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "n1", labels: { zone: "a" } } });
      const agent = await as("node", "v1");
      const node = (await agent.get(Node, { name: "n1" }))!;
      expect(node.metadata.labels).toMatchObject({ zone: "a" });
      const requests = await requestsOf("calico-node", async () => {
        const updated = await agent.update(Node, {
          ...node,
          metadata: { ...node.metadata, labels: { ...node.metadata.labels, own: "1" } },
          spec: { ...node.spec, bgp: { ipv4Address: "10.0.0.1/24", asNumber: 64513 } },
        });
        expect(updated.spec.bgp).toEqual({ ipv4Address: "10.0.0.1/24", asNumber: 64513 });
        expect(updated.metadata.labels).toMatchObject({ zone: "a", own: "1" });
      });
      expect(requests).toEqual(["get nodes", "update nodes/status"]);
      const stored = await server.request<{ metadata: { annotations: object; labels: object } }>(
        "GET",
        "/api/v1/nodes/n1",
      );
      expect(stored.metadata.annotations).toEqual({
        [`${P}IPv4Address`]: "10.0.0.1/24",
        [`${P}ASNumber`]: "64513",
        [`${P}labels`]: '{"own":"1"}',
      });
      expect(stored.metadata.labels).not.toHaveProperty("own");
      expect(await codeOf(agent.update(Node, node))).toBe("CONFLICT");
    });

    test("cannot be made or deleted", async () => {
      const node = (await admin.get(Node, { name: "n1" }))!;
      const made = { ...node, metadata: { name: "n2" } };
      expect((await error(admin.create(Node, made))).message).toContain("kubelet");
      expect(await codeOf(admin.create(Node, made))).toBe("UNSUPPORTED");
      expect(await codeOf(admin.create(Node, node))).toBe("EXISTS");
      expect((await error(admin.delete(Node, { name: "n1" }))).message).toContain("kubectl delete node n1");
      expect(await codeOf(admin.delete(Node, { name: "n2" }))).toBe("NOT_FOUND");
      expect(await codeOf(admin.update(Node, { ...made, metadata: { name: "n2", resourceVersion: "7" } }))).toBe(
        "NOT_FOUND",
      );
    });
  });

  describe("Profiles", () => {
    test("are Namespaces and ServiceAccounts, and cannot be written", async () => {
      const { items, revision } = await admin.list(Profile);
      const names = items.map(({ metadata }) => metadata.name);
      for (const name of ["kns.prod", "ksa.prod.default", "projectcalico-default-allow"]) expect(names).toContain(name);
      expect(revision).toMatch(/^\d+\/\d+$/);
      const profile = (await admin.get(Profile, { name: "kns.prod" }))!;
      expect(profile).toMatchObject({ spec: { labelsToApply: { [`pcns.${P}name`]: "prod" } } });
      expect(await admin.get(Profile, { name: "ksa.prod.default" })).toMatchObject({ kind: "Profile" });
      for (const name of ["kns.none", "ksa.prod.none", "net"])
        expect(await admin.get(Profile, { name })).toBeUndefined();
      expect(await admin.exists(Profile, { name: "net" })).toBe(false);
      const own = { ...profile, metadata: { name: "own" } };
      for (const work of [
        admin.create(Profile, own),
        admin.update(Profile, profile),
        admin.delete(Profile, { name: "kns.prod" }),
      ])
        expect(await error(work)).toMatchObject({
          code: "UNSUPPORTED",
          message: expect.stringContaining("Namespaces and ServiceAccounts"),
        });
      expect(await codeOf(admin.create(Profile, { ...own, metadata: { name: "projectcalico-default-allow" } }))).toBe(
        "EXISTS",
      );
    });

    test("are watched as one kind, from the revision of a list too", async () => {
      const { revision, items } = await admin.list(Profile);
      const all = new Watcher(admin, Profile);
      await all.until((told) => told.includes("synced"));
      expect(all.told().length).toBe(items.length + 1);
      expect(all.told()[0]).toBe("added projectcalico-default-allow");
      const later = new Watcher(admin, Profile, { from: revision });
      await makeNamespace(server, "fresh");
      const wanted = ["added kns.fresh", "added ksa.fresh.default"];
      for (const watcher of [all, later]) await watcher.until((told) => wanted.every((one) => told.includes(one)));
      await server.request("DELETE", "/api/v1/namespaces/fresh/serviceaccounts/default");
      for (const watcher of [all, later]) await watcher.until((told) => told.includes("deleted ksa.fresh.default"));
      expect(later.events.at(-1)!.revision).toMatch(/^\d+\/\d+$/);
      await Promise.all([all.stop(), later.stop()]);
    });
  });

  test("Kubernetes' own kinds are there as they are", async () => {
    const secret: Secret = {
      ...{ apiVersion: "v1", kind: "Secret", metadata: { name: "s", namespace: "prod" } },
      ...{ stringData: { a: "b" } },
    } as Secret;
    const made = await admin.create(Secret, secret);
    expect(made).toMatchObject({ apiVersion: "v1", kind: "Secret", data: { a: "Yg==" } });
    expect(await admin.get(Secret, { name: "s", namespace: "prod" })).toEqual(made);
    expect((await admin.list(Secret, { namespace: "prod" })).items).toEqual([made]);
    expect((await admin.list(Secret, { namespace: "prod", name: "s" })).items).toEqual([made]);
    expect((await admin.list(Secret, { namespace: "prod", name: "t" })).items).toEqual([]);
    expect(await admin.delete(Secret, { name: "s", namespace: "prod" })).toEqual(made);
  });

  describe("errors", () => {
    test("of rights name user, verb and resource", async () => {
      const nobody = await as("nobody", "v1");
      const forbidden = await error(nobody.list(IPPool));
      expect(forbidden.code).toBe("UNAUTHORIZED");
      for (const part of [server.url, "nobody", "list", "ippools", "crd.projectcalico.org"])
        expect(forbidden.message).toContain(part);
      const watcher = new Watcher(nobody, IPPool);
      await expect(watcher.until((told) => told.length > 0)).rejects.toMatchObject({ code: "UNAUTHORIZED" });
      const stranger = await openKubernetesClient({
        ...{ type: "kubernetes", kubeconfig: server.kubeconfig("reader", { token: "made-up-s3cret" }), apiGroup: "v1" },
      });
      clients.push(stranger);
      const unknown = await error(stranger.get(IPPool, { name: "main" }));
      expect(unknown.code).toBe("UNAUTHORIZED");
      expect(unknown.message).not.toContain("s3cret");
    });

    test("of a missing CustomResourceDefinition name it, and how to get it", async () => {
      const elsewhere = await as("admin", "v3");
      const missingCrd = await error(elsewhere.list(IPPool));
      expect(missingCrd).toMatchObject({ code: "CONFIG", kindMissing: true });
      for (const part of ["ippools", "projectcalico.org", "CustomResourceDefinition", "calico crds --group v3"])
        expect(missingCrd.message).toContain(part);
      expect(await codeOf(elsewhere.get(IPPool, { name: "main" }))).toBe("CONFIG");
      expect(await codeOf(elsewhere.create(IPAMHandle, newIPAMHandle("h", {})))).toBe("CONFIG");
      const watcher = new Watcher(elsewhere, IPPool);
      await expect(watcher.until((told) => told.length > 0)).rejects.toMatchObject({
        code: "CONFIG",
        kindMissing: true,
      });
    });

    test("of validation name the field", async () => {
      const kind = IPAMHandle as unknown as Kind;
      const wrong = newIPAMHandle("not/a/name", {}) as unknown as Resource;
      expect(await codeOf(admin.create(kind, wrong))).toBe("INVALID");
      const refused = await error(admin.create(kind, newIPAMHandle("not a name", {}) as unknown as Resource));
      expect(refused.code).toBe("INVALID");
      expect(refused.message).toContain("metadata.name");
    });

    test("of an API server that is not there are UNAVAILABLE", async () => {
      const nowhere = await openKubernetesClient({ type: "kubernetes", apiEndpoint: "http://127.0.0.1:9" });
      clients.push(nowhere);
      const { code, message } = await error(nowhere.get(IPPool, { name: "main" }));
      expect(code).toBe("UNAVAILABLE");
      expect(message).toContain("127.0.0.1:9");
      const none = openKubernetesClient({ type: "kubernetes" }, {});
      expect((await error(none)).message).toContain("KUBECONFIG");
    });
  });

  test("the group is asked for once, and not at all where it is configured", async () => {
    const asks = await requestsOf("calico-cni-plugin", async () => {
      const cni = await as("cni");
      await Promise.all([cni.get(IPPool, { name: "main" }), cni.list(IPPool), cni.get(IPAMHandle, { name: "h" })]);
    });
    expect(asks.filter((one) => one.includes("/apis"))).toEqual(["get /apis"]);
    const knows = await requestsOf("calico-cni-plugin", async () => {
      const cni = await as("cni", "v1");
      await cni.get(IPPool, { name: "main" });
    });
    expect(knows).toEqual(["get ippools"]);
  });

  test("a client that was closed says so", async () => {
    const client = await as("admin");
    await client.get(IPPool, { name: "main" });
    await client.close();
    await client.close();
    expect(await codeOf(client.get(IPPool, { name: "main" }))).toBe("UNAVAILABLE");
  });
});
