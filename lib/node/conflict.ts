/** Whether another node has this node's address. */
import type { Node } from "../api/node.ts";
import { type Address, formatAddress, tryParseAddress } from "../ip/index.ts";

export interface Conflict {
  readonly version: 4 | 6;
  readonly address: string;
  /** The node that has it. */
  readonly node: string;
}

const addressIn = (text: string | undefined): Address | undefined => tryParseAddress((text ?? "").replace(/\/.*/, ""));

/** Conflicts by family, then by the other node's name; `others` may hold the node itself. */
export function conflictsOf(node: Node, others: readonly Node[]): Conflict[] {
  const found: Conflict[] = [];
  for (const version of [4, 6] as const) {
    const field = version === 4 ? "ipv4Address" : "ipv6Address";
    const ours = addressIn(node.spec.bgp?.[field]);
    if (!ours) continue;
    for (const other of others) {
      if (other.metadata.name === node.metadata.name) continue;
      const theirs = addressIn(other.spec.bgp?.[field]);
      if (theirs?.version !== version || theirs.value !== ours.value) continue;
      found.push({ version, address: formatAddress(ours), node: other.metadata.name });
    }
  }
  return found.sort((a, b) => a.version - b.version || (a.node < b.node ? -1 : 1));
}

export function describeConflicts(name: string, conflicts: readonly Conflict[]): string {
  const list = conflicts.map(({ address, node }) => `node ${node} has the address ${address} already`).join(", and ");
  return `${list}; it cannot be that of ${name}, too. If ${conflicts[0]?.node} is this machine under another name, delete that Node; if the address is of a bridge or tunnel that each machine has, set IP_AUTODETECTION_METHOD; DISABLE_NODE_IP_CHECK=true turns this check off`;
}
