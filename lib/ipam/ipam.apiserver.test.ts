import { describe, test } from "vitest";
import type { Kind } from "../api/kind.ts";
import type { Resource } from "../api/meta.ts";
import { Node } from "../api/node.ts";
import { Profile } from "../api/profile.ts";
import { Tier } from "../api/tier.ts";
import type { Client, Operation } from "../datastore/index.ts";
import { apiServerSubject, type ClientSubject } from "../datastore/testing.ts";
import { type ApiServer, apiServerMissing, RequestFailed, startApiServer } from "../kubernetes/testing/index.ts";
import { describeAllocator } from "./suite.ts";

const missing = apiServerMissing();

/** Where the suite writes Profiles as a stand-in for what a caller adds, Tiers are written: Profiles cannot be. */
const insteadOf = (kind: Kind): Kind => (kind.kind === "Profile" ? (Tier as unknown as Kind) : kind);
const stand = (resource: Resource): Resource =>
  resource.kind === "Profile" ? { ...resource, kind: "Tier", spec: { order: 5, defaultAction: "Deny" } } : resource;
const operation = (one: Operation): Operation =>
  one.op === "delete"
    ? { ...one, kind: insteadOf(one.kind) }
    : { ...one, kind: insteadOf(one.kind), resource: stand(one.resource) };

/** A client of a cluster in which somebody else makes the Nodes. */
function inCluster(client: Client, server: ApiServer): Client {
  const plain = (kind: unknown): Kind => insteadOf(kind as Kind);
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
    create: async (kind, resource) => {
      if ((kind as unknown) !== Node) return client.create(plain(kind), stand(resource)) as never;
      const { name, labels } = resource.metadata;
      await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name, labels } });
      return (await client.get(Node, { name })) as never;
    },
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
      return inCluster(await subject.open(), server);
    },
    close: async () => subject?.remove(),
  });
}
