import { parameter } from "./parameter.ts";
import * as t from "./types.ts";

/** eBPF. */
export const BPF = {
  BPFAttachType: parameter(t.required(t.choice(["Netkit", "TCX", "TC"])), {
    default: "Netkit",
    field: "bpfAttachType",
  }),
  BPFCTLBLogFilter: parameter(t.choice(["all"]), { field: "bpfCTLBLogFilter" }),
  BPFConnectTimeLoadBalancing: parameter(t.required(t.choice(["TCP", "Enabled", "Disabled"])), {
    default: "TCP",
    field: "bpfConnectTimeLoadBalancing",
  }),
  BPFConnectTimeLoadBalancingEnabled: parameter(t.flag, { field: "bpfConnectTimeLoadBalancingEnabled" }),
  BPFConntrackCleanupMode: parameter(t.choice(["Auto", "Userspace", "BPFProgram"]), {
    default: "Auto",
    field: "bpfConntrackMode",
  }),
  BPFConntrackLogLevel: parameter(t.required(t.choice(["off", "debug"])), {
    default: "off",
    field: "bpfConntrackLogLevel",
  }),
  BPFConntrackTimeouts: parameter(t.keyValues, {
    default:
      "CreationGracePeriod=10s,TCPSynSent=20s,TCPEstablished=1h,TCPFinsSeen=Auto,TCPResetSeen=40s,UDPTimeout=60s,GenericTimeout=10m,ICMPTimeout=5s",
    field: "bpfConntrackTimeouts",
  }),
  BPFDSROptoutCIDRs: parameter(t.cidrs, { field: "bpfDSROptoutCIDRs" }),
  BPFDataIfacePattern: parameter(t.regex, {
    default: "^((en|wl|ww|sl|ib)[Popsx].*|(eth|wlan|wwan|bond).*)",
    field: "bpfDataIfacePattern",
  }),
  BPFDisableGROForIfaces: parameter(t.regex, { field: "bpfDisableGROForIfaces" }),
  BPFDisableUnprivileged: parameter(t.flag, { default: "true", field: "bpfDisableUnprivileged" }),
  BPFEnabled: parameter(t.flag, { default: "false", field: "bpfEnabled" }),
  BPFEnforceRPF: parameter(t.required(t.choice(["Disabled", "Strict", "Loose"])), {
    default: "Loose",
    field: "bpfEnforceRPF",
  }),
  BPFExcludeCIDRsFromNAT: parameter(t.cidrs, { field: "bpfExcludeCIDRsFromNAT" }),
  BPFExportBufferSizeMB: parameter(t.required(t.integer()), { default: "1", field: "bpfExportBufferSizeMB" }),
  BPFExtToServiceConnmark: parameter(t.integer(), { default: "0", field: "bpfExtToServiceConnmark" }),
  BPFExternalServiceMode: parameter(t.required(t.choice(["tunnel", "dsr"])), {
    default: "tunnel",
    field: "bpfExternalServiceMode",
  }),
  BPFForceTrackPacketsFromIfaces: parameter(t.interfaceFilters, {
    default: "docker+",
    field: "bpfForceTrackPacketsFromIfaces",
  }),
  BPFHostConntrackBypass: parameter(t.flag, { default: "false", field: "bpfHostConntrackBypass" }),
  BPFHostNetworkedNATWithoutCTLB: parameter(t.required(t.choice(["Enabled", "Disabled"])), {
    default: "Enabled",
    field: "bpfHostNetworkedNATWithoutCTLB",
  }),
  BPFIPFragTimeout: parameter(t.seconds, { default: "0", field: "bpfIPFragTimeout" }),
  BPFIPFragmentReassemblyEnabled: parameter(t.flag, { default: "true", field: "bpfIPFragmentReassemblyEnabled" }),
  BPFJITHardening: parameter(t.required(t.choice(["Auto", "Strict"])), { default: "Auto", field: "bpfJITHardening" }),
  BPFKubeProxyHealthzPort: parameter(t.integer(), { default: "10256", field: "bpfKubeProxyHealthzPort" }),
  BPFKubeProxyIptablesCleanupEnabled: parameter(t.flag, {
    default: "true",
    field: "bpfKubeProxyIptablesCleanupEnabled",
  }),
  BPFKubeProxyMinSyncPeriod: parameter(t.seconds, { default: "1", field: "bpfKubeProxyMinSyncPeriod" }),
  BPFL3IfacePattern: parameter(t.regex, { field: "bpfL3IfacePattern" }),
  BPFLogFilters: parameter(t.keyValues, { field: "bpfLogFilters" }),
  BPFLogLevel: parameter(t.required(t.choice(["off", "info", "debug"])), { default: "off", field: "bpfLogLevel" }),
  BPFMaglevMaxEndpointsPerService: parameter(t.integer(1, 3000), {
    default: "100",
    field: "bpfMaglevMaxEndpointsPerService",
  }),
  BPFMaglevMaxServices: parameter(t.integer(1, 3000), { default: "100", field: "bpfMaglevMaxServices" }),
  BPFMapSizeConntrack: parameter(t.required(t.integer()), { default: "512000", field: "bpfMapSizeConntrack" }),
  BPFMapSizeConntrackCleanupQueue: parameter(t.required(t.integer()), {
    default: "100000",
    field: "bpfMapSizeConntrackCleanupQueue",
  }),
  BPFMapSizeConntrackScaling: parameter(t.required(t.choice(["Disabled", "DoubleIfFull"])), {
    default: "DoubleIfFull",
    field: "bpfMapSizeConntrackScaling",
  }),
  BPFMapSizeIPSets: parameter(t.required(t.integer()), { default: "1048576", field: "bpfMapSizeIPSets" }),
  BPFMapSizeIfState: parameter(t.required(t.integer()), { default: "1000", field: "bpfMapSizeIfState" }),
  BPFMapSizeNATAffinity: parameter(t.required(t.integer()), { default: "65536", field: "bpfMapSizeNATAffinity" }),
  BPFMapSizeNATBackend: parameter(t.required(t.integer()), { default: "262144", field: "bpfMapSizeNATBackend" }),
  BPFMapSizeNATFrontend: parameter(t.required(t.integer()), { default: "65536", field: "bpfMapSizeNATFrontend" }),
  BPFMapSizePerCPUConntrack: parameter(t.integer(), { default: "0", field: "bpfMapSizePerCpuConntrack" }),
  BPFMapSizeRoute: parameter(t.required(t.integer()), { default: "262144", field: "bpfMapSizeRoute" }),
  BPFOverlayHostSourceIP: parameter(t.required(t.choice(["TunnelAddress", "HostAddress"])), {
    default: "TunnelAddress",
    field: "bpfOverlayHostSourceIP",
  }),
  BPFPSNATPorts: parameter(t.portRange, { default: "20000:29999", field: "bpfPSNATPorts" }),
  BPFPolicyDebugEnabled: parameter(t.flag, { default: "true", field: "bpfPolicyDebugEnabled" }),
  BPFProfiling: parameter(t.required(t.choice(["Disabled", "Enabled"])), {
    default: "Disabled",
    field: "bpfProfiling",
  }),
  BPFRedirectToPeer: parameter(t.required(t.choice(["Disabled", "Enabled", "L2Only"])), {
    default: "Enabled",
    field: "bpfRedirectToPeer",
  }),
};
