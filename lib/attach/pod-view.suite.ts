/** For tests: a datastore in which endpoints are Pods, as on Kubernetes, without an API server. */
import type { Kind } from "../api/kind.ts";
import { Pod } from "../api/kubernetes/pod.ts";
import type { Ref, Resource } from "../api/meta.ts";
import { parseEndpointName } from "../api/names.ts";
import { describeProblem } from "../api/schema.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import {
  type Client,
  DatastoreError,
  type DeleteOptions,
  type Index,
  type ListResult,
  type Operation,
  type Unreadable,
} from "../datastore/index.ts";
import {
  deletedEndpointToPodPatch,
  endpointToPodPatch,
  type PodPatch,
  podToEndpoint,
} from "../kubernetes/conversion/index.ts";

/**
 * `inner` as Kubernetes would have it: a WorkloadEndpoint is a Pod that has a node, written by a patch of its annotations that names the
 * pod's uid; nothing is written in one commit with anything else. A `plugin` may get pods and not list them.
 */
export function podViewClient(inner: Client, role: "plugin" | "admin" = "plugin"): Client {
  const isEndpoint = (kind: Kind): boolean => kind.kind === "WorkloadEndpoint";
  const read = (pod: Pod): WorkloadEndpoint | undefined => {
    const { value, problems } = podToEndpoint(pod);
    if (value || problems.length === 0) return value;
    throw new DatastoreError("INVALID", `pods ${pod.metadata.name}: ${problems.map(describeProblem).join()}`);
  };
  const podOf = async ({ name, namespace = "" }: Ref): Promise<Pod | undefined> => {
    const { orchestrator, pod } = parseEndpointName(name) ?? {};
    return orchestrator === "k8s" && pod ? inner.get(Pod, { name: pod, namespace }) : undefined;
  };
  const get = async (ref: Ref): Promise<WorkloadEndpoint | undefined> => {
    const pod = await podOf(ref);
    const endpoint = pod && read(pod);
    return endpoint?.metadata.name === ref.name ? endpoint : undefined;
  };
  const list = async (index: Index | undefined): Promise<ListResult<WorkloadEndpoint>> => {
    const isOfPod = index !== undefined && "namePrefix" in index;
    if (!isOfPod && role === "plugin") throw new DatastoreError("UNAUTHORIZED", "pods is forbidden: cannot list them");
    const one = isOfPod ? await podOf({ name: index.namePrefix, namespace: index.namespace }) : undefined;
    const pods = isOfPod ? (one ? [one] : []) : (await inner.list(Pod)).items;
    const items: WorkloadEndpoint[] = [];
    const unreadable: Unreadable[] = [];
    for (const pod of pods) {
      try {
        const endpoint = read(pod);
        if (endpoint) items.push(endpoint);
      } catch (error) {
        unreadable.push({ key: `pods ${pod.metadata.name}`, ref: pod.metadata as Ref, error: error as Error });
      }
    }
    return { items, unreadable, revision: "" };
  };
  const patch = async (ref: Ref, { metadata }: PodPatch): Promise<WorkloadEndpoint> => {
    for (;;) {
      const pod = await podOf(ref);
      if (!pod) throw new DatastoreError("NOT_FOUND", `pods "${ref.name}" not found`);
      for (const guard of ["uid", "resourceVersion"] as const) {
        if (metadata[guard] !== undefined && metadata[guard] !== pod.metadata[guard])
          throw new DatastoreError("CONFLICT", `pods "${ref.name}": the ${guard} is another`);
      }
      const annotations = { ...pod.metadata.annotations, ...metadata.annotations };
      try {
        const endpoint = read(await inner.update(Pod, { ...pod, metadata: { ...pod.metadata, annotations } }));
        if (endpoint) return endpoint;
        throw new DatastoreError("NOT_FOUND", `pods "${ref.name}" has no endpoint`);
      } catch (error) {
        // The API server applies a patch to whatever is there.
        if (!(error instanceof DatastoreError) || error.code !== "CONFLICT" || metadata.resourceVersion) throw error;
      }
    }
  };
  const write = (resource: Resource): Promise<WorkloadEndpoint> => {
    const { uid } = resource.metadata;
    return patch(resource.metadata, endpointToPodPatch(resource as WorkloadEndpoint, { uid }));
  };
  const carryOut = (operation: Operation): Promise<Resource> => {
    if (operation.op === "create") return client.create(operation.kind, operation.resource);
    if (operation.op === "update") return client.update(operation.kind, operation.resource);
    return client.delete(operation.kind, operation.ref, operation);
  };
  const client: Client = {
    ...bound(inner),
    name: "kubernetes of a test",
    capabilities: { ...inner.capabilities, atomicBatch: false, views: true },
    get: <R extends Resource>(kind: Kind<R>, ref: Ref) =>
      (isEndpoint(kind as unknown as Kind) ? get(ref) : inner.get(kind, ref)) as Promise<R | undefined>,
    list: ((kind: Kind, index?: Index) => (isEndpoint(kind) ? list(index) : inner.list(kind, index))) as Client["list"],
    create: ((kind: Kind, resource: Resource) => {
      if (kind.kind === "Profile") throw new DatastoreError("UNSUPPORTED", "a Profile cannot be written");
      return isEndpoint(kind) ? write(resource) : inner.create(kind, resource);
    }) as Client["create"],
    update: ((kind: Kind, resource: Resource) =>
      isEndpoint(kind) ? write(resource) : inner.update(kind, resource)) as Client["update"],
    delete: ((kind: Kind, ref: Ref, { uid, resourceVersion }: DeleteOptions = {}) =>
      isEndpoint(kind)
        ? patch(ref, deletedEndpointToPodPatch({ uid, resourceVersion }))
        : inner.delete(kind, ref, {
            ...(uid === undefined ? {} : { uid }),
            ...(resourceVersion === undefined ? {} : { resourceVersion }),
          })) as Client["delete"],
    async batch(operations) {
      const answers: Resource[] = [];
      for (const operation of operations) answers.push(await carryOut(operation));
      return answers;
    },
    async commit(operations) {
      for (const operation of operations) await carryOut(operation);
    },
  };
  return client;
}

function bound(inner: Client): Pick<Client, "exists" | "watch" | "close"> {
  return {
    exists: (kind, ref) => inner.exists(kind, ref),
    watch: (kind, options) => inner.watch(kind, options),
    close: () => inner.close(),
  };
}
