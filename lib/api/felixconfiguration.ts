import { tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { parseSelector, SelectorError } from "../selector/index.ts";
import { bpfFields, dataplaneFields, overlayFields, processFields, reportFields, tableFields } from "./felixfields.ts";
import { formatProblem } from "./formats.ts";
import type { Columns, Kind } from "./kind.ts";
import { API_VERSION, type Resource } from "./meta.ts";
import { parseGoRegExp } from "./regexp.ts";
import * as s from "./schema.ts";

const spec = s.lazy(() =>
  s.object({
    nodeSelector: s.optional(
      s.string({
        doc: "The nodes that this is for; not in the one named default, nor in those named node.<node>. Of several that select a node the oldest counts.",
        format: "selector",
        maxLength: 1024,
      }),
    ),
    ...processFields(),
    ...dataplaneFields(),
    ...tableFields(),
    ...bpfFields(),
    ...overlayFields(),
    ...reportFields(),
  }),
);

export type FelixConfigurationSpec = s.Infer<ReturnType<typeof spec>>;
export type FelixConfiguration = Resource<"FelixConfiguration", FelixConfigurationSpec>;

/**
 * Parameters of the policy agent: of all nodes in the one named `default`, of one in `node.<node>`, of those that
 * `nodeSelector` selects in any other.
 */
export const FelixConfiguration: Kind<FelixConfiguration> = {
  kind: "FelixConfiguration",
  apiVersion: API_VERSION,
  plural: "felixconfigurations",
  namespaced: false,
  aliases: ["felixconfig", "felixconfigs"],
  doc: "Parameters of the policy agent: of all nodes in the one named default, of one node in node.<node>, of those that nodeSelector selects in any other.",
  get spec() {
    return spec();
  },
  complete: supersede,
  check,
  get columns(): Columns<FelixConfiguration> {
    return [{ title: "NAME", value: (configuration) => configuration.metadata.name }];
  },
};

/** The tables of `routeTableRange`. */
const MAX_TABLE = 250;
/** The largest index of a routing table, and how many of them may be named. */
const MAX_TABLE_INDEX = 0xffff_ffff;
const MAX_TABLES = 0xffff;
/** So that `openstack-region-<region>` is still a label. */
const MAX_REGION = 63 - "openstack-region-".length;

/**
 * The field that bpfConnectTimeLoadBalancing superseded goes before it, as in upstream's client (clientv3/felixconfig.go). That also
 * writes built-in defaults of three fields into every configuration, which takes back in a node's what the cluster's says; here
 * absence stays absence.
 */
function supersede({ spec }: FelixConfiguration): void {
  const { bpfConnectTimeLoadBalancingEnabled: enabled } = spec;
  if (typeof enabled !== "boolean") return;
  spec.bpfConnectTimeLoadBalancing = enabled ? "Enabled" : "Disabled";
  spec.bpfHostNetworkedNATWithoutCTLB = "Disabled";
}

/** The rules of upstream's CRD and validator (felixconfig.go, validateFelixConfigSpec), in the order of the fields. */
function check({ metadata, spec }: FelixConfiguration): s.Problem[] {
  const problems: s.Problem[] = [];
  const report = (field: string, value: unknown, message: string) =>
    problems.push({ path: `spec.${field}`, value, message });

  if (spec.nodeSelector !== undefined && (metadata.name === "default" || metadata.name.startsWith("node."))) {
    report("nodeSelector", spec.nodeSelector, "must be absent where the name is default or begins with node.");
  }
  for (const field of [
    "logDebugFilenameRegex",
    "mtuIfacePattern",
    "nftablesFlowTableDataIfacePattern",
    "bpfDataIfacePattern",
    "bpfL3IfacePattern",
    "bpfDisableGROForIfaces",
  ] as const) {
    if (spec[field] && !parseGoRegExp(spec[field])) report(field, spec[field], "must be a regular expression");
  }
  for (const [i, { name, timeout }] of (spec.healthTimeoutOverrides ?? []).entries()) {
    if (timeout === "") report(`healthTimeoutOverrides[${i}].timeout`, timeout, `is missing, for ${name}`);
  }
  for (const [i, range] of (spec.kubeNodePortRanges ?? []).entries()) checkRange(`kubeNodePortRanges[${i}]`, range);
  for (const field of ["natPortRange", "bpfPSNATPorts"] as const) checkRange(field, spec[field]);
  for (const [i, text] of (spec.externalNodesList ?? []).entries()) {
    if ((tryParseCidr(text) ?? tryParseAddress(text))?.version === 6) {
      report(`externalNodesList[${i}]`, text, "must be IPv4");
    }
  }
  for (const name of Object.keys(spec.bpfLogFilters ?? {})) {
    if (/^[a-zA-Z0-9_.-]{1,15}$/.test(name)) continue;
    report(
      `bpfLogFilters[${JSON.stringify(name)}]`,
      undefined,
      "must be the name of an interface, or all, weps or heps",
    );
  }
  checkTables();
  const region = spec.openstackRegion;
  if (region && (region.length > MAX_REGION || formatProblem("label-name", region) !== undefined)) {
    const message = `must be a name of lower-case letters, digits and -, at most ${MAX_REGION} long`;
    report("openstackRegion", region, message);
  }
  return problems;

  function checkRange(path: string, range: number | string | undefined): void {
    if (range === undefined || /^\d+(:\d+)?$/.test(String(range))) return;
    report(path, range, "must be a port or a range of ports, not a name");
  }

  function checkTables(): void {
    const { routeTableRange: range, routeTableRanges: ranges } = spec;
    if (range && ranges) report("routeTableRange", range, "cannot be there together with routeTableRanges; remove it");
    if (range && (range.max < range.min || range.max > MAX_TABLE)) {
      report("routeTableRange.max", range.max, `must be from min, ${range.min}, to ${MAX_TABLE}`);
    }
    let tables = 0;
    for (const [i, { min, max }] of (ranges ?? []).entries()) {
      tables += max - min + 1;
      if (max >= min && max <= MAX_TABLE_INDEX) continue;
      report(`routeTableRanges[${i}].max`, max, `must be from min, ${min}, to ${MAX_TABLE_INDEX}`);
    }
    if (tables > MAX_TABLES) report("routeTableRanges", ranges, `must be at most ${MAX_TABLES} tables together`);
  }
}

/** Whether a configuration that is for selected nodes is for one with these labels. One without a selector, or with one that does not parse, is for none. */
export function selectsNode({ spec }: FelixConfiguration, nodeLabels: Readonly<Record<string, string>>): boolean {
  if (!spec.nodeSelector) return false;
  try {
    return parseSelector(spec.nodeSelector).matches(nodeLabels);
  } catch (error) {
    if (error instanceof SelectorError) return false;
    throw error;
  }
}
