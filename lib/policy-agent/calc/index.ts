/**
 * What this node should enforce, worked out of all resources of the cluster. Pure: resources in, one at a time; messages for a dataplane out.
 *
 *     endpoints, network sets, profiles -> labels as numbers (LabelStore)
 *     policies -> which of them match endpoints of this node (Policies) -> their rules parsed (RuleParser) -> the sets these refer to
 *     sets -> whose labels they select, what is behind Services (MemberIndex, Services) -> members, counted (Members)
 *     endpoints of this node -> their policies in order (tierLists)
 *     flush: sets, policies, profiles, endpoints; then endpoints, profiles, policies, sets that are gone; pools, nodes, service CIDRs
 *
 * Semantics, and the ids of sets, are upstream's (felix/calc, libcalico-go/lib/backend/syncersv1/updateprocessors). Where a resource
 * cannot be read it closes rather than opens, and `onProblem` says so. Different from upstream: a policy with an unreadable selector is
 * not ignored; one without `types` has those that its rules imply, as upstream's clients fill in (its agent takes both); service rules
 * without a namespace mean the policy's; a profile that does not exist is not sent.
 *
 * Not here: routes, VXLAN and WireGuard peers, live migration, Istio, BGP peers of workloads, namespaces and service accounts for policy
 * sync, lookups for flow logs.
 */
export * from "./calc.ts";
export { createCalc } from "./calculation.ts";
export * from "./inputs.ts";
export * from "./messages.ts";
