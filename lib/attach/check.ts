import { addressOf, CniError, errorCode, type Invocation, parseResult, type Result } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { formatAddress } from "../ip/index.ts";
import { checkPodInterface } from "../veth/index.ts";
import { callIpamPlugin, isOwnIpam } from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { hostNetwork, readEndpoint } from "./endpoint.ts";
import { step } from "./failure.ts";
import { networkOfInterface } from "./guest.ts";
import { type Host, ipamOf } from "./host.ts";
import { type Identity, identify, identityIn, ownerMark } from "./identity.ts";
import { interfacePlan } from "./plan.ts";
import { usesKubernetes } from "./profile.ts";
import { checkNetns, readMtu, readNodename } from "./settings.ts";

/** What `prevResult` says about our interface. */
interface Expected {
  readonly addresses: readonly string[];
  readonly mac: string | undefined;
  readonly mtu: number | undefined;
}

/**
 * CHECK: what ADD answered, with what plugins after this one changed in it, against the kernel and the datastore. All
 * that is wrong is reported at once, in the details of CniError 104.
 */
export async function checkAttachment(call: Invocation, host: Host): Promise<void> {
  const node = readNodename(call.config, host, true);
  const asked = identify(call, node, host.env);
  const expected = readExpected(call, asked);
  if (!checkNetns(call, host)) throw failed(asked, [`the network namespace ${call.environment.netns} does not exist`]);
  const problems = await withClient(call.config, host, async (client) => {
    const identity = identityIn(client, asked);
    const information = await step("the datastore cannot be read", () => readClusterInformation(client, host));
    await requireReady(client, information);
    const records = await step("the datastore cannot be read", () =>
      checkRecords(call, host, client, identity, expected),
    );
    const kernel = await step("the interface cannot be checked", () =>
      checkKernel(call, host, identity, expected, records.owner),
    );
    return [...kernel, ...records.problems];
  });
  if (!isOwnIpam(call)) await callIpamPlugin(call, host, "CHECK");
  if (problems.length > 0) throw failed(asked, problems);
}

function failed(identity: Identity, problems: readonly string[]): CniError {
  const first = problems[0]!;
  const more = problems.length > 1 ? ` (and ${problems.length - 1} more)` : "";
  return new CniError(
    errorCode.check,
    `the attachment of container ${identity.containerId} is not as it should be: ${first}${more}`,
    problems.join("; "),
  );
}

function readExpected(call: Invocation, identity: Identity): Expected {
  const { prevResult, cniVersion } = call.config;
  if (prevResult === undefined) {
    throw new CniError(
      errorCode.invalidConfiguration,
      '"prevResult" is missing: CHECK compares with it',
      "it is what ADD answered",
    );
  }
  const result = parseResult(prevResult, cniVersion, '"prevResult"');
  const index = result.interfaces.findIndex((item) => item.name === identity.ifName && (item.sandbox ?? "") !== "");
  if (index < 0) {
    throw new CniError(
      errorCode.invalidConfiguration,
      `"prevResult.interfaces" has no interface ${identity.ifName} of a pod`,
      "CHECK compares with what ADD answered",
    );
  }
  const addresses = ourAddresses(result, index);
  if (addresses.length === 0) {
    throw new CniError(
      errorCode.invalidConfiguration,
      `"prevResult.ips" has no address of the interface ${identity.ifName}`,
    );
  }
  const { mac, mtu } = result.interfaces[index]!;
  return { addresses, mac, mtu };
}

/** Addresses that name our interface; one that names none is ours too. */
function ourAddresses(result: Result, index: number): string[] {
  return result.ips.filter((ip) => (ip.interface ?? index) === index).map((ip) => formatAddress(addressOf(ip)));
}

async function checkRecords(
  call: Invocation,
  host: Host,
  client: Client,
  identity: Identity,
  expected: Expected,
): Promise<{ problems: string[]; owner: string; mac?: string }> {
  const endpoint = await readEndpoint(client, identity);
  if (endpoint === undefined) {
    return {
      problems: [`WorkloadEndpoint ${identity.namespace}/${identity.endpointName} does not exist`],
      owner: identity.owner,
    };
  }
  const { spec } = endpoint;
  const problems: string[] = [];
  if (spec.containerID !== undefined && spec.containerID !== identity.containerId) {
    problems.push(`the WorkloadEndpoint belongs to container ${spec.containerID}`);
  }
  if (spec.interfaceName !== identity.hostInterface) {
    problems.push(`the WorkloadEndpoint names the host interface ${spec.interfaceName}, not ${identity.hostInterface}`);
  }
  const recorded = [...(spec.ipNetworks ?? [])].sort();
  const wanted = expected.addresses.map(hostNetwork).sort();
  if (recorded.join() !== wanted.join()) {
    problems.push(`the WorkloadEndpoint has the addresses ${recorded.join(", ") || "none"}, not ${wanted.join(", ")}`);
  }
  // The network that made the interface marked it and holds the addresses.
  const network = networkOfInterface(host, identity, endpoint);
  if (isOwnIpam(call)) {
    const handle = `${network}.${identity.containerId}`;
    const held = new Set((await ipamOf(client, host).ipsByHandle(handle)).map(({ address }) => address));
    const missing = expected.addresses.filter((address) => !held.has(address));
    if (missing.length > 0 && !(await isPastIpam(call, host, client, identity))) {
      for (const address of missing) problems.push(`the address ${address} is not assigned to the handle ${handle}`);
    }
  }
  return { problems, owner: ownerMark(network, identity.containerId, identity.ifName) };
}

async function isPastIpam(call: Invocation, host: Host, client: Client, identity: Identity): Promise<boolean> {
  const asks = client.capabilities.views || usesKubernetes(identity, call.config.policyType);
  if (!asks) return false;
  return (await import("./kubernetes.ts")).hasAddressesPastIpam({ call, host, client, identity });
}

/**
 * What plugins after this one may change without telling stays out: they print a changed MAC or MTU in their result, and
 * from that `prevResult` is made; older versions have no MTU there.
 */
function checkKernel(call: Invocation, host: Host, identity: Identity, expected: Expected, owner: string): string[] {
  const plan = interfacePlan(call, host, identity, {
    addresses: expected.addresses,
    mac: expected.mac ?? "00:00:00:00:00:00",
    mtu: expected.mtu ?? readMtu(call.config, host),
    owner,
  });
  return checkPodInterface(plan)
    .filter(
      ({ kind }) => (kind !== "mac" || expected.mac !== undefined) && (kind !== "mtu" || expected.mtu !== undefined),
    )
    .map(({ message }) => message);
}
