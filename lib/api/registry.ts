/**
 * All kinds, for those who take a kind's name from a person: command lines and their files. Nothing on a plugin's path
 * imports this; it imports the file of each kind.
 */
import { BGPConfiguration } from "./bgpconfiguration.ts";
import { BGPFilter } from "./bgpfilter.ts";
import { BGPPeer } from "./bgppeer.ts";
import { BlockAffinity } from "./blockaffinity.ts";
import { CalicoNodeStatus } from "./caliconodestatus.ts";
import { ClusterInformation } from "./clusterinformation.ts";
import { FelixConfiguration } from "./felixconfiguration.ts";
import { GlobalNetworkPolicy } from "./globalnetworkpolicy.ts";
import { GlobalNetworkSet } from "./globalnetworkset.ts";
import { HostEndpoint } from "./hostendpoint.ts";
import { IPAMBlock } from "./ipamblock.ts";
import { IPAMConfiguration } from "./ipamconfiguration.ts";
import { IPAMHandle } from "./ipamhandle.ts";
import { IPPool } from "./ippool.ts";
import { IPReservation } from "./ipreservation.ts";
import type { Kind } from "./kind.ts";
import { KubeControllersConfiguration } from "./kubecontrollersconfiguration.ts";
import { KUBERNETES_KINDS } from "./kubernetes/index.ts";
import { NetworkPolicy } from "./networkpolicy.ts";
import { NetworkSet } from "./networkset.ts";
import { Node } from "./node.ts";
import { Profile } from "./profile.ts";
import { type ParsedResource, readResource } from "./resource.ts";
import { StagedGlobalNetworkPolicy } from "./stagedglobalnetworkpolicy.ts";
import { StagedKubernetesNetworkPolicy } from "./stagedkubernetesnetworkpolicy.ts";
import { StagedNetworkPolicy } from "./stagednetworkpolicy.ts";
import { Tier } from "./tier.ts";
import type { ValidateOptions } from "./validate.ts";
import { WorkloadEndpoint } from "./workloadendpoint.ts";

export type { ParsedResource } from "./resource.ts";

/** Every kind of Calico's own, by name. */
export const KINDS: readonly Kind[] = [
  BGPConfiguration,
  BGPFilter,
  BGPPeer,
  BlockAffinity,
  CalicoNodeStatus,
  ClusterInformation,
  FelixConfiguration,
  GlobalNetworkPolicy,
  GlobalNetworkSet,
  HostEndpoint,
  IPAMBlock,
  IPAMConfiguration,
  IPAMHandle,
  IPPool,
  IPReservation,
  KubeControllersConfiguration,
  NetworkPolicy,
  NetworkSet,
  Node,
  Profile,
  StagedGlobalNetworkPolicy,
  StagedKubernetesNetworkPolicy,
  StagedNetworkPolicy,
  Tier,
  WorkloadEndpoint,
];

/** Those and Kubernetes' own, which may have the name of one of them. */
export const ALL_KINDS: readonly Kind[] = [...KINDS, ...KUBERNETES_KINDS];

/** The kind that a person means: by its name, its plural or an alias, in any case. */
export function findKind(name: string): Kind | undefined {
  const wanted = name.toLowerCase();
  return ALL_KINDS.find((kind) => kindNames(kind).includes(wanted));
}

/**
 * All names of a kind, lower case, the usual one first. A kind of Kubernetes also goes by its name with its group, as for kubectl
 * (`networkpolicies.networking.k8s.io`), and only by that and its aliases where Calico has a kind of the name.
 */
export function kindNames(kind: Kind): string[] {
  const names = [kind.kind.toLowerCase(), kind.plural];
  if (!kind.verbatim) return [...names, ...kind.aliases];
  const [group] = kind.apiVersion.split("/");
  const grouped = group === kind.apiVersion ? [] : names.map((name) => `${name}.${group}`);
  const isTaken = KINDS.some((own) => own.kind === kind.kind);
  return [...(isTaken ? [] : names), ...kind.aliases, ...grouped];
}

/** Reads one resource from JSON or YAML data: apiVersion, kind, metadata and what else the kind has, completed and checked. Never throws. */
export function parseResource(value: unknown, options?: ValidateOptions): ParsedResource {
  return readResource(ALL_KINDS, value, options);
}

/** Like {@link parseResource}, for data that may also be a list: an array, or an object of the kind List or `<Kind>List` with items. */
export function parseResources(value: unknown, options?: ValidateOptions): ParsedResource[] {
  return unlist(value).map((item) => parseResource(item, options));
}

function unlist(value: unknown): unknown[] {
  if (Array.isArray(value)) return value;
  if (typeof value !== "object" || value === null || !("kind" in value) || typeof value.kind !== "string")
    return [value];
  if (!value.kind.endsWith("List") || !("items" in value) || !Array.isArray(value.items)) return [value];
  const { kind, items } = value;
  if (kind === "List") return items;
  // Items of a typed list need not repeat what the list says.
  const given = {
    apiVersion: "apiVersion" in value ? value.apiVersion : undefined,
    kind: kind.slice(0, -"List".length),
  };
  return items.map((item: unknown) => (typeof item === "object" && item !== null ? { ...given, ...item } : item));
}
