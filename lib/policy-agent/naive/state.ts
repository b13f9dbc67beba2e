import type { HostEndpoint } from "../../api/hostendpoint.ts";
import type { EndpointSlice } from "../../api/kubernetes/index.ts";
import type { Node } from "../../api/node.ts";
import type { Profile } from "../../api/profile.ts";
import type { Tier } from "../../api/tier.ts";
import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import type { Input } from "../calc/index.ts";
import type { AddressSet, Endpoint, Policy, PolicySpec, State } from "./types.ts";

/** Labels under these prefixes, and only there, say what namespace and service account a workload is in: they come from profiles. */
const RESERVED = ["pcns.", "pcsa."];
const NAMESPACE_LABEL = "projectcalico.org/namespace";
const SERVICE_ACCOUNT_LABEL = "projectcalico.org/serviceaccount";

/** What the inputs amount to when each has been said; of two about one resource the later counts. */
export function makeState(inputs: Iterable<Input>): State {
  const last = new Map<string, Input>();
  for (const input of inputs) {
    const name =
      input.kind === "Policy" ? [input.id.kind, input.id.namespace, input.id.name] : [input.namespace, input.name];
    last.set(JSON.stringify([input.kind, ...name]), input);
  }

  const profiles: Profile[] = [];
  const tiers: Tier[] = [];
  const policies: Policy[] = [];
  const slices: EndpointSlice[] = [];
  const nodes: State["nodes"][number][] = [];
  for (const input of last.values()) {
    if (input.kind === "Policy") {
      if (input.policy !== undefined) policies.push({ id: input.id, spec: input.policy.spec as PolicySpec });
    } else if (input.resource?.kind === "Profile") profiles.push(input.resource);
    else if (input.resource?.kind === "Tier") tiers.push(input.resource);
    else if (input.resource?.kind === "Node") nodes.push(nodeOf(input.resource));
    else if (input.resource?.kind === "EndpointSlice") slices.push(input.resource as EndpointSlice);
  }

  const endpoints: Endpoint[] = [];
  const sets: AddressSet[] = [];
  for (const input of last.values()) {
    const resource = input.kind === "Policy" ? undefined : input.resource;
    switch (resource?.kind) {
      case "WorkloadEndpoint":
        // One that has no address yet is nobody's peer, and no policy can be made for it.
        if ((resource.spec.ipNetworks ?? []).length > 0) endpoints.push(workloadOf(resource, profiles));
        break;
      case "HostEndpoint":
        endpoints.push(hostOf(resource, profiles));
        break;
      case "NetworkSet": {
        const { name, namespace = "", labels = {} } = resource.metadata;
        const inherited = inheritedLabels([`kns.${namespace}`], profiles);
        sets.push({
          kind: "NetworkSet",
          name,
          namespace,
          labels: { ...inherited, ...labels, [NAMESPACE_LABEL]: namespace },
          nets: resource.spec.nets ?? [],
        });
        break;
      }
      case "GlobalNetworkSet": {
        const { name, labels = {} } = resource.metadata;
        sets.push({ kind: "GlobalNetworkSet", name, labels, nets: resource.spec.nets ?? [] });
      }
    }
  }
  return { endpoints, sets, policies, tiers, profiles, slices, nodes };
}

function workloadOf({ metadata, spec }: WorkloadEndpoint, profiles: readonly Profile[]): Endpoint {
  const own: Record<string, string> = {};
  for (const [label, value] of Object.entries(metadata.labels ?? {})) {
    if (!RESERVED.some((prefix) => label.startsWith(prefix))) own[label] = value;
  }
  if (spec.serviceAccountName) own[SERVICE_ACCOUNT_LABEL] = spec.serviceAccountName;
  return {
    kind: "WorkloadEndpoint",
    name: metadata.name,
    namespace: metadata.namespace ?? "",
    node: spec.node ?? "",
    interfaceName: spec.interfaceName ?? "",
    addresses: (spec.ipNetworks ?? []).map(withoutLength),
    labels: { ...inheritedLabels(spec.profiles ?? [], profiles), ...own },
    profiles: spec.profiles ?? [],
    ports: (spec.ports ?? []).filter(({ name }) => name !== ""),
  };
}

function hostOf({ metadata, spec }: HostEndpoint, profiles: readonly Profile[]): Endpoint {
  return {
    kind: "HostEndpoint",
    name: metadata.name,
    node: spec.node ?? "",
    interfaceName: spec.interfaceName ?? "",
    addresses: spec.expectedIPs ?? [],
    labels: { ...inheritedLabels(spec.profiles ?? [], profiles), ...metadata.labels },
    profiles: spec.profiles ?? [],
    ports: (spec.ports ?? []).map((port) => ({ ...port, hostPort: 0, hostIP: "" })),
  };
}

/** Of two profiles with the same label, the one that is named first gives it. */
function inheritedLabels(names: readonly string[], profiles: readonly Profile[]): Record<string, string> {
  let labels: Record<string, string> = {};
  for (const name of names) {
    const profile = profiles.find(({ metadata }) => metadata.name === name);
    labels = { ...profile?.spec.labelsToApply, ...labels };
  }
  return labels;
}

function nodeOf({ metadata, spec }: Node): State["nodes"][number] {
  const listed = (spec.addresses ?? []).map(({ address }) => address);
  const addresses = [spec.bgp?.ipv4Address, spec.bgp?.ipv6Address, ...listed].filter((text) => text !== undefined);
  return { name: metadata.name, addresses: addresses.map(withoutLength) };
}

const withoutLength = (text: string): string => text.split("/")[0]!;
