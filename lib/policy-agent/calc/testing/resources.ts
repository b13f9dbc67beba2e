/** Short ways to say resources, and the inputs that carry them. */
import type { EntityRule, Rule } from "../../../api/rule.ts";
import type { AnyPolicy, Input, PlainInput } from "../inputs.ts";
import type { PolicyId, PolicyKind } from "../messages.ts";

export const NODE = "this";

type Labels = Record<string, string>;
type Fields = Readonly<Record<string, unknown>>;

function plain(kind: PlainInput["kind"], name: string, namespace: string | undefined, body: Fields): Input {
  const { labels, annotations, ...rest } = body;
  const metadata = {
    name,
    ...(namespace === undefined ? {} : { namespace }),
    ...(labels === undefined ? {} : { labels }),
    ...(annotations === undefined ? {} : { annotations }),
  };
  const resource = { apiVersion: "projectcalico.org/v3", kind, metadata, ...rest } as unknown as PlainInput;
  return { kind, name, ...(namespace === undefined ? {} : { namespace }), resource };
}

/** A pod of a namespace, with what the plugin and the conversions give it. */
export function workload(
  namespace: string,
  pod: string,
  addresses: readonly string[],
  labels: Labels = {},
  more: { node?: string; profiles?: readonly string[]; ports?: readonly Fields[]; serviceAccountName?: string } = {},
): Input {
  const { node = NODE, profiles = [`kns.${namespace}`], ...rest } = more;
  return plain("WorkloadEndpoint", `${node}-k8s-${pod.replaceAll("-", "--")}-eth0`, namespace, {
    labels: { "projectcalico.org/namespace": namespace, "projectcalico.org/orchestrator": "k8s", ...labels },
    spec: {
      orchestrator: "k8s",
      node,
      pod,
      endpoint: "eth0",
      ipNetworks: addresses.map((address) => `${address}/${address.includes(":") ? 128 : 32}`),
      profiles,
      interfaceName: `cali${namespace}${pod}`,
      mac: "ee:ee:ee:ee:ee:ee",
      ...rest,
    },
  });
}

export const hostEndpoint = (name: string, spec: Fields, labels: Labels = {}): Input =>
  plain("HostEndpoint", name, undefined, { labels, spec: { node: NODE, ...spec } });

export const profile = (
  name: string,
  labelsToApply: Labels,
  rules: { ingress?: Rule[]; egress?: Rule[] } = {},
): Input => plain("Profile", name, undefined, { spec: { labelsToApply, ...rules } });

/** A namespace's profile, as the conversions make it. */
export const namespaceProfile = (namespace: string, labels: Labels = {}): Input =>
  profile(
    `kns.${namespace}`,
    Object.fromEntries(
      Object.entries({ "projectcalico.org/name": namespace, ...labels }).map(([key, value]) => [`pcns.${key}`, value]),
    ),
    { ingress: [{ action: "Allow" }], egress: [{ action: "Allow" }] },
  );

export const tier = (name: string, spec: { order?: number; defaultAction?: "Deny" | "Pass" }): Input =>
  plain("Tier", name, undefined, { spec });

export const networkSet = (namespace: string, name: string, nets: readonly string[], labels: Labels): Input =>
  plain("NetworkSet", name, namespace, { labels, spec: { nets } });

export const globalNetworkSet = (name: string, nets: readonly string[], labels: Labels): Input =>
  plain("GlobalNetworkSet", name, undefined, { labels, spec: { nets } });

export const pool = (name: string, spec: Fields): Input => plain("IPPool", name, undefined, { spec });
export const node = (name: string, spec: Fields): Input => plain("Node", name, undefined, { spec });
export const bgpConfiguration = (spec: Fields): Input => plain("BGPConfiguration", "default", undefined, { spec });

/** An EndpointSlice of a service. */
export const slice = (
  namespace: string,
  service: string,
  addresses: readonly string[],
  ports: readonly { port: number; protocol?: string }[],
  name = `${service}-1`,
): Input =>
  plain("EndpointSlice", name, namespace, {
    labels: { "kubernetes.io/service-name": service },
    addressType: "IPv4",
    endpoints: [{ addresses }],
    ports,
  });

function anyPolicy(kind: PolicyKind, namespace: string | undefined, name: string, spec: Fields): Input {
  const id: PolicyId = { kind, ...(namespace === undefined ? {} : { namespace }), name };
  const metadata = { name, ...(namespace === undefined ? {} : { namespace }) };
  const resource = { apiVersion: "projectcalico.org/v3", kind, metadata, spec: { tier: "default", ...spec } };
  return { kind: "Policy", id, policy: resource as unknown as AnyPolicy };
}

export const networkPolicy = (
  namespace: string,
  name: string,
  spec: Fields,
  kind: PolicyKind = "NetworkPolicy",
): Input => anyPolicy(kind, namespace, name, spec);

export const globalPolicy = (name: string, spec: Fields, kind: PolicyKind = "GlobalNetworkPolicy"): Input =>
  anyPolicy(kind, undefined, name, spec);

/** A rule. */
export const rule = (
  action: Rule["action"],
  more: Partial<Omit<Rule, "action" | "source" | "destination">> & {
    source?: EntityRule;
    destination?: EntityRule;
  } = {},
): Rule => ({ action, ...more });

/** Which resource an input is about. */
export function keyOf(input: Input): string {
  return input.kind === "Policy"
    ? JSON.stringify([input.id.kind, input.id.namespace, input.id.name])
    : JSON.stringify([input.kind, input.namespace, input.name]);
}

/** The input that says that the resource is gone. */
export const removal = (input: Input): Input =>
  input.kind === "Policy" ? { ...input, policy: undefined } : { ...input, resource: undefined };
