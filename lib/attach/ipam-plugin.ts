import { CniError, errorCode, type Invocation, NO_DNS, parseResult, type Result } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { createIpam } from "../ipam/index.ts";
import { attributesOf, familiesWanted, requestedAddress, underLock } from "./addresses.ts";
import { heldOnNode, releaseHeld } from "./collect.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { releaseLegacyHandle } from "./delete.ts";
import { hostNetwork } from "./endpoint.ts";
import { step } from "./failure.ts";
import type { Host } from "./host.ts";
import { type Identity, identify } from "./identity.ts";
import { addressesOf } from "./plan.ts";
import { readNodename } from "./settings.ts";

/**
 * calico-ipam's ADD for another plugin: addresses with the prefix length of their block, and one route each, which is
 * what upstream's answers. Nothing but the addresses is recorded. Two interfaces of one container share a handle here, so
 * a repeated ADD assigns anew, as upstream's does.
 */
export async function assignForCaller(call: Invocation, host: Host): Promise<Result> {
  const identity = identify(call, nodename(call, host), host.env);
  const work = async (client: Client): Promise<Result> => {
    await requireReady(client, await step("the datastore cannot be read", () => readClusterInformation(client, host)));
    const ipam = createIpam(client, { clock: host.now, log: host.log });
    const common = {
      host: identity.node,
      handle: identity.handle,
      attributes: attributesOf(identity, host),
      use: "Workload",
    } as const;
    const ips = await step("no address was assigned", () =>
      underLock(call, host, async () => {
        if (identity.requestedIp !== "") {
          const { address } = await ipam.assignIp({ ...common, address: requestedAddress(identity) });
          return [{ address: hostNetwork(address) }];
        }
        const { ipv4Pools, ipv6Pools } = call.config.ipam;
        const labels = asksKubernetes(call, identity)
          ? await (await import("./kubernetes.ts")).readNamespaceLabels({ call, host, client, identity })
          : {};
        const assigned = await ipam.autoAssign({
          ...common,
          ...familiesWanted(call),
          pools4: ipv4Pools,
          pools6: ipv6Pools,
          namespaceLabels: labels,
        });
        return [...assigned.v4, ...assigned.v6].map(({ address, block }) => ({
          address: `${address}/${block.slice(block.lastIndexOf("/") + 1)}`,
        }));
      }),
    );
    host.log.info("assigned", { handle: identity.handle, addresses: ips.map(({ address }) => address).join(",") });
    return { interfaces: [], ips, routes: ips.map(({ address }) => ({ dst: address })), dns: NO_DNS };
  };
  return withClient(call.config, host, work, true);
}

/** Upstream's calico-ipam looks up the pod's namespace when it knows where, for pools that select namespaces. */
function asksKubernetes({ config }: Invocation, identity: Identity): boolean {
  return identity.orchestrator === "k8s" && (config.policyType === "k8s" || Boolean(config.kubernetes.kubeconfig));
}

/** calico-ipam's DEL: everything under the container's handle, and under the one that very old versions used. */
export async function releaseForCaller(call: Invocation, host: Host): Promise<void> {
  const identity = identify(call, nodename(call, host), host.env);
  await withClient(call.config, host, async (client) => {
    const ipam = createIpam(client, { clock: host.now, log: host.log });
    await step("the addresses cannot be released", () =>
      underLock(call, host, async () => {
        await ipam.releaseByHandle(identity.handle);
        await releaseLegacyHandle(client, ipam, identity);
      }),
    );
    host.log.info("released", { handle: identity.handle });
  });
}

/** calico-ipam's CHECK: the container's handle still holds an address that `prevResult` has. */
export async function checkForCaller(call: Invocation, host: Host): Promise<void> {
  const identity = identify(call, nodename(call, host), host.env);
  const { prevResult, cniVersion } = call.config;
  if (prevResult === undefined) {
    throw new CniError(errorCode.invalidConfiguration, '"prevResult" is missing: CHECK compares with it');
  }
  const expected = addressesOf(parseResult(prevResult, cniVersion, '"prevResult"'));
  const held = await withClient(call.config, host, (client) =>
    step("the datastore cannot be read", () => createIpam(client).ipsByHandle(identity.handle)),
  );
  if (held.some(({ address }) => expected.includes(address))) return;
  throw new CniError(
    errorCode.check,
    `none of the addresses of container ${identity.containerId} is assigned to the handle ${identity.handle}`,
    `"prevResult" has ${expected.join(", ") || "none"}; the handle holds ${held.map(({ address }) => address).join(", ") || "none"}`,
  );
}

/** calico-ipam's GC: addresses of this network on this node whose container is not named. The records are the caller's. */
export async function collectForCaller(call: Invocation, host: Host): Promise<void> {
  const node = nodename(call, host);
  const network = call.config.name;
  const valid = new Set(call.config.validAttachments.map(({ containerId }) => containerId));
  const failures: string[] = [];
  await withClient(call.config, host, async (client) => {
    const ipam = createIpam(client, { clock: host.now, log: host.log });
    const held = await step("the datastore cannot be read", () => heldOnNode(client, host, network, node));
    failures.push(...held.problems);
    for (const [handle, seen] of held.requests) {
      const containerId = handle.slice(network.length + 1);
      // With a dot it may be another network's: see findGarbage.
      if (valid.has(containerId) || containerId.includes(".")) continue;
      try {
        await underLock(call, host, () => releaseHeld(ipam, handle, seen));
      } catch (error) {
        failures.push(`handle ${handle}: ${(error as Error).message}`);
      }
    }
  });
  if (failures.length > 0) {
    throw new CniError(
      errorCode.garbage,
      `GC of network "${network}" could not release everything`,
      failures.join("; "),
    );
  }
}

/** Upstream's calico-ipam does not ask for the nodename file: its caller has. */
function nodename(call: Invocation, host: Host): string {
  return readNodename({ ...call.config, nodenameFileOptional: true }, host, true);
}
