import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Ref, type Resource } from "./meta.ts";
import { affinityName, hostnameHash } from "./names.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    state: s.withDefault(
      s.oneOf(["confirmed", "pending", "pendingDeletion"], {
        doc: "pending while the block is being written, confirmed when it is the owner's, pendingDeletion while it is given up.",
      }),
      "confirmed",
    ),
    node: s.string({
      doc: "The owner: a node, or a name such as load-balancer when the type is virtual.",
      minLength: 1,
    }),
    type: s.withDefault(s.oneOf(["host", "virtual"], { doc: "What kind of owner." }), "host"),
    cidr: s.string({ doc: "The block.", format: "cidr" }),
    deleted: s.withDefault(
      s.boolean({ doc: "Set just before the object is deleted; it then counts as absent." }),
      false,
    ),
  }),
);

export type BlockAffinitySpec = s.Infer<ReturnType<typeof spec>>;
export type BlockAffinity = Resource<"BlockAffinity", BlockAffinitySpec>;

/** Says that a block belongs to a node, and in which phase of the claim it is. */
export const BlockAffinity: Kind<BlockAffinity> = {
  kind: "BlockAffinity",
  apiVersion: API_VERSION,
  plural: "blockaffinities",
  namespaced: false,
  aliases: ["affinity", "affinities"],
  doc: "Says that a block belongs to a node, and in which phase of the claim it is.",
  get spec() {
    return spec();
  },
  managed: true,
  check(affinity) {
    if (!affinity.spec.deleted) return [];
    return [{ path: "spec.deleted", value: true, message: "must be false; delete the object instead" }];
  },
  get columns(): Columns<BlockAffinity> {
    return [
      { title: "NAME", value: (affinity) => affinity.metadata.name },
      { title: "CIDR", value: (affinity) => affinity.spec.cidr },
      { title: "NODE", value: (affinity) => affinity.spec.node },
      { title: "TYPE", value: (affinity) => affinity.spec.type },
      { title: "STATE", wide: true, value: (affinity) => affinity.spec.state },
    ];
  },
};

/** What identifies an affinity. */
export interface AffinityId {
  readonly type: "host" | "virtual";
  readonly node: string;
  /** Canonical text of the block. */
  readonly cidr: string;
}

/** The affinity of an owner to a block. */
export function blockAffinityRef(id: AffinityId): Ref {
  return { name: affinityName(id.node, id.cidr), spec: { type: id.type, node: id.node, cidr: id.cidr } };
}

/** An affinity as it is first written, with the name and labels that other Calicos look for. */
export function newBlockAffinity(fields: AffinityId & { state: BlockAffinitySpec["state"] }): BlockAffinity {
  const { type, node, cidr, state } = fields;
  return {
    apiVersion: API_VERSION,
    kind: "BlockAffinity",
    metadata: {
      name: affinityName(node, cidr),
      labels: {
        "projectcalico.org/hostname-hash": hostnameHash(node),
        "projectcalico.org/affinity-type": type,
        "projectcalico.org/ip-version": cidr.includes(":") ? "6" : "4",
      },
    },
    spec: { state, node, type, cidr, deleted: false },
  };
}
