/** For tests: a real API server as a datastore of the behaviour suite. */
import type { Kind } from "../../api/kind.ts";
import { KINDS } from "../../api/registry.ts";
import { isBuiltInTier } from "../../api/tier.ts";
import { urlPath } from "../../kubernetes/index.ts";
import { type ApiServer, RequestFailed, type UserName } from "../../kubernetes/testing/index.ts";
import type { Client } from "../client.ts";
import type { ClientSubject } from "../suite/index.ts";
import type { ApiGroup } from "./group.ts";
import { keyOf, mappingOf } from "./mapping.ts";
import { openKubernetesClient } from "./open.ts";

/** Namespaces that the suite uses. They stay: where no controller runs, a namespace that is deleted never goes. */
const NAMESPACES = ["a", "ab", "prod"];
const VIEWS = ["Node", "Profile", "WorkloadEndpoint"];

interface List {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly namespace?: string; readonly finalizers?: readonly string[] };
  }[];
}

/** A Client of a test's API server, as one of its users; the group is found out when none is given. */
export function clientOf(server: ApiServer, user: UserName = "admin", apiGroup?: ApiGroup): Promise<Client> {
  return openKubernetesClient({
    ...{ type: "kubernetes", kubeconfig: server.kubeconfig(user) },
    ...(apiGroup ? { apiGroup } : {}),
  });
}

/** A pod that is on a node and has no addresses yet. */
export const podObject = (namespace: string, name: string, node: string, extra: object = {}): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, namespace, ...extra },
  spec: { nodeName: node, serviceAccountName: "default", containers: [{ name: "main", image: "none" }] },
});

/** Makes a namespace, and the service account that every pod in it has. */
export async function makeNamespace(server: ApiServer, name: string): Promise<void> {
  await server.apply(
    { apiVersion: "v1", kind: "Namespace", metadata: { name } },
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: name } },
  );
}

/** The subject of the suite. `server` has the CRDs of the group, and is stopped with the subject. */
export async function apiServerSubject(server: ApiServer, group: ApiGroup): Promise<ClientSubject> {
  for (const name of NAMESPACES) await makeNamespace(server, name);
  const registry = (kind: Kind, name: string): string => {
    const { collection } = mappingOf(kind, group);
    return `/registry/${collection.group}/${collection.plural}/${name}`;
  };
  return {
    open: () => clientOf(server),
    async clear() {
      for (const kind of KINDS) {
        if (VIEWS.includes(kind.kind)) continue;
        const { collection } = mappingOf(kind, group);
        const { items } = await send<List>(server, "GET", urlPath(collection));
        for (const { metadata } of items) {
          const { name, namespace, finalizers } = metadata;
          if (kind.kind === "Tier" && isBuiltInTier(name)) continue;
          const path = urlPath({ ...collection, name, namespace });
          const none = { metadata: { finalizers: null } };
          if (finalizers) await server.request("PATCH", path, none, "application/merge-patch+json");
          await remove(server, path);
        }
      }
      const { items } = await send<List>(server, "GET", "/api/v1/pods");
      for (const { metadata } of items)
        await remove(server, `/api/v1/namespaces/${metadata.namespace}/pods/${metadata.name}?gracePeriodSeconds=0`);
    },
    async spoil(kind, name) {
      const { collection } = mappingOf(kind, group);
      const path = urlPath({ ...collection, name });
      const found = await server.request<object>("GET", path).catch(() => undefined);
      const made = { apiVersion: `${collection.group}/${collection.version}`, kind: kind.kind, metadata: { name } };
      await server.writeRaw(registry(kind, name), { ...(found ?? made), spec: { cidr: 7 } });
      return keyOf(collection, { metadata: { name } });
    },
    unspoil: (kind, name) => server.writeRaw(registry(kind, name), undefined),
    async prepareEndpoint({ metadata, spec }) {
      await server.apply(podObject(metadata.namespace!, spec.pod!, spec.node!));
    },
    compact: async () => {
      // What it has in its cache it tells from there.
      await server.compact();
      await server.restart();
    },
    restart: async () => {
      await server.kill();
      await server.restart();
    },
    remove: () => server.stop(),
  };
}

/** A server that has just started refuses a while what it has not read yet. */
async function send<T>(server: ApiServer, method: string, path: string): Promise<T> {
  for (const deadline = Date.now() + 20_000; ; await Bun.sleep(50)) {
    try {
      return await server.request<T>(method, path);
    } catch (error) {
      if (!(error instanceof RequestFailed) || error.status !== 429 || Date.now() > deadline) throw error;
    }
  }
}

async function remove(server: ApiServer, path: string): Promise<void> {
  try {
    await send(server, "DELETE", path);
  } catch (error) {
    if (!(error instanceof RequestFailed) || error.status !== 404) throw error;
  }
}
