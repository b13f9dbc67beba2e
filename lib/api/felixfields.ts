/**
 * The fields of a FelixConfiguration, in groups. They set the policy agent's parameters of the same names; what those are when no field
 * and no other source sets them is the agent's to know, so fields have no defaults here. Durations are Go's: `1m30s`.
 */
import * as s from "./schema.ts";

const flag = (doc: string) => s.optional(s.boolean({ doc }));
const text = (doc: string) => s.optional(s.string({ doc }));
const whole = (doc: string, min?: number, max?: number, unit?: string) =>
  s.optional(
    s.integer({
      doc,
      ...(min === undefined ? {} : { min }),
      ...(max === undefined ? {} : { max }),
      ...(unit === undefined ? {} : { unit }),
    }),
  );
const port = (doc: string) => whole(doc, 0, 65535);
const mtu = (doc: string) => whole(`${doc} 0: found from the host's interfaces.`, 0, undefined, "bytes");
const entries = (doc: string) => whole(doc, undefined, undefined, "entries");
const mark = (doc: string) => whole(doc, 0, 4294967295);
/** A route's metric: the kernel's, less what is reserved. */
export const priority = (doc: string) => whole(doc, 1, 2147483646);
const oneOf = <const V extends string>(values: readonly V[], doc: string) => s.optional(s.oneOf(values, { doc }));
const onOff = (doc: string) => oneOf(["Enabled", "Disabled"], doc);
const pattern = (source: string, means: string, doc: string) =>
  s.optional(s.string({ doc, pattern: { source, means } }));

/** One of a few words in any case, as the configuration file has always taken them. */
const anyCase = (values: readonly string[], doc: string) =>
  pattern(`(?i:${values.join("|")})`, `one of ${values.join(", ")}`, doc);
export const severity = (doc: string) => anyCase(["Trace", "Debug", "Info", "Warning", "Error", "Fatal"], doc);

export const DURATION = { source: "([0-9]+(\\.[0-9]+)?(ms|s|m|h))*", means: "a duration such as 90s, 1m30s or 500ms" };
const duration = (doc: string) => s.optional(s.string({ doc, pattern: DURATION }));

const INTERFACES = { source: "[a-zA-Z0-9:._+-]{1,15}", means: "the name of an interface, or its beginning and +" };
const address = (version: 4 | 6, doc: string) => s.optional(s.string({ doc, format: `ip${version}`, maxLength: 45 }));
const cidrs = (doc: string) => s.optional(s.array(s.string({ format: "cidr-or-ip" }), { doc }));
const portRange = (doc: string) => s.optional(s.intOrString("port", { doc }));

const protoPorts = (doc: string) =>
  s.optional(
    s.array(
      s.object({
        protocol: s.oneOf(["TCP", "UDP", "SCTP"], { doc: "The protocol." }),
        port: s.integer({ doc: "The port.", min: 0, max: 65535 }),
        net: s.optional(
          s.string({ doc: "Only to or from addresses of this network; absent: any.", format: "cidr-or-ip" }),
        ),
      }),
      { doc },
    ),
  );

const tableRange = (doc: string) =>
  s.object(
    {
      min: s.integer({ doc: "The first index.", min: 1 }),
      max: s.integer({ doc: "The last index." }),
    },
    { doc },
  );

/** What the agent's process is: logs, health, metrics, and debugging. */
export const processFields = () => ({
  featureDetectOverride: pattern(
    "([a-zA-Z0-9-_]+=(true|false|),)*([a-zA-Z0-9-_]+=(true|false|))?",
    "a list such as SNATFullyRandom=true,RestoreSupportsLock=",
    "Features of the kernel and its tools that are taken to be there (true) or not (false), whatever is found; with nothing after the = the finding counts.",
  ),
  featureGates: pattern(
    "([a-zA-Z0-9-_]+=([^=]+),)*([a-zA-Z0-9-_]+=([^=]+))?",
    "a list such as NameOfFeature=Enabled",
    "Features to switch on or off that are not finished.",
  ),
  goGCThreshold: whole(
    "Of the Go runtime: growth of the heap that sets off a collection. Without effect here.",
    -1,
    undefined,
    "percent",
  ),
  goMaxProcs: whole("Of the Go runtime: how many processors it uses; -1: all. Without effect here.", -1),
  goMemoryLimitMB: whole(
    "Of the Go runtime: a soft limit of memory; -1: none. Without effect here.",
    -1,
    undefined,
    "megabytes",
  ),
  healthEnabled: flag("Serve /readiness and /liveness."),
  healthHost: text("The address on which they are served."),
  healthPort: port("The port on which they are served."),
  healthTimeoutOverrides: s.optional(
    s.array(
      s.object({
        name: s.string({
          doc: "The part of the agent, as the health report names it.",
          pattern: { source: "[a-zA-Z0-9_ -]+", means: "a name of letters, digits, blanks, _ and -" },
        }),
        timeout: s.string({ doc: "After how long without a report it counts as hung; 0s: never.", pattern: DURATION }),
      }),
      { doc: "Other limits for how long parts of the agent may be silent before they count as hung." },
    ),
  ),
  dataplaneWatchdogTimeout: duration(
    "How long the dataplane may be silent before it counts as hung. Superseded by healthTimeoutOverrides.",
  ),
  logFilePath: text("The file that the log goes to; none: no file."),
  logSeverityFile: severity("What is written to the file: this severity and what is graver."),
  logSeverityScreen: severity("What is written to standard output."),
  logSeveritySys: severity("What is sent to syslog."),
  logDebugFilenameRegex: text(
    "Debug lines only of source files whose names match this regular expression; absent: of all.",
  ),
  logPrefix: pattern(
    "([a-zA-Z0-9%: /_-])*",
    "letters, digits, blanks and % : / _ -",
    "What the kernel's log lines of Log rules begin with: %t is the tier, %k the policy's kind, %n its name, %p its name with the namespace.",
  ),
  logActionRateLimit: pattern(
    "[1-9]\\d{0,3}/(?:second|minute|hour|day)",
    "a rate such as 10/second, 100/minute, 5/hour or 1/day",
    "How often a Log rule may log; absent: without limit.",
  ),
  logActionRateLimitBurst: whole("How many lines of a Log rule may come at once beyond the rate.", 0, 9999),
  prometheusMetricsEnabled: flag("Serve metrics for Prometheus."),
  prometheusMetricsHost: pattern(
    "[a-zA-Z0-9:._+-]{1,64}",
    "an address or a host name",
    "The address on which metrics are served; absent: all.",
  ),
  prometheusMetricsPort: port("The port on which they are served."),
  prometheusMetricsCAFile: text("File with the certificates of the authorities that sign those of clients."),
  prometheusMetricsCertFile: text("File with the certificate under which metrics are served."),
  prometheusMetricsKeyFile: text("File with its private key."),
  prometheusMetricsClientAuth: oneOf(
    ["RequireAndVerifyClientCert", "RequireAnyClientCert", "VerifyClientCertIfGiven", "NoClientCert"],
    "Which certificates clients of the metrics must show.",
  ),
  prometheusGoMetricsEnabled: flag("Metrics of the runtime."),
  prometheusProcessMetricsEnabled: flag("Metrics of the process: memory, time, descriptors."),
  prometheusWireGuardMetricsEnabled: flag("Metrics of the WireGuard interfaces."),
  debugHost: text("The address on which debugging is served where debugPort is set."),
  debugPort: port("Serve profiles on this port, to whoever asks; absent or 0: do not."),
  debugMemoryProfilePath: text("File that a memory profile is written to on a signal."),
  debugDisableLogDropping: flag("Wait, rather than drop log lines, when writing them is slower than making them."),
  debugSimulateCalcGraphHangAfter: duration("For tests of the watchdog: stop calculating after this long."),
  debugSimulateDataplaneHangAfter: duration(
    "For tests of the watchdog: stop programming the dataplane after this long.",
  ),
  debugSimulateDataplaneApplyDelay: duration("For tests: wait so long with every change of the dataplane."),
  usageReportingEnabled: flag("Report version and size of the cluster to the project. Never done here."),
  usageReportingInitialDelay: duration("How long to wait before the first such report."),
  usageReportingInterval: duration("How long to wait between them."),
});

/** What all dataplanes have: interfaces, hosts, routes, NAT. */
export const dataplaneFields = () => ({
  useInternalDataplaneDriver: flag("Program the kernel directly; false: through the program of dataplaneDriver."),
  dataplaneDriver: text("The program that programs the dataplane where useInternalDataplaneDriver is false."),
  ipv6Support: flag("Handle IPv6."),
  interfacePrefix: text(
    "What names of workloads' interfaces on the host begin with; several with commas between them.",
  ),
  interfaceExclude: text(
    "Interfaces that are never a host endpoint's: names with commas between them, or regular expressions between slashes.",
  ),
  interfaceRefreshInterval: duration("How often interfaces are looked at afresh; 0s: never."),
  mtuIfacePattern: text(
    "Regular expression for the host's interfaces of which the smallest MTU counts for the overlays.",
  ),
  requireMTUFile: flag("Do not start without the file that tells the CNI plugin the MTU."),
  netlinkTimeout: duration("How long to wait for the kernel's answer."),
  chainInsertMode: anyCase(
    ["Insert", "Append"],
    "Where the agent's rules go in the kernel's own chains: before all others, or after them, where others may let packets past the policy.",
  ),
  defaultEndpointToHostAction: anyCase(
    ["Drop", "Accept", "Return"],
    "What becomes of packets from a workload to its host that its egress policy allows.",
  ),
  disableConntrackInvalidCheck: flag("Do not drop what connection tracking calls invalid."),
  allowVXLANPacketsFromWorkloads: flag("Let workloads send VXLAN packets."),
  allowIPIPPacketsFromWorkloads: flag("Let workloads send IP-in-IP packets."),
  workloadSourceSpoofing: anyCase(
    ["Disabled", "Any"],
    "Whether pods may ask, by annotation, to send from addresses that are not theirs.",
  ),
  serviceLoopPrevention: anyCase(
    ["Drop", "Reject", "Disabled"],
    "What becomes of packets to advertised service addresses that no service takes, and that would go round in circles.",
  ),
  failsafeInboundHostPorts: protoPorts(
    "Ports of host endpoints that can be reached whatever policies say; an empty list: none.",
  ),
  failsafeOutboundHostPorts: protoPorts(
    "Ports that host endpoints can reach whatever policies say; an empty list: none.",
  ),
  externalNodesList: cidrs("Addresses outside of the cluster from which IP-in-IP and VXLAN packets are taken. IPv4."),
  endpointStatusPathPrefix: text(
    "Directory where the agent says which endpoints are programmed, for the CNI plugin to wait; empty: nowhere.",
  ),
  policySyncPathPrefix: text(
    "Directory of the socket through which proxies of pods hear of policies; absent: no socket.",
  ),
  ipForwarding: onOff("Switch on forwarding of packets in the kernel. Only for hosts without workloads may it be off."),
  floatingIPs: onOff("Translate the addresses that pods ask for by annotation."),
  natOutgoingAddress: address(
    4,
    "Source address of what is masqueraded; absent: an address of the interface it leaves by.",
  ),
  natOutgoingExclusions: oneOf(
    ["IPPoolsOnly", "IPPoolsAndHostIPs"],
    "What is not masqueraded: traffic to pools, or also that to hosts of the cluster.",
  ),
  natPortRange: portRange("Source ports of what is masqueraded: 1024:65535; absent: the kernel's choice."),
  deviceRouteSourceAddress: address(4, "Source address that routes to workloads name; absent: the kernel's choice."),
  deviceRouteSourceAddressIPv6: address(
    6,
    "IPv6 source address that routes to workloads name; absent: the kernel's choice.",
  ),
  deviceRouteProtocol: whole("Number by which routes of the agent are known as such (rtm_protocol)."),
  removeExternalRoutes: flag("Remove routes through workloads' interfaces that others made."),
  routeRefreshInterval: duration("How often routes are compared with the kernel's afresh; 0s: never."),
  routeSource: anyCase(
    ["WorkloadIPs", "CalicoIPAM"],
    "Where routes to other nodes come from: the addresses of their endpoints, or their blocks.",
  ),
  routeSyncDisabled: flag("Leave routes alone: policy only."),
  routeTableRange: s.optional(
    tableRange("Routing tables that the agent may use, from 1 to 250. Superseded by routeTableRanges."),
  ),
  routeTableRanges: s.optional(
    s.array(tableRange("Indices that follow one another."), { doc: "Routing tables that the agent may use." }),
  ),
  programClusterRoutes: oneOf(
    ["Enabled", "Disabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"],
    "For which pools without VXLAN the agent makes the routes to other nodes, which BGP makes else.",
  ),
  ipv4NormalRoutePriority: priority("Metric of IPv4 routes."),
  ipv4ElevatedRoutePriority: priority("Metric of IPv4 routes that go before others while a virtual machine moves."),
  ipv6NormalRoutePriority: priority("Metric of IPv6 routes."),
  ipv6ElevatedRoutePriority: priority("Metric of IPv6 routes that go before others while a virtual machine moves."),
  liveMigrationRouteConvergenceTime: duration("How long routes keep going first after a virtual machine moved."),
  localSubnetL2Reachability: oneOf(
    ["Disabled", "PodsAndLoadBalancers"],
    "Answer ARP and neighbour discovery for addresses of pods and load balancers that lie in a subnet of the host.",
  ),
  localSubnetL2ReachabilityRefreshInterval: duration("How often those addresses are announced afresh."),
  sidecarAccelerationEnabled: flag("Connect proxies and their pods' sockets directly. Experimental."),
  cgroupV2Path: text("Where the cgroup hierarchy is mounted, if not where it usually is."),
  istioAmbientMode: onOff("Work with Istio's ambient mesh."),
  istioDSCPMark: s.optional(s.intOrString("dscp", { doc: "Code point that marks traffic to the mesh's proxy." })),
  awsSrcDstCheck: oneOf(
    ["DoNothing", "Enable", "Disable"],
    "What to do with the check of source and destination that EC2 makes for this instance.",
  ),
  windowsManageFirewallRules: onOff("Open the metrics' port in the firewall of Windows."),
});

/** What iptables, nftables and XDP need. */
export const tableFields = () => ({
  iptablesBackend: anyCase(
    ["Auto", "Legacy", "NFT"],
    "Which iptables is used. A change leaves the other one's rules behind.",
  ),
  iptablesRefreshInterval: duration("How often rules are compared with the kernel's afresh; 0s: never."),
  iptablesPostWriteCheckInterval: duration("How long after a write the rules are read once more."),
  iptablesLockProbeInterval: duration("How long to wait between attempts to get the lock of iptables."),
  iptablesFilterAllowAction: anyCase(
    ["Accept", "Return"],
    "What becomes of packets that policy allows in the filter table: accepted at once, or left to later rules.",
  ),
  iptablesMangleAllowAction: anyCase(
    ["Accept", "Return"],
    "The same in the mangle table, for policy before address translation.",
  ),
  iptablesFilterDenyAction: anyCase(["Drop", "Reject"], "What becomes of packets that policy denies."),
  iptablesMarkMask: mark("The bits of packet marks that the agent may use; at least 8 of them."),
  iptablesNATOutgoingInterfaceFilter: s.optional(
    s.string({
      doc: "Masquerade only what leaves by this interface; + at the end stands for any more.",
      pattern: INTERFACES,
    }),
  ),
  ipsetsRefreshInterval: duration("How often IP sets are compared with the kernel's afresh; 0s: never."),
  maxIpsetSize: entries("How large an IP set may be. Not for nftables."),
  kubeNodePortRanges: s.optional(
    s.array(s.intOrString("port"), { doc: "Ports that kube-proxy may use for node ports: 30000:32767.", maxItems: 7 }),
  ),
  nftablesMode: oneOf(
    ["Disabled", "Enabled", "Auto"],
    "Whether nftables is used; Auto: as kube-proxy does, and where none is found.",
  ),
  nftablesRefreshInterval: duration("How often tables are compared with the kernel's afresh; 0s: never."),
  nftablesFilterAllowAction: anyCase(
    ["Accept", "Return"],
    "What becomes of packets that policy allows: accepted, or left to later rules.",
  ),
  nftablesMangleAllowAction: anyCase(["Accept", "Return"], "The same for policy before address translation."),
  nftablesFilterDenyAction: anyCase(["Drop", "Reject"], "What becomes of packets that policy denies."),
  nftablesMarkMask: mark("The bits of packet marks that the agent may use; at least 8 of them."),
  nftablesFlowTableOffload: oneOf(
    ["All", "Disabled"],
    "Let packets of connections that are established skip the rules, through a flow table.",
  ),
  nftablesFlowTableDataIfacePattern: text(
    "Regular expression for the host's interfaces that are in the flow table, besides those of workloads.",
  ),
  xdpEnabled: flag("Deny by untracked rules before the packet reaches the network stack, where the interface can."),
  genericXDPEnabled: flag("Do so also on interfaces without support for it, which is not faster than without."),
  xdpRefreshInterval: duration("How often that is compared with the kernel's afresh; 0s: never."),
});

const timeout = (doc: string) =>
  pattern("([0-9]*(\\.[0-9]*)?(ms|s|h|m|us)+)+|Auto", "a duration such as 90s, or Auto", doc);

/** What eBPF needs. */
export const bpfFields = () => ({
  bpfEnabled: flag("Use eBPF instead of iptables or nftables."),
  bpfAttachType: oneOf(["TC", "TCX", "Netkit"], "How programs are attached to interfaces."),
  bpfDataIfacePattern: text("Regular expression for the host's interfaces that get programs."),
  bpfL3IfacePattern: text("Regular expression for tunnels, of others, that get programs too."),
  bpfDisableUnprivileged: flag("Keep users without privileges from loading programs."),
  bpfJITHardening: oneOf(
    ["Auto", "Strict"],
    "Whether the kernel's hardening of programs is lowered to what does not slow them down.",
  ),
  bpfLogLevel: anyCase(["Off", "Info", "Debug"], "What programs write to the trace pipe."),
  bpfConntrackLogLevel: oneOf(["Off", "Debug"], "What the programs that clean up connections write to it."),
  bpfLogFilters: s.optional(
    s.map(s.string(), {
      doc: "Log only packets that match a pcap filter, by interface; all, weps and heps stand for many.",
    }),
  ),
  bpfCTLBLogFilter: text("all: log what connect-time load balancing does."),
  bpfConntrackMode: oneOf(["Auto", "Userspace", "BPFProgram"], "What cleans up expired connections."),
  bpfConntrackTimeouts: s.optional(
    s.object(
      {
        creationGracePeriod: timeout("How long a new connection is kept in any case."),
        tcpSynSent: timeout("TCP connections that are not established."),
        tcpEstablished: timeout("Established TCP connections without traffic."),
        tcpFinsSeen: timeout("TCP connections that both ends closed."),
        tcpResetSeen: timeout("TCP connections that were reset."),
        udpTimeout: timeout("UDP."),
        genericTimeout: timeout("Other protocols."),
        icmpTimeout: timeout("ICMP."),
      },
      { doc: "How long connections are kept; Auto: as the kernel's connection tracking does." },
    ),
  ),
  bpfHostConntrackBypass: flag("Let the kernel not track what programs track."),
  bpfForceTrackPacketsFromIfaces: s.optional(
    s.array(s.string({ pattern: INTERFACES }), { doc: "Interfaces whose traffic the kernel tracks nevertheless." }),
  ),
  bpfIPFragTimeout: duration("How long fragments wait for each other; absent: as the kernel has it."),
  bpfIPFragmentReassemblyEnabled: flag("Put together fragments that arrive out of order."),
  bpfEnforceRPF: anyCase(
    ["Disabled", "Strict", "Loose"],
    "Check on the host's interfaces that a packet's source is where it came from.",
  ),
  bpfConnectTimeLoadBalancing: oneOf(
    ["TCP", "Enabled", "Disabled"],
    "Choose a service's endpoint when a socket connects: for TCP, for all, or not.",
  ),
  bpfConnectTimeLoadBalancingEnabled: flag("Superseded by bpfConnectTimeLoadBalancing."),
  bpfHostNetworkedNATWithoutCTLB: onOff(
    "Translate services' addresses of the host's own packets where that is not done at connect time.",
  ),
  bpfExternalServiceMode: anyCase(
    ["Tunnel", "DSR"],
    "How packets from outside reach a service's endpoint on another node, and whether answers go back directly.",
  ),
  bpfDSROptoutCIDRs: cidrs("Clients for which answers do not go back directly."),
  bpfExtToServiceConnmark: mark("Mark of connections from outside to a service of this host."),
  bpfExcludeCIDRsFromNAT: cidrs("Service addresses that are left to the host."),
  bpfPSNATPorts: portRange("Ports to choose from where source ports collide."),
  bpfOverlayHostSourceIP: oneOf(
    ["TunnelAddress", "HostAddress"],
    "The source of the host's own packets through an overlay: the tunnel's address, or the host's.",
  ),
  bpfKubeProxyIptablesCleanupEnabled: flag("Remove what kube-proxy left in iptables; only where it does not run."),
  bpfKubeProxyMinSyncPeriod: duration("The least time between two updates of services."),
  bpfKubeProxyHealthzPort: port("Port of kube-proxy's health check; 0: none."),
  bpfMapSizeNATFrontend: entries("Size of the map of services' addresses and ports."),
  bpfMapSizeNATBackend: entries("Size of the map of services' endpoints."),
  bpfMapSizeNATAffinity: entries("Size of the map of clients that stay with an endpoint."),
  bpfMapSizeRoute: entries("Size of the map of routes."),
  bpfMapSizeConntrack: entries("Size of the map of connections. A change interrupts them."),
  bpfMapSizePerCpuConntrack: entries("Size of that map for each processor; 0: bpfMapSizeConntrack counts."),
  bpfMapSizeConntrackScaling: anyCase(["Disabled", "DoubleIfFull"], "Whether that map grows when it is full."),
  bpfMapSizeConntrackCleanupQueue: whole(
    "Size of the map of connections that wait to be removed.",
    1,
    undefined,
    "entries",
  ),
  bpfMapSizeIPSets: entries("Size of the map of IP sets."),
  bpfMapSizeIfState: entries("Size of the map of interfaces."),
  bpfMaglevMaxEndpointsPerService: whole("How many endpoints a service with Maglev may have.", 1, 3000),
  bpfMaglevMaxServices: whole("How many services may use Maglev.", 1, 3000),
  bpfPolicyDebugEnabled: flag("Keep a readable form of the policy programs, for calico-bpf."),
  bpfProfiling: text("Enabled: measure the programs."),
  bpfRedirectToPeer: text("Enabled: hand packets straight to the workload's end of its interface."),
  bpfDisableGROForIfaces: text("Regular expression for interfaces whose receive offload is switched off."),
  bpfExportBufferSizeMB: whole(
    "Size of the buffer through which programs report events.",
    undefined,
    undefined,
    "megabytes",
  ),
});

/** Overlays and encryption. */
export const overlayFields = () => ({
  ipipEnabled: flag("Make the IP-in-IP interface; absent: where a pool needs it."),
  ipipMTU: mtu("MTU of the IP-in-IP interface."),
  vxlanEnabled: flag("Make the VXLAN interfaces; absent: where a pool needs them."),
  vxlanMTU: mtu("MTU of the IPv4 VXLAN interface."),
  vxlanMTUV6: mtu("MTU of the IPv6 VXLAN interface."),
  vxlanPort: whole("UDP port of VXLAN."),
  vxlanVNI: whole("Network identifier of VXLAN."),
  wireguardEnabled: flag("Encrypt IPv4 traffic between nodes."),
  wireguardEnabledV6: flag("Encrypt IPv6 traffic between nodes."),
  wireguardThreadingEnabled: flag("Let a thread of the kernel handle each WireGuard interface's packets."),
  wireguardListeningPort: whole("UDP port of WireGuard over IPv4.", 1, 65535),
  wireguardListeningPortV6: whole("UDP port of WireGuard over IPv6.", 1, 65535),
  wireguardRoutingRulePriority: whole("Priority of the routing rule that leads to WireGuard.", 1, 32765),
  wireguardInterfaceName: s.optional(
    s.string({ doc: "Name of the WireGuard interface for IPv4.", format: "interface" }),
  ),
  wireguardInterfaceNameV6: s.optional(
    s.string({ doc: "Name of the WireGuard interface for IPv6.", format: "interface" }),
  ),
  wireguardMTU: mtu("MTU of the WireGuard interface for IPv4."),
  wireguardMTUV6: mtu("MTU of the WireGuard interface for IPv6."),
  wireguardHostEncryptionEnabled: flag("Encrypt also what hosts themselves send each other."),
  wireguardKeepAlive: duration("How often WireGuard sends something on an idle connection; 0s: never."),
});

/** Reports of flows, and what OpenStack needs. */
export const reportFields = () => ({
  flowLogsPolicyEvaluationMode: oneOf(
    ["None", "Continuous"],
    "Whether flows that are under way are judged afresh when policies change.",
  ),
  flowLogsFlushInterval: duration("How often flows are reported."),
  flowLogsCollectorDebugTrace: flag("Log whole flows while collecting them."),
  flowLogsGoldmaneServer: text("The server that flows are reported to; absent: none."),
  flowLogsLocalReporter: onOff("Report flows also through a socket of this node."),
  reportingInterval: duration("How often the agent reports to the datastore that it is alive; 0s: never."),
  reportingTTL: duration("How long such a report counts."),
  endpointReportingEnabled: flag("Report endpoints' status to the datastore, for OpenStack."),
  endpointReportingDelay: duration("How long to wait with such a report."),
  metadataAddr: text(
    "Host of OpenStack's metadata server, to which requests to 169.254.169.254 are led; none: they are not.",
  ),
  metadataPort: port("Port of that server."),
  openstackRegion: text("OpenStack's region of this host, as part of namespaces' names."),
});
