import { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { deletePodInterface, findPodInterface } from "../veth/index.ts";
import type { Work } from "./add.ts";
import { mayBeOfNode } from "./garbage.ts";
import { handleOf, parseOwner } from "./identity.ts";
import { hostSide } from "./plan.ts";

const NONE = { items: [], unreadable: [] };

/**
 * Removes the interface of a former sandbox that no record leads to any more: a later sandbox's ADD took over the record
 * and was killed before it took over the interface. The host interface's name is the pod's, and is taken for ever
 * otherwise. It goes only when its mark says that it is of this network and of another container, no endpoint is that
 * container's, and the container's addresses are this very pod's, or gone. Answers whether it went.
 */
export async function removeForgottenSandbox({ client, host, identity, ipam }: Work): Promise<boolean> {
  const link = findPodInterface(identity.hostInterface, host.hostNetns);
  const mark = link?.owner;
  const owner = mark === undefined ? undefined : parseOwner(mark);
  if (!owner || owner.network !== identity.network || owner.ifName !== identity.ifName) return false;
  const { containerId } = owner;
  if (containerId === identity.containerId) return false;
  const [{ items: endpoints, unreadable }, held] = await Promise.all([
    // On Kubernetes only this very pod's endpoint could be the container's, and it has just been written for another.
    client.capabilities.views ? NONE : client.list(WorkloadEndpoint, { node: identity.node }),
    ipam.ipsByHandle(handleOf(identity.network, containerId)),
  ]);
  // Of an endpoint that cannot be read nobody knows whose it is.
  const hidden = unreadable.find(({ ref }) => mayBeOfNode(identity.node, ref.name));
  if (hidden) {
    const { key, error } = hidden;
    host.log.warning("a former sandbox's interface stays while an endpoint of this node cannot be read", {
      interface: identity.hostInterface,
      key,
      error: error.message,
    });
    return false;
  }
  if (endpoints.some(({ spec }) => spec.containerID === containerId)) return false;
  const { pod, namespace } = identity;
  if (held.some(({ attributes }) => attributes.pod !== pod || attributes.namespace !== namespace)) return false;
  const { result } = deletePodInterface({
    containerInterface: owner.ifName,
    hostInterface: identity.hostInterface,
    owner: mark!,
    ...hostSide(host),
  });
  // On Kubernetes records go with their pods, so that a pod of a former one's name meets this every time.
  host.log[client.capabilities.views ? "info" : "warning"](
    "removed the interface of a former sandbox that no record named",
    { container: containerId, result },
  );
  return true;
}
