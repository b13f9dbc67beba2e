import { FelixConfiguration } from "../../api/felixconfiguration.ts";
import type { Parameter, ValuesOf } from "./parameter.ts";
import { BPF } from "./table-bpf.ts";
import { COMMON, IPIP, IPTABLES, NFTABLES, OPENSTACK, PLATFORMS, VXLAN, WIREGUARD, XDP } from "./table-dataplane.ts";
import {
  CLUSTER,
  DATASTORE,
  DEBUGGING,
  FEATURES,
  FLOW_LOGS,
  HEALTH,
  LOGGING,
  METRICS,
  RUNTIME,
  USAGE,
} from "./table-process.ts";

/** All parameters, in the order of the reference page. */
export const GROUPS: readonly { readonly title: string; readonly parameters: Readonly<Record<string, Parameter>> }[] = [
  { title: "Datastore", parameters: DATASTORE },
  { title: "Logging", parameters: LOGGING },
  { title: "Health", parameters: HEALTH },
  { title: "Metrics", parameters: METRICS },
  { title: "Dataplane", parameters: COMMON },
  { title: "nftables", parameters: NFTABLES },
  { title: "iptables", parameters: IPTABLES },
  { title: "XDP", parameters: XDP },
  { title: "eBPF", parameters: BPF },
  { title: "VXLAN", parameters: VXLAN },
  { title: "IP-in-IP", parameters: IPIP },
  { title: "WireGuard", parameters: WIREGUARD },
  { title: "Flow logs", parameters: FLOW_LOGS },
  { title: "Features", parameters: FEATURES },
  { title: "OpenStack", parameters: OPENSTACK },
  { title: "Other platforms", parameters: PLATFORMS },
  { title: "Go runtime", parameters: RUNTIME },
  { title: "Usage reports", parameters: USAGE },
  { title: "Debugging", parameters: DEBUGGING },
  { title: "Cluster", parameters: CLUSTER },
];

/** Every parameter by its name. */
export const PARAMETERS = {
  ...DATASTORE,
  ...LOGGING,
  ...HEALTH,
  ...METRICS,
  ...COMMON,
  ...NFTABLES,
  ...IPTABLES,
  ...XDP,
  ...BPF,
  ...VXLAN,
  ...IPIP,
  ...WIREGUARD,
  ...FLOW_LOGS,
  ...FEATURES,
  ...OPENSTACK,
  ...PLATFORMS,
  ...RUNTIME,
  ...USAGE,
  ...DEBUGGING,
  ...CLUSTER,
};

export type ParameterName = keyof typeof PARAMETERS;

/** The agent's configuration: every parameter under its name, read. Durations are milliseconds. */
export type AgentConfig = ValuesOf<typeof PARAMETERS>;

export const PARAMETER_NAMES = Object.keys(PARAMETERS) as readonly ParameterName[];

const byLowerCase = new Map(PARAMETER_NAMES.map((name) => [name.toLowerCase(), name]));

/** The parameter that a name in any case means. */
export function findParameter(name: string): ParameterName | undefined {
  return byLowerCase.get(name.toLowerCase());
}

export const parameterOf = (name: ParameterName): Parameter => PARAMETERS[name] as Parameter;

/** The parameter that each field of a FelixConfiguration sets. */
export const BY_FIELD: ReadonlyMap<string, ParameterName> = new Map(
  PARAMETER_NAMES.flatMap((name) => {
    const { field } = parameterOf(name);
    return field === undefined ? [] : [[field, name] as const];
  }),
);

/** What a parameter is for. */
export function docOf({ doc, field }: Parameter): string {
  if (doc !== undefined || field === undefined) return doc ?? "";
  const { spec } = FelixConfiguration;
  return spec.type === "object" ? (spec.fields[field]?.doc ?? "") : "";
}

/** The value that a parameter has where nothing sets it. */
export function defaultOf({ type, default: given }: Parameter): unknown {
  if (given === undefined) return type.zero;
  const parsed = type.parse(given);
  if ("value" in parsed) return parsed.value;
  throw new Error(`the default "${given}" must be ${parsed.must}`);
}
