/**
 * What the calculation is told: resources as the datastore has them, one at a time, in any order and as often as anybody likes.
 * Only the last word about a resource counts; `undefined` says that it is gone (or cannot be read).
 */
import type { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import type { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import type { GlobalNetworkSet } from "../../api/globalnetworkset.ts";
import type { HostEndpoint } from "../../api/hostendpoint.ts";
import type { IPPool } from "../../api/ippool.ts";
import type { EndpointSlice } from "../../api/kubernetes/index.ts";
import type { Resource } from "../../api/meta.ts";
import type { NetworkPolicy } from "../../api/networkpolicy.ts";
import type { NetworkSet } from "../../api/networkset.ts";
import type { Node } from "../../api/node.ts";
import type { Profile } from "../../api/profile.ts";
import type { Rule } from "../../api/rule.ts";
import type { StagedGlobalNetworkPolicy } from "../../api/stagedglobalnetworkpolicy.ts";
import type { StagedNetworkPolicy } from "../../api/stagednetworkpolicy.ts";
import type { Tier } from "../../api/tier.ts";
import type { WorkloadEndpoint, WorkloadEndpointSpec } from "../../api/workloadendpoint.ts";
import type { PolicyId } from "./messages.ts";

export type { QoSControls } from "../../api/workloadendpoint.ts";
export type EndpointPort = NonNullable<WorkloadEndpointSpec["ports"]>[number];
export type RuleMetadata = NonNullable<Rule["metadata"]>;

/** A policy of any kind; those of Kubernetes as their conversions make them (lib/kubernetes/conversion). */
export type AnyPolicy = NetworkPolicy | GlobalNetworkPolicy | StagedNetworkPolicy | StagedGlobalNetworkPolicy;

export type PlainInput =
  | WorkloadEndpoint
  | HostEndpoint
  | Profile
  | Tier
  | NetworkSet
  | GlobalNetworkSet
  | IPPool
  | Node
  | BGPConfiguration
  | KubernetesEndpointSlice;

/** An EndpointSlice (discovery.k8s.io/v1), as it is stored. */
export type KubernetesEndpointSlice = typeof EndpointSlice extends { spec: unknown }
  ? Resource<"EndpointSlice">
  : never;

/** One thing the calculation is told. */
export type Input =
  | { readonly kind: "Policy"; readonly id: PolicyId; readonly policy: AnyPolicy | undefined }
  | {
      readonly kind: PlainInput["kind"];
      readonly name: string;
      /** Of namespaced kinds. */
      readonly namespace?: string;
      readonly resource: PlainInput | undefined;
    };
