import { describe, expect, test } from "vitest";
import type { Kind } from "../../api/kind.ts";
import {
  EndpointSlice,
  KUBERNETES_KINDS,
  KubernetesNetworkPolicy,
  Namespace,
  Pod,
  Secret,
  Service,
  ServiceAccount,
} from "../../api/kubernetes/index.ts";
import type { Resource } from "../../api/meta.ts";
import { NetworkPolicy } from "../../api/networkpolicy.ts";
import { Profile } from "../../api/profile.ts";
import { KUBERNETES, RESOURCES } from "../keys.ts";
import { codeOf, type KeyValueContext, names, Watcher } from "./support.ts";

const namespace = (name: string, labels: Record<string, string> = {}): Namespace => ({
  apiVersion: "v1",
  kind: "Namespace",
  metadata: { name, labels },
});

const account = (inside: string, name: string, labels: Record<string, string> = {}): ServiceAccount => ({
  apiVersion: "v1",
  kind: "ServiceAccount",
  metadata: { name, namespace: inside, labels },
});

const profile = (name: string, labels: Record<string, string>): Profile => ({
  apiVersion: Profile.apiVersion,
  kind: "Profile",
  metadata: { name },
  spec: { ingress: [{ action: "Deny" }], egress: [], labelsToApply: labels },
});

const secret: Secret = { apiVersion: "v1", kind: "Secret", metadata: { name: "s", namespace: "a" } };

/** One of each kind, with fields that no schema here knows, as clusters have them. */
const OBJECTS: readonly Resource[] = [
  {
    ...namespace("a", { team: "x", "kubernetes.io/metadata.name": "a" }),
    spec: { finalizers: ["kubernetes"] },
    status: { phase: "Active" },
  },
  {
    ...account("a", "builder", { role: "ci" }),
    automountServiceAccountToken: false,
    secrets: [{ name: "token-1", extra: { deep: [1, 2.5, null] } }],
    imagePullSecrets: [{ name: "registry" }],
  } as Resource,
  {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "a", annotations: { "example.com/x": "" }, finalizers: ["example.com/wait"] },
    spec: {
      selector: { app: "web" },
      clusterIP: "10.96.0.10",
      ports: [
        { name: "http", port: 80, targetPort: "http", nodePort: 30080 },
        { name: "dns", port: 53, protocol: "UDP" },
      ],
      trafficDistribution: "PreferClose",
      somethingNew: { a: [] },
    },
    status: { loadBalancer: { ingress: [{ ip: "192.0.2.1", ipMode: "VIP" }] } },
  },
  {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: "web-abc12",
      namespace: "a",
      labels: { "kubernetes.io/service-name": "web" },
      ownerReferences: [{ apiVersion: "v1", kind: "Service", name: "web", uid: "1", controller: true }],
    },
    addressType: "IPv4",
    endpoints: [
      {
        addresses: ["10.1.0.1"],
        conditions: { ready: true, serving: true, terminating: false },
        nodeName: "n1",
        targetRef: { kind: "Pod", name: "web-1", namespace: "a" },
        hints: { forZones: [{ name: "z" }] },
      },
    ],
    ports: [{ name: "http", port: 8080, protocol: "TCP" }],
  } as Resource,
  {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: "np", namespace: "a" },
    spec: {
      podSelector: {},
      policyTypes: ["Ingress"],
      ingress: [
        { from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["10.1.0.0/16"] } }], ports: [{ port: 80, endPort: 90 }] },
      ],
    },
  },
  {
    apiVersion: "policy.networking.k8s.io/v1alpha2",
    kind: "ClusterNetworkPolicy",
    metadata: { name: "cnp" },
    spec: {
      tier: "Admin",
      priority: 10,
      subject: { namespaces: {} },
      egress: [
        {
          action: "Deny",
          to: [{ networks: ["192.0.2.0/24"] }],
          protocols: [{ tcp: { destinationPort: { number: 25 } } }],
        },
      ],
    },
  },
  { ...secret, type: "Opaque", data: { password: "aHVudGVyMg==", empty: "" }, immutable: false } as Resource,
  {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name: "web-1", namespace: "a", generateName: "web-" },
    spec: {
      nodeName: "n1",
      containers: [
        {
          name: "c",
          image: "nginx",
          ports: [{ containerPort: 8080, name: "http" }],
          resources: { limits: { cpu: "1" } },
        },
      ],
      tolerations: [{ operator: "Exists" }],
    },
    status: { phase: "Running", podIPs: [{ ip: "10.1.0.1" }] },
  },
];

const kindOf = ({ apiVersion, kind }: Resource): Kind =>
  KUBERNETES_KINDS.find((one) => one.apiVersion === apiVersion && one.kind === kind)!;

/** Kubernetes' own objects, where there is no Kubernetes, and the profiles that are made of them. */
export function kubernetesTests(on: KeyValueContext): void {
  describe("objects of Kubernetes", () => {
    test.each(OBJECTS.map((object) => [object.kind, object] as const))("come back as given: %s", async (_, given) => {
      await on.clear();
      const kind = kindOf(given);
      const before = structuredClone(given);
      const created = await on.client.create(kind, given);
      expect(given).toEqual(before);
      const { uid, creationTimestamp, resourceVersion, ...metadata } = created.metadata;
      expect({ ...created, metadata }).toEqual(given);
      expect(uid).toMatch(/^[0-9a-f-]{36}$/);
      expect(creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      const ref = { name: metadata.name, ...(metadata.namespace ? { namespace: metadata.namespace } : {}) };
      expect(await on.client.get(kind, ref)).toEqual(created);
      expect((await on.client.list(kind)).items).toEqual([created]);
      if (kind.namespaced) {
        expect((await on.client.list(kind, { namespace: "a" })).items).toEqual([created]);
        expect((await on.client.list(kind, { namespace: "b" })).items).toEqual([]);
      }
      const updated = await on.client.update(kind, { ...created, more: { than: "before" } } as Resource);
      expect(updated).toEqual({ ...created, more: { than: "before" }, metadata: updated.metadata });
      expect(updated.metadata).toEqual({ ...created.metadata, resourceVersion: updated.metadata.resourceVersion });
      expect(updated.metadata.resourceVersion).not.toBe(resourceVersion);
      expect(await codeOf(on.client.update(kind, created))).toBe("CONFLICT");
      expect(await on.client.delete(kind, ref)).toEqual(updated);
      expect(await on.client.get(kind, ref)).toBeUndefined();
    });

    test("lie where no other Calico looks, apart from Calico's kinds of the same name", async () => {
      await on.clear();
      for (const object of OBJECTS) await on.client.create(kindOf(object), object);
      for (const { metadata, kind, ...rest } of OBJECTS) {
        const { plural } = kindOf({ metadata, kind, ...rest });
        const path = metadata.namespace === undefined ? metadata.name : `${metadata.namespace}/${metadata.name}`;
        const { value } = (await on.raw(`${KUBERNETES}${plural}/${path}`))!;
        expect(JSON.parse(value)).toMatchObject({ kind, ...rest });
      }
      expect((await on.client.list(NetworkPolicy)).items).toEqual([]);
      expect(names((await on.client.list(KubernetesNetworkPolicy)).items)).toEqual(["np"]);
    });

    test("are watched like all others", async () => {
      await on.clear();
      const watcher = new Watcher(on.client, Service);
      await watcher.count(1);
      const service = OBJECTS[2] as Service;
      const created = await on.client.create(Service, service);
      await on.client.update(Service, { ...created, spec: { ...created.spec, clusterIP: "None" } });
      await on.client.delete(Service, { name: "web", namespace: "a" });
      expect(await watcher.count(4)).toEqual(["synced", "added web", "modified web", "deleted web"]);
      await watcher.stop();
    });

    test("with nulls where Go writes them have none", async () => {
      await on.clear();
      const key = `${KUBERNETES}endpointslices/a/none`;
      await on.put(
        key,
        '{"kind":"EndpointSlice","metadata":{"name":"none"},"addressType":"IPv4","endpoints":null,"ports":null}',
      );
      const read = (await on.client.get(EndpointSlice, { name: "none", namespace: "a" }))!;
      expect(Object.keys(read).sort()).toEqual(["addressType", "apiVersion", "kind", "metadata"]);
    });

    test("that are secret take texts, and say nothing of them", async () => {
      await on.clear();
      const stringData = { password: "hunter2", ключ: "x" };
      const wrong = { ...secret, stringData };
      const error = await on.client.create(Secret, wrong).catch((cause: Error) => cause.message);
      expect(error).toBe('Secret a/s: data["ключ"]: has a key that must be at most 253 letters, digits, -, _ and .');
      const made = await on.client.create(Secret, {
        ...secret,
        data: { password: "b2xk", other: "eA==" },
        stringData: { password: "hunter2" },
      });
      expect(made).toMatchObject({ type: "Opaque", data: { password: "aHVudGVyMg==", other: "eA==" } });
      expect(made).not.toHaveProperty("stringData");
      expect((await on.raw(`${KUBERNETES}secrets/a/s`))!.value).not.toContain("stringData");
      for (const value of [
        '"hunter2"',
        '{"data":{"password":["hunter2"]}}',
        '{"data":"hunter2"}',
        '{"data":{"hunter2',
      ]) {
        await on.put(`${KUBERNETES}secrets/a/s`, value);
        const message = await on.client
          .get(Secret, { name: "s", namespace: "a" })
          .catch((cause: Error) => cause.message);
        expect(message).toMatch(/secrets\/a\/s: /);
        expect(message).not.toContain("hunter2");
      }
    });

    test("are listed and watched one by one, as a role for one name may", async () => {
      await on.clear();
      const index = { namespace: "a", name: "s" };
      const watcher = new Watcher(on.client, Secret, { index });
      await watcher.count(1);
      for (const [inside, name] of [
        ["a", "s2"],
        ["b", "s"],
        ["a", "s"],
      ] as const)
        await on.client.create(Secret, { ...secret, metadata: { name, namespace: inside } });
      const { items } = await on.client.list(Secret, index);
      expect(items.map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual(["a/s"]);
      await on.client.delete(Secret, index);
      expect(await watcher.count(3)).toEqual(["synced", "added s", "deleted s"]);
      await watcher.stop();
    });

    test("are refused where they are wrong", async () => {
      await on.clear();
      const pod = { apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "a" }, spec: { containers: [] } };
      expect(await codeOf(on.client.create(Pod, pod as unknown as Pod))).toBe("INVALID");
      expect(await codeOf(on.client.create(Namespace, namespace("a.b")))).toBe("INVALID");
    });
  });

  describe("profiles made of namespaces and service accounts", () => {
    test("are there as long as these are", async () => {
      await on.clear();
      const ref = { name: "kns.a" };
      expect(await on.client.get(Profile, ref)).toBeUndefined();
      expect(await on.client.exists(Profile as unknown as Kind, ref)).toBe(false);
      const made = await on.client.create(Namespace, namespace("a", { team: "x" }));
      await on.client.create(ServiceAccount, account("a", "sa.1", { role: "y" }));
      const found = (await on.client.get(Profile, ref))!;
      expect(found).toMatchObject({
        apiVersion: "projectcalico.org/v3",
        kind: "Profile",
        metadata: { name: "kns.a", resourceVersion: made.metadata.resourceVersion },
        spec: {
          ingress: [{ action: "Allow" }],
          egress: [{ action: "Allow" }],
          labelsToApply: {
            "pcns.team": "x",
            "pcns.kubernetes.io/metadata.name": "a",
            "pcns.projectcalico.org/name": "a",
          },
        },
      });
      expect(await on.client.exists(Profile as unknown as Kind, ref)).toBe(true);
      expect((await on.client.get(Profile, { name: "ksa.a.sa.1" }))!.spec.labelsToApply).toEqual({
        "pcsa.role": "y",
        "pcsa.projectcalico.org/name": "sa.1",
      });
      const { items } = await on.client.list(Profile);
      expect(names(items)).toEqual(["kns.a", "ksa.a.sa.1", "projectcalico-default-allow"]);
      expect(items[0]).toEqual(found);
      expect(await on.raw(`${RESOURCES}profiles/kns.a`)).toBeUndefined();
      await on.client.delete(Namespace, { name: "a" });
      expect(await on.client.get(Profile, ref)).toBeUndefined();
      expect(names((await on.client.list(Profile)).items)).toEqual(["ksa.a.sa.1", "projectcalico-default-allow"]);
    });

    test("cannot be written", async () => {
      await on.clear();
      await on.client.create(Namespace, namespace("a"));
      const found = (await on.client.get(Profile, { name: "kns.a" }))!;
      expect(await codeOf(on.client.create(Profile, profile("kns.a", {})))).toBe("EXISTS");
      const message = await on.client.update(Profile, found).catch((cause: Error) => cause.message);
      expect(message).toBe("Profile kns.a is made of the Namespace a: update that instead");
      expect(await codeOf(on.client.update(Profile, found))).toBe("UNSUPPORTED");
      expect(await codeOf(on.client.delete(Profile, { name: "kns.a" }))).toBe("UNSUPPORTED");
      expect(await codeOf(on.client.delete(Profile, { name: "kns.b" }))).toBe("NOT_FOUND");
    });

    test("give way to one that is stored", async () => {
      await on.clear();
      const stored = await on.client.create(Profile, profile("kns.a", { mine: "1" }));
      await on.client.create(Namespace, namespace("a", { team: "x" }));
      expect(await on.client.get(Profile, { name: "kns.a" })).toEqual(stored);
      expect((await on.client.list(Profile)).items[0]).toEqual(stored);
      const updated = await on.client.update(Profile, {
        ...stored,
        spec: { ...stored.spec, labelsToApply: { mine: "2" } },
      });
      expect(await on.client.delete(Profile, { name: "kns.a" })).toEqual(updated);
      expect((await on.client.get(Profile, { name: "kns.a" }))!.spec.labelsToApply).toMatchObject({ "pcns.team": "x" });
    });

    test("are watched, whatever they are made of", async () => {
      await on.clear();
      await on.client.create(Namespace, namespace("a", { team: "x" }));
      const watcher = new Watcher(on.client, Profile);
      expect(await watcher.count(3)).toEqual(["added projectcalico-default-allow", "added kns.a", "synced"]);
      const other = await on.another();
      const made = await other.create(ServiceAccount, account("a", "s"));
      expect((await watcher.count(4))[3]).toBe("added ksa.a.s");
      await other.create(Secret, { ...secret, data: {} });
      await other.update(ServiceAccount, { ...made, metadata: { ...made.metadata, labels: { role: "y" } } });
      expect((await watcher.count(5))[4]).toBe("modified ksa.a.s");
      await other.create(Profile, profile("plain", {}));
      await other.delete(ServiceAccount, { name: "s", namespace: "a" });
      expect((await watcher.count(7)).slice(5)).toEqual(["added plain", "deleted ksa.a.s"]);
      const revisions = watcher.events.slice(3).map(({ revision }) => Number(revision));
      expect(revisions).toEqual([...revisions].sort((a, b) => a - b));
      await watcher.stop();

      const resumed = new Watcher(on.client, Profile, { from: watcher.events[4]!.revision });
      expect(await resumed.count(2)).toEqual(["added plain", "deleted ksa.a.s"]);
      await resumed.stop();
    });

    test("are watched when one that is stored comes and goes", async () => {
      await on.clear();
      await on.client.create(Namespace, namespace("a", { team: "x" }));
      const watcher = new Watcher(on.client, Profile);
      await watcher.count(3);
      // Stored behind the Client's back, which would refuse it now.
      await on.put(`${RESOURCES}profiles/kns.a`, JSON.stringify(profile("kns.a", { mine: "1" })));
      expect((await watcher.count(4))[3]).toBe("modified kns.a");
      expect(watcher.events[3]).toMatchObject({ resource: { spec: { labelsToApply: { mine: "1" } } } });
      await on.client.delete(Profile, { name: "kns.a" });
      expect((await watcher.count(5))[4]).toBe("modified kns.a");
      expect(watcher.events[4]).toMatchObject({ resource: { spec: { labelsToApply: { "pcns.team": "x" } } } });
      await on.client.delete(Namespace, { name: "a" });
      expect((await watcher.count(6))[5]).toBe("deleted kns.a");
      await watcher.stop();
    });

    test("survive a gap in what the store remembers", async () => {
      await on.clear();
      await on.client.create(Namespace, namespace("a"));
      await on.client.create(Namespace, namespace("b"));
      const { revision } = await on.client.list(Profile);
      await on.client.delete(Namespace, { name: "a" });
      await on.client.create(Namespace, namespace("c"));
      await on.subject.compact();
      const watcher = new Watcher(on.client, Profile, { from: revision });
      expect(await watcher.until((told) => told.includes("added kns.c"))).not.toContain("added kns.b");
      await watcher.stop();
    });
  });
}
