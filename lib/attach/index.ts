/**
 * One pod's attachment from beginning to end: its addresses, its endpoint record, its interface; made, taken down,
 * checked, collected.
 *
 *   Invocation → facts of the node (settings.ts) → who is it (identity.ts) → datastore ready? (gate.ts)
 *     ADD   → addresses and WorkloadEndpoint in one commit (add.ts, addresses.ts, endpoint.ts) → lib/veth wires → result
 *             a Kubernetes pod: with what its object and its namespace say and ask for (kubernetes.ts, annotations.ts)
 *     DEL   → interface first → addresses and WorkloadEndpoint in one commit (delete.ts)
 *     CHECK → interface, addresses, routes, sysctls and records against what ADD said (check.ts)
 *     GC    → every attachment of this network on this node that the runtime does not name (collect.ts)
 *     STATUS → could an ADD be served? (status.ts)
 *
 * Whatever fails on the way of an ADD is undone before the error is reported. Errors are CniErrors, always.
 * `Host` is the machine as attachments see it, so that tests can put another in its place.
 */
import type { Invocation, Result } from "../cni/index.ts";
import type { Host } from "./host.ts";

export { addAttachment } from "./add.ts";
export { deleteAttachment } from "./delete.ts";
export { type Host, localHost } from "./host.ts";
export { attachLogger } from "./log.ts";
export { pluginOf, type Verbs } from "./serve.ts";

// What follows is rare beside ADD and DEL, and loaded when it is called for.

/** See check.ts. */
export async function checkAttachment(call: Invocation, host: Host): Promise<void> {
  return (await import("./check.ts")).checkAttachment(call, host);
}

/** See collect.ts. */
export async function collectGarbage(call: Invocation, host: Host): Promise<void> {
  return (await import("./collect.ts")).collectGarbage(call, host);
}

/** See status.ts. */
export async function statusOfPlugin(call: Invocation, host: Host): Promise<void> {
  return (await import("./status.ts")).statusOfPlugin(call, host);
}

/** `calico -t`; see status.ts. */
export async function testDatastore(call: Pick<Invocation, "config">, host: Host): Promise<void> {
  return (await import("./status.ts")).testDatastore(call, host);
}

/** calico-ipam's verbs for other plugins; see ipam-plugin.ts. */
export async function assignForCaller(call: Invocation, host: Host): Promise<Result> {
  return (await import("./ipam-plugin.ts")).assignForCaller(call, host);
}

export async function releaseForCaller(call: Invocation, host: Host): Promise<void> {
  return (await import("./ipam-plugin.ts")).releaseForCaller(call, host);
}

export async function checkForCaller(call: Invocation, host: Host): Promise<void> {
  return (await import("./ipam-plugin.ts")).checkForCaller(call, host);
}

export async function collectForCaller(call: Invocation, host: Host): Promise<void> {
  return (await import("./ipam-plugin.ts")).collectForCaller(call, host);
}
