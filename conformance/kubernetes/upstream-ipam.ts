/** Objects of IPAM as Calico in Go writes them: its fields in its order, its handles, every state that a process of it can leave behind. */
import { hostnameHash } from "../../lib/api/names.ts";
import { GROUP_VERSION, type Mode } from "./cluster.ts";

export interface Attribute {
  readonly handle_id: string;
  readonly secondary: Readonly<Record<string, string>>;
}

/** The handle of a pod: its network and the ID of its sandbox. */
export const podHandle = (digit: string): string => `k8s-pod-network.${digit.repeat(64)}`;

export const podAttribute = (
  handle: string,
  pod: string,
  node: string | undefined,
  more: Readonly<Record<string, string>> = {},
): Attribute => ({
  handle_id: handle,
  secondary: {
    namespace: "default",
    // An older Calico told neither node nor time.
    ...(node === undefined ? {} : { node }),
    pod,
    ...(node === undefined ? {} : { timestamp: "2026-01-02 03:04:05.678901234 +0000 UTC" }),
    ...more,
  },
});

export const tunnelAttribute = (kind: "ipip" | "vxlan" | "wireguard", node: string): Attribute => ({
  handle_id: `${kind}-tunnel-addr-${node}`,
  secondary: { node, type: `${kind}TunnelAddress` },
});

const dashed = (cidr: string): string => cidr.replaceAll(/[.:/]/g, "-");

/** A block of 64 addresses; `taken` by ordinal. */
export function goBlock(mode: Mode, cidr: string, node: string, taken: Readonly<Record<number, Attribute>>): object {
  const ordinals = Object.keys(taken).map(Number);
  const allocations = Array.from({ length: 64 }, (_, ordinal) => {
    const index = ordinals.indexOf(ordinal);
    return index < 0 ? null : index;
  });
  // Of a Calico before sequence numbers there is none for the first address.
  const numbered = ordinals
    .slice(1)
    .map((ordinal, index) => [String(ordinal), 1_700_000_000_000_000_000 + index * 1024]);
  return {
    apiVersion: GROUP_VERSION[mode],
    kind: "IPAMBlock",
    metadata: { annotations: mode === "v1" ? { "projectcalico.org/metadata": "{}" } : {}, name: dashed(cidr) },
    spec: {
      affinity: `host:${node}`,
      allocations,
      attributes: Object.values(taken),
      cidr,
      deleted: false,
      sequenceNumber: 1_700_000_000_000_000_000 + 100 * 1024,
      sequenceNumberForAllocation: Object.fromEntries(numbered),
      strictAffinity: false,
      unallocated: allocations.flatMap((taken, ordinal) => (taken === null ? [ordinal] : [])),
    },
  };
}

export interface AffinityOptions {
  readonly state?: "confirmed" | "pending" | "pendingDeletion";
  /** Without labels and type, as before 3.29. */
  readonly isOld?: boolean;
  /** Whoever deleted it got no further than its mark. */
  readonly isMarked?: boolean;
}

export function goAffinity(mode: Mode, cidr: string, node: string, options: AffinityOptions = {}): object {
  const { state = "confirmed", isOld = false, isMarked = false } = options;
  const labels = {
    "projectcalico.org/affinity-type": "host",
    "projectcalico.org/hostname-hash": hostnameHash(node),
    "projectcalico.org/ip-version": "4",
  };
  return {
    apiVersion: GROUP_VERSION[mode],
    kind: "BlockAffinity",
    metadata: { name: `${node}-${dashed(cidr)}`, ...(isOld ? {} : { labels }) },
    spec: {
      cidr,
      deleted: mode === "v1" ? String(isMarked) : isMarked,
      node,
      state,
      ...(isOld && mode === "v1" ? {} : { type: "host" }),
    },
  };
}

export function goHandle(mode: Mode, id: string, block: Readonly<Record<string, number>>, deleted = false): object {
  return {
    apiVersion: GROUP_VERSION[mode],
    kind: "IPAMHandle",
    metadata: { name: id.toLowerCase() },
    spec: { block, deleted, handleID: id },
  };
}

/** A node as kubelet makes it and calico-node in Go annotates it. */
export const goNode = (name: string, number: number): object => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: {
    name,
    annotations: {
      "projectcalico.org/IPv4Address": `192.0.2.${number}/24`,
      "projectcalico.org/IPv4IPIPTunnelAddr": `10.70.0.${number}`,
      "projectcalico.org/ASNumber": "64512",
    },
  },
});
