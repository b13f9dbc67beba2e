/** Which rule has the say: order, tiers, actions, staged policies, profiles. */
import {
  check,
  globalPolicy,
  type PolicyCase,
  policy,
  stagedGlobalPolicy,
  stagedKubernetesPolicy,
  stagedPolicy,
  tier,
} from "./resources.ts";

const WEBS = "x/a,y/a,z/a";
const WEB = "selector: app == 'web', types: [Ingress]";
const ALLOW = "ingress: [{action: Allow}]";
const DENY = "ingress: [{action: Deny}]";
const PASS = "ingress: [{action: Pass}]";

export const ORDER: readonly PolicyCase[] = [
  {
    name: "the first rule that matches decides",
    resources: [
      policy(
        "x",
        "p",
        `{${WEB}, ingress: [{action: Deny, protocol: TCP, destination: {ports: [80]}}, {action: Allow, protocol: TCP}]}`,
      ),
    ],
    checks: [check("tcp/80", "deny * > x/a"), check("tcp/81"), check("udp/53", "deny * > x/a")],
  },
  {
    name: "policies go by their order",
    resources: [
      globalPolicy("a-later", `{order: 20, ${WEB}, ${DENY}}`),
      globalPolicy("b-earlier", `{order: 10.5, ${WEB}, ${ALLOW}}`),
    ],
    checks: [check("tcp/80")],
  },
  {
    name: "a policy without an order goes last",
    resources: [globalPolicy("a", `{${WEB}, ${ALLOW}}`), globalPolicy("b", `{order: 999999, ${WEB}, ${DENY}}`)],
    checks: [check("tcp/80", `deny * > ${WEBS}`)],
  },
  {
    name: "policies of one order go by their names",
    resources: [
      globalPolicy("b", `{order: 5, ${WEB}, ${ALLOW}}`),
      globalPolicy("a", `{order: 5, ${WEB}, ingress: [{action: Deny, protocol: TCP}]}`),
    ],
    checks: [check("tcp/80", `deny * > ${WEBS}`), check("udp/53")],
  },
  {
    name: "a change of order changes who decides",
    resources: [globalPolicy("a", `{order: 1, ${WEB}, ${DENY}}`), globalPolicy("b", `{order: 2, ${WEB}, ${ALLOW}}`)],
    checks: [check("tcp/80", `deny * > ${WEBS}`)],
    after: {
      resources: [globalPolicy("a", `{order: 3, ${WEB}, ${DENY}}`), globalPolicy("b", `{order: 2, ${WEB}, ${ALLOW}}`)],
      checks: [check("tcp/80")],
    },
  },
  {
    name: "what several policies allow adds up",
    resources: [
      policy("x", "a", `{${WEB}, ingress: [{action: Allow, source: {selector: app == 'db'}}]}`),
      policy("x", "b", `{${WEB}, ingress: [{action: Allow, source: {namespaceSelector: team == 'red'}}]}`),
    ],
    checks: [check("tcp/80", "deny * > x/a", "allow x/b,z/* > x/a")],
  },
  {
    name: "ingress and egress have to agree",
    resources: [
      policy("x", "in", `{${WEB}, ingress: [{action: Allow, source: {namespaceSelector: ns == 'y'}}]}`),
      policy("y", "out", "{selector: pod == 'b', types: [Egress], egress: [{action: Allow, protocol: UDP}]}"),
    ],
    checks: [
      check("tcp/80", "deny * > x/a", "allow y/* > x/a", "deny y/b > *"),
      check("udp/53", "deny * > x/a", "allow y/* > x/a"),
    ],
  },
  {
    name: "Log does not decide",
    resources: [policy("x", "p", `{${WEB}, ingress: [{action: Log}, {action: Allow, protocol: TCP}, {action: Log}]}`)],
    checks: [check("tcp/80"), check("udp/53", "deny * > x/a")],
  },
  {
    name: "an earlier tier decides first",
    resources: [
      tier("first", "{order: 100}"),
      globalPolicy("f", `{tier: first, ${WEB}, ${DENY}}`),
      globalPolicy("d", `{${WEB}, ${ALLOW}}`),
    ],
    checks: [check("tcp/80", `deny * > ${WEBS}`)],
  },
  {
    name: "Pass hands on to the next tier",
    resources: [
      tier("first", "{order: 100}"),
      globalPolicy(
        "f",
        `{tier: first, ${WEB}, ingress: [{action: Pass, protocol: TCP}, {action: Allow, protocol: UDP}]}`,
      ),
      globalPolicy("d", `{${WEB}, ingress: [{action: Allow, source: {selector: app == 'db'}}]}`),
    ],
    checks: [
      check("tcp/80", `deny * > ${WEBS}`, `allow x/b,y/b,z/b > ${WEBS}`),
      check("udp/53"),
      check("sctp/9", `deny * > ${WEBS}`),
    ],
  },
  {
    name: "Pass in the last tier hands on to the profiles",
    resources: [globalPolicy("p", `{${WEB}, ${PASS}}`)],
    checks: [check("tcp/80")],
  },
  {
    name: "Pass skips what is left of its tier",
    resources: [
      tier("first", "{order: 100}"),
      globalPolicy("f1", `{tier: first, order: 1, ${WEB}, ${PASS}}`),
      globalPolicy("f2", `{tier: first, order: 2, ${WEB}, ${DENY}}`),
    ],
    checks: [check("tcp/80")],
  },
  {
    name: "a tier whose policies say nothing denies at its end",
    resources: [
      tier("first", "{order: 100}"),
      globalPolicy("f", `{tier: first, ${WEB}, ingress: [{action: Allow, protocol: UDP}]}`),
      globalPolicy("d", `{${WEB}, ${ALLOW}}`),
    ],
    checks: [check("tcp/80", `deny * > ${WEBS}`), check("udp/53")],
  },
  {
    name: "a tier with the default action Pass hands on at its end",
    resources: [
      tier("first", "{order: 100, defaultAction: Pass}"),
      globalPolicy("f", `{tier: first, ${WEB}, ingress: [{action: Deny, protocol: UDP}]}`),
      globalPolicy("d", `{${WEB}, ingress: [{action: Allow, protocol: TCP}]}`),
    ],
    checks: [check("tcp/80"), check("udp/53", `deny * > ${WEBS}`), check("sctp/9", `deny * > ${WEBS}`)],
  },
  {
    name: "a tier is only for the endpoints that its policies select",
    resources: [
      tier("first", "{order: 100}"),
      globalPolicy("f", "{tier: first, selector: app == 'db', types: [Ingress]}"),
    ],
    checks: [check("tcp/80", "deny * > x/b,y/b,z/b")],
  },
  {
    name: "tiers go by their order, and those of one order by their names",
    resources: [
      tier("b", "{order: 100}"),
      tier("a", "{order: 100}"),
      tier("c", "{order: 50}"),
      globalPolicy("ca", `{tier: c, ${WEB}, ingress: [{action: Allow, protocol: UDP}, {action: Pass}]}`),
      globalPolicy("aa", `{tier: a, ${WEB}, ingress: [{action: Deny, protocol: TCP}, {action: Pass}]}`),
      globalPolicy("ba", `{tier: b, ${WEB}, ${ALLOW}}`),
    ],
    checks: [check("udp/53"), check("tcp/80", `deny * > ${WEBS}`), check("sctp/9")],
  },
  {
    name: "a tier's order may change",
    resources: [
      tier("t", "{order: 100}"),
      globalPolicy("t", `{tier: t, ${WEB}, ${ALLOW}}`),
      globalPolicy("d", `{${WEB}, ${DENY}}`),
    ],
    checks: [check("tcp/80")],
    after: {
      resources: [
        tier("t", "{order: 2000000}"),
        globalPolicy("t", `{tier: t, ${WEB}, ${ALLOW}}`),
        globalPolicy("d", `{${WEB}, ${DENY}}`),
      ],
      checks: [check("tcp/80", `deny * > ${WEBS}`)],
    },
  },
  {
    name: "staged policies of every kind are not enforced",
    resources: [
      stagedGlobalPolicy("sg", `{stagedAction: Set, ${WEB}}`),
      stagedPolicy("x", "sn", `{stagedAction: Set, ${WEB}, ${DENY}}`),
      stagedKubernetesPolicy("y", "sk", "{stagedAction: Set, podSelector: {}, policyTypes: [Ingress]}"),
    ],
    checks: [check("tcp/80"), check("udp/53")],
  },
  {
    name: "a staged policy leaves its tier's default action alone, and enforced ones beside it count",
    resources: [
      tier("first", "{order: 100}"),
      stagedGlobalPolicy("s", `{stagedAction: Set, tier: first, ${WEB}}`),
      globalPolicy("d", `{${WEB}, ingress: [{action: Allow, protocol: TCP}]}`),
    ],
    checks: [check("tcp/80"), check("udp/53", `deny * > ${WEBS}`)],
  },
  {
    name: "a policy that every node needs is enforced like any other",
    resources: [
      globalPolicy(
        "p",
        `{${WEB}, ingress: [{action: Allow, protocol: UDP}], performanceHints: [AssumeNeededOnEveryNode]}`,
      ),
    ],
    checks: [check("tcp/80", `deny * > ${WEBS}`), check("udp/53")],
  },
  {
    name: "a hundred policies on one endpoint",
    resources: [
      ...Array.from({ length: 100 }, (_, index) =>
        policy(
          "x",
          `p${index}`,
          `{order: ${index}, ${WEB}, ingress: [{action: Allow, protocol: TCP, destination: {ports: [${1000 + index}]}}]}`,
        ),
      ),
    ],
    checks: [check("tcp/1000"), check("tcp/1099"), check("tcp/1100", "deny * > x/a")],
  },
];
