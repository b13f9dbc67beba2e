/**
 * The node's own routing: which interfaces there are, routes to the workloads behind them, and the kernel settings that they need
 * (felix/routetable, felix/dataplane/linux/endpoint_mgr.go).
 *
 * Data flow: {@link openInterfaces} lists links and addresses and follows the kernel's events; rules, routes and settings share it →
 * {@link openWorkloadRoutes} is told what is behind which interface, and programs the difference to what it finds: `decide.ts` says what to
 * change, without effects; `workload-routes.ts` says when to look and carries it out. Events make it put right at once what others
 * change; a full comparison is for what events were lost. {@link openWorkloadSysctls} sets what an interface needs when it comes up.
 *
 * Addresses behind 169.254.1.1 and fe80::… are answered for by proxy ARP and proxy NDP, which are such settings; nothing else is needed for
 * workloads. Known gaps: answering for workloads in the node's own subnet (LocalSubnetL2Reachability), routes to other nodes
 * (VXLAN, IPIP, no encapsulation), WireGuard's table, addresses on interfaces for local BGP peers.
 */
export type { WorkloadTarget } from "./claims.ts";
export { type Decision, decide, elect, isRoute, type WantedRoute } from "./decide.ts";
export { RoutesError, type RoutesErrorCode } from "./error.ts";
export {
  type HostInterface,
  type InterfaceChange,
  type Interfaces,
  type InterfacesOptions,
  openInterfaces,
} from "./interfaces.ts";
export {
  applySysctls,
  nodeSysctls,
  openWorkloadSysctls,
  type Sysctl,
  type SysctlsApplied,
  type WorkloadSysctlChoices,
  type WorkloadSysctls,
  type WorkloadSysctlsOptions,
  workloadSysctls,
} from "./sysctl.ts";
export {
  openWorkloadRoutes,
  type RoutesApplied,
  type WorkloadRoutes,
  type WorkloadRoutesOptions,
} from "./workload-routes.ts";
