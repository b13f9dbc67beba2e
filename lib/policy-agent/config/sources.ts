import type { ClusterInformation } from "../../api/clusterinformation.ts";
import { type FelixConfiguration, selectsNode } from "../../api/felixconfiguration.ts";
import type { Node } from "../../api/node.ts";
import { parseDuration } from "../../wait/duration.ts";
import { BY_FIELD, parameterOf } from "./parameters.ts";
import { millis, seconds } from "./types.ts";

/** Where a value comes from, from what goes before all others to what comes last. */
export const SOURCES = ["override", "environment", "file", "perNode", "selected", "global"] as const;
export type Source = (typeof SOURCES)[number];

/** How sources are called in messages. */
export const SOURCE_NAMES: Readonly<Record<Source, string>> = {
  override: "the agent itself",
  environment: "the environment",
  file: "the configuration file",
  perNode: "the node's FelixConfiguration",
  selected: "the FelixConfiguration that selects the node",
  global: "the FelixConfiguration default",
};

/** What one source says: texts by names in whatever case. */
export type RawConfig = Readonly<Record<string, string>>;

const PREFIX = "felix_";

/** The variables FELIX_<name>, in any case. */
export function fromEnvironment(environment: Readonly<Record<string, string | undefined>>): [string, string][] {
  return Object.entries(environment).flatMap(([name, value]): [string, string][] => {
    if (value === undefined || !name.toLowerCase().startsWith(PREFIX)) return [];
    return [[name.slice(PREFIX.length), value]];
  });
}

/** A line of a configuration file that is neither a section, nor a comment, nor `name = value`. */
export interface BadLine {
  readonly line: number;
  readonly text: string;
}

/**
 * The values in an INI file, of all its sections alike: `name = value` or `name: value`, comments after # or ;, values also in
 * quotes, and a line that ends in \ goes on in the next (as gopkg.in/ini.v1 reads it).
 */
export function fromFile(content: string): { readonly values: [string, string][]; readonly bad: readonly BadLine[] } {
  const values: [string, string][] = [];
  const bad: BadLine[] = [];
  const lines = content.replace(/^\ufeff/, "").split(/\r?\n/);
  for (let i = 0; i < lines.length; i++) {
    const line = i + 1;
    let text = lines[i]!.trim();
    if (text === "" || /^[#;]/.test(text) || /^\[[^\]]+\]\s*([#;].*)?$/.test(text)) continue;
    while (text.endsWith("\\") && i + 1 < lines.length) text = text.slice(0, -1) + lines[++i]!.trim();
    const found = /^("[^"]+"|[^=:]+?)\s*[=:]\s*(.*)$/s.exec(text);
    if (!found) bad.push({ line, text });
    else values.push([found[1]!.replace(/^"(.*)"$/, "$1"), fileValue(found[2]!)]);
  }
  return { values, bad };
}

function fileValue(text: string): string {
  const quoted = /^("""|["'`])(.*?)\1\s*([#;].*)?$/s.exec(text);
  if (quoted) return quoted[2]!;
  const comment = text.search(/[#;]/);
  return (comment < 0 ? text : text.slice(0, comment)).trim();
}

/** Annotations that begin so are parameters of the names that follow, and go before the fields. */
const ANNOTATION = "config.projectcalico.org/";

/** What a FelixConfiguration says, in the texts that the other sources use. Never throws; what is odd is left to be refused as any text. */
export function fromConfiguration({ metadata, spec }: FelixConfiguration): [string, string][] {
  const values: [string, string][] = [];
  for (const [field, value] of Object.entries(spec ?? {})) {
    const name = BY_FIELD.get(field);
    const text = name === undefined || value === undefined || value === null ? "" : fieldText(name, field, value);
    if (name !== undefined && text !== "") values.push([name, text]);
  }
  for (const [key, value] of Object.entries(metadata.annotations ?? {})) {
    if (key.startsWith(ANNOTATION)) values.push([key.slice(ANNOTATION.length), value]);
  }
  return values;
}

type Name = NonNullable<ReturnType<typeof BY_FIELD.get>>;
type Spec = FelixConfiguration["spec"];

function fieldText(name: Name, field: string, value: unknown): string {
  switch (field as keyof Spec) {
    case "failsafeInboundHostPorts":
    case "failsafeOutboundHostPorts":
      // Alone among lists an empty one means something: no ports.
      if (Array.isArray(value) && value.length === 0) return "none";
      return listText(value as Spec["failsafeInboundHostPorts"], ({ protocol, port, net }) =>
        [
          String(protocol ?? "tcp").toLowerCase(),
          ...(net ? [String(net).includes(":") ? `[${net}]` : net] : []),
          port,
        ].join(":"),
      );
    case "routeTableRange":
      return listText([value as Spec["routeTableRange"]], rangeText);
    case "routeTableRanges":
      return listText(value as Spec["routeTableRanges"], rangeText);
    case "healthTimeoutOverrides":
      return listText(value as Spec["healthTimeoutOverrides"], ({ name, timeout }) => `${name}=${timeout}`);
    case "bpfConntrackTimeouts":
      return pairsText(value, (key) => key.replace(/^(tcp|udp|icmp|[a-z])/, (start) => start.toUpperCase()));
    case "bpfLogFilters":
      return pairsText(value, (key) => key);
    default: {
      if (Array.isArray(value)) return value.map((item) => plainText(item)).join(",");
      const { type } = parameterOf(name);
      if (typeof value === "string" && (type === seconds || type === millis)) {
        const duration = parseDuration(value);
        return duration === undefined ? value : String(type === seconds ? duration / 1000 : duration);
      }
      return plainText(value);
    }
  }
}

const plainText = (value: unknown): string => (typeof value === "object" ? JSON.stringify(value) : String(value));

const rangeText = ({ min, max }: { min: number; max: number }) => `${min}-${max}`;

/** The items' texts; what is no list of objects, as JSON, for the type to refuse. */
function listText<T>(list: readonly T[] | undefined, text: (item: NonNullable<T>) => string): string {
  const isWhole = Array.isArray(list) && list.every((item) => typeof item === "object" && item !== null);
  return isWhole ? list.map(text).join(",") : JSON.stringify(list);
}

function pairsText(value: unknown, name: (key: string) => string): string {
  if (typeof value !== "object" || value === null) return plainText(value);
  return Object.entries(value)
    .filter(([, text]) => text !== undefined && text !== null && text !== "")
    .map(([key, text]) => `${name(key)}=${text}`)
    .join(",");
}

/** What the node's resource says of its tunnels; it counts as what is said for the node alone. */
export function fromNode({ spec }: Node): [string, string][] {
  return given([
    ["IpInIpTunnelAddr", spec.bgp?.ipv4IPIPTunnelAddr],
    ["IPv4VXLANTunnelAddr", spec.ipv4VXLANTunnelAddr],
    ["IPv6VXLANTunnelAddr", spec.ipv6VXLANTunnelAddr],
    ["VXLANTunnelMACAddr", spec.vxlanTunnelMACAddr],
    ["VXLANTunnelMACAddrV6", spec.vxlanTunnelMACAddrV6],
  ]);
}

/** What the cluster is; it counts as what is said for all nodes. */
export function fromCluster({ spec }: ClusterInformation): [string, string][] {
  return given([
    ["ClusterGUID", spec.clusterGUID],
    ["ClusterType", spec.clusterType],
    ["CalicoVersion", spec.calicoVersion],
    ["Variant", spec.variant],
  ]);
}

const given = (values: readonly (readonly [string, string | undefined])[]): [string, string][] =>
  values.flatMap(([name, value]): [string, string][] => (value ? [[name, value]] : []));

/**
 * Which FelixConfigurations are for a node: `node.<name>`, of those that select it by its labels the oldest (of the same age the first by name),
 * and `default`. `others` are further ones that select it, which do not count. Nothing is selected for a node whose labels are not known.
 */
export function chooseConfigurations(
  all: readonly FelixConfiguration[],
  node: { readonly name: string; readonly labels: Readonly<Record<string, string>> | undefined },
): {
  readonly perNode?: FelixConfiguration;
  readonly selected?: FelixConfiguration;
  readonly default?: FelixConfiguration;
  readonly others: readonly FelixConfiguration[];
} {
  const named = (name: string) => all.find(({ metadata }) => metadata.name === name);
  const [perNode, fallback] = [named(`node.${node.name}`), named("default")];
  const { labels } = node;
  const [selected, ...others] = all
    .filter(({ metadata: { name } }) => name !== "default" && !name.startsWith("node."))
    .filter((configuration) => labels !== undefined && selectsNode(configuration, labels))
    .sort((a, b) => age(a) - age(b) || (a.metadata.name < b.metadata.name ? -1 : 1));
  return {
    ...(perNode ? { perNode } : {}),
    ...(selected ? { selected } : {}),
    ...(fallback ? { default: fallback } : {}),
    others,
  };
}

/** Go's zero time, which is before all others, stands for none. */
function age({ metadata }: FelixConfiguration): number {
  const time = Date.parse(metadata.creationTimestamp ?? "");
  return Number.isNaN(time) ? Number.NEGATIVE_INFINITY : time;
}
