import type { BGPConfigurationSpec } from "../../api/bgpconfiguration.ts";
import type { Node } from "../../api/node.ts";
import { cidrFromAddress, formatAddress, formatCidr, tryParseAddress } from "../../ip/index.ts";
import { parseSelector, type Selector, SelectorError } from "../../selector/index.ts";
import type { Family } from "../model/index.ts";
import { byName, type Problems, quoted } from "./problems.ts";
import type { BgpInputs } from "./types.ts";

/** What of a Node matters to BGP. */
export interface ClusterNode {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Its own; absent: the cluster's. */
  readonly ownAsn?: number;
  readonly asn: number;
  /** Dotted quad: it is a route reflector. */
  readonly clusterId?: string;
  /** Where it listens, when its configuration or that of all says so. */
  readonly port?: number;
  readonly addresses: Readonly<Partial<Record<Family, NodeAddress>>>;
  /** Whether others reach it through WireGuard. */
  readonly wireguard: Readonly<Record<Family, boolean>>;
}

export interface NodeAddress {
  readonly address: string;
  readonly subnet: string;
}

/** The nodes and what holds for all of them. */
export interface Cluster {
  /** BGPConfiguration `default`. */
  readonly configuration?: Partial<BGPConfigurationSpec>;
  /** BGPConfiguration `node.<this node>`. */
  readonly ownConfiguration?: Partial<BGPConfigurationSpec>;
  readonly asn: number;
  /** By name. */
  readonly nodes: readonly ClusterNode[];
  readonly self?: ClusterNode;
  /** The nodes of an address, by name. */
  nodesAt(address: string): readonly ClusterNode[];
  /** Nodes whose labels match, by name. None, and a problem of the resource, where the text is no selector; `field` names it. */
  select(selector: string, resource: string, field: string): readonly ClusterNode[];
  /** Whether one node's labels match. */
  selects(selector: string, node: ClusterNode, resource: string, field: string): boolean;
}

/** The AS number of a cluster that does not configure one. */
const DEFAULT_ASN = 64512;
const GLOBAL = "default";
const PER_NODE = "node.";

export function readCluster(inputs: BgpInputs, own: string, problems: Problems): Cluster {
  let configuration: Partial<BGPConfigurationSpec> | undefined;
  let ownConfiguration: Partial<BGPConfigurationSpec> | undefined;
  const ports = new Map<string, number>();
  for (const { metadata, spec } of byName(inputs.configurations)) {
    if (metadata.name === GLOBAL) configuration = spec;
    else if (!metadata.name.startsWith(PER_NODE)) {
      problems.add(
        `BGPConfiguration ${metadata.name}`,
        "is not read: its name must be default, or node. and a node's name",
      );
    } else {
      const node = metadata.name.slice(PER_NODE.length);
      if (node === own) ownConfiguration = spec;
      if (spec.listenPort) ports.set(node, spec.listenPort);
    }
  }
  const asn = configuration?.asNumber ?? DEFAULT_ASN;
  const nodes = byName(inputs.nodes).map((node): ClusterNode => {
    const read = readNode(node);
    for (const problem of read.problems) problems.add(`Node ${node.metadata.name}`, problem);
    const port = ports.get(node.metadata.name) ?? (configuration?.listenPort || undefined);
    return {
      name: node.metadata.name,
      labels: node.metadata.labels ?? {},
      asn: read.ownAsn ?? asn,
      ...read.facts,
      ...(port === undefined ? {} : { port }),
    };
  });
  const self = nodes.find(({ name }) => name === own);
  const selectorOf = selectors(problems);
  const at = new Map<string, ClusterNode[]>();
  for (const node of nodes) {
    for (const found of Object.values(node.addresses)) {
      const there = at.get(found.address);
      if (there) there.push(node);
      else at.set(found.address, [node]);
    }
  }
  return {
    ...(configuration ? { configuration } : {}),
    ...(ownConfiguration ? { ownConfiguration } : {}),
    asn,
    nodes,
    ...(self ? { self } : {}),
    nodesAt: (address) => at.get(address) ?? [],
    select(text, resource, field) {
      const selector = selectorOf(text, resource, field);
      return selector ? nodes.filter(({ labels }) => selector.matches(labels)) : [];
    },
    selects: (text, node, resource, field) => selectorOf(text, resource, field)?.matches(node.labels) ?? false,
  };
}

/** Parses each selector once; what is none selects nothing (upstream's nodeLabelManager). */
export function selectors(problems: Problems): (text: string, resource: string, field: string) => Selector | undefined {
  const parsed = new Map<string, Selector | SelectorError>();
  return (text, resource, field) => {
    let selector = parsed.get(text);
    if (selector === undefined) {
      try {
        selector = parseSelector(text);
      } catch (error) {
        if (!(error instanceof SelectorError)) throw error;
        selector = error;
      }
      parsed.set(text, selector);
    }
    if (!(selector instanceof SelectorError)) return selector;
    problems.add(resource, `${field} ${quoted(text)}: must be a selector, ${selector.detail}; it selects nothing`);
    return undefined;
  };
}

interface ReadNode {
  readonly ownAsn: number | undefined;
  readonly facts: Omit<ClusterNode, "name" | "labels" | "asn" | "port">;
  readonly problems: readonly string[];
}

/** Nodes change seldom, and everything is calculated anew for any change: what was read of one is kept with it. */
const known = new WeakMap<Node, ReadNode>();

function readNode(node: Node): ReadNode {
  let read = known.get(node);
  if (!read) {
    read = readSpec(node);
    known.set(node, read);
  }
  return read;
}

function readSpec({ spec }: Node): ReadNode {
  const problems: string[] = [];
  const { bgp = {}, wireguard = {} } = spec;
  const addresses: Partial<Record<Family, NodeAddress>> = {};
  for (const [family, field] of [
    [4, "ipv4Address"],
    [6, "ipv6Address"],
  ] as const) {
    const text = bgp[field];
    if (!text) continue;
    const found = nodeAddress(text, family);
    if (found) addresses[family] = found;
    else
      problems.push(
        `spec.bgp.${field} ${quoted(text)}: must be an IPv${family} address with its prefix length; there is no IPv${family} BGP with it`,
      );
  }
  let ownAsn = bgp.asNumber;
  if (ownAsn === 0) {
    problems.push("spec.bgp.asNumber 0: must be from 1 to 4294967295; the cluster's AS number counts");
    ownAsn = undefined;
  }
  const clusterId = bgp.routeReflectorClusterID || undefined;
  const isQuad = clusterId !== undefined && tryParseAddress(clusterId)?.version === 4;
  if (clusterId !== undefined && !isQuad) {
    problems.push(
      `spec.bgp.routeReflectorClusterID ${quoted(clusterId)}: must be like 244.0.0.1; it is no route reflector`,
    );
  }
  return {
    ownAsn,
    facts: {
      ...(ownAsn === undefined ? {} : { ownAsn }),
      ...(isQuad ? { clusterId } : {}),
      addresses,
      wireguard: { 4: Boolean(wireguard.interfaceIPv4Address), 6: Boolean(wireguard.interfaceIPv6Address) },
    },
    problems,
  };
}

function nodeAddress(text: string, family: Family): NodeAddress | undefined {
  const slash = text.indexOf("/");
  const address = tryParseAddress(slash < 0 ? text : text.slice(0, slash));
  const most = family === 4 ? 32 : 128;
  const length = slash < 0 ? most : Number(/^\d{1,3}$/.exec(text.slice(slash + 1))?.[0] ?? Number.NaN);
  if (address?.version !== family || !(length <= most)) return undefined;
  return { address: formatAddress(address), subnet: formatCidr(cidrFromAddress(address, length)) };
}
