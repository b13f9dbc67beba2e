import type { HostEndpoint } from "../api/hostendpoint.ts";
import type { EntityRule, Rule } from "../api/rule.ts";
import type { WorkloadEndpoint } from "../api/workloadendpoint.ts";
import { formatAddress, tryParseAddress, tryParseCidr } from "../ip/index.ts";
import { type AnyPolicy, type Input, type PolicyId, policyKey } from "../policy-agent/calc/index.ts";
import { fieldsOf, labelsOf, listOf, readRule, textOf, textsOf } from "./read.ts";
import type { EndpointName } from "./types.ts";

/** A stored policy. What it says is shown to people; what it does, the calculation decides. */
export interface StoredPolicy {
  readonly id: PolicyId;
  readonly policy: AnyPolicy;
}

/** An endpoint, as it is named and found. */
export interface FoundEndpoint {
  readonly name: EndpointName;
  /** Plain addresses, canonical. */
  readonly addresses: readonly string[];
  /** Names by which people know it, beside that of the resource. */
  readonly aliases: readonly string[];
  readonly ownLabels: Readonly<Record<string, string>>;
  readonly profiles: readonly string[];
}

/**
 * The resources, for names and words: which endpoints there are, what policies and rules say literally. The last word about each counts.
 * Everything in a resource may be missing or of another type than it should be.
 */
export class Resources {
  readonly endpoints: readonly FoundEndpoint[];
  readonly #policies = new Map<string, StoredPolicy>();
  readonly #tierOrders = new Map<string, number | undefined>();
  readonly #profiles = new Map<string, unknown>();
  readonly #nodeOfAddress = new Map<string, string>();

  constructor(inputs: Iterable<Input>) {
    const last = new Map<string, Input>();
    for (const input of inputs) {
      const key =
        input.kind === "Policy" ? policyKey(input.id) : `${input.kind}|${input.namespace ?? ""}|${input.name}`;
      last.set(key, input);
    }
    const endpoints: FoundEndpoint[] = [];
    for (const [key, input] of last) {
      if (input.kind === "Policy") {
        if (input.policy !== undefined) this.#policies.set(key, { id: input.id, policy: input.policy });
        continue;
      }
      const { resource } = input;
      switch (resource?.kind) {
        case "WorkloadEndpoint":
          endpoints.push(workload(resource));
          break;
        case "HostEndpoint":
          endpoints.push(host(resource));
          break;
        case "Tier":
          this.#tierOrders.set(input.name, orderOf(resource.spec));
          break;
        case "Profile":
          this.#profiles.set(input.name, resource.spec);
          break;
        case "Node": {
          const spec = fieldsOf(resource.spec);
          const bgp = fieldsOf(spec.bgp);
          const listed = listOf(spec.addresses).map((one) => fieldsOf(one).address);
          for (const text of [bgp.ipv4Address, bgp.ipv6Address, ...listed]) {
            const address = plainAddress(textOf(text));
            if (address !== undefined) this.#nodeOfAddress.set(address, input.name);
          }
        }
      }
    }
    this.endpoints = endpoints;
  }

  /** The node that has the address itself. */
  nodeOf(address: string): string | undefined {
    return this.#nodeOfAddress.get(address);
  }

  policy(id: PolicyId): StoredPolicy | undefined {
    return this.#policies.get(policyKey(id));
  }

  hasTier(name: string): boolean {
    return this.#tierOrders.has(name);
  }

  tierOrder(name: string): number | undefined {
    return this.#tierOrders.get(name);
  }

  policyOrder(id: PolicyId): number | undefined {
    return orderOf(this.policy(id)?.policy.spec);
  }

  /** The rules of a policy as they are stored. */
  policyRules(id: PolicyId, direction: "ingress" | "egress"): readonly Rule[] {
    return rulesOf(this.policy(id)?.policy.spec, direction);
  }

  profileRules(name: string, direction: "ingress" | "egress"): readonly Rule[] {
    return rulesOf(this.#profiles.get(name), direction);
  }

  /** The labels of an endpoint with those that its profiles give it, to say what a selector did not find. */
  labelsOf(endpoint: FoundEndpoint): Readonly<Record<string, string>> {
    const inherited = [...endpoint.profiles]
      .reverse()
      .map((name) => labelsOf(fieldsOf(this.#profiles.get(name)).labelsToApply));
    return Object.assign({}, ...inherited, endpoint.ownLabels) as Record<string, string>;
  }
}

/** Canonical text of an address, with or without a prefix length; undefined when it is none. */
export function plainAddress(text: string): string | undefined {
  const bare = text.split("/")[0] ?? "";
  const address = tryParseAddress(bare);
  if (address === undefined || (text.includes("/") && tryParseCidr(text) === undefined)) return undefined;
  return formatAddress(address);
}

function workload(resource: WorkloadEndpoint): FoundEndpoint {
  const metadata = fieldsOf(resource.metadata);
  const spec = fieldsOf(resource.spec);
  const [name, namespace, pod] = [textOf(metadata.name), textOf(metadata.namespace), textOf(spec.pod)];
  const named = textOf(spec.workload);
  const people = pod || named || name;
  const account = textOf(spec.serviceAccountName);
  const title = namespace === "" ? people : `${namespace}/${people}`;
  const place = { node: textOf(spec.node), interfaceName: textOf(spec.interfaceName) };
  return {
    name: { kind: "WorkloadEndpoint", title, name, namespace, ...place },
    addresses: addressesOf(spec.ipNetworks),
    aliases: [pod, named, textOf(spec.containerID)].filter((text) => text !== ""),
    ownLabels: {
      ...labelsOf(metadata.labels),
      ...(account === "" ? {} : { "projectcalico.org/serviceaccount": account }),
    },
    profiles: textsOf(spec.profiles),
  };
}

function host(resource: HostEndpoint): FoundEndpoint {
  const metadata = fieldsOf(resource.metadata);
  const spec = fieldsOf(resource.spec);
  const name = textOf(metadata.name);
  const place = { node: textOf(spec.node), interfaceName: textOf(spec.interfaceName) };
  return {
    name: { kind: "HostEndpoint", title: `HostEndpoint ${name}`, name, ...place },
    addresses: addressesOf(spec.expectedIPs),
    aliases: [],
    ownLabels: labelsOf(metadata.labels),
    profiles: textsOf(spec.profiles),
  };
}

const addressesOf = (value: unknown): string[] =>
  textsOf(value)
    .map(plainAddress)
    .filter((text) => text !== undefined);

function orderOf(spec: unknown): number | undefined {
  const { order } = fieldsOf(spec);
  return typeof order === "number" ? order : undefined;
}

const rulesOf = (spec: unknown, direction: "ingress" | "egress"): readonly Rule[] =>
  listOf(fieldsOf(spec)[direction]).map(readRule);

/** The side of a stored rule; empty where it says nothing. */
export const sideOf = (rule: Rule | undefined, side: "source" | "destination"): EntityRule => rule?.[side] ?? {};
