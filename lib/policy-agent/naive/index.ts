/**
 * The oracle: what policy means, recomputed from scratch for each question out of plain lists, in the most obvious way. Nothing is indexed,
 * remembered or shared with the calculation (lib/policy-agent/calc), so that tests which compare the two compare two opinions.
 *
 *     inputs -> makeState (last word about each resource, labels inherited) -> evaluateEndpoint: tiers, policies, rules, profiles
 *                                                                           -> evaluate: egress at the source, ingress at the destination
 *
 * Knows nothing of what is configuration rather than policy: failsafe ports, spoofed addresses, NAT. What a node does with packets from its
 * workloads to itself is said beside the state.
 */
export { evaluate, evaluateEndpoint } from "./evaluate.ts";
export { Random } from "./random.ts";
export { makeState } from "./state.ts";
export type {
  AddressSet,
  By,
  Direction,
  Endpoint,
  EndpointVerdict,
  Flow,
  HostAction,
  Policy,
  PolicySpec,
  State,
  Step,
  Traffic,
  Verdict,
} from "./types.ts";
