import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { CniError, errorCode, type Invocation, type Result } from "../cni/index.ts";
import type { Client, Operation } from "../datastore/index.ts";
import type { Assigned, Ipam } from "../ipam/index.ts";
import {
  checkPodInterface,
  createPodInterface,
  deletePodInterface,
  type Finding,
  type PodInterface,
  type PodInterfacePlan,
  repairPodInterface,
  VethError,
} from "../veth/index.ts";
import {
  assignByPlugin,
  attributesOf,
  callIpamPlugin,
  familiesWanted,
  isOwnIpam,
  requestedAddress,
  underLock,
} from "./addresses.ts";
import { readClusterInformation, requireReady, withClient } from "./datastore.ts";
import {
  addressesOfEndpoint,
  buildEndpoint,
  deleteEndpoint,
  endpointsOfPod,
  readEndpoint,
  readEndpointToDelete,
  writeEndpoint,
} from "./endpoint.ts";
import { step } from "./failure.ts";
import { type Host, ipamOf, netnsOf } from "./host.ts";
import { handleOf, type Identity, identify, identityIn, ownerMark } from "./identity.ts";
import type { PodFacts } from "./kubernetes.ts";
import { addressesOf, attachmentResult, hostSide, interfacePlan, randomMac } from "./plan.ts";
import { checkProfileName, hasNetworkProfile, usesKubernetes, usesNetworkProfile } from "./profile.ts";
import { checkNetns, readMtu, readNodename } from "./settings.ts";
import { awaitGates, awaitPolicy, whyOpen } from "./wait.ts";

/** One ADD under way. */
export interface Work {
  readonly call: Invocation;
  readonly host: Host;
  readonly client: Client;
  readonly ipam: Ipam;
  readonly identity: Identity;
  readonly mtu: number;
  /** What Kubernetes says about the pod, when it is asked. */
  readonly pod?: PodFacts | undefined;
}

/** What the datastore says about the pod when its addresses are known. */
interface Recorded {
  readonly addresses: readonly string[];
  readonly endpoint: WorkloadEndpoint;
  /** What another IPAM plugin answered; absent with calico-ipam and on a repeated ADD. */
  readonly result?: Result;
}

/**
 * ADD: addresses and endpoint record in one commit, then the interface. An ADD that is repeated for the same container
 * keeps its addresses and its MAC, and repairs what is missing. A failure undoes everything that this call made.
 */
export async function addAttachment(call: Invocation, host: Host): Promise<Result> {
  const node = readNodename(call.config, host);
  const mtu = readMtu(call.config, host);
  const identity = identify(call, node, host.env);
  checkProfileName(identity, call.config.policyType);
  if (identity.orchestrator === "cni" && call.config.features.ipAddrsNoIpam) {
    throw new CniError(
      errorCode.unsupportedField,
      '"feature_control.ip_addrs_no_ipam" is true, and is not supported for this runtime',
      "it needs the annotations of a Kubernetes pod",
    );
  }
  if (!checkNetns(call, host)) {
    throw new CniError(errorCode.invalidEnvironment, `CNI_NETNS does not exist: ${call.environment.netns}`);
  }
  const open = host.agent ? undefined : whyOpen(call.config, host);
  if (open) throw new CniError(errorCode.tryAgainLater, ...open);
  const work = async (client: Client): Promise<Result> => {
    const ipam = ipamOf(client, host);
    const result = await attach({ call, host, client, ipam, identity: identityIn(client, identity), mtu });
    host.log.info("attached", {
      container: identity.containerId,
      pod: identity.pod && `${identity.namespace}/${identity.pod}`,
      endpoint: identity.endpointName,
      interface: identity.hostInterface,
      addresses: listOf(result),
    });
    return result;
  };
  return withClient(call.config, host, work, true);
}

function listOf({ ips }: Result): string {
  let text = "";
  for (const { address } of ips) text += text === "" ? address : `,${address}`;
  return text;
}

async function attach(asked: Work): Promise<Result> {
  const { call, host, client, identity } = asked;
  const { policyType } = call.config;
  const { views } = client.capabilities;
  if (views && identity.orchestrator !== "k8s") throw noPod(client);
  const makesProfile = usesNetworkProfile(policyType) && !views;
  const kubernetes = usesKubernetes(identity, policyType) || views ? await import("./kubernetes.ts") : undefined;
  const [information, endpoints, hasProfile, pod] = await step("the datastore cannot be read", () =>
    Promise.all([
      readClusterInformation(client, host),
      // Where Kubernetes is the datastore, the pod that is read anyway is the endpoint.
      views ? [] : endpointsOfPod(client, identity),
      !makesProfile || hasNetworkProfile(client, identity.network),
      kubernetes?.readPodFacts(asked),
    ]),
  );
  const work: Work = pod === undefined ? asked : { ...asked, pod };
  await requireReady(client, information);
  await awaitGates(call.config, host);

  const existing = pod?.recorded ?? chooseExisting(identity, endpoints);
  // On Kubernetes the container stays on record when DEL has taken the addresses off.
  const isRepeated =
    existing?.spec.containerID === identity.containerId && !(views && existing.spec.ipNetworks?.length === 0);
  if (isRepeated && identity.orchestrator === "cni") {
    const { joinIfGuest } = await import("./guest.ts");
    const joined = await joinIfGuest(work, existing, !hasProfile);
    if (joined) return joined;
  }
  let recorded: Recorded | undefined;
  let wiring = false;
  try {
    recorded = await record(work, existing, isRepeated);
    wiring = true;
    await step(`the interface ${identity.ifName} cannot be made`, () => wire(work, recorded!, existing));
    if (!hasProfile) {
      const { ensureNetworkProfile } = await import("./network-profile.ts");
      await step(`the profile "${identity.network}" cannot be made`, () => ensureNetworkProfile(client, identity));
    }
    await awaitPolicy(call.config, host, identity, recorded.endpoint);
    await host.agent?.stillWanted();
    return attachmentResult(call, identity, {
      addresses: recorded.addresses,
      mac: recorded.endpoint.spec.mac!,
      mtu: work.mtu,
      ipam: recorded.result,
    });
  } catch (error) {
    // The attachment was there before this call; what it lacks now the next ADD or DEL will see.
    if (!isRepeated) await undo(work, error, wiring);
    throw error;
  }
}

function noPod(client: Client): CniError {
  return new CniError(
    errorCode.invalidEnvironment,
    "CNI_ARGS names no Kubernetes pod (K8S_POD_NAMESPACE and K8S_POD_NAME)",
    `the datastore is ${client.name}, where only pods can be attached`,
  );
}

/**
 * The pod's endpoint, if it has one. A container is found by its ID, so another interface name means a second attachment,
 * which its one host interface cannot serve. A Kubernetes pod is found by its name: the container may be a new sandbox.
 */
function chooseExisting(identity: Identity, endpoints: readonly WorkloadEndpoint[]): WorkloadEndpoint | undefined {
  let other: WorkloadEndpoint | undefined;
  for (const endpoint of endpoints) {
    if (endpoint.metadata.name === identity.endpointName) return endpoint;
    if (endpoint.spec.containerID === identity.containerId) other ??= endpoint;
  }
  if (other) {
    throw new CniError(
      errorCode.taken,
      `the container ${identity.containerId} has an interface of Calico already: ${other.spec.endpoint ?? other.metadata.name}`,
      `a second one, ${identity.ifName}, is not possible: Calico gives a container one interface`,
    );
  }
  return undefined;
}

/** Addresses and endpoint, in one commit where the datastore has them. */
async function record(work: Work, existing: WorkloadEndpoint | undefined, isRepeated: boolean): Promise<Recorded> {
  const { call, client, identity, pod } = work;
  const mac = pod?.wishes.mac ?? (isRepeated ? existing?.spec.mac : undefined) ?? randomMac();
  const profiles = [identity.network];
  const keptProfiles = isRepeated && identity.orchestrator === "cni" ? (existing?.spec.profiles ?? profiles) : profiles;
  let current = existing;
  const build = (addresses: readonly string[]): WorkloadEndpoint =>
    pod?.build({ addresses, mac }, current) ??
    buildEndpoint(identity, { addresses, mac, profiles: keptProfiles }, current);

  const pastIpam = pod?.wishes.exact?.managed === false ? pod.wishes.exact.addresses : undefined;
  if (pastIpam || !isOwnIpam(call)) {
    const result =
      isRepeated || pastIpam
        ? undefined
        : await step("no address was assigned", () => assignByPlugin(call, work.host, work));
    const addresses = pastIpam ?? (result ? addressesOf(result) : addressesOfEndpoint(existing!));
    const endpoint = build(addresses);
    await step("the endpoint cannot be written", () => client.batch(writeEndpoint(endpoint, current)));
    return { addresses, endpoint, ...(result ? { result } : {}) };
  }
  let endpoint: WorkloadEndpoint | undefined;
  let attempts = 0;
  const alsoWrite = async (addresses: readonly string[]): Promise<Operation[]> => {
    if (attempts++ > 0) current = await rereadEndpoint(work, existing);
    endpoint = build(addresses);
    return writeEndpoint(endpoint, current);
  };
  const addresses = await step("no address was assigned", () =>
    underLock(call, work.host, () => assign(work, alsoWrite)),
  );
  return { addresses, endpoint: endpoint! };
}

/**
 * The endpoint after a write of it was refused. When another sandbox of the pod has written it meanwhile, that one is being
 * wired: overwriting its record would leave both without. Nothing of this call is written by then.
 */
async function rereadEndpoint(
  { client, identity }: Work,
  existing: WorkloadEndpoint | undefined,
): Promise<WorkloadEndpoint | undefined> {
  const current = await readEndpoint(client, identity);
  const container = current?.spec.containerID;
  if (client.capabilities.views && current?.metadata.uid !== existing?.metadata.uid) {
    throw new CniError(
      errorCode.tryAgainLater,
      `Pod ${identity.namespace}/${identity.pod} was deleted, or replaced by another of its name`,
    );
  }
  if (container !== undefined && container !== identity.containerId && container !== existing?.spec.containerID) {
    throw new CniError(errorCode.tryAgainLater, `another sandbox of this pod is being attached: ${container}`);
  }
  return current;
}

/** Asks the allocator for one address of each family, or for the one that CNI_ARGS names. */
async function assign(
  work: Work,
  alsoWrite: (addresses: readonly string[]) => Promise<Operation[]>,
): Promise<string[]> {
  const { call, host, ipam, identity, pod } = work;
  const common = {
    host: identity.node,
    handle: identity.handle,
    attributes: attributesOf(identity, host),
    use: "Workload",
    reuse: true,
  } as const;
  const exact = pod?.wishes.exact;
  if (exact) {
    const { assignExact } = await import("./exact.ts");
    await assignExact(work, exact, common, alsoWrite);
    return [...exact.addresses];
  }
  if (identity.requestedIp !== "") {
    const address = requestedAddress(identity);
    await ipam.assignIp({ ...common, address, alsoWrite: () => alsoWrite([address]) });
    return [address];
  }
  const { ipv4Pools, ipv6Pools } = call.config.ipam;
  const { pools4, pools6, families } = pod?.wishes ?? NO_WISHES;
  try {
    const assigned = await ipam.autoAssign({
      ...common,
      ...(families ?? familiesWanted(call)),
      pools4: pools4?.pools ?? ipv4Pools,
      pools6: pools6?.pools ?? ipv6Pools,
      ...(pod === undefined ? {} : { namespaceLabels: pod.namespaceLabels }),
      alsoWrite: (assigned) => alsoWrite(addressesAssigned(assigned)),
    });
    return addressesAssigned(assigned);
  } catch (error) {
    if (pod === undefined) throw error;
    throw (await import("./annotations.ts")).poolError(error, pod.wishes);
  }
}

const NO_WISHES: Partial<PodFacts["wishes"]> = {};

function addressesAssigned({ v4, v6 }: Assigned): string[] {
  const addresses: string[] = [];
  for (const { address } of v4) addresses.push(address);
  for (const { address } of v6) addresses.push(address);
  return addresses;
}

/** Makes the interface, unless it is there and right already. */
async function wire(work: Work, recorded: Recorded, existing: WorkloadEndpoint | undefined): Promise<void> {
  const { call, host, identity, mtu } = work;
  const { addresses, endpoint } = recorded;
  await host.agent?.turn();
  const plan = interfacePlan(call, host, identity, { addresses, mac: endpoint.spec.mac!, mtu });
  const previous = existing?.spec.containerID;
  if (previous === identity.containerId) {
    const findings = checkPodInterface(plan);
    if (findings.length === 0) return;
    if (!needsNewInterface(findings)) return repair(work, plan);
  }
  if (previous !== undefined && previous !== identity.containerId) removePreviousSandbox(work, previous, existing);
  let made: PodInterface;
  try {
    made = createPodInterface(plan);
  } catch (error) {
    if (!(error instanceof VethError) || error.code !== "HOST_INTERFACE_TAKEN" || identity.pod === "") throw error;
    const { removeForgottenSandbox } = await import("./forgotten.ts");
    if (!(await removeForgottenSandbox(work))) throw error;
    made = createPodInterface(plan);
  }
  for (const note of made.notes) host.log.warning(note, { container: identity.containerId });
}

/** Whether the pod cannot work with the interface it has; a running pod loses its connections with a new one. */
function needsNewInterface(findings: readonly Finding[]): boolean {
  return findings.some(({ kind }) => ["namespace", "interface", "owner", "peer", "address"].includes(kind));
}

async function repair({ host, identity }: Work, plan: PodInterfacePlan): Promise<void> {
  const left = await repairPodInterface(plan);
  for (const { side, kind, message } of left) {
    // The address is routed elsewhere.
    if (side === "host" && kind === "route") throw new VethError("ROUTE_CONFLICT", message);
    host.log.warning(`left as it is: ${message}`, { container: identity.containerId });
  }
}

/**
 * A Kubernetes pod whose former sandbox was not taken down: the name of the host interface comes from the pod's name, so
 * the former interface has to go. Its addresses are released by the DEL of the former container, which knows its handle.
 */
function removePreviousSandbox(work: Work, containerId: string, existing: WorkloadEndpoint | undefined): void {
  const { host, identity } = work;
  const ifName = existing?.spec.endpoint ?? identity.ifName;
  const outcome = deletePodInterface({
    containerInterface: ifName,
    hostInterface: existing?.spec.interfaceName ?? identity.hostInterface,
    owner: ownerMark(identity.network, containerId, ifName),
    recorded: existing?.spec.ipNetworks ?? [],
    ...hostSide(host),
  });
  host.log.info("removed the interface of the pod's former sandbox", {
    container: containerId,
    handle: handleOf(identity.network, containerId),
    result: outcome.result,
  });
}

/** Takes back what a failed ADD has made. What cannot be taken back is logged, and the runtime's DEL comes anyway. */
async function undo(work: Work, cause: unknown, wired: boolean): Promise<void> {
  const { call, host, client, ipam, identity } = work;
  const attempt = async (what: string, action: () => unknown): Promise<void> => {
    try {
      await action();
    } catch (error) {
      host.log.error(`undoing a failed ADD: ${what} failed`, {
        container: identity.containerId,
        error: (error as Error).message,
      });
    }
  };
  if (wired && leftInterface(cause)) {
    await attempt("removing the interface", () =>
      deletePodInterface({
        netns: netnsOf(call, host),
        containerInterface: identity.ifName,
        hostInterface: identity.hostInterface,
        owner: identity.owner,
        ...hostSide(host),
      }),
    );
  }
  const endpointDeletion = async (): Promise<Operation[]> => {
    const endpoint = await readEndpointToDelete(client, identity, host.log);
    return endpoint?.spec.containerID === identity.containerId ? [deleteEndpoint(endpoint)] : [];
  };
  if (isOwnIpam(call)) {
    await attempt("releasing the addresses", () =>
      underLock(call, host, () => ipam.releaseByHandle(identity.handle, { alsoWrite: endpointDeletion })),
    );
    return;
  }
  await attempt("deleting the endpoint", async () => client.batch(await endpointDeletion()));
  await attempt("the IPAM plugin's DEL", () => callIpamPlugin(call, host, "DEL"));
}

/** lib/veth refuses before it touches anything in these cases, and what is there is somebody else's. */
function leftInterface(cause: unknown): boolean {
  const error = cause instanceof CniError ? cause.cause : cause;
  if (!(error instanceof VethError)) return true;
  return !["INVALID", "NETNS", "HOST_INTERFACE_TAKEN", "CONTAINER_INTERFACE_TAKEN"].includes(error.code);
}
