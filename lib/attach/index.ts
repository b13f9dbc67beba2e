/**
 * One pod's attachment from beginning to end: its addresses, its endpoint record, its interface; made, taken down,
 * checked, collected.
 *
 *   Invocation → facts of the node (settings.ts) → who is it (identity.ts) → datastore ready? (gate.ts)
 *     ADD   → addresses and WorkloadEndpoint in one commit (add.ts, addresses.ts, endpoint.ts) → lib/veth wires → result
 *     DEL   → interface first → addresses and WorkloadEndpoint in one commit (delete.ts)
 *     CHECK → interface, addresses, routes, sysctls and records against what ADD said (check.ts)
 *     GC    → every attachment of this network on this node that the runtime does not name (collect.ts)
 *     STATUS → could an ADD be served? (status.ts)
 *
 * Whatever fails on the way of an ADD is undone before the error is reported. Errors are CniErrors, always.
 * `Host` is the machine as attachments see it, so that tests can put another in its place.
 */
export { addAttachment } from "./add.ts";
export { checkAttachment } from "./check.ts";
export { collectGarbage } from "./collect.ts";
export { deleteAttachment } from "./delete.ts";
export { type Host, localHost } from "./host.ts";
export { assignForCaller, checkForCaller, collectForCaller, releaseForCaller } from "./ipam-plugin.ts";
export { attachLogger } from "./log.ts";
export { pluginOf, type Verbs } from "./serve.ts";
export { statusOfPlugin, testDatastore } from "./status.ts";
