/** For tests: objects that an API server takes, and objects that it refuses. */

export type Json = Record<string, unknown>;

const VERSIONS: Readonly<Record<string, string>> = {
  EndpointSlice: "discovery.k8s.io/v1",
  NetworkPolicy: "networking.k8s.io/v1",
  ClusterNetworkPolicy: "policy.networking.k8s.io/v1alpha2",
};

/** An object named x of a kind. */
export const objectOf = (kind: string, rest: Json, metadata: Json = {}): Json => ({
  apiVersion: VERSIONS[kind] ?? "v1",
  kind,
  metadata: { name: "x", ...metadata },
  ...rest,
});

const policy = (...ingress: Json[]): Json => ({ spec: { podSelector: {}, ingress } });
const peer = (one: Json): Json => policy({ from: [one] });
const port = (one: Json): Json => policy({ ports: [one] });
const service = (spec: Json): Json => ({ spec });
const cluster = (rest: Json): Json => ({ spec: { tier: "Admin", priority: 1, subject: { namespaces: {} }, ...rest } });
const egress = (to: Json[], protocols?: Json[]): Json =>
  cluster({ egress: [{ action: "Deny", to, ...(protocols ? { protocols } : {}) }] });

/** What it is, the kind, and the object's fields. */
export const RIGHT: readonly (readonly [string, string, Json])[] = [
  ["a namespace", "Namespace", {}],
  ["an account", "ServiceAccount", { automountServiceAccountToken: true }],
  ["a headless service without ports", "Service", service({ clusterIP: "None", clusterIPs: ["None"], selector: {} })],
  ["a name elsewhere", "Service", service({ type: "ExternalName", externalName: "db.example.com." })],
  [
    "a service of every field",
    "Service",
    service({
      type: "LoadBalancer",
      externalIPs: ["192.0.2.010"],
      loadBalancerSourceRanges: [" 10.0.0.0/8 "],
      sessionAffinity: "None",
      externalTrafficPolicy: "Local",
      ports: [
        { name: "dns", port: 53, protocol: "UDP", targetPort: "dns" },
        { name: "dns-tcp", port: 53, protocol: "TCP", targetPort: 5353, nodePort: 0 },
      ],
    }),
  ],
  ["a slice of a removed service", "EndpointSlice", { addressType: "IPv6", endpoints: null, ports: null }],
  [
    "a slice",
    "EndpointSlice",
    {
      addressType: "IPv4",
      endpoints: [{ addresses: ["10.0.0.1"], conditions: {}, deprecatedTopology: { a: "b" } }],
      ports: [{ name: "", port: null, protocol: "SCTP" }],
    },
  ],
  ["a policy for all", "NetworkPolicy", {}],
  ["rules that allow all", "NetworkPolicy", policy({})],
  ["a peer of everything", "NetworkPolicy", peer({ namespaceSelector: {} })],
  ["an old CIDR", "NetworkPolicy", peer({ ipBlock: { cidr: "010.0.0.1/8", except: ["10.2.0.0/16"] } })],
  ["IPv4 in IPv6 clothes", "NetworkPolicy", peer({ ipBlock: { cidr: "::ffff:10.0.0.0/104" } })],
  ["a range of ports", "NetworkPolicy", port({ protocol: "SCTP", port: 1000, endPort: 1000 })],
  ["a named port", "NetworkPolicy", port({ port: "http" })],
  [
    "a policy of a cluster",
    "ClusterNetworkPolicy",
    egress([{ pods: { podSelector: {} } }], [{ tcp: { destinationPort: { number: 25 } } }]),
  ],
  ["domains", "ClusterNetworkPolicy", egress([{ domainNames: ["*.example.com"] }])],
  ["a peer of a newer version", "ClusterNetworkPolicy", egress([{ planets: ["earth"] }])],
  ["an empty secret", "Secret", { data: { a: null, b: "", c: "YQ==\n" } }],
  ["a pod", "Pod", { spec: { containers: [{ name: "c", image: "i", ports: [{ containerPort: 80 }] }] } }],
];

/** What is wrong, the kind, the object's fields, and what is said about it. */
export const WRONG: readonly (readonly [string, string, Json, readonly string[]])[] = [
  [
    "a name",
    "Namespace",
    { metadata: { name: "a.b" } },
    [
      'metadata.name: "a.b": must be a name of lower-case letters, digits and -, at most 63 long, with a letter or digit at both ends',
    ],
  ],
  [
    "a type",
    "ServiceAccount",
    { automountServiceAccountToken: "no" },
    ['automountServiceAccountToken: "no": must be true or false'],
  ],
  ["no spec", "Service", {}, ["spec: is missing; it must be an object"]],
  ["no ports", "Service", service({}), ["spec.ports: must have at least one port, unless clusterIP is None"]],
  [
    "no name",
    "Service",
    service({ type: "ExternalName" }),
    ["spec.externalName: is missing; the type ExternalName needs it"],
  ],
  [
    "ports without names, twice the same",
    "Service",
    service({ ports: [{ port: 80 }, { name: "b", port: 80 }] }),
    [
      "spec.ports[0].name: is missing; a service of several ports names each",
      'spec.ports[1]: "80/TCP": is in the list already; each must be another',
    ],
  ],
  [
    "numbers and enumerations",
    "Service",
    service({ type: "Cluster", ports: [{ port: 0, protocol: "tcp", targetPort: "HTTP" }] }),
    [
      'spec.type: "Cluster": must be one of ClusterIP, NodePort, LoadBalancer, ExternalName',
      'spec.ports[0].protocol: "tcp": must be one of TCP, UDP, SCTP',
      "spec.ports[0].port: 0: must be an integer from 1 to 65535",
      'spec.ports[0].targetPort: "HTTP": must be a port from 1 to 65535, or the name of one: 1 to 15 lower-case letters, digits and single -, at least one letter',
    ],
  ],
  [
    "addresses",
    "Service",
    service({
      clusterIP: "10.0.0",
      externalIPs: ["x"],
      loadBalancerSourceRanges: ["10.0.0.0"],
      ports: [{ port: 1 }],
    }),
    [
      'spec.clusterIP: "10.0.0": must be an IP address, or None',
      'spec.externalIPs[0]: "x": must be an IP address',
      'spec.loadBalancerSourceRanges[0]: "10.0.0.0": must be a CIDR such as 10.0.0.0/16 or fd00::/64',
    ],
  ],
  ["no family", "EndpointSlice", {}, ["addressType: is missing; it must be one of IPv4, IPv6, FQDN"]],
  [
    "the other family",
    "EndpointSlice",
    { addressType: "IPv6", endpoints: [{ addresses: ["10.0.0.1"] }, { addresses: [] }], ports: [{}, {}] },
    [
      'ports[1].name: "": is in the list already; each must be another',
      'endpoints[0].addresses[0]: "10.0.0.1": must be an IPv6 address, as addressType says',
      "endpoints[1].addresses: must have at least one address",
    ],
  ],
  [
    "an empty peer",
    "NetworkPolicy",
    peer({}),
    ["spec.ingress[0].from[0]: must have podSelector, namespaceSelector or ipBlock; {} as a selector selects all"],
  ],
  [
    "a block among selectors",
    "NetworkPolicy",
    peer({ podSelector: {}, ipBlock: { cidr: "10.0.0.0/8" } }),
    ["spec.ingress[0].from[0].ipBlock: must be alone; make what podSelector and namespaceSelector say another peer"],
  ],
  [
    "blocks",
    "NetworkPolicy",
    policy({
      from: [
        { ipBlock: { cidr: "10.0.0.0/33" } },
        { ipBlock: { cidr: "10.0.0.0/8", except: ["10.0.0.0/8", "11.0.0.0/16", "x"] } },
      ],
    }),
    [
      'spec.ingress[0].from[0].ipBlock.cidr: "10.0.0.0/33": must be a CIDR such as 10.0.0.0/16 or fd00::/64',
      'spec.ingress[0].from[1].ipBlock.except[0]: "10.0.0.0/8": must be a part of 10.0.0.0/8, and not all of it',
      'spec.ingress[0].from[1].ipBlock.except[1]: "11.0.0.0/16": must be a part of 10.0.0.0/8, and not all of it',
      'spec.ingress[0].from[1].ipBlock.except[2]: "x": must be a CIDR such as 10.0.0.0/16 or fd00::/64',
    ],
  ],
  [
    "a number in quotes",
    "NetworkPolicy",
    port({ port: "80" }),
    ['spec.ingress[0].ports[0].port: "80": must be a number without quotes, or the name of a port'],
  ],
  [
    "a range without a beginning",
    "NetworkPolicy",
    port({ endPort: 9 }),
    ["spec.ingress[0].ports[0].endPort: 9: must be absent without a port, where the range begins"],
  ],
  [
    "a range of a name",
    "NetworkPolicy",
    port({ port: "a", endPort: 9 }),
    ["spec.ingress[0].ports[0].endPort: 9: must be absent where the port is a name"],
  ],
  [
    "a range upside down",
    "NetworkPolicy",
    port({ port: 10, endPort: 9 }),
    ["spec.ingress[0].ports[0].endPort: 9: must be 10, the port, or more"],
  ],
  [
    "a direction",
    "NetworkPolicy",
    { spec: { policyTypes: ["ingress"] } },
    ['spec.policyTypes[0]: "ingress": must be one of Ingress, Egress'],
  ],
  [
    "selectors",
    "NetworkPolicy",
    {
      spec: {
        podSelector: {
          matchExpressions: [
            { key: "a", operator: "In" },
            { key: "a", operator: "Exists", values: ["x"] },
            { key: "a", operator: "NotIn", values: ["-"] },
          ],
        },
      },
    },
    [
      "spec.podSelector.matchExpressions[0].values: is missing; the operator In needs at least one value",
      'spec.podSelector.matchExpressions[1].values: ["x"]: must be absent with the operator Exists',
      'spec.podSelector.matchExpressions[2].values[0]: "-": must be the value of a label: at most 63 letters, digits, -, _ and .',
    ],
  ],
  [
    "a policy of a cluster",
    "ClusterNetworkPolicy",
    { spec: { tier: "admin", priority: 1001, ingress: [{ action: "Allow" }] } },
    [
      'spec.tier: "admin": must be one of Admin, Baseline',
      "spec.priority: 1001: must be an integer from 0 to 1000",
      "spec.subject: is missing; it must be an object",
      'spec.ingress[0].action: "Allow": must be one of Accept, Deny, Pass',
      "spec.ingress[0].from: is missing; it must be a list",
    ],
  ],
  [
    "peers and ports of a cluster's policy",
    "ClusterNetworkPolicy",
    egress(
      [{}, { namespaces: {}, nodes: {} }, { networks: ["x"] }, { domainNames: ["com"] }],
      [
        { tcp: { destinationPort: { range: { start: 5, end: 5 } } } },
        { destinationNamedPort: "http" },
        {},
        { udp: {} },
      ],
    ),
    [
      "spec.egress[0].to[0]: must have exactly one of namespaces, pods, nodes, networks, domainNames",
      "spec.egress[0].to[1]: must have exactly one of namespaces, pods, nodes, networks, domainNames, not namespaces and nodes",
      'spec.egress[0].to[2].networks[0]: "x": must be a CIDR such as 10.0.0.0/16 or fd00::/64',
      'spec.egress[0].to[3].domainNames[0]: "com": must be a DNS name of several parts, such as www.example.com or *.example.com',
      "spec.egress[0].protocols[0].tcp.destinationPort.range.end: 5: must be more than 5",
      "spec.egress[0].protocols[2]: must have exactly one of tcp, udp, sctp, destinationNamedPort",
      "spec.egress[0].protocols[3].udp.destinationPort: is missing; it says which ports of the protocol",
      "spec.egress[0].protocols[1].destinationNamedPort: must be absent beside networks, nodes and domainNames, which name no ports",
    ],
  ],
  ["no containers", "Pod", { spec: { containers: [] } }, ["spec.containers: must have at least one container"]],
];

/** The text that no message may hold. */
const WORD = "hunter2";

/** What is wrong, the fields of a Secret, and what is said about it. */
export const WRONG_SECRETS: readonly (readonly [string, Json, readonly string[]])[] = [
  [
    "text in data",
    { data: { password: WORD } },
    ['data["password"]: must be base64; put a text under stringData instead'],
  ],
  ["a number", { stringData: { password: 5550123 } }, ['stringData["password"]: must be a string']],
  ["a list", { data: { password: [WORD] } }, ['data["password"]: must be a string']],
  ["no map", { data: WORD }, ["data: must be an object"]],
  [
    "a key",
    { data: { "a/b": "YQ==" } },
    ['data["a/b"]: has a key that must be at most 253 letters, digits, -, _ and .'],
  ],
  [
    "what a type needs",
    { type: "kubernetes.io/tls", data: { "tls.crt": "YQ==" } },
    ['data["tls.key"]: is missing; a secret of the type kubernetes.io/tls must have it'],
  ],
  [
    "a password",
    { type: "kubernetes.io/basic-auth" },
    ["data: must have username or password in a secret of the type kubernetes.io/basic-auth"],
  ],
  [
    "an account",
    { type: "kubernetes.io/service-account-token" },
    [
      'metadata.annotations["kubernetes.io/service-account.name"]: is missing; a secret of the type kubernetes.io/service-account-token must have it',
    ],
  ],
];
