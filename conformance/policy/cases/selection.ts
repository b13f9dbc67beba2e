/** Which endpoints a policy is for, and which a rule means. */
import { check, checkOnly, globalPolicy, globalSet, type PolicyCase, policy, set } from "./resources.ts";

const INGRESS_WEB = "selector: app == 'web', types: [Ingress]";

export const SELECTION: readonly PolicyCase[] = [
  {
    name: "without a policy everything is allowed between pods",
    resources: [],
    checks: [check("tcp/80"), check("udp/53"), check("sctp/9"), check("icmp")],
  },
  {
    name: "a policy without rules denies ingress to the pods it selects, in its namespace only",
    resources: [policy("x", "p", `{${INGRESS_WEB}}`)],
    checks: [
      check("tcp/80", "deny * > x/a", "deny outside > x/a"),
      check("udp/53", "deny * > x/a"),
      check("sctp/9", "deny * > x/a"),
      check("icmp", "deny * > x/a"),
    ],
  },
  {
    name: "a policy without rules of type Egress denies what its pods send",
    resources: [policy("y", "p", "{selector: app == 'db', types: [Egress]}")],
    checks: [check("tcp/80", "deny y/b > *", "deny y/b > outside"), check("sctp/9", "deny y/b > *")],
  },
  {
    name: "both types deny both ways",
    resources: [policy("z", "p", "{types: [Ingress, Egress]}")],
    checks: [check("tcp/80", "deny * > z/*", "deny z/* > *")],
  },
  {
    name: "types are inferred: no rules mean ingress",
    resources: [globalPolicy("p", "{selector: pod == 'c'}")],
    checks: [check("tcp/80", "deny * > x/c,y/c,z/c")],
  },
  {
    name: "types are inferred: egress rules alone mean egress",
    resources: [globalPolicy("p", "{selector: pod == 'c', egress: [{action: Allow, protocol: UDP}]}")],
    checks: [check("tcp/80", "deny x/c,y/c,z/c > *"), check("udp/53")],
  },
  {
    name: "types are inferred: rules of both directions mean both",
    resources: [
      globalPolicy(
        "p",
        "{selector: pod == 'c', ingress: [{action: Allow, protocol: TCP}], egress: [{action: Allow, protocol: UDP}]}",
      ),
    ],
    checks: [check("tcp/80", "deny x/c,y/c,z/c > *"), check("udp/53", "deny * > x/c,y/c,z/c")],
  },
  {
    name: "a rule's source selector means pods of the policy's own namespace",
    resources: [policy("x", "p", `{${INGRESS_WEB}, ingress: [{action: Allow, source: {selector: app == 'db'}}]}`)],
    checks: [check("tcp/80", "deny * > x/a", "allow x/b > x/a")],
  },
  {
    name: "in a global policy it means pods of all namespaces",
    resources: [globalPolicy("p", `{${INGRESS_WEB}, ingress: [{action: Allow, source: {selector: app == 'db'}}]}`)],
    checks: [check("tcp/80", "deny * > x/a,y/a,z/a", "allow x/b,y/b,z/b > x/a,y/a,z/a")],
  },
  {
    name: "a namespaceSelector with a selector means those pods of those namespaces",
    resources: [
      policy(
        "x",
        "p",
        `{${INGRESS_WEB}, ingress: [{action: Allow, source: {namespaceSelector: team == 'red', selector: app == 'db'}}]}`,
      ),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow z/b > x/a")],
  },
  {
    name: "a namespaceSelector alone means all pods of those namespaces",
    resources: [
      policy("x", "p", `{${INGRESS_WEB}, ingress: [{action: Allow, source: {namespaceSelector: "ns in {'y', 'z'}"}}]}`),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow y/*,z/* > x/a")],
  },
  {
    name: "a namespace is also known by its name",
    resources: [
      policy(
        "x",
        "p",
        `{${INGRESS_WEB}, ingress: [{action: Allow, source: {namespaceSelector: projectcalico.org/name == 'y'}}]}`,
      ),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow y/* > x/a")],
  },
  {
    name: "a global policy may be for namespaces by their labels",
    resources: [globalPolicy("p", "{namespaceSelector: team == 'blue', selector: pod == 'a', types: [Ingress]}")],
    checks: [check("tcp/80", "deny * > x/a,y/a")],
  },
  {
    name: "destination selectors of egress rules",
    resources: [
      policy(
        "x",
        "p",
        "{selector: all(), types: [Egress], egress: [{action: Allow, destination: {selector: app == 'web', namespaceSelector: all()}}]}",
      ),
    ],
    checks: [check("tcp/80", "deny x/* > *", "deny x/* > outside", "allow x/* > x/a,y/a,z/a")],
  },
  {
    name: "notSelector leaves out what it matches, and takes in what is no endpoint",
    resources: [globalPolicy("p", `{${INGRESS_WEB}, ingress: [{action: Allow, source: {notSelector: app == 'db'}}]}`)],
    checks: [check("tcp/80", "deny x/b,y/b,z/b > x/a,y/a,z/a", "allow outside > x/a,y/a,z/a")],
  },
  {
    name: "a negated selector means endpoints only",
    resources: [globalPolicy("p", `{${INGRESS_WEB}, ingress: [{action: Allow, source: {selector: "app != 'db'"}}]}`)],
    checks: [check("tcp/80", "deny x/b,y/b,z/b > x/a,y/a,z/a", "deny outside > x/a,y/a,z/a")],
  },
  {
    name: "every operator of the selector language",
    resources: [
      policy(
        "x",
        "p1",
        `{selector: "pod in {'a'}", types: [Ingress], ingress: [{action: Allow, source: {selector: "app contains 'd' && has(app)"}}]}`,
      ),
      policy(
        "x",
        "p2",
        `{selector: "pod not in {'a', 'c'}", types: [Ingress], ingress: [{action: Allow, source: {selector: "!has(app) || app starts with 'we'"}}]}`,
      ),
      policy(
        "x",
        "p3",
        `{selector: "!has(app) && !(pod == 'a')", types: [Ingress], ingress: [{action: Allow, source: {selector: "app ends with 'eb'", namespaceSelector: "all()"}}]}`,
      ),
    ],
    checks: [check("tcp/80", "deny * > x/*", "allow x/b > x/a", "allow x/a,x/c > x/b", "allow x/a,y/a,z/a > x/c")],
  },
  {
    name: "service accounts by name",
    resources: [
      policy("x", "p", `{${INGRESS_WEB}, ingress: [{action: Allow, source: {serviceAccounts: {names: [sa-b]}}}]}`),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow x/b > x/a")],
  },
  {
    name: "service accounts by their labels, in any namespace",
    resources: [
      globalPolicy(
        "p",
        "{selector: pod == 'c', types: [Ingress], ingress: [{action: Allow, source: {serviceAccounts: {selector: role == 'admin'}, namespaceSelector: team == 'blue'}}]}",
      ),
    ],
    checks: [check("tcp/80", "deny * > x/c,y/c,z/c", "allow x/a,y/a > x/c,y/c,z/c")],
  },
  {
    name: "a policy may be for pods by their service account",
    resources: [globalPolicy("p", "{serviceAccountSelector: role == 'admin', types: [Ingress]}")],
    checks: [check("tcp/80", "deny * > x/a,y/a,z/a")],
  },
  {
    name: "GlobalNetworkSet: addresses under a label",
    resources: [
      globalSet("outsiders", '{nets: [172.31.0.12, "fd31::12/128"]}', "{zone: edge}"),
      globalPolicy("p", `{${INGRESS_WEB}, ingress: [{action: Allow, source: {selector: zone == 'edge'}}]}`),
    ],
    checks: [check("tcp/80", "deny * > x/a,y/a,z/a", "allow outside > x/a,y/a,z/a")],
  },
  {
    name: "GlobalNetworkSet with overlapping networks, and all there is",
    resources: [
      globalSet(
        "wide",
        '{nets: [172.16.0.0/12, 172.31.0.0/24, 172.31.0.12/32, "fd31::/64", "fd31::12/128"]}',
        "{zone: edge}",
      ),
      globalSet("all", '{nets: [0.0.0.0/0, "::/0"]}', "{zone: any}"),
      globalPolicy(
        "p",
        `{${INGRESS_WEB}, ingress: [{action: Deny, protocol: UDP, source: {selector: zone == 'any'}}, {action: Allow, source: {selector: zone == 'edge'}}]}`,
      ),
    ],
    checks: [
      check("tcp/80", "deny * > x/a,y/a,z/a", "allow outside > x/a,y/a,z/a"),
      check("udp/53", "deny *,outside > x/a,y/a,z/a"),
    ],
  },
  {
    name: "NetworkSet: of its namespace only",
    resources: [
      set("x", "outsiders", '{nets: [172.31.0.0/24, "fd31::/64"]}', "{zone: edge}"),
      globalPolicy(
        "p",
        "{selector: pod == 'a', types: [Ingress], ingress: [{action: Allow, source: {selector: zone == 'edge', namespaceSelector: ns == 'x'}}]}",
      ),
      policy(
        "y",
        "p",
        "{selector: pod == 'b', types: [Ingress], ingress: [{action: Allow, source: {selector: zone == 'edge'}}]}",
      ),
    ],
    checks: [check("tcp/80", "deny * > x/a,y/a,z/a,y/b", "allow outside > x/a,y/a,z/a", "deny outside > y/b")],
  },
  {
    name: "namespaceSelector global() means what is in no namespace",
    resources: [
      globalSet("outsiders", '{nets: [172.31.0.0/24, "fd31::/64"]}', "{app: db}"),
      set("x", "insiders", '{nets: [10.65.0.0/24, "fd65::/120"]}', "{app: db}"),
      policy(
        "x",
        "p",
        `{${INGRESS_WEB}, ingress: [{action: Allow, source: {selector: app == 'db', namespaceSelector: global()}}]}`,
      ),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow outside > x/a")],
  },
  {
    name: "a selector that matches nobody allows nobody",
    resources: [globalPolicy("p", `{${INGRESS_WEB}, ingress: [{action: Allow, source: {selector: app == 'nobody'}}]}`)],
    checks: [check("tcp/80", "deny * > x/a,y/a,z/a"), checkOnly("tcp/80", "deny outside > x/a")],
  },
  {
    name: "a policy that changes is in force as it is now",
    resources: [policy("x", "p", `{${INGRESS_WEB}}`)],
    checks: [check("tcp/80", "deny * > x/a")],
    after: {
      resources: [
        policy(
          "x",
          "p",
          "{selector: app == 'db', types: [Ingress], ingress: [{action: Allow, source: {selector: app == 'web'}}]}",
        ),
      ],
      checks: [check("tcp/80", "deny * > x/b", "allow x/a > x/b")],
    },
  },
];
