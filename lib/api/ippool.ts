import type { Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import * as s from "./schema.ts";

const mode = (what: string) =>
  s.oneOf(["Never", "Always", "CrossSubnet"], {
    doc: `When ${what} carries traffic to addresses of this pool: never, always, or only to nodes in other subnets.`,
  });

const spec = s.object({
  cidr: s.string({ doc: "The addresses of the pool.", format: "cidr", maxLength: 48 }),
  vxlanMode: s.withDefault(mode("VXLAN"), "Never"),
  ipipMode: s.withDefault(mode("IP-in-IP (IPv4 only)"), "Never"),
  natOutgoing: s.optional(s.boolean({ doc: "Masquerade what pods of this pool send to addresses outside of all pools." })),
  disabled: s.optional(s.boolean({ doc: "Assign no addresses from this pool." })),
  disableBGPExport: s.optional(s.boolean({ doc: "Do not announce this pool's routes over BGP." })),
  blockSize: s.computed(
    s.integer({ doc: "Prefix length of the blocks that nodes claim: 20-32 for IPv4, 116-128 for IPv6.", min: 0, max: 128 }),
    "26 for IPv4, 122 for IPv6",
  ),
  nodeSelector: s.withDefault(
    s.string({ doc: "The nodes that may assign from this pool.", format: "selector", maxLength: 1024 }),
    "all()",
  ),
  namespaceSelector: s.optional(
    s.string({ doc: "The namespaces whose pods may get addresses of this pool.", format: "selector", maxLength: 1024 }),
  ),
  allowedUses: s.withDefault(
    s.array(s.oneOf(["Workload", "Tunnel", "LoadBalancer"]), {
      doc: "What addresses of this pool may be used for.",
      maxItems: 10,
      unique: true,
    }),
    ["Workload", "Tunnel"],
  ),
  assignmentMode: s.withDefault(
    s.oneOf(["Automatic", "Manual"], { doc: "Manual: only for requests that name this pool or one of its addresses." }),
    "Automatic",
  ),
});
export type IPPoolSpec = s.Infer<typeof spec>;
export type IPPool = Resource<"IPPool", IPPoolSpec>;
export const IPPool: Kind<IPPool> = { kind: "IPPool", apiVersion: API_VERSION, plural: "ippools", namespaced: false, aliases: [], doc: "", spec, columns: [] };
const x: Kind = IPPool;
declare const p: IPPoolSpec;
export const t: { cidr: string; n: boolean | undefined; m: "Never" | "Always" | "CrossSubnet"; b: number } = { cidr: p.cidr, n: p.natOutgoing, m: p.ipipMode, b: p.blockSize };
export default x;
