/**
 * Which rule decides about a packet, and why the earlier ones did not match. It asks the calculation that a node enforces by: whatever the
 * calculation makes of the resources (order, sets, namespaces, what is wrong with them) is what is explained.
 *
 *     inputs -> calc of the endpoint's node -> View (endpoints with tiers, parsed rules, sets with members)
 *     query  -> Parties and Packet -> walk through tiers, policies, rules, profiles -> Explanation -> renderExplanation
 *     Explanation -> verify: the packet is sent from the source's network namespace on this machine, and the outcome compared
 *
 * Known gaps: what is configuration and not policy (failsafe ports, spoofing, NAT) is only warned of, but for what decides between a host
 * and its own workloads (own-host.ts), of which DefaultEndpointToHostAction is handed in; of the host endpoints between two nodes it cannot be
 * known which interface a packet passes.
 */
export { ExplainError, type ExplainErrorCode } from "./errors.ts";
export { createExplainer, type Explainer, type ExplainOptions, explain } from "./explain.ts";
export {
  compared,
  type Probed,
  type ProbeRequest,
  probe,
  type Verification,
  verificationText,
  verify,
} from "./probe.ts";
export { type RenderOptions, renderExplanation } from "./render.ts";
export type {
  By,
  Decision,
  Direction,
  EndpointName,
  EndpointToHostAction,
  Explanation,
  Packet,
  Party,
  Query,
  Step,
  Traffic,
  VisitedPolicy,
  VisitedProfile,
  VisitedRule,
  VisitedTier,
} from "./types.ts";
