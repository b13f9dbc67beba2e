import { createHash } from "node:crypto";
import type { HostEndpoint } from "../../api/hostendpoint.ts";
import type { HostEndpointTemplate } from "../../api/kubecontrollersconfiguration.ts";
import { API_VERSION } from "../../api/meta.ts";
import type { Node } from "../../api/node.ts";
import { parseGoRegExp } from "../../api/regexp.ts";
import {
  type Address,
  type Cidr,
  containsAddress,
  formatAddress,
  tryParseAddress,
  tryParseCidr,
} from "../../ip/index.ts";
import { parseSelector, SelectorError } from "../../selector/index.ts";
import type { HostEndpointsConfig } from "../config/index.ts";

/** By which the controller knows its own (kube-controllers/pkg/controllers/node/controller.go). */
export const CREATED_BY = { label: "projectcalico.org/created-by", value: "calico-kube-controllers" } as const;

const SUFFIX = "auto-hep";
const ALL_INTERFACES = "*";
const PROFILE = "projectcalico-default-allow";
const MAX_NAME = 253;

/** Whether the controller made the host endpoint; others it neither changes nor deletes. */
export const isAutomatic = ({ metadata }: HostEndpoint): boolean =>
  metadata.labels?.[CREATED_BY.label] === CREATED_BY.value;

/** What a node's automatic host endpoints shall be. */
export interface Wanted {
  readonly endpoints: readonly HostEndpoint[];
  /** Templates that cannot be carried out, and why. What they made before is then left as it is. */
  readonly problems: readonly string[];
}

/** The host endpoints of a node: the one of all interfaces, and those of the templates that select it. */
export function wantedEndpoints(node: Node, config: HostEndpointsConfig): Wanted {
  if (!config.autoCreate) return { endpoints: [], problems: [] };
  const endpoints: HostEndpoint[] = [];
  const problems: string[] = [];
  const addresses = nodeAddresses(node);
  if (config.createDefault) endpoints.push(endpointOf(node, undefined, "", ALL_INTERFACES, addresses));
  for (const template of config.templates) {
    try {
      endpoints.push(...templateEndpoints(node, template, addresses));
    } catch (error) {
      if (!(error instanceof TemplateProblem)) throw error;
      problems.push(`template ${template.generateName ?? ""}: ${error.message}`);
    }
  }
  return { endpoints, problems };
}

/** What to do to the host endpoints of a node. */
export interface Changes {
  readonly create: readonly HostEndpoint[];
  /** With the revision of what is there. */
  readonly update: readonly HostEndpoint[];
  readonly delete: readonly HostEndpoint[];
  readonly problems: readonly string[];
}

/**
 * What leads from what is to what shall be. `node` is undefined when it is gone. `mine` are the automatic host endpoints that name the node;
 * `byName` is any host endpoint of that name, as another's may have taken it.
 */
export function decideEndpoints(
  node: Node | undefined,
  config: HostEndpointsConfig,
  mine: readonly HostEndpoint[],
  byName: (name: string) => HostEndpoint | undefined,
): Changes {
  const wanted = node ? wantedEndpoints(node, config) : { endpoints: [], problems: [] };
  const problems = [...wanted.problems];
  const create: HostEndpoint[] = [];
  const update: HostEndpoint[] = [];
  for (const endpoint of wanted.endpoints) {
    const found = byName(endpoint.metadata.name);
    if (!found) create.push(endpoint);
    else if (!isAutomatic(found))
      problems.push(`the HostEndpoint ${endpoint.metadata.name} is somebody else's; it is left as it is`);
    else if (differs(found, endpoint)) {
      const { annotations: _, ...metadata } = found.metadata;
      update.push({ ...endpoint, metadata: { ...metadata, ...endpoint.metadata } });
    }
  }
  const names = new Set(wanted.endpoints.map(({ metadata }) => metadata.name));
  // Which of them a template that cannot be read has made is not known.
  const surplus = wanted.problems.length > 0 ? [] : mine.filter(({ metadata }) => !names.has(metadata.name));
  return { create, update, delete: surplus, problems };
}

/** Profiles and ports are not looked at, as upstream: who changes those of an automatic one keeps them until something else changes. */
function differs(found: HostEndpoint, wanted: HostEndpoint): boolean {
  return !(
    Bun.deepEquals(found.metadata.labels ?? {}, wanted.metadata.labels ?? {}) &&
    Bun.deepEquals(found.metadata.annotations ?? {}, wanted.metadata.annotations ?? {}) &&
    Bun.deepEquals(found.spec.expectedIPs ?? [], wanted.spec.expectedIPs ?? []) &&
    (found.spec.interfaceName ?? "") === (wanted.spec.interfaceName ?? "") &&
    found.spec.node === wanted.spec.node
  );
}

class TemplateProblem extends Error {}

function templateEndpoints(node: Node, template: HostEndpointTemplate, addresses: readonly string[]): HostEndpoint[] {
  const { generateName, interfacePattern, interfaceCIDRs = [] } = template;
  if (!generateName) throw new TemplateProblem("has no generateName");
  if (!selects(template.nodeSelector ?? "", node.metadata.labels ?? {})) return [];
  const cidrs = interfaceCIDRs.map((text): Cidr => {
    const cidr = tryParseCidr(text);
    if (!cidr) throw new TemplateProblem(`interfaceCIDRs: ${JSON.stringify(text)} is not a CIDR`);
    return cidr;
  });
  const expected = addresses.filter((text) => {
    const address = tryParseAddress(text);
    return address && cidrs.some((cidr) => containsAddress(cidr, address));
  });
  if (!interfacePattern) {
    // Without interface and addresses it would be none.
    return expected.length === 0 ? [] : [endpointOf(node, template, generateName, "", expected)];
  }
  const pattern = regexOf(interfacePattern);
  const named = (node.spec.interfaces ?? []).filter(({ name }) => name && pattern.test(name));
  return named.map(({ name = "", addresses: own = [] }) =>
    endpointOf(node, template, `${generateName}-${name}`, name, unique([...expected, ...own])),
  );
}

function selects(selector: string, labels: Readonly<Record<string, string>>): boolean {
  try {
    return parseSelector(selector).matches(labels);
  } catch (error) {
    if (error instanceof SelectorError) throw new TemplateProblem(`nodeSelector: ${error.message}`);
    throw error;
  }
}

function regexOf(source: string): RegExp {
  const pattern = parseGoRegExp(source);
  if (!pattern)
    throw new TemplateProblem(
      `interfacePattern: ${JSON.stringify(source)} is not a regular expression that is understood`,
    );
  return pattern;
}

function endpointOf(
  node: Node,
  template: HostEndpointTemplate | undefined,
  middle: string,
  interfaceName: string,
  expectedIPs: readonly string[],
): HostEndpoint {
  const { labels, annotations } = template ?? {};
  const { name } = node.metadata;
  return {
    apiVersion: API_VERSION,
    kind: "HostEndpoint",
    metadata: {
      name: nameOf([name, ...(middle === "" ? [] : [middle]), SUFFIX].join("-")),
      labels: { ...node.metadata.labels, ...labels, [CREATED_BY.label]: CREATED_BY.value },
      // A node's are not copied.
      ...(annotations && Object.keys(annotations).length > 0 ? { annotations: { ...annotations } } : {}),
    },
    spec: {
      node: name,
      ...(interfaceName === "" ? {} : { interfaceName }),
      ...(expectedIPs.length === 0 ? {} : { expectedIPs: [...expectedIPs] }),
      profiles: [PROFILE],
    },
  };
}

/** A name that Kubernetes takes: one that is too long is replaced by its hash, as upstream's. */
function nameOf(name: string): string {
  if (name.length <= MAX_NAME) return name;
  const hash = createHash("sha256").update(name).digest("base64url").replace(/[-_.]/g, "");
  return `${hash}-${SUFFIX}`.toLowerCase();
}

/** All addresses of a node that are known, in upstream's order: BGP's, those of tunnels, InternalIP, then those of interfaces. */
export function nodeAddresses({ spec }: Node): string[] {
  const { bgp, wireguard, addresses = [], interfaces = [] } = spec;
  return unique([
    bgp?.ipv4Address,
    bgp?.ipv6Address,
    bgp?.ipv4IPIPTunnelAddr,
    spec.ipv4VXLANTunnelAddr,
    spec.ipv6VXLANTunnelAddr,
    wireguard?.interfaceIPv4Address,
    wireguard?.interfaceIPv6Address,
    ...addresses.filter(({ type }) => type === "InternalIP").map(({ address }) => address),
    ...interfaces.flatMap((one) => one.addresses ?? []),
  ]);
}

/** Each address once, in canonical text; what is none is left out. */
function unique(texts: readonly (string | undefined)[]): string[] {
  const found = texts.map((text) => (text ? addressOf(text) : undefined));
  return [...new Set(found.filter((address) => address !== undefined).map(formatAddress))];
}

/** An address, also with the length of its subnet. */
function addressOf(text: string): Address | undefined {
  const slash = text.indexOf("/");
  return slash >= 0 && !tryParseCidr(text) ? undefined : tryParseAddress(slash < 0 ? text : text.slice(0, slash));
}
