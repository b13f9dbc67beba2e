import { type Cidr, cidrOverlaps, formatCidr, tryParseCidr } from "../ip/index.ts";
import { parseSelector, SelectorError } from "../selector/index.ts";
import { conditions } from "./condition.ts";
import { isMasked } from "./formats.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { isPlain } from "./plain.ts";
import { completeResource } from "./resource.ts";
import * as s from "./schema.ts";

const MODES = ["Never", "Always", "CrossSubnet"] as const;
const USES = ["Workload", "Tunnel", "LoadBalancer"] as const;
const ASSIGNMENT_MODES = ["Automatic", "Manual"] as const;

const mode = (what: string) =>
  s.oneOf(MODES, {
    doc: `When ${what} carries traffic to addresses of this pool: never, always, or only to nodes in other subnets.`,
  });

const spec = s.lazy(() =>
  s.object({
    cidr: s.string({
      doc: "The addresses of the pool.",
      format: "cidr",
      maxLength: 48,
      immutable: "make a new pool, disable this one, and delete it when its addresses are free",
    }),
    vxlanMode: s.withDefault(mode("VXLAN"), "Never"),
    ipipMode: s.withDefault(mode("IP-in-IP (IPv4 only)"), "Never"),
    natOutgoing: s.optional(
      s.boolean({ doc: "Masquerade what pods of this pool send to addresses outside of all pools." }),
    ),
    disabled: s.optional(s.boolean({ doc: "Assign no addresses from this pool." })),
    disableBGPExport: s.optional(s.boolean({ doc: "Do not announce this pool's routes over BGP." })),
    blockSize: s.computed(
      s.integer({
        doc: "Prefix length of the blocks that nodes claim: 20-32 for IPv4, 116-128 for IPv6.",
        min: 0,
        max: 128,
        immutable: "make a new pool, disable this one, and delete it when its addresses are free",
      }),
      "26 for IPv4, 122 for IPv6",
    ),
    nodeSelector: s.withDefault(
      s.string({ doc: "The nodes that may assign from this pool.", format: "selector", maxLength: 1024 }),
      "all()",
    ),
    namespaceSelector: s.optional(
      s.string({
        doc: "The namespaces whose pods may get addresses of this pool.",
        format: "selector",
        maxLength: 1024,
      }),
    ),
    allowedUses: s.withDefault(
      s.array(s.oneOf(USES), {
        doc: "What addresses of this pool may be used for.",
        maxItems: 10,
        unique: true,
      }),
      ["Workload", "Tunnel"],
    ),
    assignmentMode: s.withDefault(
      s.oneOf(ASSIGNMENT_MODES, {
        doc: "Manual: only for requests that name this pool or one of its addresses.",
      }),
      "Automatic",
    ),
  }),
);

const status = s.lazy(() => s.object({ conditions: conditions("What is true of the pool at present: Allocatable.") }));

export type IPPoolSpec = s.Infer<ReturnType<typeof spec>>;
export type IPPoolStatus = s.Infer<ReturnType<typeof status>>;
export type IPPool = Resource<"IPPool", IPPoolSpec, IPPoolStatus>;

/** Addresses from which workloads and tunnels get theirs, and how traffic to them travels. */
export const IPPool: Kind<IPPool> = {
  kind: "IPPool",
  apiVersion: API_VERSION,
  plural: "ippools",
  namespaced: false,
  aliases: ["ipp", "ipps", "pool", "pools"],
  doc: "Addresses from which workloads and tunnels get theirs, and how traffic to them travels.",
  get spec() {
    return spec();
  },
  get status() {
    return status();
  },
  // A pool with its defaults, as it is stored.
  isPlain(pool, stored) {
    const looks = {
      cidr: "cidr",
      vxlanMode: { oneOf: MODES },
      ipipMode: { oneOf: MODES },
      natOutgoing: "boolean",
      disabled: "boolean",
      disableBGPExport: "boolean",
      blockSize: "integer",
      nodeSelector: "selector",
      namespaceSelector: "selector",
      allowedUses: ["text"],
      assignmentMode: { oneOf: ASSIGNMENT_MODES },
    } as const;
    if (!stored || !isPlain(pool, looks, stored)) return false;
    const { cidr, vxlanMode, ipipMode, blockSize, nodeSelector, allowedUses, assignmentMode } =
      pool as Partial<IPPoolSpec>;
    if (!cidr || !vxlanMode || !ipipMode || blockSize === undefined || !nodeSelector || !assignmentMode) return false;
    return allowedUses !== undefined && allowedUses.length > 0;
  },
  complete(pool) {
    const cidr = typeof pool.spec.cidr === "string" ? tryParseCidr(pool.spec.cidr) : undefined;
    if (!cidr) return;
    if (!pool.spec.blockSize) pool.spec.blockSize = cidr.version === 4 ? 26 : 122;
    const canonical = formatCidr(cidr);
    // What is not masked stays as it is, for `check` to report.
    if (canonical !== pool.spec.cidr && isMasked(pool.spec.cidr)) pool.spec.cidr = canonical;
  },
  check,
  checkAgainst(pool, others) {
    const cidr = tryParseCidr(pool.spec.cidr);
    const problems: s.Problem[] = [];
    for (const other of others) {
      const otherCidr = tryParseCidr(other.spec.cidr);
      if (other.metadata.name === pool.metadata.name || !cidr || !otherCidr || !cidrOverlaps(cidr, otherCidr)) continue;
      const message = `overlaps with ${other.spec.cidr} of the pool ${other.metadata.name}; pools must not share addresses`;
      problems.push({ path: "spec.cidr", value: pool.spec.cidr, message });
    }
    return problems;
  },
  checkUpdate(pool, previous) {
    const before = previous.spec.allowedUses.includes("LoadBalancer");
    if (!before || pool.spec.allowedUses.every((use) => use === "LoadBalancer")) return [];
    const message = "cannot change from LoadBalancer to Workload or Tunnel; make another pool";
    return [{ path: "spec.allowedUses", value: pool.spec.allowedUses, message }];
  },
  get columns(): Columns<IPPool> {
    return [
      { title: "NAME", value: (pool) => pool.metadata.name },
      { title: "CIDR", value: (pool) => pool.spec.cidr },
      { title: "NAT", wide: true, value: (pool) => String(pool.spec.natOutgoing ?? false) },
      { title: "IPIPMODE", wide: true, value: (pool) => pool.spec.ipipMode },
      { title: "VXLANMODE", wide: true, value: (pool) => pool.spec.vxlanMode },
      { title: "DISABLED", wide: true, value: (pool) => String(pool.spec.disabled ?? false) },
      { title: "DISABLEBGPEXPORT", wide: true, value: (pool) => String(pool.spec.disableBGPExport ?? false) },
      { title: "SELECTOR", value: (pool) => pool.spec.nodeSelector },
      { title: "ASSIGNMENTMODE", wide: true, value: (pool) => pool.spec.assignmentMode },
    ];
  },
};

const LINK_LOCAL: readonly Cidr[] = [
  { version: 4, base: 0xa9fe0000n, length: 16 },
  { version: 6, base: 0xfe80n << 112n, length: 10 },
];

/** The rules of upstream's CRD and validator, in the order of the fields. */
function check(pool: IPPool): s.Problem[] {
  const problems: s.Problem[] = [];
  const { spec } = pool;
  const report = (field: keyof IPPoolSpec, message: string) =>
    problems.push({ path: `spec.${field}`, value: spec[field], message });
  const uses = (use: IPPoolSpec["allowedUses"][number]) => spec.allowedUses.includes(use);
  const cidr = tryParseCidr(spec.cidr);
  if (!cidr) return problems;

  if (!isMasked(spec.cidr)) report("cidr", `has bits beyond its prefix length; must be ${formatCidr(cidr)}`);
  for (const range of LINK_LOCAL) {
    if (cidrOverlaps(cidr, range))
      report("cidr", `overlaps with the link-local range ${formatCidr(range)}; must be outside of it`);
  }

  const [smallest, largest] = cidr.version === 4 ? [20, 32] : [116, 128];
  if (spec.blockSize < smallest || spec.blockSize > largest) {
    report("blockSize", `must be from ${smallest} to ${largest} in an IPv${cidr.version} pool`);
  } else if (!spec.disabled && cidr.length > spec.blockSize) {
    const message = `is smaller than one block of /${spec.blockSize}; must be /${spec.blockSize} or larger, or blockSize ${cidr.length} or more`;
    report("cidr", message);
  }

  const encapsulated = spec.ipipMode !== "Never" || spec.vxlanMode !== "Never";
  if (spec.ipipMode !== "Never" && spec.vxlanMode !== "Never") {
    report("ipipMode", `cannot be on together with vxlanMode ${spec.vxlanMode}; one of them must be Never`);
  }
  if (spec.ipipMode !== "Never" && cidr.version === 6)
    report("ipipMode", "must be Never in an IPv6 pool; vxlanMode works there");

  if (uses("LoadBalancer")) {
    if (uses("Workload") || uses("Tunnel"))
      report("allowedUses", "must not combine LoadBalancer with Workload or Tunnel; use two pools");
    if (encapsulated)
      report("allowedUses", "must not hold LoadBalancer when ipipMode or vxlanMode is on; set both to Never");
    if (spec.disableBGPExport) report("disableBGPExport", "must be false in a pool for LoadBalancer");
    if (spec.nodeSelector !== "all()") report("nodeSelector", "must be all() in a pool for LoadBalancer");
  }
  if (uses("Tunnel") && spec.namespaceSelector) {
    report(
      "namespaceSelector",
      "must be absent in a pool for Tunnel, which is the default use; set allowedUses to [Workload]",
    );
  }
  for (const field of ["nodeSelector", "namespaceSelector"] as const) {
    if (spec[field]?.includes("global(")) report(field, "must not use global(), which has no meaning in a pool");
  }
  return problems;
}

/** A pool with its defaults applied. Not checked: see `checkResource`. */
export function newIPPool(name: string, spec: Partial<IPPoolSpec> & { cidr: string }): IPPool {
  return completeResource(IPPool, {
    apiVersion: API_VERSION,
    kind: "IPPool",
    metadata: { name },
    spec: structuredClone(spec) as IPPoolSpec,
  });
}

/** Labels as a selector reads them. */
type Labels = Readonly<Record<string, string>>;

/** Whether a node with these labels may assign from the pool. A selector that does not parse selects nothing. */
export function selectsNode(pool: IPPool, nodeLabels: Labels): boolean {
  return selects(pool.spec.nodeSelector, nodeLabels);
}

/** Whether pods of a namespace with these labels may get addresses of the pool. A pool without a selector takes all, also pods of no namespace. */
export function selectsNamespace(pool: IPPool, namespaceLabels: Labels): boolean {
  return selects(pool.spec.namespaceSelector, namespaceLabels);
}

function selects(selector: string | undefined, labels: Labels): boolean {
  if (!selector || selector === "all()") return true;
  try {
    return parseSelector(selector).matches(labels);
  } catch (error) {
    if (error instanceof SelectorError) return false;
    throw error;
  }
}
