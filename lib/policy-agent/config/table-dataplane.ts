import { parameter } from "./parameter.ts";
import * as t from "./types.ts";

/** What all dataplanes have. */
export const COMMON = {
  AllowIPIPPacketsFromWorkloads: parameter(t.flag, { default: "false", field: "allowIPIPPacketsFromWorkloads" }),
  AllowVXLANPacketsFromWorkloads: parameter(t.flag, { default: "false", field: "allowVXLANPacketsFromWorkloads" }),
  CgroupV2Path: parameter(t.text, { field: "cgroupV2Path" }),
  ChainInsertMode: parameter(t.required(t.choice(["insert", "append"])), {
    default: "insert",
    field: "chainInsertMode",
    fatal: true,
  }),
  DataplaneDriver: parameter(t.required(t.file), {
    default: "calico-iptables-plugin",
    field: "dataplaneDriver",
    fatal: true,
  }),
  DataplaneWatchdogTimeout: parameter(t.seconds, { default: "90", field: "dataplaneWatchdogTimeout" }),
  DefaultEndpointToHostAction: parameter(t.required(t.choice(["DROP", "RETURN", "ACCEPT"])), {
    default: "DROP",
    field: "defaultEndpointToHostAction",
    fatal: true,
  }),
  DeviceRouteProtocol: parameter(t.integer(), { default: "3", field: "deviceRouteProtocol" }),
  DeviceRouteSourceAddress: parameter(t.ipv4, { field: "deviceRouteSourceAddress" }),
  DeviceRouteSourceAddressIPv6: parameter(t.ipv6, { field: "deviceRouteSourceAddressIPv6" }),
  DisableConntrackInvalidCheck: parameter(t.flag, { default: "false", field: "disableConntrackInvalidCheck" }),
  EndpointStatusPathPrefix: parameter(t.file, { default: "/var/run/calico", field: "endpointStatusPathPrefix" }),
  ExternalNodesCIDRList: parameter(t.cidrs, { field: "externalNodesList", fatal: true }),
  FailsafeInboundHostPorts: parameter(t.protoPorts, {
    default: "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667",
    field: "failsafeInboundHostPorts",
    fatal: true,
  }),
  FailsafeOutboundHostPorts: parameter(t.protoPorts, {
    default: "udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667",
    field: "failsafeOutboundHostPorts",
    fatal: true,
  }),
  FloatingIPs: parameter(t.choice(["Enabled", "Disabled"]), { default: "Disabled", field: "floatingIPs" }),
  IPForwarding: parameter(t.choice(["Enabled", "Disabled"]), { default: "Enabled", field: "ipForwarding" }),
  IPv4ElevatedRoutePriority: parameter(t.integer(1, 2147483646), {
    default: "512",
    field: "ipv4ElevatedRoutePriority",
  }),
  IPv4NormalRoutePriority: parameter(t.integer(1, 2147483646), { default: "1024", field: "ipv4NormalRoutePriority" }),
  IPv6ElevatedRoutePriority: parameter(t.integer(1, 2147483646), {
    default: "512",
    field: "ipv6ElevatedRoutePriority",
  }),
  IPv6NormalRoutePriority: parameter(t.integer(1, 2147483646), { default: "1024", field: "ipv6NormalRoutePriority" }),
  InterfaceExclude: parameter(t.interfacePatterns, { default: "kube-ipvs0", field: "interfaceExclude" }),
  InterfacePrefix: parameter(t.required(t.interfacePrefixes), {
    default: "cali",
    field: "interfacePrefix",
    fatal: true,
  }),
  InterfaceRefreshInterval: parameter(t.seconds, { default: "90", field: "interfaceRefreshInterval" }),
  Ipv6Support: parameter(t.flag, { default: "true", field: "ipv6Support" }),
  IstioAmbientMode: parameter(t.choice(["Disabled", "Enabled"]), { default: "Disabled", field: "istioAmbientMode" }),
  IstioDSCPMark: parameter(t.dscp, { default: "23", field: "istioDSCPMark" }),
  LiveMigrationRouteConvergenceTime: parameter(t.seconds, {
    default: "30",
    field: "liveMigrationRouteConvergenceTime",
  }),
  LocalSubnetL2Reachability: parameter(t.choice(["Disabled", "PodsAndLoadBalancers"]), {
    default: "Disabled",
    field: "localSubnetL2Reachability",
  }),
  LocalSubnetL2ReachabilityRefreshInterval: parameter(t.seconds, {
    default: "120",
    field: "localSubnetL2ReachabilityRefreshInterval",
  }),
  MTUIfacePattern: parameter(t.regex, {
    default: "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)",
    field: "mtuIfacePattern",
  }),
  NATOutgoingAddress: parameter(t.ipv4, { field: "natOutgoingAddress" }),
  NATOutgoingExclusions: parameter(t.choice(["IPPoolsOnly", "IPPoolsAndHostIPs"]), {
    default: "IPPoolsOnly",
    field: "natOutgoingExclusions",
  }),
  NATPortRange: parameter(t.portRange, { field: "natPortRange" }),
  NFTablesFlowTableDataIfacePattern: parameter(t.regex, { field: "nftablesFlowTableDataIfacePattern" }),
  NFTablesFlowTableOffload: parameter(t.choice(["All", "Disabled"]), {
    default: "Disabled",
    field: "nftablesFlowTableOffload",
  }),
  NFTablesMode: parameter(t.choice(["Enabled", "Disabled", "Auto"]), { default: "Auto", field: "nftablesMode" }),
  NetlinkTimeoutSecs: parameter(t.seconds, { default: "10", field: "netlinkTimeout" }),
  PolicySyncPathPrefix: parameter(t.file, { field: "policySyncPathPrefix" }),
  ProgramClusterRoutes: parameter(t.choice(["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"]), {
    default: "EnabledIPIPOnly",
    field: "programClusterRoutes",
  }),
  RemoveExternalRoutes: parameter(t.flag, { default: "true", field: "removeExternalRoutes" }),
  RequireMTUFile: parameter(t.flag, { default: "false", field: "requireMTUFile" }),
  RouteRefreshInterval: parameter(t.seconds, { default: "90", field: "routeRefreshInterval" }),
  RouteSource: parameter(t.choice(["WorkloadIPs", "CalicoIPAM"]), { default: "CalicoIPAM", field: "routeSource" }),
  RouteSyncDisabled: parameter(t.flag, { default: "false", field: "routeSyncDisabled" }),
  RouteTableRange: parameter(t.tableRange, { field: "routeTableRange", fatal: true }),
  RouteTableRanges: parameter(t.tableRanges, { field: "routeTableRanges", fatal: true }),
  ServiceLoopPrevention: parameter(t.choice(["Drop", "Reject", "Disabled"]), {
    default: "Drop",
    field: "serviceLoopPrevention",
  }),
  SidecarAccelerationEnabled: parameter(t.flag, { default: "false", field: "sidecarAccelerationEnabled" }),
  UseInternalDataplaneDriver: parameter(t.flag, { default: "true", field: "useInternalDataplaneDriver" }),
  WorkloadSourceSpoofing: parameter(t.choice(["Disabled", "Any"]), {
    default: "Disabled",
    field: "workloadSourceSpoofing",
  }),
};

/** iptables. */
export const IPTABLES = {
  IpsetsRefreshInterval: parameter(t.seconds, { default: "90", field: "ipsetsRefreshInterval" }),
  IptablesBackend: parameter(t.choice(["legacy", "nft", "auto"]), { default: "auto", field: "iptablesBackend" }),
  IptablesFilterAllowAction: parameter(t.required(t.choice(["ACCEPT", "RETURN"])), {
    default: "ACCEPT",
    field: "iptablesFilterAllowAction",
    fatal: true,
  }),
  IptablesFilterDenyAction: parameter(t.required(t.choice(["DROP", "REJECT"])), {
    default: "DROP",
    field: "iptablesFilterDenyAction",
    fatal: true,
  }),
  IptablesLockProbeIntervalMillis: parameter(t.millis, { default: "50", field: "iptablesLockProbeInterval" }),
  IptablesMangleAllowAction: parameter(t.required(t.choice(["ACCEPT", "RETURN"])), {
    default: "ACCEPT",
    field: "iptablesMangleAllowAction",
    fatal: true,
  }),
  IptablesMarkMask: parameter(t.required(t.markMask), {
    default: "0xffff0000",
    field: "iptablesMarkMask",
    fatal: true,
  }),
  IptablesNATOutgoingInterfaceFilter: parameter(t.interfaceFilter, { field: "iptablesNATOutgoingInterfaceFilter" }),
  IptablesPostWriteCheckIntervalSecs: parameter(t.seconds, { default: "5", field: "iptablesPostWriteCheckInterval" }),
  IptablesRefreshInterval: parameter(t.seconds, { default: "180", field: "iptablesRefreshInterval" }),
  KubeNodePortRanges: parameter(t.portRanges, { default: "30000:32767", field: "kubeNodePortRanges" }),
  MaxIpsetSize: parameter(t.required(t.integer()), { default: "1048576", field: "maxIpsetSize" }),
};

/** nftables. */
export const NFTABLES = {
  NftablesFilterAllowAction: parameter(t.required(t.choice(["ACCEPT", "RETURN"])), {
    default: "ACCEPT",
    field: "nftablesFilterAllowAction",
    fatal: true,
  }),
  NftablesFilterDenyAction: parameter(t.required(t.choice(["DROP", "REJECT"])), {
    default: "DROP",
    field: "nftablesFilterDenyAction",
    fatal: true,
  }),
  NftablesMangleAllowAction: parameter(t.required(t.choice(["ACCEPT", "RETURN"])), {
    default: "ACCEPT",
    field: "nftablesMangleAllowAction",
    fatal: true,
  }),
  NftablesMarkMask: parameter(t.required(t.markMask), {
    default: "0xffff0000",
    field: "nftablesMarkMask",
    fatal: true,
  }),
  NftablesRefreshInterval: parameter(t.seconds, { default: "180", field: "nftablesRefreshInterval" }),
};

/** XDP. */
export const XDP = {
  GenericXDPEnabled: parameter(t.flag, { default: "false", field: "genericXDPEnabled" }),
  XDPEnabled: parameter(t.flag, { default: "true", field: "xdpEnabled" }),
  XDPRefreshInterval: parameter(t.seconds, { default: "90", field: "xdpRefreshInterval" }),
};

/** VXLAN. */
export const VXLAN = {
  VXLANEnabled: parameter(t.optionalFlag, { field: "vxlanEnabled" }),
  VXLANMTU: parameter(t.integer(), { default: "0", field: "vxlanMTU" }),
  VXLANMTUV6: parameter(t.integer(), { default: "0", field: "vxlanMTUV6" }),
  VXLANPort: parameter(t.integer(), { default: "4789", field: "vxlanPort" }),
  VXLANVNI: parameter(t.integer(), { default: "4096", field: "vxlanVNI" }),
  IPv4VXLANTunnelAddr: parameter(t.ipv4, { from: "Node", doc: "IPv4 address of this node's VXLAN interface." }),
  IPv6VXLANTunnelAddr: parameter(t.ipv6, { from: "Node", doc: "IPv6 address of this node's VXLAN interface." }),
  VXLANTunnelMACAddr: parameter(t.text, { from: "Node", doc: "MAC address of the IPv4 VXLAN interface." }),
  VXLANTunnelMACAddrV6: parameter(t.text, { from: "Node", doc: "MAC address of the IPv6 VXLAN interface." }),
};

/** IP-in-IP. */
export const IPIP = {
  IpInIpEnabled: parameter(t.optionalFlag, { field: "ipipEnabled" }),
  IpInIpMtu: parameter(t.integer(), { default: "0", field: "ipipMTU" }),
  IpInIpTunnelAddr: parameter(t.ipv4, { from: "Node", doc: "Address of this node's IP-in-IP interface." }),
};

/** WireGuard. */
export const WIREGUARD = {
  WireguardEnabled: parameter(t.flag, { default: "false", field: "wireguardEnabled" }),
  WireguardEnabledV6: parameter(t.flag, { default: "false", field: "wireguardEnabledV6" }),
  WireguardHostEncryptionEnabled: parameter(t.flag, { default: "false", field: "wireguardHostEncryptionEnabled" }),
  WireguardInterfaceName: parameter(t.required(t.interfaceFilter), {
    default: "wireguard.cali",
    field: "wireguardInterfaceName",
  }),
  WireguardInterfaceNameV6: parameter(t.required(t.interfaceFilter), {
    default: "wg-v6.cali",
    field: "wireguardInterfaceNameV6",
  }),
  WireguardListeningPort: parameter(t.integer(), { default: "51820", field: "wireguardListeningPort" }),
  WireguardListeningPortV6: parameter(t.integer(), { default: "51821", field: "wireguardListeningPortV6" }),
  WireguardMTU: parameter(t.integer(), { default: "0", field: "wireguardMTU" }),
  WireguardMTUV6: parameter(t.integer(), { default: "0", field: "wireguardMTUV6" }),
  WireguardPersistentKeepAlive: parameter(t.seconds, { default: "0", field: "wireguardKeepAlive" }),
  WireguardRoutingRulePriority: parameter(t.integer(), { default: "99", field: "wireguardRoutingRulePriority" }),
  WireguardThreadingEnabled: parameter(t.flag, { default: "false", field: "wireguardThreadingEnabled" }),
};

/** OpenStack. */
export const OPENSTACK = {
  EndpointReportingDelaySecs: parameter(t.seconds, { default: "1", field: "endpointReportingDelay" }),
  EndpointReportingEnabled: parameter(t.flag, { default: "false", field: "endpointReportingEnabled" }),
  MetadataAddr: parameter(t.hostname, { default: "127.0.0.1", field: "metadataAddr", fatal: true }),
  MetadataPort: parameter(t.integer(0, 65535), { default: "8775", field: "metadataPort", fatal: true }),
  OpenstackRegion: parameter(t.region, { field: "openstackRegion", fatal: true }),
  ReportingIntervalSecs: parameter(t.seconds, { default: "30", field: "reportingInterval", ignored: true }),
  ReportingTTLSecs: parameter(t.seconds, { default: "90", field: "reportingTTL", ignored: true }),
};

/** Other platforms. */
export const PLATFORMS = {
  AWSSrcDstCheck: parameter(t.required(t.choice(["DoNothing", "Enable", "Disable"])), {
    default: "DoNothing",
    field: "awsSrcDstCheck",
  }),
  WindowsManageFirewallRules: parameter(t.choice(["Enabled", "Disabled"]), {
    default: "Disabled",
    field: "windowsManageFirewallRules",
    ignored: true,
  }),
};
