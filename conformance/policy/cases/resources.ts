/** A case, and short ways to write the resources in it: each gives one YAML document. */
import type { Check } from "../matrix.ts";

/** Policies and the like, and what they make of connectivity. See matrix.ts for the pods, world.ts for their labels. */
export interface PolicyCase {
  readonly name: string;
  readonly resources: readonly string[];
  readonly checks: readonly Check[];
  /** Resources with which the first are replaced, and what holds then. */
  readonly after?: { readonly resources: readonly string[]; readonly checks: readonly Check[] };
  /** Dataplanes it is not for, with the reason. */
  readonly notOn?: Readonly<Record<string, string>>;
}

const document = (apiVersion: string, kind: string, metadata: string, spec: string): string =>
  `apiVersion: ${apiVersion}\nkind: ${kind}\nmetadata: ${metadata}\nspec: ${spec}\n`;

const V3 = "projectcalico.org/v3";
const global =
  (kind: string) =>
  (name: string, spec: string, labels = "{}") =>
    document(V3, kind, `{name: ${name}, labels: ${labels}}`, spec);
const namespaced =
  (kind: string) =>
  (namespace: string, name: string, spec: string, labels = "{}") =>
    document(V3, kind, `{name: ${name}, namespace: ${namespace}, labels: ${labels}}`, spec);

export const globalPolicy = global("GlobalNetworkPolicy");
export const policy = namespaced("NetworkPolicy");
export const stagedGlobalPolicy = global("StagedGlobalNetworkPolicy");
export const stagedPolicy = namespaced("StagedNetworkPolicy");
export const stagedKubernetesPolicy = namespaced("StagedKubernetesNetworkPolicy");
export const globalSet = global("GlobalNetworkSet");
export const set = namespaced("NetworkSet");
export const tier = global("Tier");
export const hostEndpoint = global("HostEndpoint");
export const profile = global("Profile");
export const ipPool = global("IPPool");
export const felix = (spec: string): string => document(V3, "FelixConfiguration", "{name: default}", spec);
export const bgp = (spec: string): string => document(V3, "BGPConfiguration", "{name: default}", spec);
export const kubernetesPolicy = (namespace: string, name: string, spec: string): string =>
  document("networking.k8s.io/v1", "NetworkPolicy", `{name: ${name}, namespace: ${namespace}}`, spec);
export const clusterPolicy = (name: string, spec: string): string =>
  document("policy.networking.k8s.io/v1alpha2", "ClusterNetworkPolicy", `{name: ${name}}`, spec);
/** Endpoints of a Service. `body` is what an EndpointSlice has beside its metadata. */
export const slice = (namespace: string, name: string, service: string, body: string): string =>
  `apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: ${name}, namespace: ${namespace}, labels: {kubernetes.io/service-name: ${service}}}\n${body}\n`;

/** One kind of packet and what becomes of it; see {@link Check}. */
export const check = (probe: string, ...lines: readonly string[]): Check => ({ probe, lines });
/** The same, of the named pairs only. */
export const checkOnly = (probe: string, ...lines: readonly string[]): Check => ({ probe, lines, only: true });
