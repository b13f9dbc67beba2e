import { IPAMHandle, ipamHandleRef } from "../api/ipamhandle.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import type { Invocation } from "../cni/index.ts";
import { type Client, DatastoreError, type Operation } from "../datastore/index.ts";
import type { Ipam, Released } from "../ipam/index.ts";
import { folderOf, makeFolder } from "../sys/index.ts";
import { type DeleteOutcome, type DeletePlan, deletePodInterface } from "../veth/index.ts";
import { callIpamPlugin, isOwnIpam, underLock } from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import { deleteEndpoint, endpointsOfPod, readEndpointToDelete } from "./endpoint.ts";
import { step } from "./failure.ts";
import { type Host, ipamOf, netnsOf } from "./host.ts";
import { type Identity, identify, identityIn, isAnotherInterface } from "./identity.ts";
import { hostSide } from "./plan.ts";
import { checkNetns, readNodename } from "./settings.ts";

/** How often an endpoint that changed meanwhile is read and deleted anew; upstream's count. */
const ATTEMPTS = 5;

/**
 * DEL: the interface first, then addresses and endpoint in one commit. Succeeds however much is gone already, the
 * namespace included. Only what belongs to this very container is removed: a pod's newer sandbox, another network's or
 * another container's interface stay.
 */
export async function deleteAttachment(call: Invocation, host: Host): Promise<void> {
  const node = readNodename(call.config, host, true);
  const asked = identify(call, node, host.env);
  // The path may lead to the host itself by now (a reused PID): then there is nothing of the pod in it.
  const netns = call.environment.netns !== "" && isPodNetns(call, host) ? netnsOf(call, host) : undefined;
  await withClient(call.config, host, async (client) => {
    const identity = identityIn(client, asked);
    const [information, endpoint] = await step("the datastore cannot be read", () =>
      Promise.all([readClusterInformation(client, host), readEndpointToDelete(client, identity, host.log)]),
    );
    await requireReady(client, information);
    const isOurs = endpoint !== undefined && belongsTo(endpoint, client, identity.containerId);
    if (endpoint === undefined && (await hasOtherInterface(client, identity))) {
      host.log.info("nothing to delete: the container's interface of Calico is another one", {
        container: identity.containerId,
        interface: identity.ifName,
      });
      return;
    }
    if (endpoint && !isOurs) {
      host.log.info("the endpoint belongs to another container of the pod and stays", {
        container: identity.containerId,
        current: endpoint.spec.containerID,
      });
    }
    const recorded = isOurs ? endpoint : undefined;
    const first = recorded?.spec.profiles?.[0];
    if (recorded && first !== undefined && first !== identity.network && identity.orchestrator === "cni") {
      const { leave, sharesUnmarked } = await import("./guest.ts");
      if (await sharesUnmarked(client, host, identity, recorded)) {
        await leave(client, identity, recorded);
        return;
      }
    }
    const outcome = await step(`the interface ${identity.ifName} cannot be removed`, () =>
      (host.agent?.removeInterface ?? ((plan: DeletePlan) => removeInterface(host, plan)))({
        ...(netns === undefined ? {} : { netns }),
        containerInterface: identity.ifName,
        hostInterface: recorded?.spec.interfaceName ?? identity.hostInterface,
        owner: identity.owner,
        ...(recorded?.spec.ipNetworks ? { recorded: recorded.spec.ipNetworks } : {}),
      }),
    );
    for (const note of outcome.notes) host.log.info(note, { container: identity.containerId });
    if (outcome.owner !== undefined && recorded && identity.orchestrator === "cni") {
      const { leave, networkOfMark } = await import("./guest.ts");
      const network = networkOfMark(outcome.owner, identity, recorded);
      if (network !== undefined && network !== identity.network) {
        await leave(client, identity, recorded);
        return;
      }
    }
    // On Kubernetes the record does not tell which of a container's interfaces it is about.
    if (outcome.owner !== undefined && isAnotherInterface(outcome.owner, identity)) return;
    await release(call, host, client, identity, recorded);
    host.log.info("detached", { container: identity.containerId, endpoint: identity.endpointName });
  });
}

/** Removes an interface; the folder of the lock that lets deletions share the kernel's waits is made when it is missing. */
export function removeInterface(host: Host, plan: DeletePlan): DeleteOutcome {
  try {
    makeFolder(folderOf(host.files.deleteLock));
  } catch {
    return deletePodInterface({ ...plan, ...hostSide(host) });
  }
  return deletePodInterface({ ...plan, ...hostSide(host), lockFile: host.files.deleteLock });
}

function isPodNetns(call: Invocation, host: Host): boolean {
  try {
    return checkNetns(call, host);
  } catch (error) {
    host.log.info("CNI_NETNS is not the pod's any more", { error: (error as Error).message });
    return false;
  }
}

/** A DEL for an interface that was refused, while the container keeps the one it has: its addresses are under the same handle. */
async function hasOtherInterface(client: Client, identity: Identity): Promise<boolean> {
  const endpoints = await step("the datastore cannot be read", () => endpointsOfPod(client, identity));
  return endpoints.some(({ spec }) => spec.containerID === identity.containerId && spec.endpoint !== identity.ifName);
}

/** Addresses and endpoint record of one container. */
async function release(
  call: Invocation,
  host: Host,
  client: Client,
  identity: Identity,
  recorded: WorkloadEndpoint | undefined,
): Promise<void> {
  if (isOwnIpam(call)) {
    const ipam = ipamOf(client, host);
    await step("the addresses cannot be released", () =>
      underLock(call, host, async () => {
        const { found } = await releaseContainer(client, ipam, identity, host, recorded);
        const networks = recorded?.spec.ipNetworks;
        if (!found && networks !== undefined && networks.length > 0) {
          await (await import("./legacy.ts")).releaseRecorded(ipam, identity.handle, networks);
        }
        await releaseLegacyHandle(client, ipam, identity);
      }),
    );
    return;
  }
  await step("the endpoint cannot be deleted", () => deleteRecord(client, identity, host));
  await callIpamPlugin(call, host, "DEL");
}

/**
 * The container's addresses, and the endpoint if it is still this container's, in one commit. `read` is the endpoint where
 * the caller has it: a first attempt takes that, since the commit fails when it changed, and the next reads again.
 */
export function releaseContainer(
  client: Client,
  ipam: Ipam,
  identity: Identity,
  host: Host,
  read?: WorkloadEndpoint,
): Promise<Released> {
  let known = read;
  return ipam.releaseByHandle(identity.handle, {
    alsoWrite: async (): Promise<Operation[]> => {
      const endpoint = known ?? (await readEndpointToDelete(client, identity, host.log));
      known = undefined;
      return endpoint && belongsTo(endpoint, client, identity.containerId) ? [deleteEndpoint(endpoint)] : [];
    },
  });
}

/** See legacy.ts. A container's ID with a dot would be the handle of another network's container. */
export async function releaseLegacyHandle(client: Client, ipam: Ipam, identity: Identity): Promise<void> {
  const { legacyHandle, pod } = identity;
  if (pod === "" && legacyHandle.includes(".")) return;
  if (!(await client.get(IPAMHandle, ipamHandleRef(legacyHandle)))) return;
  await (await import("./legacy.ts")).releaseLegacy(ipam, identity);
}

async function deleteRecord(client: Client, identity: Identity, host: Host): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const endpoint = await readEndpointToDelete(client, identity, host.log);
    if (!endpoint || !belongsTo(endpoint, client, identity.containerId)) return;
    try {
      await client.batch([deleteEndpoint(endpoint)]);
      return;
    } catch (error) {
      if (error instanceof DatastoreError && error.code === "NOT_FOUND") return;
      if (!(error instanceof DatastoreError) || error.code !== "CONFLICT" || attempt === ATTEMPTS) throw error;
    }
  }
}

/**
 * An endpoint without a container ID is whoever's asks, as upstream has it. But on Kubernetes every pod is one: to that of which nothing
 * was attached yet, a DEL of a former pod's sandbox has nothing to do.
 */
function belongsTo({ spec }: WorkloadEndpoint, { capabilities }: Client, containerId: string): boolean {
  if (spec.containerID !== undefined) return spec.containerID === containerId;
  return !capabilities.views || spec.ipNetworks === undefined || spec.ipNetworks.length > 0;
}
