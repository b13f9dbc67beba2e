/**
 * Two networks on one interface: Calico gives a container of plain CNI one interface, and a second network of the same
 * container only adds its profile to the endpoint, as with upstream's plugin. Which network the interface and the addresses
 * belong to is what the mark on the host interface says; profiles are edited by others too.
 */
import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { CniError, errorCode, type Result } from "../cni/index.ts";
import type { Client } from "../datastore/index.ts";
import { createIpam } from "../ipam/index.ts";
import { findPodInterface } from "../veth/index.ts";
import type { Work } from "./add.ts";
import { addressesOfEndpoint } from "./endpoint.ts";
import { step } from "./failure.ts";
import type { Host } from "./host.ts";
import { type Identity, ownerMark, parseOwner } from "./identity.ts";
import { ensureNetworkProfile } from "./network-profile.ts";
import { attachmentResult } from "./plan.ts";

/** The network that made the container's interface, by its mark; undefined when the mark is another container's. */
export function networkOfMark(mark: string, identity: Identity, endpoint: WorkloadEndpoint): string | undefined {
  const { containerId, ifName } = identity;
  const owner = parseOwner(mark);
  if (owner) return owner.containerId === containerId && owner.ifName === ifName ? owner.network : undefined;
  // A hashed mark can only be compared.
  return [identity.network, ...(endpoint.spec.profiles ?? [])].find(
    (network) => ownerMark(network, containerId, ifName) === mark,
  );
}

/** Whether the record says that another network made the attachment; for where no mark tells. */
export function firstProfileIsAnother(identity: Identity, endpoint: WorkloadEndpoint): boolean {
  const first = endpoint.spec.profiles?.[0];
  return identity.orchestrator === "cni" && first !== undefined && first !== identity.network;
}

/** The network whose interface and addresses the container's are, for CHECK: by the mark, else by the record. */
export function networkOfInterface(host: Host, identity: Identity, endpoint: WorkloadEndpoint): string {
  if (identity.orchestrator !== "cni") return identity.network;
  const mark = findPodInterface(endpoint.spec.interfaceName ?? identity.hostInterface, host.hostNetns)?.owner;
  if (mark) return networkOfMark(mark, identity, endpoint) ?? identity.network;
  return firstProfileIsAnother(identity, endpoint) ? endpoint.spec.profiles![0]! : identity.network;
}

/**
 * ADD of a container that has an endpoint already: the result of joining it when another network made it, undefined when
 * the attachment is this network's own. Without the other network's interface there is nothing to join: CniError 11.
 */
export async function joinIfGuest(
  work: Work,
  endpoint: WorkloadEndpoint,
  makesProfile: boolean,
): Promise<Result | undefined> {
  const { host, identity } = work;
  const name = endpoint.spec.interfaceName ?? identity.hostInterface;
  const link = findPodInterface(name, host.hostNetns);
  const network = link?.owner && networkOfMark(link.owner, identity, endpoint);
  if (network === identity.network) return undefined;
  if (network && !link.condemned) return join(work, endpoint, makesProfile);
  if (!firstProfileIsAnother(identity, endpoint) || (await holdsAddressesOf(work, endpoint))) return undefined;
  // Another Calico marks nothing, so there an interface that is complete has to do.
  if (link && link.owner === undefined) return join(work, endpoint, makesProfile);
  throw new CniError(
    errorCode.tryAgainLater,
    `the interface ${name} of network "${endpoint.spec.profiles![0]}" is not there, and "${identity.network}" would share it`,
    "that network's ADD is under way, or failed: repeat it, or delete its attachment first",
  );
}

/** Somebody may have edited the profiles of an endpoint that is this network's own: the addresses tell. */
async function holdsAddressesOf(
  { ipam, identity }: Pick<Work, "ipam" | "identity">,
  endpoint: WorkloadEndpoint,
): Promise<boolean> {
  const held = await step("the datastore cannot be read", () => ipam.ipsByHandle(identity.handle));
  return held.some(({ address }) => endpoint.spec.ipNetworks?.some((network) => network.startsWith(`${address}/`)));
}

async function join(work: Work, endpoint: WorkloadEndpoint, makesProfile: boolean): Promise<Result> {
  const { call, client, identity } = work;
  const profiles = endpoint.spec.profiles ?? [];
  if (!profiles.includes(identity.network)) {
    const changed = { ...endpoint, spec: { ...endpoint.spec, profiles: [...profiles, identity.network] } };
    await step("the endpoint cannot be written", () => client.update(WorkloadEndpoint, changed));
  }
  if (makesProfile) {
    await step(`the profile "${identity.network}" cannot be made`, () => ensureNetworkProfile(client, identity));
  }
  const addresses = addressesOfEndpoint(endpoint);
  return attachmentResult(call, identity, { addresses, mac: endpoint.spec.mac ?? "", mtu: work.mtu });
}

/** DEL, where the record names another network first: whether that one's interface is there and carries no mark. */
export async function sharesUnmarked(
  client: Client,
  host: Host,
  identity: Identity,
  endpoint: WorkloadEndpoint,
): Promise<boolean> {
  const link = findPodInterface(endpoint.spec.interfaceName ?? identity.hostInterface, host.hostNetns);
  if (link === undefined || link.owner !== undefined) return false;
  return !(await holdsAddressesOf({ ipam: createIpam(client), identity }, endpoint));
}

/** Takes back what an ADD of a second network did: its profile on the endpoint. */
export async function leave(client: Client, identity: Identity, endpoint: WorkloadEndpoint): Promise<void> {
  const profiles = endpoint.spec.profiles ?? [];
  const kept = profiles.filter((profile) => profile !== identity.network);
  if (kept.length === profiles.length) return;
  await step("the endpoint cannot be written", () =>
    client.update(WorkloadEndpoint, { ...endpoint, spec: { ...endpoint.spec, profiles: kept } }),
  );
}
