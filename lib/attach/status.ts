import { CniError, errorCode, type Invocation } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { createIpam } from "../ipam/index.ts";
import { callIpamPlugin, familiesWanted, isOwnIpam } from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { step } from "./failure.ts";
import type { Host } from "./host.ts";
import { readMtu, readNodename } from "./settings.ts";
import { askGate, whyOpen } from "./wait.ts";

/**
 * STATUS, by the specification's two codes. 50, an ADD cannot be served: this node's name or MTU is not known yet, the
 * datastore is away or locked, this node can be given no address of the pools, settings and labels there are, or pods wait
 * for their policy and the agent has enforced none since the node started. 51, and existing containers may have limited connectivity as well: a
 * readiness gate (calico-node) is not ready.
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
    requireAgent(call, host);
    await withClient(call.config, host, async (client) => {
      await requireReady(
        client,
        await step("the datastore cannot be read", () => readClusterInformation(client, host)),
      );
      if (isOwnIpam(call)) await step("no address could be assigned", () => requireRoom(call, host, client));
    });
    if (!isOwnIpam(call)) await callIpamPlugin(call, host, "STATUS");
  } catch (error) {
    throw notAvailable(error);
  }
}

function requireAgent({ config }: Invocation, host: Host): void {
  const why = whyOpen(config, host);
  if (why) throw new CniError(errorCode.notAvailable, ...why);
}

/** `-t`: whether the datastore can be used. Install scripts wait for this before they write the network configuration. */
export async function testDatastore(call: Pick<Invocation, "config">, host: Host): Promise<void> {
  await withClient(call.config, host, async (client) => {
    await requireReady(client, await step("the datastore cannot be read", () => readClusterInformation(client, host)));
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

/** Every family that pods get an address of has a pool that this node may use, and that has an address for it. */
async function requireRoom(call: Invocation, host: Host, client: Client): Promise<void> {
  const { ipv4Pools, ipv6Pools } = call.config.ipam;
  await createIpam(client, { clock: host.now, log: host.log }).requireRoom({
    ...familiesWanted(call),
    namespaceLabels: "any",
    host: readNodename(call.config, host),
    use: "Workload",
    pools4: ipv4Pools,
    pools6: ipv6Pools,
  });
}
