/**
 * How this project talks to Kubernetes API servers.
 *
 * A `ClusterConfig` (from a kubeconfig or from a pod's surroundings) opens a `Kubernetes`: requests, lists in pages, and single
 * watches, over one pool of connections, with credentials that are read again when they change. `reflect` builds on it what
 * agents need: a list, then changes for as long as wanted, through disconnects, restarts of the API server and lost revisions.
 * Objects are plain JSON; their types are `Wire<V1Pod>`, made from `@kubernetes/client-node`, of which nothing is loaded.
 *
 * Known gaps: no proxies (a kubeconfig's is refused by name, the environment's are not used), no auth-provider plugins (removed from
 * Kubernetes in 1.26), no impersonation, no protobuf. HTTP/1.1, one connection a watch: Bun's HTTP/2 ends a stream that broke off as
 * if it were complete.
 */
import type { ReflectOptions, ReflectorEvent } from "./reflector-types.ts";
import type { KubernetesObject } from "./wire.ts";

export {
  type BodyOptions,
  type DeleteOptions,
  type Kubernetes,
  type KubernetesList,
  type KubernetesOptions,
  type ListOptions,
  type ListPage,
  openKubernetes,
  type PatchType,
  type Query,
  type RequestOptions,
  type WatchEvent,
  type WatchOptions,
} from "./client.ts";
export type { Auth, ClusterConfig, ExecAuth, Pem } from "./config.ts";
export { KubernetesError, type KubernetesErrorCode, type StatusCause, type StatusDetails } from "./errors.ts";
export { inClusterConfig, isInCluster } from "./in-cluster.ts";
export { type KubeconfigOptions, type KubeconfigOverrides, loadKubeconfig } from "./kubeconfig.ts";
export { describe as describePath, type ResourcePath, urlPath } from "./paths.ts";
export type { ReflectOptions, ReflectorEvent } from "./reflector-types.ts";
export type { KubernetesObject, ObjectMeta, Status, Wire } from "./wire.ts";

/**
 * The objects of a resource, now and from now on: lists them (`added`…, `synced`), watches from there, resumes after
 * disconnects, and after a lost revision lists again and reports the difference. Never throws and never ends by itself: what
 * goes wrong is reported as `failed`, and tried again. Abort `signal` to end it while it waits.
 */
export async function* reflect<O extends KubernetesObject, T = O>(
  options: ReflectOptions<O, T>,
): AsyncGenerator<ReflectorEvent<T>, void, undefined> {
  const { runReflector } = await import("./reflector.ts");
  yield* runReflector(options);
}
