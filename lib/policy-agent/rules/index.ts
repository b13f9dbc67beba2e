/**
 * What the dataplanes share: the rule program, and how the calculation's messages become one.
 *
 *     messages (calc/), interfaces of the host → createProgrammer → Programs (chains, dispatches, hooks, sets) → a Dataplane
 *
 * Names of chains, marks, and the order in which things decide are upstream's (felix/rules), so that whoever can read Felix's rules can read these.
 * On purpose otherwise: a policy that is not there is a chain that denies, where upstream's would be empty; a workload may send from its own
 * addresses only, also where a route would let another pass the reverse path filter; a host endpoint with an interface's name holds before the
 * interface is there; REJECT is DROP outside of the filter table, where the kernel has no other; tunnels between hosts follow the pools
 * without a restart.
 *
 * Gaps: OpenStack's DHCP and metadata, Istio's ambient mode, flow tables, NFLOG for flow logs, code points (DSCP) of
 * host endpoints, masquerading into tunnels, limits of the
 * number of an endpoint's connections.
 */
export { closeRules } from "./close.ts";
export * from "./dataplane.ts";
export * from "./ir.ts";
export { RulesError, type RulesErrorCode } from "./marks.ts";
export { MAX_CHAIN_NAME, SET } from "./names.ts";
export * from "./options.ts";
export { printChain, printProgram, printRule } from "./print.ts";
export * from "./program.ts";
export * from "./programmer.ts";
