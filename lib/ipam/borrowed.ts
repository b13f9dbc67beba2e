import type { IPAMBlock } from "../api/ipamblock.ts";
import { parseCidr } from "../ip/index.ts";
import { addressText, attributesAt, isAllocated } from "./block.ts";

/** An address that a node uses from a block that is not its own. */
export interface BorrowedAddress {
  readonly ip: string;
  readonly borrowingNode: string;
  readonly block: string;
  /** Empty when the block is nobody's. */
  readonly blockOwner: string;
  /** `pod`, `vmi`, or the type of a tunnel address; empty when nothing is known. */
  readonly type: string;
  /** `namespace/name` of the pod or virtual machine. */
  readonly allocatedTo: string;
}

/** `unclassified` counts allocations so old that they do not say for which node they were made. */
export function borrowedAddresses(blocks: readonly IPAMBlock[]): {
  readonly borrowed: readonly BorrowedAddress[];
  readonly unclassified: number;
} {
  const borrowed: BorrowedAddress[] = [];
  let unclassified = 0;
  for (const { spec } of blocks) {
    const cidr = parseCidr(spec.cidr);
    const blockOwner = spec.affinity === undefined ? "" : spec.affinity.slice(spec.affinity.indexOf(":") + 1);
    for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
      const attributes = attributesAt(spec, ordinal);
      // What cools down has no owner any more.
      if (!isAllocated(spec, ordinal) || attributes?.releasedAt !== undefined) continue;
      const owner = attributes?.secondary ?? {};
      if (owner.node === undefined) unclassified++;
      else if (owner.node !== blockOwner) {
        borrowed.push({
          ip: addressText(cidr, ordinal),
          borrowingNode: owner.node,
          block: spec.cidr,
          blockOwner,
          ...userOf(owner),
        });
      }
    }
  }
  return { borrowed, unclassified };
}

function userOf(owner: Readonly<Record<string, string>>): { type: string; allocatedTo: string } {
  const [vm, pod] = [owner["vmi-name"], owner.pod];
  const namespace = owner.namespace ?? "";
  if (vm !== undefined) return { type: "vmi", allocatedTo: `${namespace}/${vm}` };
  if (pod !== undefined) return { type: "pod", allocatedTo: `${namespace}/${pod}` };
  return { type: owner.type ?? "", allocatedTo: "" };
}
