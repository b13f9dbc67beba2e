/**
 * The policy agent of a node: from resources in the datastore to what this node's kernel lets through.
 *
 *     datastore → intake/ (watches, conversions) → calc/ (what this node should enforce; pure) → rules/ (a dataplane-neutral program)
 *               → nftables/ or iptables/ (the kernel made so) ; beside it lib/routes (routes and settings of workloads' interfaces)
 *
 * agent.ts puts it together; enforcer.ts is the loop; config/ the configuration; mode.ts which dataplane; report.ts health and metrics;
 * status-files.ts tells the plugin whose policy is in force. naive/ says from scratch, and slowly, what the verdict on a flow must be: the oracle of
 * the tests.
 *
 * Fail closed: nothing is programmed before everything that the datastore had is known; what is not known yet (an interface, a policy, a
 * profile) is denied; an agent that stops, crashes or cannot reach the datastore leaves the kernel as it is; a new one takes over what it finds and
 * changes the difference.
 */
export { type AgentOptions, type RunningAgent, runAgent } from "./agent.ts";
export { type AgentConfig, type ConfigInputs, describeConfigProblem, resolveConfig } from "./config/index.ts";
