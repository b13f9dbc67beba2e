import type { Operation } from "../datastore/index.ts";
import type { AssignIpRequest } from "../ipam/index.ts";
import type { Work } from "./add.ts";
import type { Wishes } from "./annotations.ts";
import { step } from "./failure.ts";

/**
 * The addresses of the annotation ipAddrs. One that a former sandbox of this pod still holds is taken from it: its DEL may come late, and upstream's
 * plugin releases it as well. The endpoint is written with the last one; what is assigned until then is the container's by its handle.
 */
export async function assignExact(
  work: Work,
  { addresses, source }: NonNullable<Wishes["exact"]>,
  common: Omit<AssignIpRequest, "address">,
  alsoWrite: (addresses: readonly string[]) => Promise<Operation[]>,
): Promise<void> {
  const last = addresses.at(-1);
  for (const address of addresses) {
    const extra = address === last ? { alsoWrite: () => alsoWrite(addresses) } : {};
    await step(source, async () => {
      await takeFromFormerSandbox(work, address);
      await work.ipam.assignIp({ ...common, address, ...extra });
    });
  }
}

/** Releases the address if it is this very pod's, on this node and of this network, and another container's. */
async function takeFromFormerSandbox({ host, identity, ipam }: Work, address: string): Promise<void> {
  const held = await ipam.allocationOf(address);
  if (!held || held.handle === undefined || held.handle === identity.handle || held.releasedAt !== undefined) return;
  const { handle, sequenceNumber, attributes } = held;
  const { pod, namespace, node, network } = identity;
  if (attributes.pod !== pod || attributes.namespace !== namespace || attributes.node !== node) return;
  if (!handle.startsWith(`${network}.`)) return;
  const [released] = await ipam.releaseAddresses([{ address, handle, sequenceNumber }]);
  host.log.info("the address was a former sandbox's of the pod", { address, handle, outcome: released?.outcome });
}
