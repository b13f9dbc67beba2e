/** What a rule says of the packet itself. */
import { check, globalPolicy, type PolicyCase, policy, slice } from "./resources.ts";

/** Ingress of every web pod is what the rules say. */
const web = (...rules: readonly string[]): string =>
  globalPolicy("p", `{selector: app == 'web', types: [Ingress], ingress: [${rules.join(", ")}]}`);
const WEBS = "x/a,y/a,z/a";
const denied = (probe: string) => check(probe, `deny * > ${WEBS}`);
const open = (probe: string) => check(probe);

export const RULES: readonly PolicyCase[] = [
  {
    name: "protocol TCP",
    resources: [web("{action: Allow, protocol: TCP}")],
    checks: [open("tcp/80"), denied("udp/53"), denied("sctp/9"), denied("icmp")],
  },
  {
    name: "protocol UDP",
    resources: [web("{action: Allow, protocol: UDP}")],
    checks: [denied("tcp/80"), open("udp/53")],
  },
  {
    name: "protocol SCTP",
    resources: [web("{action: Allow, protocol: SCTP}")],
    checks: [denied("tcp/80"), denied("udp/53"), open("sctp/9")],
  },
  {
    name: "protocol UDPLite",
    resources: [web("{action: Allow, protocol: UDPLite}")],
    checks: [denied("udp/53"), open("udplite/9")],
  },
  {
    name: "protocol ICMP and ICMPv6",
    resources: [web("{action: Allow, protocol: ICMP}", "{action: Allow, protocol: ICMPv6}")],
    checks: [open("icmp"), denied("tcp/80")],
  },
  {
    name: "protocol by its number",
    resources: [web("{action: Allow, protocol: 99}")],
    checks: [open("proto/99"), denied("tcp/80")],
  },
  {
    name: "notProtocol",
    resources: [web("{action: Allow, notProtocol: TCP}")],
    checks: [denied("tcp/80"), open("udp/53"), open("sctp/9"), open("icmp")],
  },
  {
    name: "ports: numbers and ranges",
    resources: [web('{action: Allow, protocol: TCP, destination: {ports: [80, "8000:8010"]}}')],
    checks: [
      open("tcp/80"),
      open("tcp/8000"),
      open("tcp/8010"),
      denied("tcp/81"),
      denied("tcp/8011"),
      denied("udp/80"),
    ],
  },
  {
    name: "ports of UDP and of SCTP",
    resources: [
      web(
        "{action: Allow, protocol: UDP, destination: {ports: [53]}}",
        "{action: Allow, protocol: SCTP, destination: {ports: [2905]}}",
      ),
    ],
    checks: [open("udp/53"), denied("udp/54"), open("sctp/2905"), denied("sctp/9"), denied("tcp/53")],
  },
  {
    name: "more ports than one rule of the kernel holds",
    resources: [
      web(
        `{action: Allow, protocol: TCP, destination: {ports: [${Array.from({ length: 40 }, (_, index) => 100 + 2 * index).join(", ")}, "1000:1005"]}}`,
      ),
    ],
    checks: [open("tcp/100"), open("tcp/130"), open("tcp/178"), open("tcp/1003"), denied("tcp/101"), denied("tcp/180")],
  },
  {
    name: "notPorts",
    resources: [web('{action: Allow, protocol: TCP, destination: {notPorts: [80, "90:99"]}}')],
    checks: [denied("tcp/80"), denied("tcp/95"), open("tcp/81"), denied("udp/81")],
  },
  {
    name: "ports and notPorts together",
    resources: [web('{action: Allow, protocol: TCP, destination: {ports: ["80:90"], notPorts: [85]}}')],
    checks: [open("tcp/80"), denied("tcp/85"), denied("tcp/91")],
  },
  {
    name: "source ports",
    resources: [
      web(
        '{action: Allow, protocol: TCP, source: {ports: ["10000:65000"]}}',
        '{action: Allow, protocol: UDP, source: {ports: ["1:9999"]}}',
      ),
    ],
    checks: [open("tcp/80"), denied("udp/53")],
  },
  {
    name: "a named port is the pod's own number",
    resources: [
      globalPolicy(
        "p",
        "{selector: all(), types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [http]}}]}",
      ),
    ],
    checks: [
      check("tcp/80", "deny * > *", `allow * > ${WEBS}`),
      check("tcp/8080", `deny * > ${WEBS}`),
      check("udp/80", "deny * > *"),
    ],
  },
  {
    name: "named ports of UDP and SCTP, beside numbers",
    resources: [
      web(
        "{action: Allow, protocol: UDP, destination: {ports: [dns, 99]}}",
        "{action: Allow, protocol: SCTP, destination: {ports: [sig]}}",
      ),
    ],
    checks: [open("udp/53"), open("udp/99"), denied("udp/54"), open("sctp/2905"), denied("sctp/9"), denied("tcp/53")],
  },
  {
    name: "named ports among notPorts",
    resources: [web("{action: Allow, protocol: TCP, destination: {notPorts: [http, 81]}}")],
    checks: [denied("tcp/80"), denied("tcp/81"), open("tcp/82")],
  },
  {
    name: "a named port in an egress rule is the receiver's number",
    resources: [
      policy(
        "y",
        "p",
        "{selector: pod == 'c', types: [Egress], egress: [{action: Allow, protocol: TCP, destination: {ports: [http], selector: all(), namespaceSelector: all()}}]}",
      ),
    ],
    checks: [check("tcp/80", "deny y/c > *", `allow y/c > ${WEBS}`), check("tcp/8080", `deny y/c > ${WEBS}`)],
  },
  {
    name: "nets",
    resources: [
      web(
        "{action: Allow, source: {nets: [172.31.0.0/24, 192.0.2.1]}}",
        '{action: Allow, source: {nets: ["fd31::/64"]}}',
      ),
    ],
    checks: [check("tcp/80", `deny * > ${WEBS}`, `allow outside > ${WEBS}`)],
  },
  {
    name: "notNets",
    resources: [
      web(
        "{action: Allow, source: {notNets: [10.65.0.0/24, 192.0.2.0/24]}}",
        '{action: Allow, source: {notNets: ["fd65::/120"]}}',
      ),
    ],
    checks: [check("tcp/80", `deny * > ${WEBS}`, `allow outside > ${WEBS}`)],
  },
  {
    name: "many nets, and a hole in them",
    resources: [
      web(
        `{action: Allow, source: {nets: [${Array.from({ length: 30 }, (_, index) => `10.${index + 1}.0.0/16`).join(", ")}, 10.65.0.0/24], notNets: [10.65.0.0/31, 10.99.0.0/16]}}`,
        "{action: Allow, ipVersion: 6}",
      ),
    ],
    checks: [
      { probe: "tcp/80", lines: [`deny outside > ${WEBS}`], versions: [4], only: true },
      { probe: "tcp/80", lines: [`allow outside > ${WEBS}`], versions: [6], only: true },
    ],
  },
  {
    name: "nets of an egress rule",
    resources: [
      policy(
        "x",
        "p",
        '{selector: all(), types: [Egress], egress: [{action: Deny, destination: {nets: [172.31.0.0/16]}}, {action: Deny, destination: {nets: ["fd31::/64"]}}, {action: Allow}]}',
      ),
    ],
    checks: [check("tcp/80", "deny x/* > outside", "allow y/* > outside")],
  },
  {
    name: "ipVersion",
    resources: [web("{action: Allow, ipVersion: 4, protocol: TCP}", "{action: Allow, ipVersion: 6, protocol: UDP}")],
    checks: [
      { probe: "tcp/80", lines: [], versions: [4] },
      { probe: "tcp/80", lines: [`deny * > ${WEBS}`], versions: [6] },
      { probe: "udp/53", lines: [`deny * > ${WEBS}`], versions: [4] },
      { probe: "udp/53", lines: [], versions: [6] },
    ],
  },
  {
    name: "icmp: a type",
    resources: [
      web("{action: Allow, protocol: ICMP, icmp: {type: 8}}", "{action: Allow, protocol: ICMPv6, icmp: {type: 128}}"),
    ],
    checks: [open("icmp"), { probe: "icmp/13/0", lines: [`deny * > ${WEBS}`], versions: [4] }],
  },
  {
    name: "icmp: a type and a code",
    resources: [
      web(
        "{action: Allow, protocol: ICMP, icmp: {type: 8, code: 3}}",
        "{action: Allow, protocol: ICMPv6, icmp: {type: 128, code: 3}}",
      ),
    ],
    checks: [
      denied("icmp"),
      { probe: "icmp/8/3", lines: [], versions: [4] },
      { probe: "icmp/128/3", lines: [], versions: [6] },
    ],
  },
  {
    name: "notICMP",
    resources: [
      web(
        "{action: Allow, protocol: ICMP, notICMP: {type: 8}}",
        "{action: Allow, protocol: ICMPv6, notICMP: {type: 128, code: 3}}",
      ),
    ],
    checks: [
      { probe: "icmp", lines: [`deny * > ${WEBS}`], versions: [4] },
      { probe: "icmp/13/0", lines: [], versions: [4] },
      { probe: "icmp", lines: [], versions: [6] },
      { probe: "icmp/128/3", lines: [`deny * > ${WEBS}`], versions: [6] },
    ],
  },
  {
    name: "services: the endpoints of one, with their ports, in egress rules",
    resources: [
      slice(
        "y",
        "db-1",
        "db",
        "addressType: IPv4\nendpoints: [{addresses: [172.31.0.12]}]\nports: [{name: db, port: 5432, protocol: TCP}]",
      ),
      slice(
        "y",
        "db-2",
        "db",
        'addressType: IPv6\nendpoints: [{addresses: ["fd31::12"]}]\nports: [{name: db, port: 5432, protocol: TCP}]',
      ),
      policy(
        "y",
        "p",
        "{selector: pod == 'a', types: [Egress], egress: [{action: Allow, destination: {services: {name: db, namespace: y}}}]}",
      ),
    ],
    checks: [
      check("tcp/5432", "deny y/a > *", "allow y/a > outside"),
      check("tcp/80", "deny y/a > *", "deny y/a > outside"),
    ],
  },
  {
    name: "services: the endpoints of one, whatever their ports, in ingress rules",
    resources: [
      slice(
        "y",
        "db-1",
        "db",
        "addressType: IPv4\nendpoints: [{addresses: [172.31.0.12]}]\nports: [{name: db, port: 5432, protocol: TCP}]",
      ),
      slice(
        "y",
        "db-2",
        "db",
        'addressType: IPv6\nendpoints: [{addresses: ["fd31::12"]}]\nports: [{name: db, port: 5432, protocol: TCP}]',
      ),
      policy(
        "y",
        "p",
        "{selector: pod == 'a', types: [Ingress], ingress: [{action: Allow, source: {services: {name: db, namespace: y}}}]}",
      ),
    ],
    checks: [check("tcp/80", "deny * > y/a", "allow outside > y/a")],
  },
  {
    name: "everything at once",
    resources: [
      web(
        "{action: Allow, ipVersion: 4, protocol: TCP, source: {selector: app == 'db', namespaceSelector: team == 'blue', notNets: [192.0.2.0/24], ports: [\"10000:65000\"], notPorts: [9]}, destination: {ports: [80, http], notPorts: [81]}}",
      ),
    ],
    checks: [
      { probe: "tcp/80", lines: [`deny * > ${WEBS}`, `allow x/b,y/b > ${WEBS}`], versions: [4] },
      { probe: "tcp/80", lines: [`deny * > ${WEBS}`], versions: [6] },
      denied("tcp/81"),
    ],
  },
  {
    name: "the metadata of a rule changes nothing",
    resources: [web('{action: Allow, protocol: TCP, metadata: {annotations: {why: "it\'s \'ours\' \\"really\\""}}}')],
    checks: [open("tcp/80"), denied("udp/53")],
  },
];
