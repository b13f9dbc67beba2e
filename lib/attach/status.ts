import { IPPool } from "../api/ippool.ts";
import { CniError, errorCode, type Invocation } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { createIpam } from "../ipam/index.ts";
import { callIpamPlugin, familiesWanted, isOwnIpam } from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { step } from "./failure.ts";
import type { Host } from "./host.ts";
import { readMtu, readNodename } from "./settings.ts";
import { askGate } from "./wait.ts";

/**
 * STATUS: 50 when an ADD could not be served: this node's name or MTU is not known yet, the datastore is away or locked,
 * or no pool has room. 51 when what makes existing pods' networking is away too: a readiness gate (calico-node) is not ready.
 */
export async function statusOfPlugin(call: Invocation, host: Host): Promise<void> {
  try {
    for (const gate of call.config.readinessGates) {
      const problem = await askGate(gate);
      if (problem !== undefined) {
        throw new CniError(errorCode.limitedConnectivity, `the readiness gate ${gate} is not ready: ${problem}`);
      }
    }
    readNodename(call.config, host);
    readMtu(call.config, host);
    await withClient(call.config, host, async (client) => {
      await requireReady(client, await step("the datastore cannot be read", () => readClusterInformation(client)));
      if (isOwnIpam(call)) await step("pools cannot be read", () => requireRoom(call, client));
    });
    if (!isOwnIpam(call)) await callIpamPlugin(call, host, "STATUS");
  } catch (error) {
    throw notAvailable(error);
  }
}

/** `-t`: whether the datastore can be used. Install scripts wait for this before they write the network configuration. */
export async function testDatastore(call: Pick<Invocation, "config">, host: Host): Promise<void> {
  await withClient(call.config, host, async (client) => {
    await requireReady(client, await step("the datastore cannot be read", () => readClusterInformation(client)));
  });
}

/** STATUS has two codes of its own; a configuration that is wrong stays what it is. */
function notAvailable(error: unknown): unknown {
  if (!(error instanceof CniError)) return error;
  const keeps: readonly number[] = [
    errorCode.notAvailable,
    errorCode.limitedConnectivity,
    errorCode.unsupportedField,
    errorCode.invalidConfiguration,
    errorCode.incompatibleVersion,
  ];
  if (keeps.includes(error.code)) return error;
  return new CniError(errorCode.notAvailable, error.message, error.details, { cause: error });
}

/** Every family that pods get an address of needs a pool with a free one. */
async function requireRoom(call: Invocation, client: Client): Promise<void> {
  const wanted = familiesWanted(call);
  const { items: pools } = await client.list(IPPool);
  const report = await createIpam(client).utilisation();
  for (const [version, count, asked] of [
    [4, wanted.num4, call.config.ipam.ipv4Pools],
    [6, wanted.num6, call.config.ipam.ipv6Pools],
  ] as const) {
    if (count === 0) continue;
    const usable = pools.filter(({ metadata, spec }) => {
      if (spec.disabled || !spec.allowedUses.includes("Workload") || spec.cidr.includes(":") !== (version === 6))
        return false;
      return asked.length === 0
        ? spec.assignmentMode === "Automatic"
        : asked.includes(metadata.name) || asked.includes(spec.cidr);
    });
    const names = new Set(usable.map(({ metadata }) => metadata.name));
    if (report.pools.some((pool) => names.has(pool.name) && pool.available > 0n)) continue;
    throw new CniError(
      errorCode.notAvailable,
      names.size === 0
        ? `there is no IPv${version} pool that pods may use`
        : `no IPv${version} pool has a free address: ${[...names].join(", ")}`,
      names.size === 0
        ? "make one with calicoctl, or enable one"
        : "add a pool, or look for leaked addresses with calico-ipam check",
    );
  }
}
