/**
 * Records as upstream's Go Calico writes them in a cluster with crd.projectcalico.org/v1 (libcalico-go: backend/k8s/resources, lib/ipam), made by hand:
 * of a node that runs it, and beside ours in a block of one of our nodes. Its numbers are 64 bits wide, more than a number of JavaScript holds.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Cluster } from "./cluster.ts";

const GROUP = "crd.projectcalico.org/v1";
const BLOCK_SIZE = 64;
/** What upstream leaves on each of its custom resources. */
const ANNOTATIONS = { "projectcalico.org/metadata": '{"creationTimestamp":null}' };
/** A block's sequence begins with the time in nanoseconds. */
const SEQUENCE = 1_785_578_400_123_456_789n;

/** An address that a user has. */
export interface GoAllocation {
  readonly ordinal: number;
  readonly handle: string;
  /** Upstream's keys: pod, namespace, node, timestamp; type for a tunnel. */
  readonly attributes: Readonly<Record<string, string>>;
}

const cidrName = (cidr: string): string => cidr.replaceAll(/[./:]/g, "-");
/** What the API server's names are made of. */
export const containerId = (number: number): string => number.toString(16).padStart(64, "c0de");
export const podHandle = (container: string): string => `k8s-pod-network.${container}`;

export const podAttributes = (name: string, node: string): Readonly<Record<string, string>> => ({
  ...{ namespace: "default", node, pod: name },
  timestamp: "2026-08-01 10:00:00.123456789 +0000 UTC",
});

/** A Node with what calico-node puts on it. It has no label of an operating system, so that our DaemonSet leaves it alone. */
export const goNode = (name: string, address: string, tunnel: string): object => ({
  ...{ apiVersion: "v1", kind: "Node" },
  metadata: {
    name,
    labels: { "kubernetes.io/hostname": name },
    annotations: {
      "projectcalico.org/IPv4Address": `${address}/24`,
      "projectcalico.org/IPv4IPIPTunnelAddr": tunnel,
    },
  },
});

/** A pod that runs there, as the plugin left it. Its status is another object: {@link goPodStatus}. */
export const goPod = (name: string, node: string, container: string, address: string): object => ({
  ...{ apiVersion: "v1", kind: "Pod" },
  metadata: {
    ...{ name, namespace: "default" },
    annotations: {
      "cni.projectcalico.org/containerID": container,
      "cni.projectcalico.org/podIP": `${address}/32`,
      "cni.projectcalico.org/podIPs": `${address}/32`,
    },
  },
  spec: {
    nodeName: node,
    terminationGracePeriodSeconds: 0,
    containers: [{ name: "app", image: "upstream.test/app:1" }],
  },
});

export const goPodStatus = (address: string): object => ({
  status: { phase: "Running", podIP: address, podIPs: [{ ip: address }] },
});

export const goBlock = (cidr: string, node: string, allocations: readonly GoAllocation[]): object => ({
  ...{ apiVersion: GROUP, kind: "IPAMBlock" },
  metadata: { name: cidrName(cidr), annotations: ANNOTATIONS },
  spec: {
    affinity: `host:${node}`,
    allocations: Array.from({ length: BLOCK_SIZE }, (_, ordinal) => {
      const index = allocations.findIndex((one) => one.ordinal === ordinal);
      return index < 0 ? null : index;
    }),
    attributes: allocations.map(({ handle, attributes }) => ({ handle_id: handle, secondary: attributes })),
    ...{ cidr, deleted: false, strictAffinity: false },
    sequenceNumber: SEQUENCE + BigInt(allocations.length),
    sequenceNumberForAllocation: Object.fromEntries(
      allocations.map(({ ordinal }, index) => [String(ordinal), SEQUENCE + BigInt(index)]),
    ),
    unallocated: Array.from({ length: BLOCK_SIZE }, (_, ordinal) => ordinal).filter((ordinal) =>
      allocations.every((one) => one.ordinal !== ordinal),
    ),
  },
});

/** Of before affinities had labels and types; `deleted` is a text. */
export const goAffinity = (cidr: string, node: string): object => ({
  ...{ apiVersion: GROUP, kind: "BlockAffinity" },
  metadata: { name: `${node}-${cidrName(cidr)}`, annotations: ANNOTATIONS },
  spec: { cidr, deleted: "false", node, state: "confirmed" },
});

export const goHandle = (id: string, block: Readonly<Record<string, number>>): object => ({
  ...{ apiVersion: GROUP, kind: "IPAMHandle" },
  metadata: { name: id.toLowerCase(), annotations: ANNOTATIONS },
  spec: { block, deleted: false, handleID: id },
});

/** Numbers of 64 bits as they are. */
const toJson = (value: unknown): string =>
  JSON.stringify(value, (_, one: unknown) => (typeof one === "bigint" ? `bigint:${one}` : one)).replaceAll(
    /"bigint:(\d+)"/g,
    "$1",
  );

/** Creates them, past everything of ours. Not validated by kubectl, which takes the null of a free address for an error. */
export async function create(cluster: Cluster, objects: readonly object[]): Promise<void> {
  const file = join(cluster.server.folder, "upstream.json");
  writeFileSync(file, toJson({ apiVersion: "v1", kind: "List", items: objects }));
  const { status, stderr } = await cluster.kubectl("create", "--validate=false", `--filename=${file}`);
  if (status !== 0) throw new Error(`kubectl create: ${stderr}`);
}

/** Gives the last free addresses of a block, whoever's it is, to upstream's users, as one of its writes does; answers the addresses. */
export async function allocateIn(
  cluster: Cluster,
  cidr: string,
  users: readonly Omit<GoAllocation, "ordinal">[],
): Promise<string[]> {
  for (let attempt = 0; ; attempt++) {
    const get = ["get", "ipamblocks.crd.projectcalico.org", cidrName(cidr)];
    const block = JSON.parse((await cluster.kubectl(...get, "--output=json")).stdout) as {
      readonly metadata: { readonly resourceVersion: string };
      readonly spec: { readonly attributes: readonly object[]; readonly unallocated: readonly number[] };
    };
    const sequence = BigInt((await cluster.kubectl(...get, "--output=jsonpath={.spec.sequenceNumber}")).stdout);
    const { attributes, unallocated } = block.spec;
    const ordinals = unallocated.slice(-users.length);
    const operations = [
      { op: "test", path: "/metadata/resourceVersion", value: block.metadata.resourceVersion },
      { op: "replace", path: "/spec/sequenceNumber", value: sequence + 1n },
      { op: "replace", path: "/spec/unallocated", value: unallocated.slice(0, -users.length) },
      ...users.flatMap(({ handle, attributes: secondary }, index) => [
        { op: "add", path: "/spec/attributes/-", value: { handle_id: handle, secondary } },
        { op: "replace", path: `/spec/allocations/${ordinals[index]}`, value: attributes.length + index },
        { op: "add", path: `/spec/sequenceNumberForAllocation/${ordinals[index]}`, value: sequence },
      ]),
    ];
    const patch = ["patch", ...get.slice(1), "--type=json", `--patch=${toJson(operations)}`];
    const { status, stderr } = await cluster.kubectl(...patch);
    const [network = ""] = cidr.split("/");
    const octets = network.split(".");
    if (status === 0) return ordinals.map((ordinal) => [...octets.slice(0, 3), Number(octets[3]) + ordinal].join("."));
    if (attempt === 10) throw new Error(`kubectl patch: ${stderr}`);
  }
}
