import type { Ipam } from "../ipam/index.ts";
import type { Identity } from "./identity.ts";

/**
 * Releases what very old versions assigned under a handle of another form (`<namespace>.<pod>`, or the container's ID),
 * as upstream does on DEL. Network "a" and container "b" have the same handle today as pod "a/b" had then, so only
 * addresses whose attributes do not contradict are released: the same pod, or none from before there was a timestamp.
 */
export async function releaseLegacy(ipam: Ipam, identity: Identity): Promise<void> {
  const { legacyHandle: handle, pod, namespace } = identity;
  const held = await ipam.ipsByHandle(handle);
  const requests = held
    .filter(({ attributes }) =>
      attributes.pod === undefined && attributes.namespace === undefined
        ? attributes.timestamp === undefined
        : pod !== "" && attributes.pod === pod && attributes.namespace === namespace,
    )
    .map(({ address, sequenceNumber }) => ({ address, handle, sequenceNumber }));
  if (requests.length > 0) await ipam.releaseAddresses(requests);
}

/** Releases addresses that a handle without an object holds: nothing else would find them. */
export async function releaseRecorded(ipam: Ipam, handle: string, networks: readonly string[]): Promise<void> {
  await ipam.releaseAddresses(networks.map((network) => ({ address: network.replace(/\/\d+$/, ""), handle })));
}
