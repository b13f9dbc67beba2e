import { tryParseAddress } from "../ip/index.ts";
import type { WorkloadRoutesOptions } from "../routes/index.ts";
import type { LocalWorkload } from "./calc/index.ts";
import { type AgentConfig, tableSettings } from "./config/index.ts";
import type { Mode } from "./mode.ts";
import { MAX_CHAIN_NAME, type RulesConfig } from "./rules/index.ts";

/** What of the configuration shapes rules, for the dataplane in use. */
export function rulesConfig(config: AgentConfig, mode: Mode, ipvs: boolean): RulesConfig {
  const dataplane = mode === "nftables" ? "nftables" : "iptables";
  const tables = tableSettings(config, dataplane);
  return {
    interfacePrefixes: config.InterfacePrefix,
    interfaceExclude: config.InterfaceExclude,
    maxChainNameLength: MAX_CHAIN_NAME[dataplane],
    markMask: tables.markMask,
    filterAllowAction: tables.filterAllowAction,
    mangleAllowAction: tables.mangleAllowAction,
    filterDenyAction: tables.filterDenyAction,
    defaultEndpointToHostAction: config.DefaultEndpointToHostAction,
    failsafeInboundHostPorts: config.FailsafeInboundHostPorts,
    failsafeOutboundHostPorts: config.FailsafeOutboundHostPorts,
    disableConntrackInvalidCheck: config.DisableConntrackInvalidCheck,
    logPrefix: config.LogPrefix,
    ...(config.LogActionRateLimit === "" ? {} : { logActionRateLimit: config.LogActionRateLimit }),
    logActionRateLimitBurst: config.LogActionRateLimitBurst,
    allowVXLANPacketsFromWorkloads: config.AllowVXLANPacketsFromWorkloads,
    allowIPIPPacketsFromWorkloads: config.AllowIPIPPacketsFromWorkloads,
    ...(config.IpInIpEnabled === undefined ? {} : { ipipEnabled: config.IpInIpEnabled }),
    ...(config.VXLANEnabled === undefined ? {} : { vxlanEnabled: config.VXLANEnabled }),
    vxlanPort: config.VXLANPort,
    ...(config.WireguardEnabled ? { wireguardPort: config.WireguardListeningPort } : {}),
    ...(config.WireguardEnabledV6 ? { wireguardPortV6: config.WireguardListeningPortV6 } : {}),
    externalNodes: config.ExternalNodesCIDRList,
    kubeIPVSSupportEnabled: ipvs,
    kubeNodePortRanges: config.KubeNodePortRanges,
    natOutgoingExclusions: config.NATOutgoingExclusions || "IPPoolsOnly",
    ...(config.NATPortRange === undefined ? {} : { natPortRange: config.NATPortRange }),
    ...(config.NATOutgoingAddress ? { natOutgoingAddress: config.NATOutgoingAddress } : {}),
    ...(config.IptablesNATOutgoingInterfaceFilter === ""
      ? {}
      : { natOutgoingInterfaceFilter: config.IptablesNATOutgoingInterfaceFilter }),
    floatingIPs: config.FloatingIPs === "Enabled",
    // `none` turns it off, as for the others of these.
    serviceLoopPrevention: config.ServiceLoopPrevention || "Disabled",
    workloadSourceSpoofing: config.WorkloadSourceSpoofing || "Disabled",
  };
}

/** What there is to say of a workload with addresses of a family that the agent leaves alone; undefined: nothing. */
export function unenforced({ ipv6Nets }: Pick<LocalWorkload, "ipv6Nets">, config: AgentConfig): string | undefined {
  return config.Ipv6Support || ipv6Nets.length === 0
    ? undefined
    : `no policy holds for ${ipv6Nets.join(", ")}, because Ipv6Support (FELIX_IPV6SUPPORT) is false: set it to true, or give out no IPv6 addresses`;
}

/** What of it shapes routes. */
export function routeSettings(
  config: AgentConfig,
): Pick<WorkloadRoutesOptions, "prefixes" | "protocol" | "metrics" | "sources" | "removeExternal"> {
  const v4 = tryParseAddress(config.DeviceRouteSourceAddress ?? "");
  const v6 = tryParseAddress(config.DeviceRouteSourceAddressIPv6 ?? "");
  return {
    prefixes: config.InterfacePrefix,
    protocol: config.DeviceRouteProtocol,
    metrics: { v4: config.IPv4NormalRoutePriority, v6: config.IPv6NormalRoutePriority },
    sources: { ...(v4 ? { v4 } : {}), ...(v6 ? { v6 } : {}) },
    removeExternal: config.RemoveExternalRoutes,
  };
}
