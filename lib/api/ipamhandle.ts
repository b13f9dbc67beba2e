import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Ref, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    handleID: s.string({ doc: "The handle: <network name>.<container id> for a pod.", minLength: 1 }),
    block: s.withDefault(
      s.map(s.integer({ min: 0 }), { doc: "CIDR of a block to the number of its addresses that the handle holds." }),
      {},
    ),
    deleted: s.withDefault(
      s.boolean({ doc: "Set just before the object is deleted; it then counts as absent." }),
      false,
    ),
  }),
);

export type IPAMHandleSpec = s.Infer<ReturnType<typeof spec>>;
export type IPAMHandle = Resource<"IPAMHandle", IPAMHandleSpec>;

/** What one user of addresses holds, so that all of it can be released without searching the blocks. */
export const IPAMHandle: Kind<IPAMHandle> = {
  kind: "IPAMHandle",
  apiVersion: API_VERSION,
  plural: "ipamhandles",
  namespaced: false,
  aliases: [],
  doc: "What one user of addresses holds, so that all of it can be released without searching the blocks.",
  names: "any",
  get spec() {
    return spec();
  },
  managed: true,
  get columns(): Columns<IPAMHandle> {
    return [
      { title: "NAME", value: (handle) => handle.metadata.name },
      { title: "ID", value: (handle) => handle.spec.handleID },
    ];
  },
};

/** The handle of an ID. Names are lower case, IDs need not be. */
export function ipamHandleRef(handleId: string): Ref {
  return { name: handleId.toLowerCase(), spec: { handleID: handleId } };
}

/** A handle that holds `block` (CIDR to count). */
export function newIPAMHandle(handleId: string, block: Record<string, number>): IPAMHandle {
  return {
    apiVersion: API_VERSION,
    kind: "IPAMHandle",
    metadata: { name: handleId.toLowerCase() },
    spec: { handleID: handleId, block: { ...block }, deleted: false },
  };
}
