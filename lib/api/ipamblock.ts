import { cidrSize, parseCidr } from "../ip/index.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Ref, type Resource } from "./meta.ts";
import { cidrName } from "./names.ts";
import * as s from "./schema.ts";

const attributes = s.lazy(() =>
  s.object({
    handle_id: s.optional(s.string({ doc: "The handle that holds the allocation." })),
    secondary: s.optional(s.map(s.string(), { doc: "Who uses the address: pod, namespace, node, type, timestamp…" })),
    alternateOwnerAttrs: s.optional(
      s.map(s.string(), { doc: "The other owner while an address moves between two pods." }),
    ),
    releasedAt: s.optional(
      s.string({ doc: "When the address was released; it cools down from then on.", format: "date-time" }),
    ),
  }),
);

const spec = s.lazy(() =>
  s.object({
    cidr: s.string({ doc: "The addresses of the block.", format: "cidr" }),
    affinity: s.optional(s.string({ doc: "The owner: host:<node> or virtual:<name>. Absent: nobody." })),
    affinityClaimTime: s.optional(s.string({ doc: "When the owner took the block.", format: "date-time" })),
    allocations: s.withDefault(
      s.array(s.nullable(s.integer({ min: 0 })), {
        doc: "One entry an address: null when it is free, else an index into `attributes`.",
      }),
      [],
    ),
    unallocated: s.withDefault(
      s.array(s.integer({ min: 0 }), {
        doc: "Ordinals of the free addresses; the first is assigned next, a released one goes to the end.",
      }),
      [],
    ),
    attributes: s.withDefault(
      s.array(attributes(), { doc: "What is known of allocations; equal ones are shared." }),
      [],
    ),
    sequenceNumber: s.withDefault(
      s.wideInteger({ doc: "Grows by one with every write; begins at the time in nanoseconds." }),
      0n,
    ),
    sequenceNumberForAllocation: s.withDefault(
      s.map(s.wideInteger(), { doc: "Ordinal, in decimal, to the sequence number at which it was assigned." }),
      {},
    ),
    deleted: s.withDefault(
      s.boolean({ doc: "Set just before the object is deleted; it then counts as absent." }),
      false,
    ),
    strictAffinity: s.optional(s.boolean({ doc: "Unused; kept for older readers." })),
  }),
);

export type AllocationAttributes = s.Infer<ReturnType<typeof attributes>>;
export type IPAMBlockSpec = s.Infer<ReturnType<typeof spec>>;
export type IPAMBlock = Resource<"IPAMBlock", IPAMBlockSpec>;

/** A part of a pool that a node claims as a whole, and which of its addresses are in use by whom. */
export const IPAMBlock: Kind<IPAMBlock> = {
  kind: "IPAMBlock",
  apiVersion: API_VERSION,
  plural: "ipamblocks",
  namespaced: false,
  aliases: [],
  doc: "A part of a pool that a node claims as a whole, and which of its addresses are in use by whom.",
  get spec() {
    return spec();
  },
  managed: true,
  get columns(): Columns<IPAMBlock> {
    return [
      { title: "NAME", value: (block) => block.metadata.name },
      { title: "CIDR", value: (block) => block.spec.cidr },
      { title: "AFFINITY", value: (block) => block.spec.affinity ?? "" },
      { title: "FREE", value: (block) => String(block.spec.unallocated.length) },
    ];
  },
};

/** The block of a CIDR in canonical text. */
export function ipamBlockRef(cidr: string): Ref {
  return { name: cidrName(cidr), spec: { cidr } };
}

/** The largest block that is laid out here, in bits of addresses; pools allow 12. */
const MAX_BITS = 16;

/**
 * A block as it is first written: all addresses free, in ascending order of ordinals. `sequenceNumber` is the caller's.
 * Throws a RangeError when the CIDR is none, or not of a block.
 */
export function newIPAMBlock(fields: {
  cidr: string;
  affinity?: string;
  affinityClaimTime?: string;
  sequenceNumber: bigint;
}): IPAMBlock {
  const size = cidrSize(parseCidr(fields.cidr));
  if (size > 1n << BigInt(MAX_BITS)) throw new RangeError(`${fields.cidr} is too large for a block`);
  const { cidr, affinity, affinityClaimTime, sequenceNumber } = fields;
  return {
    apiVersion: API_VERSION,
    kind: "IPAMBlock",
    metadata: { name: cidrName(cidr) },
    spec: {
      cidr,
      ...(affinity === undefined ? {} : { affinity }),
      ...(affinityClaimTime === undefined ? {} : { affinityClaimTime }),
      allocations: new Array<number | null>(Number(size)).fill(null),
      unallocated: Array.from({ length: Number(size) }, (_, ordinal) => ordinal),
      attributes: [],
      sequenceNumber,
      sequenceNumberForAllocation: {},
      deleted: false,
    },
  };
}
