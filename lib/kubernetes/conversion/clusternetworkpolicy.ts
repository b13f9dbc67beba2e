import type { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import { API_VERSION } from "../../api/meta.ts";
import type { EntityRule, Rule } from "../../api/rule.ts";
import type { Problem } from "../../api/schema.ts";
import { Field } from "./field.ts";
import { creationTimestamp, derivedUid, resourceVersion } from "./metadata.ts";
import type { ClusterNetworkPolicyObject } from "./objects.ts";
import { CLUSTER_NETWORK_POLICY, type ConvertedPolicy, networks, refused, ruleOf } from "./policy.ts";
import { formatPort, type PortMatch, PortsByProtocol, parsePort } from "./ports.ts";
import { IS_POD, namespaceSelector, podSelector } from "./selector.ts";

const TIERS: ReadonlyMap<string, string> = new Map([
  ["Admin", "kube-admin"],
  ["Baseline", "kube-baseline"],
]);
const ACTIONS: ReadonlyMap<string, Rule["action"]> = new Map([
  ["Accept", "Allow"],
  ["Deny", "Deny"],
  ["Pass", "Pass"],
]);

/**
 * A ClusterNetworkPolicy (policy.networking.k8s.io/v1alpha2) as a policy of the tier `kube-admin` or `kube-baseline`, whose order is its
 * priority. As the API demands, a rule that cannot be converted matches nothing if its action is Accept, and denies everything if it
 * is Deny or Pass. Without a tier or a subject there is no policy. Stricter than upstream, which lets these match everything: an empty
 * entry of `protocols`, a destination port that says none, a selector with an unknown operator; and a rule without peers, which
 * upstream skips.
 */
export function clusterNetworkPolicyToPolicy(policy: ClusterNetworkPolicyObject): ConvertedPolicy<GlobalNetworkPolicy> {
  const problems: Problem[] = [];
  const root = new Field(policy, problems);
  const metadata = root.get("metadata");
  const name = metadata.get("name").text();
  if (name === "") {
    if (problems.length === 0) metadata.get("name").report("is missing");
    return { problems };
  }
  const key = { kind: CLUSTER_NETWORK_POLICY, name } as const;
  const spec = root.get("spec");
  const tier = TIERS.get(spec.get("tier").text());
  if (tier === undefined) spec.get("tier").report("must be Admin or Baseline");
  const priority = spec.get("priority");
  const order = priority.integer(-(2 ** 31), 2 ** 31 - 1) ?? 0;
  const subject = subjectOf(spec.get("subject"));
  if (tier === undefined || problems.length > 0) return { key, problems };
  if (!priority.isSet) priority.report("is missing; the policy goes before all others of its tier");

  const ingress = rulesOf(spec, "ingress");
  const egress = rulesOf(spec, "egress");
  const value: GlobalNetworkPolicy = {
    apiVersion: API_VERSION,
    kind: "GlobalNetworkPolicy",
    metadata: {
      name,
      ...derivedUid(metadata),
      ...resourceVersion(metadata),
      ...creationTimestamp(metadata),
    },
    spec: {
      tier,
      order,
      ...subject,
      // The tiers pass on what no rule matches, so only a direction with rules needs the policy.
      types: [
        ...(ingress.length > 0 ? (["Ingress"] as const) : []),
        ...(egress.length > 0 ? (["Egress"] as const) : []),
      ],
      ...(ingress.length === 0 ? {} : { ingress }),
      ...(egress.length === 0 ? {} : { egress }),
    },
  };
  return { key, value, problems };
}

/** The pods it is for; `namespaces` counts where both are given. */
function subjectOf(subject: Field): { selector: string; namespaceSelector: string } {
  const [namespaces, pods] = [subject.get("namespaces"), subject.get("pods")];
  if (namespaces.isSet) return { namespaceSelector: namespaceSelector(namespaces), selector: IS_POD };
  if (pods.isSet) pods.isObject();
  else subject.report("must have namespaces or pods");
  return namespacedPods(pods);
}

/** Pods in namespaces; either selector selects all when it is absent. */
function namespacedPods(pods: Field): { selector: string; namespaceSelector: string } {
  return {
    namespaceSelector: namespaceSelector(pods.get("namespaceSelector")) || "all()",
    selector: podSelector(pods.get("podSelector")),
  };
}

function rulesOf(spec: Field, direction: "ingress" | "egress"): Rule[] {
  const found: Rule[] = [];
  for (const rule of spec.get(direction).items()) {
    const causes: Problem[] = [];
    const converted = ruleToRules(rule.reportingTo(causes), direction);
    if (causes.length === 0) {
      for (const one of converted) found.push(one);
      continue;
    }
    const action = rule.reportingTo([]).get("action").text();
    const denies = action === "Deny" || action === "Pass";
    refused(rule, denies ? "denies everything" : "accepts nothing", causes);
    if (denies) found.push(ruleOf("Deny", direction, {}, {}));
  }
  return found;
}

/** One rule for each protocol and peer. */
function ruleToRules(rule: Field, direction: "ingress" | "egress"): Rule[] {
  if (!rule.isSet) rule.report("must be an object");
  if (!rule.isObject()) return [];
  const action = ACTIONS.get(rule.get("action").text());
  if (action === undefined) return rule.get("action").report("must be Accept, Deny or Pass") ?? [];
  const peers = rule.get(direction === "ingress" ? "from" : "to");
  const entities = peers.items().map((peer) => peerToEntity(peer, direction));
  if (entities.length === 0) peers.report("needs at least one peer");
  const ports = new PortsByProtocol();
  for (const entry of rule.get("protocols").items()) addProtocol(ports, entry);
  // Its name is for people: one that is no text is not worth the rule.
  const name = rule.reportingTo([]).get("name").text();
  return ports.matches().flatMap((match) => entities.map((entity) => ruleOf(action, direction, match, entity, name)));
}

function peerToEntity(peer: Field, direction: "ingress" | "egress"): EntityRule {
  const kinds = peer.keys();
  const known = direction === "ingress" ? ["namespaces", "pods"] : ["namespaces", "pods", "networks"];
  if (kinds.length === 0 || !kinds.every((kind) => known.includes(kind))) {
    return peer.report(`must have one of ${known.join(", ")}`) ?? {};
  }
  if (kinds.includes("networks")) {
    if (kinds.length > 1) peer.report("must have one of namespaces, pods, networks");
    const nets = networks(peer.get("networks"));
    if (nets.length === 0) peer.get("networks").report("must not be empty");
    return { nets };
  }
  // Where both are given, pods counts.
  if (!kinds.includes("pods")) return { namespaceSelector: namespaceSelector(peer.get("namespaces")) };
  return peer.get("pods").isObject() ? namespacedPods(peer.get("pods")) : {};
}

/** One entry: all or some ports of a protocol, or a named port of whatever protocol it has. */
function addProtocol(ports: PortsByProtocol, entry: Field): void {
  const [kind, ...others] = entry.keys();
  switch (others.length === 0 ? kind : undefined) {
    case "tcp":
    case "udp":
    case "sctp": {
      const port = entry.get(kind!).get("destinationPort");
      if (entry.get(kind!).isObject()) ports.add(kind!.toUpperCase(), port.isSet ? portOf(port) : undefined);
      break;
    }
    case "destinationNamedPort": {
      const field = entry.get("destinationNamedPort");
      const match = parsePort(field.text());
      if (match && "name" in match) ports.add("", match);
      else field.report("must be the name of a port");
      break;
    }
    default:
      entry.report("must have one of tcp, udp, sctp, destinationNamedPort");
  }
}

function portOf(port: Field): PortMatch | undefined {
  const [number, range] = [port.get("number"), port.get("range")];
  if (number.isSet === range.isSet) return port.report("must have a number or a range");
  if (number.isSet) {
    const value = number.integer(1, 65535);
    return value === undefined ? undefined : { min: value, max: value };
  }
  const [min, max] = [range.get("start").integer(1, 65535), range.get("end").integer(1, 65535)];
  if (min !== undefined && max !== undefined && min <= max) return { min, max };
  return range.report(
    min === undefined || max === undefined
      ? "must have a start and an end"
      : `ends before it begins: ${formatPort({ min, max })}`,
  );
}
