import type { Resource } from "../../api/meta.ts";
import type { NetworkPolicy } from "../../api/networkpolicy.ts";
import { describeProblem } from "../../api/schema.ts";
import { parseJson, stringifyJson } from "../../datastore/index.ts";
import {
  clusterNetworkPolicyToPolicy,
  hasEndpoint,
  namespaceToProfile,
  networkPolicyToPolicy,
  podToEndpoint,
  serviceAccountToProfile,
} from "../../kubernetes/conversion/index.ts";
import type { AnyPolicy, Input, PlainInput, PolicyId } from "../calc/index.ts";

/** What a resource tells the calculation, and what of it could not be understood (in words, with the path of the field). */
export interface Intake {
  /** Absent: the calculation has no use for the resource. */
  readonly input?: Input;
  readonly problems: readonly string[];
}

const KUBERNETES_POLICY = "networking.k8s.io/";

/**
 * One resource as the calculation hears of it. Kubernetes' own kinds are converted; of a Pod, a Namespace or a ServiceAccount that is the
 * endpoint or profile that a datastore would show for it. `gone`: the resource was deleted, and is its last state.
 */
export function toInput(resource: Resource, gone = false): Intake {
  const { name, namespace } = resource.metadata;
  switch (resource.kind) {
    case "NetworkPolicy":
      if (resource.apiVersion.startsWith(KUBERNETES_POLICY)) return converted(networkPolicyToPolicy(resource), gone);
      return policy({ kind: "NetworkPolicy", namespace: namespace ?? "", name }, resource, gone);
    case "StagedNetworkPolicy":
      return policy({ kind: "StagedNetworkPolicy", namespace: namespace ?? "", name }, resource, gone);
    case "GlobalNetworkPolicy":
    case "StagedGlobalNetworkPolicy":
      return policy({ kind: resource.kind, name }, resource, gone);
    case "ClusterNetworkPolicy":
      return converted(clusterNetworkPolicyToPolicy(resource), gone);
    case "StagedKubernetesNetworkPolicy": {
      const { value, problems } = networkPolicyToPolicy(resource);
      const id = { kind: resource.kind, namespace: namespace ?? "", name } as const;
      return {
        input: { kind: "Policy", id, policy: gone ? undefined : value },
        problems: problems.map(describeProblem),
      };
    }
    case "Pod":
      return view(hasEndpoint(resource) ? podToEndpoint(resource) : { problems: [] }, gone);
    case "Namespace":
      return view(namespaceToProfile(resource), gone);
    case "ServiceAccount":
      return view(serviceAccountToProfile(resource), gone);
    default:
      return isPlain(resource) ? { input: plain(resource, gone), problems: [] } : { problems: [] };
  }
}

const PLAIN: ReadonlySet<string> = new Set<PlainInput["kind"]>([
  "WorkloadEndpoint",
  "HostEndpoint",
  "Profile",
  "Tier",
  "NetworkSet",
  "GlobalNetworkSet",
  "IPPool",
  "Node",
  "BGPConfiguration",
  "EndpointSlice",
]);

/** Kinds that the calculation takes as they are stored. */
function isPlain(resource: Resource): resource is PlainInput {
  return PLAIN.has(resource.kind);
}

function plain(resource: PlainInput, gone: boolean): Input {
  const { name, namespace } = resource.metadata;
  return {
    kind: resource.kind,
    name,
    ...(namespace === undefined ? {} : { namespace }),
    resource: gone ? undefined : resource,
  };
}

function policy(id: PolicyId, resource: Resource, gone: boolean): Intake {
  return { input: { kind: "Policy", id, policy: gone ? undefined : (resource as AnyPolicy) }, problems: [] };
}

type Converted = ReturnType<typeof networkPolicyToPolicy> | ReturnType<typeof clusterNetworkPolicyToPolicy>;

/** What cannot be converted at all does not apply, and neither does an earlier version of it; the conversion makes sure that nothing opens by it. */
function converted(conversion: Converted, gone: boolean): Intake {
  const problems = conversion.problems.map(describeProblem);
  if (conversion.key === undefined) return { problems };
  const policy = gone ? undefined : (conversion.value as NetworkPolicy | undefined);
  return { input: { kind: "Policy", id: conversion.key, policy }, problems };
}

function view(
  conversion: {
    readonly value?: PlainInput;
    readonly problems: Parameters<typeof describeProblem>[0][] | readonly Parameters<typeof describeProblem>[0][];
  },
  gone: boolean,
): Intake {
  const problems = conversion.problems.map(describeProblem);
  const { value } = conversion;
  return value === undefined ? { problems } : { input: plain(gone ? value : compact(value), gone), problems };
}

/** The same without what it was made of: a string that was put together holds on to its parts, which takes as much memory again. */
const compact = (resource: PlainInput): PlainInput => parseJson(stringifyJson(resource)) as PlainInput;
