import { API_VERSION } from "../../api/meta.ts";
import type { NetworkPolicy } from "../../api/networkpolicy.ts";
import type { EntityRule, Rule } from "../../api/rule.ts";
import type { Problem } from "../../api/schema.ts";
import { Field } from "./field.ts";
import { creationTimestamp, derivedUid, resourceVersion } from "./metadata.ts";
import type { NetworkPolicyObject } from "./objects.ts";
import { type ConvertedPolicy, NETWORK_POLICY, network, networks, refused, ruleOf } from "./policy.ts";
import { PortsByProtocol, parsePort } from "./ports.ts";
import { IS_POD, namespaceSelector, podSelector } from "./selector.ts";

/** Where all NetworkPolicies stand among the policies of the tier `default`. */
const ORDER = 1000;

/**
 * A NetworkPolicy as a policy of the tier `default`. A rule of which a part cannot be converted is left out, so that it allows
 * nothing. Stricter than upstream, which lets these match everything: an ipBlock that is no CIDR, a peer without any field, a
 * selector with an unknown operator, an endPort without a port. Where the pods it is for cannot be told, it is for all pods of the
 * namespace and allows nothing.
 */
export function networkPolicyToPolicy(policy: NetworkPolicyObject): ConvertedPolicy<NetworkPolicy> {
  const problems: Problem[] = [];
  const root = new Field(policy, problems);
  const metadata = root.get("metadata");
  const name = metadata.get("name").text();
  const namespace = metadata.get("namespace").text();
  if (name === "") {
    if (problems.length === 0) metadata.get("name").report("is missing");
    return { problems };
  }
  const key = { kind: NETWORK_POLICY, name, namespace } as const;
  if (namespace === "") {
    metadata.get("namespace").report("is missing");
    return { key, problems };
  }
  const spec = root.get("spec");
  spec.isObject();
  const causes: Problem[] = [];
  let selector = podSelector(spec.get("podSelector").reportingTo(causes));
  const ingress = rulesOf(spec, "ingress");
  const egress = rulesOf(spec, "egress");
  if (causes.length > 0) {
    selector = IS_POD;
    ingress.length = egress.length = 0;
    refused(spec.get("podSelector"), "isolates every pod of the namespace", causes);
  }
  const value: NetworkPolicy = {
    apiVersion: API_VERSION,
    kind: "NetworkPolicy",
    metadata: {
      name,
      namespace,
      ...derivedUid(metadata),
      ...resourceVersion(metadata),
      ...creationTimestamp(metadata),
    },
    spec: {
      tier: "default",
      order: ORDER,
      selector,
      types: typesOf(spec),
      ...(ingress.length === 0 ? {} : { ingress }),
      ...(egress.length === 0 ? {} : { egress }),
    },
  };
  return { key, value, problems };
}

/**
 * The directions it is for. An API server writes them into every policy; without, the API's documentation has it: ingress in any case,
 * egress where there are rules for it.
 */
function typesOf(spec: Field): ("Ingress" | "Egress")[] {
  const types = spec.get("policyTypes").items();
  const given = types.map((type) => type.text());
  let odd = false;
  for (const [i, type] of given.entries()) {
    if (type === "Ingress" || type === "Egress") continue;
    types[i]!.report("must be Ingress or Egress; the policy is for both");
    odd = true;
  }
  if (odd) return ["Ingress", "Egress"];
  if (given.length > 0) return (["Ingress", "Egress"] as const).filter((type) => given.includes(type));
  // Rules that cannot be converted count, too.
  const causes: Problem[] = [];
  const egress = spec.get("egress").reportingTo(causes).items();
  return egress.length > 0 || causes.length > 0 ? ["Ingress", "Egress"] : ["Ingress"];
}

function rulesOf(spec: Field, direction: "ingress" | "egress"): Rule[] {
  const found: Rule[] = [];
  for (const rule of spec.get(direction).items()) {
    const causes: Problem[] = [];
    const converted = ruleToRules(rule.reportingTo(causes), direction);
    if (causes.length > 0) refused(rule, "allows nothing", causes);
    else for (const one of converted) found.push(one);
  }
  return found;
}

/** One rule for each protocol and peer. No ports: any protocol; no peers: anybody. */
function ruleToRules(rule: Field, direction: "ingress" | "egress"): Rule[] {
  if (!rule.isSet) rule.report("must be an object");
  if (!rule.isObject()) return [];
  const ports = new PortsByProtocol();
  for (const port of rule.get("ports").items()) addPort(ports, port);
  const peers = rule.get(direction === "ingress" ? "from" : "to").items();
  const entities = peers.length === 0 ? [{}] : peers.map(peerToEntity);
  return ports.matches().flatMap((match) => entities.map((entity) => ruleOf("Allow", direction, match, entity)));
}

function addPort(ports: PortsByProtocol, entry: Field): void {
  if (entry.isSet && !entry.isObject()) return;
  const protocol = entry.get("protocol").text().toUpperCase() || "TCP";
  if (!["TCP", "UDP", "SCTP"].includes(protocol)) entry.get("protocol").report("must be TCP, UDP or SCTP");
  const port = entry.get("port");
  const endPort = entry.get("endPort");
  const last = endPort.integer(1, 65535);
  if (!port.isSet) {
    if (endPort.isSet) endPort.report("needs a port");
    ports.add(protocol, undefined);
    return;
  }
  const text = port.isNumber() ? String(port.integer(1, 65535) ?? "") : port.text();
  const match = parsePort(last === undefined ? text : `${text}:${last}`);
  if (match) ports.add(protocol, match);
  else
    (last === undefined ? port : endPort).report(
      last === undefined ? "is no port" : `makes no range with the port ${text}`,
    );
}

function peerToEntity(peer: Field): EntityRule {
  const [block, pods, namespaces] = [peer.get("ipBlock"), peer.get("podSelector"), peer.get("namespaceSelector")];
  if (peer.isSet && !peer.isObject()) return {};
  if (block.isSet) {
    if (pods.isSet || namespaces.isSet) block.report("cannot be combined with selectors");
    const net = network(block.get("cidr"));
    const notNets = networks(block.get("except"));
    return { ...(net === undefined ? {} : { nets: [net] }), ...(notNets.length === 0 ? {} : { notNets }) };
  }
  if (!pods.isSet && !namespaces.isSet) peer.report("must have a podSelector, a namespaceSelector or an ipBlock");
  const inNamespaces = namespaceSelector(namespaces);
  return { selector: podSelector(pods), ...(inNamespaces === "" ? {} : { namespaceSelector: inNamespaces }) };
}
