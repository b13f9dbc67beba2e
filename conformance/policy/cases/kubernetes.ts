/** Kubernetes' own kinds: NetworkPolicy and ClusterNetworkPolicy. */
import { check, clusterPolicy, globalPolicy, kubernetesPolicy, type PolicyCase } from "./resources.ts";

const WEBS = "x/a,y/a,z/a";
const ANY = "{namespaceSelector: {}, podSelector: {}}";

export const KUBERNETES: readonly PolicyCase[] = [
  {
    name: "NetworkPolicy: default deny of a namespace",
    resources: [kubernetesPolicy("x", "deny", "{podSelector: {}, policyTypes: [Ingress, Egress]}")],
    checks: [check("tcp/80", "deny * > x/*", "deny x/* > *"), check("sctp/9", "deny * > x/*", "deny x/* > *")],
  },
  {
    name: "NetworkPolicy: pods of the namespace, by label",
    resources: [
      kubernetesPolicy(
        "x",
        "p",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {matchLabels: {app: db}}}]}]}",
      ),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow x/b > x/a")],
  },
  {
    name: "NetworkPolicy: namespaces, by label and by name",
    resources: [
      kubernetesPolicy(
        "x",
        "p",
        "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{namespaceSelector: {matchLabels: {team: red}}}, {namespaceSelector: {matchExpressions: [{key: ns, operator: In, values: [y]}]}, podSelector: {matchLabels: {pod: c}}}]}]}",
      ),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow z/*,y/c > x/a")],
  },
  {
    name: "NetworkPolicy: expressions over labels",
    resources: [
      kubernetesPolicy(
        "y",
        "p",
        "{podSelector: {matchExpressions: [{key: app, operator: Exists}]}, ingress: [{from: [{podSelector: {matchExpressions: [{key: pod, operator: NotIn, values: [a, b]}]}}, {podSelector: {matchExpressions: [{key: app, operator: DoesNotExist}]}, namespaceSelector: {matchLabels: {ns: x}}}]}]}",
      ),
    ],
    checks: [check("tcp/80", "deny * > y/a,y/b", "allow y/c,x/c > y/a,y/b")],
  },
  {
    name: "NetworkPolicy: ports by number, name and range, of every protocol",
    resources: [
      kubernetesPolicy(
        "x",
        "p",
        "{podSelector: {}, ingress: [{ports: [{port: 80}, {protocol: UDP, port: dns}, {protocol: SCTP, port: 2905}, {protocol: TCP, port: 1000, endPort: 1010}]}]}",
      ),
    ],
    checks: [
      check("tcp/80"),
      check("tcp/81", "deny * > x/*"),
      check("udp/53"),
      check("udp/54", "deny * > x/*"),
      check("sctp/2905"),
      check("tcp/1010"),
      check("tcp/1011", "deny * > x/*"),
    ],
  },
  {
    name: "NetworkPolicy: ipBlock with exceptions",
    resources: [
      kubernetesPolicy(
        "x",
        "p",
        '{podSelector: {matchLabels: {app: web}}, policyTypes: [Ingress, Egress], ingress: [{from: [{ipBlock: {cidr: 0.0.0.0/0, except: [10.65.0.0/24]}}, {ipBlock: {cidr: "::/0", except: ["fd65::/120"]}}]}], egress: [{to: [{ipBlock: {cidr: 10.65.0.0/24}}, {ipBlock: {cidr: "fd65::/120"}}]}]}',
      ),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow outside > x/a", "deny x/a > outside", "allow x/b > outside")],
  },
  {
    name: "NetworkPolicy: an empty from allows everybody, an empty list nobody",
    resources: [
      kubernetesPolicy("x", "all", "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}"),
      kubernetesPolicy("x", "none", "{podSelector: {matchLabels: {app: db}}, ingress: []}"),
    ],
    checks: [check("tcp/80", "deny * > x/b"), check("sctp/9", "deny * > x/b")],
  },
  {
    name: "NetworkPolicy: several add up, and egress has rules of its own",
    resources: [
      kubernetesPolicy("x", "a", "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}"),
      kubernetesPolicy("x", "b", "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 81}]}]}"),
      kubernetesPolicy(
        "y",
        "c",
        "{podSelector: {matchLabels: {pod: c}}, policyTypes: [Egress], egress: [{ports: [{port: 81}], to: [{namespaceSelector: {matchLabels: {ns: x}}}]}]}",
      ),
    ],
    checks: [
      check("tcp/80", "deny y/c > *"),
      check("tcp/81", "deny y/c > *", "allow y/c > x/*"),
      check("tcp/82", "deny * > x/a", "deny y/c > *"),
    ],
  },
  {
    name: "NetworkPolicy: is policy of order 1000 in the tier default",
    resources: [
      kubernetesPolicy("x", "p", "{podSelector: {matchLabels: {app: web}}, ingress: [{ports: [{port: 80}]}]}"),
      globalPolicy(
        "before",
        "{order: 999, selector: app == 'web', types: [Ingress], ingress: [{action: Deny, source: {selector: app == 'db'}}]}",
      ),
      globalPolicy("after", "{order: 1001, selector: app == 'web', types: [Ingress], ingress: [{action: Deny}]}"),
    ],
    checks: [check("tcp/80", "deny * > y/a,z/a", "deny x/b,y/b,z/b > x/a"), check("tcp/81", `deny * > ${WEBS}`)],
  },
  {
    name: "ClusterNetworkPolicy: Admin denies before NetworkPolicy allows",
    resources: [
      clusterPolicy(
        "admin",
        `{tier: Admin, priority: 10, subject: {namespaces: {matchLabels: {ns: x}}}, ingress: [{name: no-red, action: Deny, from: [{namespaces: {matchLabels: {team: red}}}]}]}`,
      ),
      kubernetesPolicy("x", "p", "{podSelector: {}, ingress: [{}]}"),
    ],
    checks: [check("tcp/80", "deny z/* > x/*")],
  },
  {
    name: "ClusterNetworkPolicy: Admin accepts before NetworkPolicy denies",
    resources: [
      clusterPolicy(
        "admin",
        `{tier: Admin, priority: 10, subject: {pods: {namespaceSelector: {matchLabels: {ns: x}}, podSelector: {matchLabels: {app: web}}}}, ingress: [{name: monitoring, action: Accept, from: [{pods: {namespaceSelector: {}, podSelector: {matchLabels: {pod: c}}}}]}]}`,
      ),
      kubernetesPolicy("x", "p", "{podSelector: {}}"),
    ],
    checks: [check("tcp/80", "deny * > x/*", "allow x/c,y/c,z/c > x/a")],
  },
  {
    name: "ClusterNetworkPolicy: Pass leaves it to NetworkPolicy, and priorities order",
    resources: [
      clusterPolicy(
        "second",
        `{tier: Admin, priority: 20, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: red}}}]}]}`,
      ),
      clusterPolicy(
        "first",
        `{tier: Admin, priority: 10, subject: {namespaces: {matchLabels: {ns: y}}}, ingress: [{action: Pass, from: [{namespaces: {matchLabels: {team: red}}}]}]}`,
      ),
    ],
    checks: [check("tcp/80", "deny z/* > x/*,z/*")],
  },
  {
    name: "ClusterNetworkPolicy: Baseline holds where nothing else does",
    resources: [
      clusterPolicy(
        "baseline",
        `{tier: Baseline, priority: 10, subject: {namespaces: {}}, ingress: [{action: Deny, from: [{namespaces: {matchLabels: {team: red}}}]}]}`,
      ),
      kubernetesPolicy("x", "p", "{podSelector: {matchLabels: {app: web}}, ingress: [{}]}"),
    ],
    checks: [check("tcp/80", "deny z/* > *", "allow z/* > x/a")],
  },
  {
    name: "ClusterNetworkPolicy: egress to networks and ports",
    resources: [
      clusterPolicy(
        "admin",
        `{tier: Admin, priority: 10, subject: {namespaces: {matchLabels: {ns: x}}}, egress: [{action: Deny, to: [{networks: [172.31.0.0/16, "fd31::/64"]}], protocols: [{tcp: {destinationPort: {number: 80}}}, {udp: {destinationPort: {range: {start: 50, end: 60}}}}]}]}`,
      ),
    ],
    checks: [
      check("tcp/80", "deny x/* > outside", "allow y/* > outside"),
      check("udp/53", "deny x/* > outside"),
      check("tcp/81", "allow x/* > outside"),
    ],
  },
  {
    name: "a namespaced and a cluster-wide policy of every kind together",
    resources: [
      clusterPolicy(
        "admin",
        `{tier: Admin, priority: 1, subject: {pods: ${ANY}}, ingress: [{action: Deny, from: [{pods: {namespaceSelector: {matchLabels: {ns: z}}, podSelector: {matchLabels: {pod: c}}}}]}]}`,
      ),
      kubernetesPolicy("x", "p", "{podSelector: {matchLabels: {app: web}}, ingress: [{from: [{podSelector: {}}]}]}"),
      globalPolicy(
        "g",
        "{order: 10, selector: app == 'web', types: [Ingress], ingress: [{action: Allow, source: {selector: app == 'db', namespaceSelector: team == 'red'}}]}",
      ),
    ],
    checks: [check("tcp/80", "deny z/c > *", `deny * > ${WEBS}`, "allow x/* > x/a", `allow z/b > ${WEBS}`)],
  },
];
