/**
 * host-local with `"subnet": "usePodCidr"` or `"usePodCidrIPv6"`, in `ipam` or in its `ranges`: the pod networks that Kubernetes
 * gave this node, put in their places before host-local sees the configuration (upstream's ReplaceHostLocalIPAMPodCIDRs).
 */
import { Node } from "../api/node.ts";
import { CniError, errorCode, type Invocation } from "../cni/index.ts";
import { tryParseCidr } from "../ip/index.ts";
import type { PodNetworks } from "./addresses.ts";
import type { Host } from "./host.ts";
import { withApiServer } from "./kubernetes.ts";

/** The subnets of each family that stand for the words; "" where there is none. */
interface Subnets {
  readonly v4: string;
  readonly v6: string;
}

/** host-local releases by container, so to DEL, GC and STATUS any subnet of the right family will do (upstream's way). */
const ANY: Subnets = { v4: "0.0.0.0/0", v6: "::/0" };

/** The configuration for host-local, as JSON. Throws CniError 7 or 11, which name the key or the node. */
export async function withPodCidrs(call: Invocation, host: Host, networks: PodNetworks | undefined): Promise<string> {
  const wanted = new Set<string>();
  replaced(call, (word) => {
    wanted.add(word);
    return word;
  });
  if (wanted.size === 0) return call.stdin;
  const subnets = networks ? await readSubnets(call, host, networks) : ANY;
  const node = networks && nodeName(call, networks);
  const raw = replaced(call, (word) => {
    const is4 = word === "usepodcidr";
    const subnet = is4 ? subnets.v4 : subnets.v6;
    if (subnet !== "") return subnet;
    throw new CniError(
      errorCode.invalidConfiguration,
      `"ipam" of the network has the subnet "${is4 ? "usePodCidr" : "usePodCidrIPv6"}", and Node ${node} has no IPv${is4 ? 4 : 6} pod network`,
      "it is one of spec.podCIDRs of the Kubernetes node",
    );
  });
  return JSON.stringify(raw);
}

async function readSubnets(call: Invocation, host: Host, { client, identity }: PodNetworks): Promise<Subnets> {
  if (identity.orchestrator !== "k8s") {
    throw new CniError(
      errorCode.unsupportedField,
      '"ipam.subnet" is "usePodCidr", which is for Kubernetes pods: CNI_ARGS names none',
      "give the subnet itself, or use calico-ipam",
    );
  }
  const name = nodeName(call, { client, identity });
  const cidrs = await withApiServer({ call, host, client, identity }, async (server) => {
    const node = await server.get(Node, { name });
    const cidrs = node?.status?.podCIDRs ?? [];
    if (cidrs.length > 0) return cidrs;
    throw new CniError(
      errorCode.tryAgainLater,
      node ? `no podCidr for node ${name} in ${server.name} yet` : `Node ${name} does not exist in ${server.name}`,
      'host-local has "usePodCidr": it takes spec.podCIDRs of the Kubernetes node; "kubernetes.node_name" says which node',
    );
  });
  let [v4, v6] = ["", ""];
  for (const text of cidrs) {
    const cidr = tryParseCidr(text);
    if (!cidr)
      throw new CniError(errorCode.datastore, `Node ${name}: status.podCIDRs: ${JSON.stringify(text)} is no CIDR`);
    if (cidr.version === 4) v4 = text;
    else v6 = text;
  }
  if (cidrs.length > 1 && (v4 === "" || v6 === "")) {
    throw new CniError(errorCode.datastore, `Node ${name} has two pod networks of one family: ${cidrs.join(", ")}`);
  }
  return { v4, v6 };
}

/** What Kubernetes calls this node. */
function nodeName({ config }: Invocation, { identity }: PodNetworks): string {
  return String(config.kubernetes.node_name || identity.node);
}

type Json = Readonly<Record<string, unknown>>;

/** The configuration with the words in lower case replaced where host-local has subnets. */
function replaced({ config }: Invocation, subnetOf: (word: string) => string): Json {
  const ipam = config.raw.ipam as Json;
  const withSubnet = (range: unknown): unknown => {
    if (typeof range !== "object" || range === null || !("subnet" in range)) return range;
    const word = String(range.subnet).toLowerCase();
    return word === "usepodcidr" || word === "usepodcidripv6" ? { ...range, subnet: subnetOf(word) } : range;
  };
  const { ranges } = ipam;
  const sets = Array.isArray(ranges)
    ? ranges.map((set: unknown) => (Array.isArray(set) ? set.map(withSubnet) : set))
    : ranges;
  return { ...config.raw, ipam: { ...(withSubnet(ipam) as Json), ...(ranges === undefined ? {} : { ranges: sets }) } };
}
