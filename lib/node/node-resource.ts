/** What the Node resource shall say: from what it says, the environment and the machine. Decisions only. */
import type { Node, NodeSpec } from "../api/node.ts";
import { formatAddress } from "../ip/index.ts";
import { autodetect, missingAddress, withNetwork } from "./autodetect.ts";
import { asNumber } from "./environment.ts";
import { NodeError } from "./errors.ts";
import { isExcluded } from "./interfaces.ts";
import type { Env, HostFacts, HostInterface, KubernetesFacts } from "./types.ts";

export interface Addresses {
  readonly ipv4?: string;
  readonly ipv6?: string;
  /** What was decided, for the log. */
  readonly notes: readonly string[];
  readonly warnings: readonly string[];
}

type Bgp = NonNullable<NodeSpec["bgp"]>;

/**
 * The node's addresses. IPv4 is found out unless IP says what it is or there is one already; IPv6 only when IP6 asks for it. Throws NodeError: NO_ADDRESS,
 * ENVIRONMENT.
 */
export async function decideAddresses(
  recorded: Bgp | undefined,
  env: Env,
  facts: HostFacts,
  kubernetes: KubernetesFacts | undefined,
): Promise<Addresses> {
  const notes: string[] = [];
  const warnings: string[] = [];
  const ipv4 = await decide(4, "IP", recorded?.ipv4Address, !recorded?.ipv4Address);
  const ipv6 = await decide(6, "IP6", recorded?.ipv6Address, false);
  if (ipv4 === undefined && ipv6 === undefined) {
    throw new NodeError(
      "NO_ADDRESS",
      "the node has neither an IPv4 nor an IPv6 address, and its network cannot work without; set IP or IP6 to the address or to autodetect, or CALICO_NETWORKING_BACKEND=none to enforce policy only",
    );
  }
  return { ...(ipv4 !== undefined && { ipv4 }), ...(ipv6 !== undefined && { ipv6 }), notes, warnings };

  async function decide(
    version: 4 | 6,
    variable: "IP" | "IP6",
    kept: string | undefined,
    detectUnset: boolean,
  ): Promise<string | undefined> {
    const text = env[variable] || (detectUnset ? "autodetect" : "");
    if (text === "autodetect") return detect(version, variable, kept);
    if (text !== "" && text !== "none") {
      const given = withNetwork(text, version, variable, facts);
      warnings.push(...given.warnings);
      notes.push(`IPv${version} address ${given.cidr}, by ${variable}`);
      return given.cidr;
    }
    return keep(kept);
  }

  async function detect(version: 4 | 6, variable: string, kept: string | undefined): Promise<string | undefined> {
    const method = env[`${variable}_AUTODETECTION_METHOD`];
    const detected = await autodetect({
      version,
      facts,
      ...(method ? { method } : {}),
      ...(kubernetes && { kubernetes }),
      ...(kept ? { recorded: kept } : {}),
    });
    warnings.push(...detected.warnings);
    if (detected.cidr !== undefined) {
      notes.push(`IPv${version} address ${detected.cidr} on ${detected.interface}, by ${detected.reason}`);
      return detected.cidr;
    }
    if (!kept) {
      throw new NodeError(
        "NO_ADDRESS",
        `no IPv${version} address was found by ${detected.reason}; set ${variable}_AUTODETECTION_METHOD, or ${variable} to the address, or ${variable}=none for none`,
      );
    }
    warnings.push(`IPv${version} address ${kept} is kept: no other was found by ${detected.reason}`);
    return keep(kept);
  }

  function keep(kept: string | undefined): string | undefined {
    const problem = kept ? missingAddress(kept, facts) : undefined;
    if (problem !== undefined) warnings.push(problem);
    return kept || undefined;
  }
}

/** The Node as it shall be: with these addresses (undefined: left alone), AS and what the orchestrator calls it. All else stays as it is. */
export function desiredNode(node: Node, addresses: Addresses | undefined, env: Env, facts: HostFacts): Node {
  const spec: NodeSpec = { ...node.spec };
  if (addresses) {
    const bgp: Bgp = { ...spec.bgp };
    setOrRemove(bgp, "ipv4Address", addresses.ipv4);
    setOrRemove(bgp, "ipv6Address", addresses.ipv6);
    const asn = asNumber(env);
    if (asn !== undefined) bgp.asNumber = asn;
    spec.bgp = bgp;
    setOrRemove(spec, "interfaces", interfacesOf(env, facts.interfaces()));
  }
  const reference = env.CALICO_K8S_NODE_REF;
  if (reference) {
    const others = (spec.orchRefs ?? []).filter(({ orchestrator }) => orchestrator !== "k8s");
    spec.orchRefs = [...others, { nodeName: reference, orchestrator: "k8s" }];
  }
  return { ...node, spec };
}

/** The Node without addresses that another node has. */
export function withoutAddresses(node: Node, versions: readonly (4 | 6)[]): Node {
  const { bgp, ...others } = node.spec;
  const rest: Bgp = { ...bgp };
  for (const version of versions) delete rest[version === 4 ? "ipv4Address" : "ipv6Address"];
  return { ...node, spec: Object.keys(rest).length === 0 ? others : { ...others, bgp: rest } };
}

function setOrRemove<T extends object, K extends keyof T>(object: T, key: K, value: T[K] | undefined): void {
  if (value === undefined) delete object[key];
  else object[key] = value;
}

/** The addresses of interfaces that lead somewhere, of the families that IP and IP6 say anything about; for none of them the field is absent. */
function interfacesOf(env: Env, interfaces: readonly HostInterface[]): NodeSpec["interfaces"] {
  const versions = ([4, 6] as const).filter((version) => {
    const text = env[version === 4 ? "IP" : "IP6"];
    return text && text !== "none";
  });
  if (versions.length === 0) return undefined;
  const listed = interfaces.filter(({ name }) => !isExcluded(name)).sort((a, b) => (a.name < b.name ? -1 : 1));
  const result = listed.map(({ name, addresses }) => {
    const texts = addresses
      .filter(({ address }) => versions.includes(address.version))
      .map(({ address }) => formatAddress(address));
    return { name, ...(texts.length > 0 && { addresses: texts }) };
  });
  return result.length === 0 ? undefined : result;
}

/** Whether an address is another one, which is when others are asked whether it is theirs. */
export function addressesDiffer(a: Node, b: Node): boolean {
  return a.spec.bgp?.ipv4Address !== b.spec.bgp?.ipv4Address || a.spec.bgp?.ipv6Address !== b.spec.bgp?.ipv6Address;
}
