import { parseEndpointName } from "../../api/names.ts";
import type { Labels } from "../../selector/index.ts";
import {
  NAMESPACE_LABEL,
  NAMESPACE_PREFIX,
  SERVICE_ACCOUNT_LABEL,
  SERVICE_ACCOUNT_PREFIX,
} from "./endpoint-selector.ts";
import { type Fields, fieldsOf, isFields, labelsOf, listOf, textOf, textsOf } from "./fields.ts";
import type { EndpointPort, QoSControls } from "./inputs.ts";
import { type NamedPort, portProtocolOf } from "./member-index.ts";
import type { LocalHost, LocalWorkload, Nat, WorkloadId } from "./messages.ts";
import { addressText, halves, hostKey, type NetKey, netKey, netText, versionOf } from "./nets.ts";

/** What sets need to know of an endpoint or a network set, of whatever node. */
export interface Labelled {
  readonly labels: Labels;
  /** Profiles that give it labels. */
  readonly parents: readonly string[];
  readonly nets: readonly NetKey[];
  readonly ports: readonly NamedPort[];
}

/** Of an endpoint also where it is. */
export interface EndpointFacts extends Labelled {
  readonly node: string;
}

export type LocalBase =
  | { readonly kind: "workload"; readonly workload: Omit<LocalWorkload, "tiers"> }
  | {
      readonly kind: "host";
      readonly host: Omit<LocalHost, "tiers" | "forwardTiers" | "untrackedTiers" | "preDnatTiers">;
    };

type Report = (why: string) => void;

const NO_PORTS: readonly NamedPort[] = [];

/** Undefined: it has no address yet, and so it is nobody's peer, and no policy can be made for it. */
export function readWorkload(name: string, resource: unknown, report: Report): EndpointFacts | undefined {
  const { metadata, spec } = fieldsOf(resource);
  const fields = fieldsOf(spec);
  const nets = addresses("ipNetworks", fields.ipNetworks, hostKey, report);
  if (nets.length === 0) return undefined;
  const account = textOf(fields.serviceAccountName);
  const labels = workloadLabels(fieldsOf(fieldsOf(metadata).labels), account);
  const node = textOf(fields.node) || parseEndpointName(name)?.node || "";
  return { node, labels, parents: textsOf(fields.profiles), nets, ports: portsOf(fields.ports) };
}

/** A workload's own labels; the labels of the resource themselves where there is nothing to change. */
function workloadLabels(given: Fields, account: string): Labels {
  let isFine = account === "";
  for (const label of Object.keys(given)) {
    if (isReserved(label) || typeof given[label] !== "string") isFine = false;
  }
  if (isFine) return given as Labels;
  const labels: Record<string, string> = {};
  for (const label of Object.keys(given)) {
    const value = given[label];
    if (!isReserved(label) && typeof value === "string") labels[label] = value;
  }
  // A service account's name may be longer than a label's value may be.
  if (account !== "") labels[SERVICE_ACCOUNT_LABEL] = account;
  return labels;
}

/** What namespace and service account it is in comes from profiles only: a workload must not say so itself. */
const isReserved = (label: string): boolean =>
  label.startsWith("pc") && (label.startsWith(NAMESPACE_PREFIX) || label.startsWith(SERVICE_ACCOUNT_PREFIX));

export function readHost(resource: unknown, report: Report): EndpointFacts {
  const { metadata, spec } = fieldsOf(resource);
  const fields = fieldsOf(spec);
  return {
    node: textOf(fields.node),
    labels: labelsOf(fieldsOf(metadata).labels),
    parents: textsOf(fields.profiles),
    nets: addresses("expectedIPs", fields.expectedIPs, hostKey, report),
    ports: portsOf(fields.ports),
  };
}

/** A network set; one in a namespace inherits the namespace's labels. */
export function readNetworkSet(namespace: string | undefined, resource: unknown, report: Report): Labelled {
  const { metadata, spec } = fieldsOf(resource);
  const labels = labelsOf(fieldsOf(metadata).labels);
  if (namespace !== undefined) labels[NAMESPACE_LABEL] = namespace;
  return {
    labels,
    parents: namespace === undefined ? [] : [`kns.${namespace}`],
    nets: addresses("nets", fieldsOf(spec).nets, netKey, report).flatMap(halves),
    ports: NO_PORTS,
  };
}

/** What the dataplane needs to know of a workload of this node. Undefined, and reported, where it cannot be found on the node. */
export function localWorkload(
  name: string,
  namespace: string,
  resource: unknown,
  facts: EndpointFacts,
  report: Report,
): LocalBase | undefined {
  const { metadata, spec } = fieldsOf(resource);
  const fields = fieldsOf(spec);
  const interfaceName = textOf(fields.interfaceName);
  if (interfaceName === "") {
    report("spec.interfaceName is missing; the endpoint is ignored");
    return undefined;
  }
  const nets = [...new Set(facts.nets)].map((key) => ({ key, text: netText(key) }));
  const nats = listOf(fields.ipNATs).flatMap((nat) => natOf(fieldsOf(nat), report));
  const qos = fields.qosControls;
  return {
    kind: "workload",
    workload: {
      id: workloadId(name, namespace, fields),
      interfaceName,
      mac: textOf(fields.mac).toLowerCase(),
      ipv4Nets: nets.filter(({ key }) => versionOf(key) === 4).map(({ text }) => text),
      ipv6Nets: nets.filter(({ key }) => versionOf(key) === 6).map(({ text }) => text),
      ipv4Nats: nats.filter(({ internal }) => !internal.includes(":")),
      ipv6Nats: nats.filter(({ internal }) => internal.includes(":")),
      profiles: facts.parents,
      allowSpoofedSourcePrefixes: addresses(
        "allowSpoofedSourcePrefixes",
        fields.allowSpoofedSourcePrefixes,
        netKey,
        report,
      ).map(netText),
      ports: listOf(fields.ports).filter((port): port is EndpointPort => textOf(fieldsOf(port).name) !== ""),
      ...(isFields(qos) && { qos: qos as QoSControls }),
      annotations: labelsOf(fieldsOf(metadata).annotations),
    },
  };
}

export function localHost(name: string, resource: unknown, facts: EndpointFacts): LocalBase {
  return {
    kind: "host",
    host: {
      name,
      interfaceName: textOf(fieldsOf(fieldsOf(resource).spec).interfaceName),
      expectedIPs: facts.nets.map(addressText),
      profiles: facts.parents,
    },
  };
}

/** As in the name of the resource, from which upstream takes it; else as in the spec. */
export function workloadId(name: string, namespace: string, spec: Fields): WorkloadId {
  const parsed = parseEndpointName(name);
  const part = (named: string | undefined, ...fields: string[]) =>
    named || fields.map((field) => textOf(spec[field])).find((text) => text !== "") || "";
  const workload = part(parsed?.pod ?? parsed?.containerID ?? parsed?.workload, "pod", "containerID", "workload");
  const orchestrator = part(parsed?.orchestrator, "orchestrator");
  return {
    orchestrator,
    // libnetwork names no workload: its name repeats the orchestrator.
    workload: `${namespace}/${workload || (orchestrator === "libnetwork" ? orchestrator : name)}`,
    endpoint: part(parsed?.endpoint, "endpoint"),
  };
}

function addresses(field: string, list: unknown, read: (text: string) => NetKey | undefined, report: Report): NetKey[] {
  const found: NetKey[] = [];
  for (const text of listOf(list)) {
    const key = read(textOf(text));
    if (key === undefined) report(`spec.${field} has ${JSON.stringify(text)}, which is no address; it is left out`);
    else found.push(key);
  }
  return found;
}

/** Endpoints name few ports, so most have none and share that. */
function portsOf(list: unknown): readonly NamedPort[] {
  const ports: NamedPort[] = [];
  for (const entry of listOf(list)) {
    const { name, protocol, port } = fieldsOf(entry);
    if (typeof name !== "string" || name === "" || typeof port !== "number") continue;
    ports.push({ name, protocol: portProtocolOf(protocol), port });
  }
  return ports.length === 0 ? NO_PORTS : ports;
}

function natOf(nat: Fields, report: Report): Nat[] {
  const [internal, external] = [hostKey(textOf(nat.internalIP)), hostKey(textOf(nat.externalIP))];
  if (internal === undefined || external === undefined || versionOf(internal) !== versionOf(external)) {
    report("spec.ipNATs has an entry that is not two addresses of one IP version; it is left out");
    return [];
  }
  return [{ internal: addressText(internal), external: addressText(external) }];
}
