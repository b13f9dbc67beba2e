import type { V1NetworkPolicySpec } from "@kubernetes/client-node";
import { cidrContains } from "../../ip/index.ts";
import type { Columns, Kind } from "../kind.ts";
import type { Resource } from "../meta.ts";
import * as s from "../schema.ts";
import {
  checkLabelSelector,
  checkNetwork,
  checkPort,
  labelSelector,
  PROTOCOLS,
  parseNetwork,
  partOf,
} from "./checks.ts";
import { selectorText } from "./columns.ts";
import type { Json } from "./json.ts";

export type KubernetesNetworkPolicySpec = Json<V1NetworkPolicySpec>;

/** Not to be confused with Calico's own NetworkPolicy, of projectcalico.org/v3. */
export interface KubernetesNetworkPolicy extends Resource<"NetworkPolicy"> {
  /** Absent is {}, which selects all pods of the namespace. */
  spec?: KubernetesNetworkPolicySpec;
}

type Rule = NonNullable<KubernetesNetworkPolicySpec["ingress"]>[number] &
  NonNullable<KubernetesNetworkPolicySpec["egress"]>[number];
type Peer = NonNullable<Rule["from"]>[number];
type Port = NonNullable<Rule["ports"]>[number];

const rule = (peers: "from" | "to") => {
  const peer = s.object({
    podSelector: s.optional(labelSelector("Pods, of the namespaces selected, or else of the policy's.")),
    namespaceSelector: s.optional(labelSelector("Namespaces, whose pods are meant.")),
    ipBlock: s.optional(
      s.object(
        {
          cidr: s.string({ doc: "Addresses in this network,", minLength: 1 }),
          except: s.optional(s.array(s.string(), { doc: "but in none of these." })),
        },
        { doc: "Addresses, whoever has them." },
      ),
    ),
  });
  return s.object({
    ports: s.optional(
      s.array(
        s.object({
          protocol: s.optional(s.oneOf(PROTOCOLS, { doc: "The protocol; absent: TCP." })),
          port: s.optional(s.intOrString("port-or-name", { doc: "The port, or its name; absent: all." })),
          endPort: s.optional(
            s.integer({ doc: "The last port of the range that begins with port.", min: 1, max: 65535 }),
          ),
        }),
        { doc: "Any of these ports; absent or empty: all." },
      ),
    ),
    [peers]: s.optional(s.array(peer, { doc: "Any of these peers; absent or empty: all." })),
  });
};

/** The fields of a NetworkPolicy of Kubernetes, as far as they are checked; made anew for each kind. */
export const networkPolicyFields = () => ({
  podSelector: s.optional(labelSelector("The pods that the policy is about.")),
  policyTypes: s.optional(
    s.array(s.oneOf(["Ingress", "Egress"]), {
      doc: "The directions that the policy is about. Absent: Ingress, and Egress where there is egress.",
      maxItems: 2,
    }),
  ),
  ingress: s.optional(s.array(rule("from"), { doc: "What may reach the pods; nothing where no rule matches." })),
  egress: s.optional(s.array(rule("to"), { doc: "What the pods may reach; nothing where no rule matches." })),
});

const spec = partOf<KubernetesNetworkPolicySpec>(() => s.optional(s.object(networkPolicyFields())));

/** What may reach the pods of a namespace, and what they may reach; Kubernetes' own. */
export const KubernetesNetworkPolicy: Kind<KubernetesNetworkPolicy> = {
  kind: "NetworkPolicy",
  apiVersion: "networking.k8s.io/v1",
  plural: "networkpolicies",
  namespaced: true,
  aliases: ["k8snetworkpolicy", "k8snetworkpolicies", "knp"],
  doc: "What may reach the pods of a namespace, and what they may reach; Kubernetes' own.",
  verbatim: true,
  get spec() {
    return spec();
  },
  check: ({ spec = {} }) => checkNetworkPolicySpec(spec),
  get columns(): Columns<KubernetesNetworkPolicy> {
    return [
      { title: "NAME", value: ({ metadata }) => metadata.name },
      { title: "POD-SELECTOR", value: ({ spec }) => selectorText(spec?.podSelector) },
    ];
  },
};

/** What the schema of the fields cannot say. */
export function checkNetworkPolicySpec(spec: KubernetesNetworkPolicySpec): s.Problem[] {
  return [
    ...checkLabelSelector(spec.podSelector, "spec.podSelector"),
    ...(spec.ingress ?? []).flatMap((one, i) => checkRule(one, one.from, `spec.ingress[${i}]`, "from")),
    ...(spec.egress ?? []).flatMap((one, i) => checkRule(one, one.to, `spec.egress[${i}]`, "to")),
  ];
}

function checkRule(
  { ports = [] }: { readonly ports?: readonly Port[] },
  peers: readonly Peer[] | undefined,
  path: string,
  field: "from" | "to",
): s.Problem[] {
  return [
    ...ports.flatMap((port, i) => checkRange(port, `${path}.ports[${i}]`)),
    ...(peers ?? []).flatMap((peer, i) => checkPeer(peer, `${path}.${field}[${i}]`)),
  ];
}

function checkRange({ port, endPort }: Port, path: string): s.Problem[] {
  const problems = checkPort(port, `${path}.port`);
  if (endPort === undefined) return problems;
  const wrong = (message: string) => [...problems, { path: `${path}.endPort`, value: endPort, message }];
  if (port === undefined) return wrong("must be absent without a port, where the range begins");
  if (typeof port !== "number") return wrong("must be absent where the port is a name");
  return endPort < port ? wrong(`must be ${port}, the port, or more`) : problems;
}

function checkPeer({ podSelector, namespaceSelector, ipBlock }: Peer, path: string): s.Problem[] {
  if (!ipBlock) {
    if (!podSelector && !namespaceSelector) {
      const message = "must have podSelector, namespaceSelector or ipBlock; {} as a selector selects all";
      return [{ path, value: undefined, message }];
    }
    return [
      ...checkLabelSelector(podSelector, `${path}.podSelector`),
      ...checkLabelSelector(namespaceSelector, `${path}.namespaceSelector`),
    ];
  }
  if (podSelector || namespaceSelector) {
    const message = "must be alone; make what podSelector and namespaceSelector say another peer";
    return [{ path: `${path}.ipBlock`, value: undefined, message }];
  }
  const { cidr, except = [] } = ipBlock;
  const problems = checkNetwork(cidr, `${path}.ipBlock.cidr`);
  const around = parseNetwork(cidr);
  for (const [i, text] of except.entries()) {
    const at = `${path}.ipBlock.except[${i}]`;
    const inner = parseNetwork(text);
    if (!inner) problems.push(...checkNetwork(text, at));
    else if (around && !(cidrContains(around, inner) && inner.length > around.length))
      problems.push({ path: at, value: text, message: `must be a part of ${cidr}, and not all of it` });
  }
  return problems;
}
