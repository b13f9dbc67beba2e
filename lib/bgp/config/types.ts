import type { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import type { BGPFilter } from "../../api/bgpfilter.ts";
import type { BGPPeer } from "../../api/bgppeer.ts";
import type { BlockAffinity } from "../../api/blockaffinity.ts";
import type { IPPool } from "../../api/ippool.ts";
import type { EndpointSlice, Secret, Service } from "../../api/kubernetes/index.ts";
import type { Node } from "../../api/node.ts";
import type { Profile } from "../../api/profile.ts";
import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import type { Client } from "../../datastore/index.ts";
import type { NodeBgp } from "../model/index.ts";

/** The resources that say what BGP shall be on a node, in any order. What is not given counts as none of it. */
export interface BgpInputs {
  /** All of the cluster: mesh and selectors are over them. */
  readonly nodes?: Iterable<Node>;
  /** `default` and `node.<this node>`, and those of other nodes, whose ports are of interest. */
  readonly configurations?: Iterable<BGPConfiguration>;
  readonly peers?: Iterable<BGPPeer>;
  readonly filters?: Iterable<BGPFilter>;
  readonly pools?: Iterable<IPPool>;
  /** Those of this node; others are skipped. */
  readonly affinities?: Iterable<BlockAffinity>;
  readonly services?: Iterable<Service>;
  readonly endpointSlices?: Iterable<EndpointSlice>;
  /** Passwords; those outside of {@link NodeBgpOptions.secretNamespace} are skipped. */
  readonly secrets?: Iterable<Secret>;
  /** Those of this node; others are skipped. Only for peers with a localWorkloadSelector. */
  readonly endpoints?: Iterable<WorkloadEndpoint>;
  /** Labels that endpoints inherit. Only for peers with a localWorkloadSelector. */
  readonly profiles?: Iterable<Profile>;
  /** What is in the datastore and cannot be read, and of which no earlier version is known. */
  readonly unreadable?: Iterable<Unreadable>;
}

export interface Unreadable {
  readonly kind: string;
  readonly name: string;
  /** Why, with the field. */
  readonly message: string;
}

/** What the node knows of itself. */
export interface NodeBgpOptions {
  readonly node: string;
  /** CALICO_ROUTER_ID: a dotted quad, or `hash`. Absent: the node's IPv4 address. */
  readonly routerId?: string;
  /** CALICO_ADVERTISE_CLUSTER_IPS (legacy): CIDRs with commas between, which count instead of BGPConfiguration's serviceClusterIPs. */
  readonly advertiseClusterIps?: string;
  /** CALICO_K8S_NODE_REF: what Kubernetes calls the node, where its endpoints are counted. Absent: as the Node resource's orchRefs say, or as Calico does. */
  readonly kubernetesNode?: string;
  /** NAMESPACE: that of the node's pod, where Secrets with passwords are. Absent: `kube-system`. */
  readonly secretNamespace?: string;
  /** USE_POD_CIDR: the node's blocks are those of Node.status.podCIDRs, and there are no affinities. */
  readonly usePodCidr?: boolean;
  /** Networks (CIDRs) that the node has an interface on, beside that of its BGP address: whose addresses BFDIfDirectlyConnected is for. */
  readonly connectedNetworks?: readonly string[];
  /** Whether start-up has written the Node resource. Until then nothing is said of what it lacks. Absent: it has. */
  isPrepared?(): boolean;
}

export interface WatchBgpOptions extends NodeBgpOptions {
  readonly client: Client;
  readonly signal: AbortSignal;
  /** How long after a change it is calculated anew, in milliseconds; what comes meanwhile is taken along. Default 50. */
  readonly settle?: number;
  /**
   * The whole of it, whenever it differs from what was delivered before; parts that did not change are the very same objects (`===`), down to
   * single peers. Never before everything that was there at the beginning is known.
   */
  readonly onChange: (bgp: NodeBgp) => void;
  /** A kind cannot be watched now, and why; undefined: it can again, or need not be. For readiness. */
  readonly onTrouble?: (kind: string, why: string | undefined) => void;
}

export interface BgpWatch {
  /** Kinds that have not told everything yet. */
  readonly missing: ReadonlySet<string>;
  /** It is to be calculated anew, though no resource changed: an answer of the options is another. */
  again(): void;
  /** Ends when the signal is aborted. Throws only what `onChange` throws, or what is a fault of this program. */
  readonly done: Promise<void>;
}
