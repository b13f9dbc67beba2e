import { describe, test } from "vitest";
import type { IPReservation } from "../api/ipreservation.ts";
import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import { Profile } from "../api/profile.ts";
import { Tier } from "../api/tier.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import type { Client, Operation } from "../datastore/index.ts";
import { apiServerSubject, type ClientSubject } from "../datastore/testing.ts";
import { type ApiServer, apiServerMissing, RequestFailed, startApiServer } from "../kubernetes/testing/index.ts";
import { describeAllocator } from "./suite.ts";

const missing = apiServerMissing();

/** Where the suite writes Profiles as a stand-in for what a caller adds, Tiers are written: Profiles cannot be. */
const insteadOf = (kind: Kind): Kind => (kind.kind === "Profile" ? (Tier as unknown as Kind) : kind);

function stand(resource: Resource): Resource {
  if (resource.kind === "Profile") return { ...resource, kind: "Tier", spec: { order: 5, defaultAction: "Deny" } };
  // The API server insists on lengths and times.
  if (resource.kind === "IPReservation") {
    const { reservedCIDRs = [] } = resource.spec as IPReservation["spec"];
    return {
      ...resource,
      spec: { reservedCIDRs: reservedCIDRs.map((one) => (one.includes("/") ? one : `${one}/32`)) },
    };
  }
  const { conditions } = (resource.status ?? {}) as { conditions?: readonly object[] };
  if (!conditions) return resource;
  const lastTransitionTime = "2026-01-02T03:04:05Z";
  return { ...resource, status: { conditions: conditions.map((one) => ({ lastTransitionTime, ...one })) } };
}

const operation = (one: Operation): Operation =>
  one.op === "delete"
    ? { ...one, kind: insteadOf(one.kind) }
    : { ...one, kind: insteadOf(one.kind), resource: stand(one.resource) };

/** A client of a cluster in which others make Nodes and Pods, and deletions are the API server's to mark. */
function inCluster(client: Client, server: ApiServer, subject: ClientSubject, group: "v1" | "v3"): Client {
  const plain = (kind: unknown): Kind => insteadOf(kind as Kind);
  const create = async (kind: Kind, resource: Resource): Promise<Resource> => {
    const { name, labels, deletionTimestamp, ...metadata } = resource.metadata;
    if (kind.kind === "Node") {
      await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name } });
      const node = (await client.get(Node, { name }))!;
      return client.update(Node, { ...node, metadata: { ...node.metadata, ...(labels ? { labels } : {}) } });
    }
    if (kind.kind === "WorkloadEndpoint") await subject.prepareEndpoint?.(resource as WorkloadEndpoint);
    if (group === "v1" || !deletionTimestamp) return client.create(kind, stand(resource));
    await client.create(kind, stand({ ...resource, metadata: { ...metadata, name, finalizers: ["test/held"] } }));
    await server.request("DELETE", `/apis/projectcalico.org/v3/${kind.plural}/${name}`);
    return (await client.get(kind, { name }))!;
  };
  return {
    name: client.name,
    capabilities: client.capabilities,
    get: (kind, ref) => client.get(plain(kind), ref) as never,
    exists: (kind, ref) => client.exists(kind, ref),
    list: async (kind, index) => {
      const result = await client.list(plain(kind), index);
      if ((kind as unknown as Kind).kind !== "Profile") return result as never;
      const items = result.items.filter(({ metadata }) => !/^(default|kube-)/.test(metadata.name));
      return { ...result, items: [...items, Profile.builtIn!.make()] } as never;
    },
    create: (kind, resource) => create(plain(kind), resource) as never,
    update: (kind, resource) => client.update(plain(kind), stand(resource)) as never,
    delete: (kind, ref, options) => client.delete(plain(kind), ref, options) as never,
    batch: (operations) => client.batch(operations.map(operation)),
    commit: (operations) => client.commit(operations.map(operation)),
    watch: (kind, options) => client.watch(plain(kind), options) as never,
    close: () => client.close(),
  };
}

for (const group of ["v1", "v3"] as const) {
  const title = `Kubernetes, ${group}`;
  if (missing) {
    describe(`allocator on ${title}`, () => test.skip(`skipped: ${missing}`, () => {}));
    continue;
  }
  let server: ApiServer;
  let subject: ClientSubject;
  describeAllocator(title, {
    start: async () => {
      server = await startApiServer({ crds: group });
      subject = await apiServerSubject(server, group);
    },
    open: async () => {
      await subject.clear();
      const { items } = await server.request<{ items: { metadata: { name: string } }[] }>("GET", "/api/v1/nodes");
      for (const { metadata } of items)
        await server.request("DELETE", `/api/v1/nodes/${metadata.name}`).catch((error: unknown) => {
          if (!(error instanceof RequestFailed)) throw error;
        });
      return inCluster(await subject.open(), server, subject, group);
    },
    close: async () => subject?.remove(),
  });
}
