import { BGPConfiguration } from "../bgpconfiguration.ts";
import { BGP_FILTER_DIRECTIONS, BGPFilter } from "../bgpfilter.ts";
import { BGPPeer } from "../bgppeer.ts";
import { BlockAffinity } from "../blockaffinity.ts";
import { CalicoNodeStatus } from "../caliconodestatus.ts";
import { ClusterInformation } from "../clusterinformation.ts";
import { FelixConfiguration } from "../felixconfiguration.ts";
import { GlobalNetworkPolicy } from "../globalnetworkpolicy.ts";
import { GlobalNetworkSet } from "../globalnetworkset.ts";
import { HostEndpoint } from "../hostendpoint.ts";
import { IPAMBlock } from "../ipamblock.ts";
import { IPAMConfiguration } from "../ipamconfiguration.ts";
import { IPAMHandle } from "../ipamhandle.ts";
import { IPPool } from "../ippool.ts";
import { IPReservation } from "../ipreservation.ts";
import type { Kind } from "../kind.ts";
import { KubeControllersConfiguration } from "../kubecontrollersconfiguration.ts";
import type { Resource } from "../meta.ts";
import { NetworkPolicy } from "../networkpolicy.ts";
import { NetworkSet } from "../networkset.ts";
import { StagedGlobalNetworkPolicy } from "../stagedglobalnetworkpolicy.ts";
import { StagedKubernetesNetworkPolicy } from "../stagedkubernetesnetworkpolicy.ts";
import { StagedNetworkPolicy } from "../stagednetworkpolicy.ts";
import { Tier } from "../tier.ts";
import type { Definition, PrinterColumn } from "./definition.ts";
import type { JsonSchema } from "./openapi.ts";
import {
  BGP_FILTER_RULES,
  BGP_PEER_RULES,
  BGP_RULES,
  FELIX_RULES,
  GLOBAL_POLICY_RULES,
  HOST_RULES,
  POLICY_RULES,
  POOL_RULES,
  TIER_RULES,
} from "./rules.ts";

const plain = <R extends Resource>(kind: Kind<R>): Kind => kind as unknown as Kind;

const column = (name: string, jsonPath: string, type: PrinterColumn["type"], description?: string): PrinterColumn => ({
  name,
  type,
  jsonPath,
  ...(description === undefined ? {} : { description }),
});

const AGE = column("Age", ".metadata.creationTimestamp", "date");

const isCidr = (schema: JsonSchema): void => {
  schema.format = "cidr";
};

/** The groups differ in how much they check: what is stored in v1 has passed a client's checks already. */
const isCidrInV3 = (schema: JsonSchema, group: string): void => {
  if (group === "v3") schema.format = "cidr";
};

/** As metav1.Condition has it. */
const CONDITIONS: Definition["adjust"] = {
  "status.conditions": (list) => {
    list["x-kubernetes-list-type"] = "map";
    list["x-kubernetes-list-map-keys"] = ["type"];
  },
  "status.conditions[]": (condition) => {
    const { type, reason, message, observedGeneration } = condition.properties!;
    Object.assign(type!, {
      maxLength: 316,
      pattern:
        "^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$",
    });
    Object.assign(reason!, { minLength: 1, maxLength: 1024, pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$" });
    message!.maxLength = 32768;
    Object.assign(observedGeneration!, { format: "int64", minimum: 0 });
    condition.required = ["lastTransitionTime", "message", "reason", "status", "type"];
  },
};

const POLICY_COLUMNS = [column("Tier", ".spec.tier", "string"), column("Order", ".spec.order", "number")];

const POLICY: Definition["adjust"] = {
  "spec.types": (types) => {
    types.minItems = 1;
  },
};

/** All kinds that Kubernetes stores for us, by plural. */
export const DEFINITIONS: readonly Definition[] = [
  {
    kind: plain(BGPConfiguration),
    shortNames: ["bgpconfig", "bgpconfigs"],
    // Upstream's fills in logSeverityScreen too, see `complete` of the kind.
    defaults: ["serviceLoadBalancerAggregation"],
    adjust: {
      "spec.serviceLoadBalancerIPs[].cidr": isCidr,
      "spec.serviceExternalIPs[].cidr": isCidr,
      "spec.serviceClusterIPs[].cidr": isCidr,
      "spec.prefixAdvertisements[].cidr": isCidr,
      "spec.ignoredInterfaces[]": dropPatternInV1,
      "spec.nodeMeshMaxRestartTime": dropPatternInV1,
    },
    rules: BGP_RULES,
  },
  {
    kind: plain(BGPFilter),
    adjust: Object.fromEntries(BGP_FILTER_DIRECTIONS.flatMap((direction) => filterRule(`spec.${direction}[]`))),
    rules: BGP_FILTER_RULES,
  },
  {
    kind: plain(BGPPeer),
    columns: [
      column("Node Selector", ".spec.nodeSelector", "string", "The nodes that have the peering"),
      column("Node", ".spec.node", "string", "The one node that has it"),
      column("Local ASN", ".spec.localASNumber", "string", "The AS number that nodes go by in it"),
      column("Peer Selector", ".spec.peerSelector", "string", "The nodes to peer with"),
      column("Peer IP", ".spec.peerIP", "string", "The peer's address"),
      column("Peer ASN", ".spec.asNumber", "string", "The peer's AS number"),
    ],
    adjust: {
      "spec.maxRestartTime": dropPatternInV1,
      "spec.keepaliveTime": dropPatternInV1,
    },
    rules: BGP_PEER_RULES,
  },
  {
    kind: plain(BlockAffinity),
    shortNames: ["affinity", "affinities"],
    columns: [
      column("CIDR", ".spec.cidr", "string", "The block"),
      column("Node", ".spec.node", "string", "Its owner"),
      column("Type", ".spec.type", "string", "What kind of owner"),
    ],
    defaultsInV3: ["deleted"],
    written: ["deleted", "state"],
    adjust: {
      "spec.cidr": isCidrInV3,
      "spec.node": dropLength,
      "spec.type": dropEnum,
      "spec.state": (state, group) => {
        if (group === "v1") dropEnum(state);
        else state.enum = ["", ...state.enum!];
      },
      // Older Calicos took it for a text.
      "spec.deleted": (deleted, group) => {
        if (group === "v1") deleted.type = "string";
      },
    },
  },
  {
    kind: plain(CalicoNodeStatus),
    columns: [
      column("Node", ".spec.node", "string", "The node that it is about"),
      column("Classes", ".spec.classes", "string", "What is reported"),
    ],
    adjust: {
      // Upstream's asks for none of them; its validator does, as ours.
      spec: (spec) => {
        delete spec.required;
      },
    },
  },
  {
    kind: plain(ClusterInformation),
    shortNames: ["clusterinfo", "clusterinfos"],
    columns: [
      column("Version", ".spec.calicoVersion", "string", "The version that runs in the cluster"),
      column("Ready", ".spec.datastoreReady", "boolean", "Whether the datastore may be used"),
      column("Types", ".spec.clusterType", "string", "What the cluster is made of"),
    ],
  },
  {
    kind: plain(FelixConfiguration),
    shortNames: ["felixconfig", "felixconfigs"],
    // Upstream's definition fills in nftablesMode and nftablesFlowTableOffload, so that one node's configuration takes back what the
    // cluster's says of them. Here absence stays absence.
    adjust: Object.fromEntries(
      ["spec.failsafeInboundHostPorts[]", "spec.failsafeOutboundHostPorts[]"].map((path) => [
        path,
        (port: JsonSchema) => {
          port.required = ["port"];
        },
      ]),
    ),
    rules: FELIX_RULES,
  },
  {
    kind: plain(GlobalNetworkPolicy),
    shortNames: ["gnp", "cgnp"],
    columns: [...POLICY_COLUMNS, AGE],
    selectable: [".spec.tier"],
    defaults: ["tier"],
    adjust: POLICY,
    rules: GLOBAL_POLICY_RULES,
  },
  {
    kind: plain(GlobalNetworkSet),
    shortNames: ["gns"],
    columns: [AGE],
  },
  {
    kind: plain(HostEndpoint),
    shortNames: ["hep", "heps"],
    columns: [
      column("Node", ".spec.node", "string", "The node whose interface it is"),
      column("Interface", ".spec.interfaceName", "string", "The interface, or * for all"),
    ],
    rules: HOST_RULES,
  },
  {
    kind: plain(IPAMBlock),
    columns: [
      column("CIDR", ".spec.cidr", "string", "The addresses of the block"),
      column("Affinity", ".spec.affinity", "string", "Its owner"),
      column("ClaimTime", ".spec.affinityClaimTime", "date", "When the owner took it"),
    ],
    defaults: ["sequenceNumber"],
    written: ["allocations", "attributes", "strictAffinity", "unallocated"],
    adjust: {
      "spec.cidr": isCidrInV3,
      "spec.affinity": (affinity, group) => {
        if (group === "v3") affinity.pattern = "^(host|virtual):[a-zA-Z0-9\\.\\-_]+$";
      },
      "spec.allocations[]": dropRange,
      "spec.unallocated[]": dropRange,
    },
  },
  {
    kind: plain(IPAMConfiguration),
    shortNames: ["ipamconfig", "ipamconfigs"],
    columns: [
      column("StrictAffinity", ".spec.strictAffinity", "boolean", "Whether nodes never borrow addresses"),
      column("MaxBlocksPerHost", ".spec.maxBlocksPerHost", "integer", "How many blocks a node may have"),
      column("AutoAllocateBlocks", ".spec.autoAllocateBlocks", "boolean", "Whether nodes claim blocks on their own"),
    ],
    defaultsInV3: ["autoAllocateBlocks", "maxBlocksPerHost", "strictAffinity"],
    written: ["autoAllocateBlocks", "strictAffinity"],
    v1: { kind: "IPAMConfig", plural: "ipamconfigs" },
    adjust: {
      "spec.maxBlocksPerHost": (max, group) => {
        if (group === "v1") max.maximum = 2147483647;
      },
    },
  },
  {
    kind: plain(IPAMHandle),
    columns: [column("ID", ".spec.handleID", "string", "The handle")],
    written: ["block"],
    adjust: { "spec.handleID": dropLength, "spec.block{}": dropRange },
  },
  {
    kind: plain(IPPool),
    columns: [
      column("CIDR", ".spec.cidr", "string", "The addresses of the pool"),
      column("VXLAN", ".spec.vxlanMode", "string", "When VXLAN carries its traffic"),
      column("IPIP", ".spec.ipipMode", "string", "When IP-in-IP carries its traffic"),
      column("NAT", ".spec.natOutgoing", "boolean", "Whether what leaves the pools is masqueraded"),
      column(
        "Allocatable",
        ".status.conditions[?(@.type=='Allocatable')].status",
        "string",
        "Whether addresses are assigned from it",
      ),
      AGE,
    ],
    defaults: ["assignmentMode", "nodeSelector"],
    adjust: { "spec.cidr": isCidr, ...CONDITIONS },
    rules: POOL_RULES,
  },
  {
    kind: plain(IPReservation),
    adjust: { "spec.reservedCIDRs[]": isCidr },
  },
  {
    kind: plain(KubeControllersConfiguration),
    shortNames: ["kcc", "kccs"],
    defaults: ["healthChecks"],
    written: ["controllers"],
    adjust: {
      ...Object.fromEntries(
        ["spec", "status.runningConfig"].flatMap((config) => [
          [`${config}.controllers.loadBalancer.assignIPs`, fillIn("AllServices")],
          [`${config}.controllers.migration.policyNameMigrator`, fillIn("Enabled")],
          [`${config}.controllers.node.hostEndpoint.templates`, isAtomic],
        ]),
      ),
      "status.runningConfig.healthChecks": fillIn("Enabled"),
      "status.runningConfig": (config) => {
        config.required = ["controllers"];
      },
    },
  },
  {
    kind: plain(NetworkPolicy),
    shortNames: ["cnp", "caliconetworkpolicy"],
    columns: POLICY_COLUMNS,
    selectable: [".spec.tier"],
    defaults: ["tier"],
    adjust: POLICY,
    rules: POLICY_RULES,
  },
  {
    kind: plain(NetworkSet),
  },
  {
    kind: plain(StagedGlobalNetworkPolicy),
    shortNames: ["sgnp"],
    columns: POLICY_COLUMNS,
    selectable: [".spec.tier"],
    defaults: ["stagedAction", "tier"],
    adjust: POLICY,
    rules: GLOBAL_POLICY_RULES,
  },
  {
    kind: plain(StagedKubernetesNetworkPolicy),
    shortNames: ["sknp"],
    defaults: ["stagedAction"],
    adjust: {
      "spec.policyTypes": (types) => {
        types.minItems = 1;
        types["x-kubernetes-list-type"] = "set";
      },
    },
  },
  {
    kind: plain(StagedNetworkPolicy),
    shortNames: ["scnp", "snp"],
    columns: POLICY_COLUMNS,
    selectable: [".spec.tier"],
    defaults: ["stagedAction", "tier"],
    adjust: POLICY,
    rules: POLICY_RULES,
  },
  {
    kind: plain(Tier),
    columns: [
      column("Order", ".spec.order", "integer", "Tiers apply from the lowest order to the highest"),
      column("DefaultAction", ".spec.defaultAction", "string", "What happens where no rule matches"),
      column("Status", ".status.conditions[?(@.type=='Ready')].reason", "string", "What it is doing"),
    ],
    defaults: ["defaultAction"],
    wholeInV1: true,
    adjust: { ...CONDITIONS },
    rules: TIER_RULES,
  },
];

/** A default that the API server fills in below the top of a spec. */
function fillIn(value: string): (schema: JsonSchema) => void {
  return (schema) => {
    schema.default = value;
  };
}

function isAtomic(list: JsonSchema): void {
  list["x-kubernetes-list-type"] = "atomic";
}

function atLeastOne(list: JsonSchema): void {
  list.minItems = 1;
}

/** The changes to a filter's rule at a path. */
function filterRule(path: string): [string, NonNullable<Definition["adjust"]>[string]][] {
  return [
    [`${path}.cidr`, isCidr],
    [`${path}.interface`, dropPatternInV1],
    [`${path}.communities.values`, atLeastOne],
    [`${path}.operations`, atLeastOne],
    [`${path}.operations[].prependASPath.prefix`, atLeastOne],
    [
      `${path}.operations[]`,
      (operation) => {
        operation.minProperties = 1;
        operation.maxProperties = 1;
      },
    ],
  ];
}

/** Upstream's has none in either group; in v1 its clients check. */
function dropPatternInV1(schema: JsonSchema, group: string): void {
  if (group === "v1") delete schema.pattern;
}

function dropEnum(schema: JsonSchema): void {
  delete schema.enum;
}

function dropLength(schema: JsonSchema): void {
  delete schema.minLength;
}

function dropRange(schema: JsonSchema): void {
  delete schema.minimum;
  delete schema.maximum;
}
