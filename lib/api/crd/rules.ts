/**
 * The rules across fields of IP pools, tiers, policies, host endpoints, BGP, its peers and filters, and the agent's configuration, in CEL. They say what the
 * `check` of these kinds says, as far as upstream's definitions say it; CEL knows no selectors, and a policy may hold too many
 * addresses to look at each. crd.apiserver.test.ts holds the two against each other on a real API server.
 *
 * The API server refuses a definition whose rules could cost too much. What bounds the estimate are the limits of lists
 * and texts in the schemas, so a list that rules look into needs a `maxItems`, and a text a `maxLength`.
 */
import { BGP_FILTER_DIRECTIONS } from "../bgpfilter.ts";
import { BUILT_IN } from "../tier.ts";
import type { Validation } from "./openapi.ts";

type Rules = Readonly<Record<string, readonly Validation[]>>;

const invalid = (rule: string, message: string): Validation => ({ rule, message, reason: "FieldValueInvalid" });
const forbidden = (rule: string, message: string): Validation => ({ rule, message, reason: "FieldValueForbidden" });

/** A field that is there and not empty. */
const filled = (field: string): string => `has(${field}) && size(${field}) > 0`;
/** A flag that is on. */
const on = (field: string): string => `has(${field}) && ${field}`;
/** A mode that is on. */
const enabled = (field: string): string => `has(${field}) && ${field} != 'Never'`;
/** That the second holds wherever the first does. */
const implies = (condition: string, consequence: string): string => `!(${condition}) || ${consequence}`;

const uses = (use: string): string => `has(self.allowedUses) && self.allowedUses.exists(u, u == '${use}')`;

const family = (version: 4 | 6): string => `cidr(self.cidr).ip().family() == ${version}`;

export const POOL_RULES: Rules = {
  spec: [
    invalid("cidr(self.cidr) == cidr(self.cidr).masked()", "cidr has bits beyond its prefix length"),
    ...["169.254.0.0/16", "fe80::/10"].map((range) =>
      invalid(
        `!cidr('${range}').containsIP(cidr(self.cidr).ip()) && !cidr(self.cidr).containsIP('${range.split("/")[0]}')`,
        `cidr overlaps with the link-local range ${range}`,
      ),
    ),
    invalid(
      implies(
        "has(self.blockSize) && self.blockSize != 0",
        `(${family(4)} ? self.blockSize >= 20 && self.blockSize <= 32 : self.blockSize >= 116 && self.blockSize <= 128)`,
      ),
      "blockSize must be from 20 to 32 in an IPv4 pool, and from 116 to 128 in an IPv6 pool",
    ),
    invalid(
      `${on("self.disabled")} || cidr(self.cidr).prefixLength() <= (has(self.blockSize) && self.blockSize != 0 ? self.blockSize : (${family(4)} ? 26 : 122))`,
      "cidr is smaller than one block; make it larger, or blockSize",
    ),
    forbidden(
      `!(${enabled("self.ipipMode")} && ${enabled("self.vxlanMode")})`,
      "ipipMode and vxlanMode cannot both be on; one of them must be Never",
    ),
    forbidden(
      implies(enabled("self.ipipMode"), family(4)),
      "ipipMode must be Never in an IPv6 pool; vxlanMode works there",
    ),
    forbidden(
      implies(uses("LoadBalancer"), "!self.allowedUses.exists(u, u == 'Workload' || u == 'Tunnel')"),
      "allowedUses must not combine LoadBalancer with Workload or Tunnel; use two pools",
    ),
    forbidden(
      implies(uses("LoadBalancer"), `!(${enabled("self.ipipMode")} || ${enabled("self.vxlanMode")})`),
      "allowedUses must not hold LoadBalancer when ipipMode or vxlanMode is on; set both to Never",
    ),
    forbidden(
      implies(uses("LoadBalancer"), `!(${on("self.disableBGPExport")})`),
      "disableBGPExport must be false in a pool for LoadBalancer",
    ),
    invalid(
      implies(uses("LoadBalancer"), "self.nodeSelector == 'all()'"),
      "nodeSelector must be all() in a pool for LoadBalancer",
    ),
    forbidden(
      implies(uses("Tunnel"), `!(${filled("self.namespaceSelector")})`),
      "namespaceSelector must be absent in a pool for Tunnel; set allowedUses to [Workload]",
    ),
    ...["nodeSelector", "namespaceSelector"].map((field) =>
      invalid(noGlobal(field), `${field} must not use global(), which has no meaning in a pool`),
    ),
  ],
};

export const TIER_RULES: Rules = {
  "": BUILT_IN.flatMap(({ name, order, defaultAction }) => [
    invalid(
      implies(
        `self.metadata.name == '${name}'`,
        `has(self.spec.defaultAction) && self.spec.defaultAction == '${defaultAction}'`,
      ),
      `defaultAction must be ${defaultAction} in the tier ${name}`,
    ),
    invalid(
      implies(`self.metadata.name == '${name}'`, `has(self.spec.order) && self.spec.order == ${order}.0`),
      `order must be ${order} in the tier ${name}`,
    ),
  ]),
};

function noGlobal(field: string): string {
  return `!has(self.${field}) || !self.${field}.contains('global(')`;
}

const noGlobals = (fields: readonly string[]): Validation[] =>
  fields.map((field) =>
    invalid(noGlobal(field), `${field} must not use global(); it belongs in the namespaceSelector of a rule`),
  );

/** Whether a protocol is one of these, by name or number; `field` is there. */
const isProtocol = (field: string, ...names: (string | number)[]): string =>
  `(${names.map((name) => `${field} == ${typeof name === "number" ? `${name} || ${field} == '${name}'` : `'${name}'`}`).join(" || ")})`;

const RULE: readonly Validation[] = [
  invalid(
    implies("has(self.icmp)", `has(self.protocol) && ${isProtocol("self.protocol", "ICMP", 1, "ICMPv6", 58)}`),
    "icmp needs the protocol ICMP or ICMPv6",
  ),
  ...["protocol", "notProtocol"].flatMap((field) =>
    (
      [
        [4, "ICMP", 1],
        [6, "ICMPv6", 58],
      ] as const
    ).map(([version, name, number]) =>
      invalid(
        implies(
          `has(self.ipVersion) && has(self.${field}) && ${isProtocol(`self.${field}`, name, number)}`,
          `self.ipVersion == ${version}`,
        ),
        `ipVersion must be ${version} when ${field} is ${name}`,
      ),
    ),
  ),
  invalid(
    implies("has(self.http) && has(self.protocol)", isProtocol("self.protocol", "TCP", 6)),
    "http needs the protocol TCP, or none",
  ),
  forbidden(implies("has(self.http)", "self.action == 'Allow'"), "http is for rules with the action Allow only"),
  forbidden(
    implies(
      "has(self.destination) && has(self.destination.services)",
      `!(${filled("self.destination.ports")}) && !(${filled("self.destination.notPorts")})`,
    ),
    "destination.ports and notPorts cannot be combined with services, which say the ports",
  ),
];

const ENTITY: readonly Validation[] = [
  invalid(noGlobal("selector"), "selector must not use global(); it belongs in namespaceSelector"),
  {
    rule: implies("has(self.services)", filled("self.services.name")),
    message: "services needs a name",
    reason: "FieldValueRequired",
  },
  ...["nets", "notNets", "selector", "notSelector", "namespaceSelector"].map((field) =>
    forbidden(
      implies("has(self.services)", `!(${filled(`self.${field}`)})`),
      `${field} cannot be combined with services`,
    ),
  ),
  forbidden(
    implies("has(self.services)", "!has(self.serviceAccounts)"),
    "serviceAccounts cannot be combined with services",
  ),
];

const ICMP: readonly Validation[] = [invalid("!has(self.code) || has(self.type)", "code needs a type")];

const POLICY: Rules = Object.fromEntries(
  ["ingress", "egress"].flatMap((direction) => {
    const rule = `spec.${direction}[]`;
    return [
      [rule, RULE],
      [`${rule}.source`, ENTITY],
      [`${rule}.destination`, ENTITY],
      [`${rule}.icmp`, ICMP],
      [`${rule}.notICMP`, ICMP],
    ];
  }),
);

export const POLICY_RULES: Rules = { ...POLICY, spec: noGlobals(["selector", "serviceAccountSelector"]) };

export const GLOBAL_POLICY_RULES: Rules = {
  ...POLICY,
  spec: [
    ...noGlobals(["selector", "serviceAccountSelector", "namespaceSelector"]),
    forbidden(
      `!(${on("self.doNotTrack")} && ${on("self.preDNAT")})`,
      "preDNAT cannot be true together with doNotTrack; make it two policies",
    ),
    forbidden(
      implies(on("self.preDNAT"), `!(${filled("self.egress")})`),
      "egress must be empty in a policy with preDNAT, which is for ingress only",
    ),
    forbidden(
      implies(on("self.preDNAT"), "!(has(self.types) && self.types.exists(t, t == 'Egress'))"),
      "types must be [Ingress] in a policy with preDNAT",
    ),
    invalid(
      implies(`${on("self.preDNAT")} || ${on("self.doNotTrack")}`, on("self.applyOnForward")),
      "applyOnForward must be true in a policy with preDNAT or doNotTrack",
    ),
  ],
};

export const HOST_RULES: Rules = {
  spec: [
    invalid(
      `${filled("self.interfaceName")} || ${filled("self.expectedIPs")}`,
      "interfaceName is missing; it must be an interface or *, unless expectedIPs has the interface's addresses",
    ),
    invalid(filled("self.node"), "node is missing; it must be the name of a node"),
  ],
};

const isAddress = (field: string, version: 4 | 6): Validation =>
  invalid(
    implies(filled(`self.${field}`), `(isIP(self.${field}) && ip(self.${field}).family() == ${version})`),
    `${field} must be an IPv${version} address`,
  );

export const FELIX_RULES: Rules = {
  "": [
    invalid(
      implies(
        "self.metadata.name == 'default' || self.metadata.name.startsWith('node.')",
        "!has(self.spec.nodeSelector)",
      ),
      "nodeSelector must be absent where the name is default or begins with node.",
    ),
  ],
  spec: [
    forbidden(
      "!has(self.routeTableRange) || !has(self.routeTableRanges)",
      "routeTableRange cannot be there together with routeTableRanges; remove it",
    ),
    isAddress("natOutgoingAddress", 4),
    isAddress("deviceRouteSourceAddress", 4),
    isAddress("deviceRouteSourceAddressIPv6", 6),
  ],
  "spec.routeTableRange": [invalid("self.max >= self.min && self.max <= 250", "max must be from min to 250")],
  "spec.routeTableRanges[]": [invalid("self.min <= self.max", "max must be min or more")],
};

export const BGP_RULES: Rules = {
  spec: [
    ...["nodeMeshPassword", "nodeMeshMaxRestartTime"].map((field) =>
      forbidden(
        implies(`has(self.${field}) && has(self.nodeToNodeMeshEnabled)`, "self.nodeToNodeMeshEnabled"),
        `${field} must be absent where nodeToNodeMeshEnabled is false`,
      ),
    ),
    invalid(
      implies(filled("self.communities"), `(${filled("self.prefixAdvertisements")})`),
      "communities must be used: prefixAdvertisements is missing",
    ),
  ],
};

/** That two fields are not both filled. */
const notBoth = (field: string, other: string): Validation =>
  forbidden(
    `!(${filled(`self.${field}`)}) || !(${filled(`self.${other}`)})`,
    `${field} cannot be there together with ${other}`,
  );

export const BGP_PEER_RULES: Rules = {
  spec: [
    notBoth("nodeSelector", "node"),
    notBoth("peerSelector", "peerIP"),
    forbidden(
      implies(filled("self.peerSelector"), "(!has(self.asNumber) || self.asNumber == 0)"),
      "asNumber must be absent together with peerSelector",
    ),
    notBoth("peerIP", "localWorkloadSelector"),
    notBoth("peerSelector", "localWorkloadSelector"),
    invalid(
      implies(filled("self.localWorkloadSelector"), "(has(self.asNumber) && self.asNumber != 0)"),
      "asNumber is missing; with localWorkloadSelector it must be the workload's AS number",
    ),
    forbidden(
      implies(filled("self.reachableBy"), `(${filled("self.peerIP")})`),
      "reachableBy must be absent without peerIP, whose gateway it is",
    ),
    forbidden(
      implies(on("self.keepOriginalNextHop"), "!has(self.nextHopMode)"),
      "keepOriginalNextHop cannot be there together with nextHopMode, which replaces it",
    ),
  ],
};

const FILTER_RULE: readonly Validation[] = [
  invalid(
    `(${filled("self.cidr")}) == (${filled("self.matchOperator")})`,
    "cidr and matchOperator must both be there, or neither",
  ),
  invalid(implies("has(self.prefixLength)", `(${filled("self.cidr")})`), "prefixLength must be absent without cidr"),
  invalid(
    implies(filled("self.operations"), "self.action == 'Accept'"),
    "operations must be absent unless action is Accept",
  ),
];

export const BGP_FILTER_RULES: Rules = Object.fromEntries(
  BGP_FILTER_DIRECTIONS.map((direction) => [`spec.${direction}[]`, FILTER_RULE]),
);
