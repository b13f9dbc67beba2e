/** Policy at the host: host endpoints, what pods may send to their node, settings of the agent, translation and spoofing. */
import { type Check, NODE, OUTSIDE } from "../matrix.ts";
import { FLOATING, SERVICE, SERVICE_NETS } from "../world.ts";
import { bgp, check, checkOnly, felix, globalPolicy, hostEndpoint, type PolicyCase, policy } from "./resources.ts";

/** The node's addresses on the network that the outside machine is on: see the lab. */
const NODE_ADDRESS = { 4: "172.31.0.11", 6: "fd31::11" } as const;
const eth0 = (more = ""): string => hostEndpoint("eth0", `{node: node1, interfaceName: eth0${more}}`, "{role: edge}");
const EDGE = "selector: role == 'edge'";
const SERVICE_NETWORKS = `{serviceClusterIPs: [${SERVICE_NETS.map((cidr) => `{cidr: "${cidr}"}`).join(", ")}]}`;
const toService = (probe: string, line: string): Check => ({
  probe,
  lines: [line],
  only: true,
  destination: SERVICE,
});
const toFloating = (probe: string, line: string): Check => ({
  probe,
  lines: [line],
  only: true,
  destination: FLOATING,
});
const ALLOW_REST = "{action: Allow}";

export const HOSTS: readonly PolicyCase[] = [
  {
    name: "pods may not reach their node unless a setting says so",
    resources: [],
    checks: [checkOnly("tcp/8081", "deny * > node", "allow node > *", "allow outside > node", "allow node > outside")],
    after: {
      resources: [felix("{defaultEndpointToHostAction: Accept}")],
      checks: [checkOnly("tcp/8081", "allow * > node"), checkOnly("icmp", "allow * > node")],
    },
  },
  {
    name: "defaultEndpointToHostAction Return leaves it to the host's own rules, which there are none of",
    resources: [felix("{defaultEndpointToHostAction: Return}")],
    checks: [checkOnly("udp/5353", "allow * > node")],
  },
  {
    name: "the node reaches its pods whatever their policy says, and pods are bound by theirs towards it",
    resources: [
      felix("{defaultEndpointToHostAction: Accept}"),
      globalPolicy("p", "{selector: pod == 'a', types: [Ingress, Egress]}"),
    ],
    checks: [
      checkOnly("tcp/80", "allow node > *", "allow * > node", "deny x/a,y/a,z/a > node", "deny outside > x/a,y/a,z/a"),
    ],
  },
  {
    name: "a host endpoint without policy lets only failsafe ports through",
    resources: [eth0()],
    checks: [
      checkOnly("tcp/8081", "deny outside > node", "deny node > outside"),
      checkOnly("tcp/22", "allow outside > node", "deny node > outside"),
      checkOnly("udp/53", "deny outside > node", "allow node > outside"),
      checkOnly("udp/68", "allow outside > node"),
      check("tcp/80", "allow outside > *", "allow * > outside"),
    ],
  },
  {
    name: "a host endpoint with policy",
    resources: [
      eth0(),
      globalPolicy(
        "p",
        `{${EDGE}, types: [Ingress, Egress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [8081]}}], egress: [{action: Allow, protocol: UDP, destination: {ports: [5353]}}]}`,
      ),
    ],
    checks: [
      checkOnly("tcp/8081", "allow outside > node", "deny node > outside"),
      checkOnly("tcp/8082", "deny outside > node"),
      checkOnly("udp/5353", "allow node > outside", "deny outside > node"),
      check("tcp/80", "allow outside > *", "allow * > outside"),
    ],
  },
  {
    name: "a host endpoint with a profile that allows everything",
    resources: [eth0(", profiles: [projectcalico-default-allow]")],
    checks: [
      checkOnly("tcp/8081", "allow outside > node", "allow node > outside"),
      checkOnly("sctp/9", "allow outside > node"),
    ],
  },
  {
    name: "a host endpoint found by its addresses",
    resources: [
      hostEndpoint(
        "by-address",
        `{node: node1, expectedIPs: [${NODE_ADDRESS[4]}, "${NODE_ADDRESS[6]}"]}`,
        "{role: edge}",
      ),
      globalPolicy(
        "p",
        `{${EDGE}, types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [8081]}}]}`,
      ),
    ],
    checks: [checkOnly("tcp/8081", "allow outside > node"), checkOnly("tcp/8082", "deny outside > node")],
  },
  {
    name: "a host endpoint for all interfaces",
    resources: [
      hostEndpoint("all", '{node: node1, interfaceName: "*", profiles: [projectcalico-default-allow]}', "{role: edge}"),
      globalPolicy(
        "p",
        `{${EDGE}, types: [Ingress], ingress: [{action: Deny, protocol: TCP, destination: {ports: [8081]}}, ${ALLOW_REST}]}`,
      ),
    ],
    checks: [
      checkOnly("tcp/8081", "deny outside > node"),
      checkOnly("tcp/8082", "allow outside > node"),
      check("tcp/8081", "allow outside > *"),
    ],
  },
  {
    name: "a host endpoint of another node is nothing to this one",
    resources: [hostEndpoint("elsewhere", "{node: node9, interfaceName: eth0}", "{role: edge}")],
    checks: [checkOnly("tcp/8081", "allow outside > node", "allow node > outside")],
  },
  {
    name: "applyOnForward: policy for what passes through the host endpoint",
    resources: [
      eth0(", profiles: [projectcalico-default-allow]"),
      globalPolicy(
        "p",
        `{${EDGE}, applyOnForward: true, order: 1, types: [Ingress, Egress], ingress: [{action: Deny, protocol: TCP, destination: {ports: [8081]}}, ${ALLOW_REST}], egress: [{action: Deny, protocol: TCP, destination: {ports: [8082]}}, ${ALLOW_REST}]}`,
      ),
    ],
    checks: [
      check("tcp/8081", "deny outside > *", "allow * > outside", "deny outside > node"),
      check("tcp/8082", "allow outside > *", "deny * > outside", "deny node > outside"),
    ],
  },
  {
    name: "preDNAT: policy before anything is translated, for host and forwarded traffic",
    resources: [
      eth0(", profiles: [projectcalico-default-allow]"),
      globalPolicy(
        "p",
        `{${EDGE}, preDNAT: true, applyOnForward: true, types: [Ingress], ingress: [{action: Deny, protocol: TCP, destination: {ports: [8083]}}, {action: Deny, protocol: UDP, source: {nets: [172.31.0.12/32]}}]}`,
      ),
    ],
    checks: [
      check("tcp/8083", "deny outside > *,node", "allow * > outside"),
      check("tcp/8084", "allow outside > *,node"),
      { probe: "udp/53", lines: ["deny outside > *,node"], versions: [4] },
      { probe: "udp/53", lines: ["allow outside > *,node"], versions: [6] },
    ],
  },
  {
    name: "doNotTrack: policy before connections are tracked",
    resources: [
      eth0(", profiles: [projectcalico-default-allow]"),
      globalPolicy(
        "p",
        `{${EDGE}, doNotTrack: true, applyOnForward: true, types: [Ingress, Egress], ingress: [{action: Deny, protocol: UDP, destination: {ports: [9999]}}, {action: Allow, protocol: TCP, destination: {ports: [8085]}}], egress: [{action: Allow, protocol: TCP, source: {ports: [8085]}}]}`,
      ),
    ],
    checks: [
      check("udp/9999", "deny outside > *,node"),
      checkOnly("tcp/8085", "allow outside > node"),
      checkOnly("tcp/8086", "allow outside > node"),
    ],
  },
  {
    name: "a denied packet is refused, where a setting says so",
    resources: [
      felix("{iptablesFilterDenyAction: Reject, nftablesFilterDenyAction: Reject}"),
      globalPolicy("p", "{selector: app == 'web', types: [Ingress]}"),
    ],
    checks: [
      check("tcp/80", "reject * > x/a,y/a,z/a", "reject outside > x/a,y/a,z/a"),
      check("udp/53", "reject * > x/a,y/a,z/a"),
    ],
  },
  {
    name: "a pod cannot send from an address that is not its own",
    resources: [felix("{defaultEndpointToHostAction: Accept}")],
    checks: [
      {
        probe: "udp/53",
        lines: ["deny * > *", "deny * > outside", "deny * > node"],
        only: true,
        source: { 4: "10.65.0.250", 6: "fd65::fa" },
      },
      { probe: "udp/53", lines: ["deny * > *"], only: true, source: { 4: "192.0.2.1", 6: "2001:db8::1" } },
    ],
  },
  {
    name: "what leaves the pools leaves from the node's address, what stays within keeps its own",
    resources: [],
    checks: [
      {
        probe: "tcp/80",
        lines: [`allow * > ${OUTSIDE}`],
        only: true,
        seen: (packet, version) => packet.source === NODE_ADDRESS[version],
      },
      {
        probe: "udp/53",
        lines: ["allow * > *"],
        only: true,
        seen: (packet) => /^(10\.65\.0\.|fd65::)/.test(packet.source),
      },
      {
        probe: "tcp/80",
        lines: [`allow ${OUTSIDE} > *`],
        only: true,
        seen: (packet) => /^(172\.31\.0\.12|fd31::12)$/.test(packet.source),
      },
      {
        probe: "udp/53",
        lines: [`allow ${NODE} > ${OUTSIDE}`],
        only: true,
        seen: (packet, version) => packet.source === NODE_ADDRESS[version],
      },
    ],
  },
  {
    name: "natOutgoing within a range of ports",
    resources: [felix('{natPortRange: "32000:32999"}')],
    checks: [
      {
        probe: "icmp",
        lines: [`allow * > ${OUTSIDE}`],
        only: true,
        seen: (packet, version) => packet.source === NODE_ADDRESS[version],
      },
    ],
  },
  {
    name: "floating addresses lead to their pod, once they are enabled, and its policy counts",
    resources: [],
    checks: [toFloating("tcp/80", "deny outside,x/b,y/a > x/a")],
    after: {
      resources: [
        felix("{floatingIPs: Enabled}"),
        policy(
          "x",
          "p",
          "{selector: pod == 'a', types: [Ingress], ingress: [{action: Allow, protocol: TCP, destination: {ports: [80]}}]}",
        ),
      ],
      checks: [
        toFloating("tcp/80", "allow outside,x/b,y/a,node > x/a"),
        toFloating("udp/53", "deny outside,x/b,y/a > x/a"),
        checkOnly("tcp/80", "allow outside,x/b > x/a"),
      ],
    },
  },
  {
    name: "what nobody translates does not leave for the network of Services, where the node knows it",
    resources: [],
    checks: [toService("tcp/80", `allow * > ${OUTSIDE}`)],
    after: {
      resources: [bgp(SERVICE_NETWORKS)],
      checks: [
        toService("tcp/80", `deny * > ${OUTSIDE}`),
        toService("udp/53", `deny * > ${OUTSIDE}`),
        checkOnly("tcp/80", `allow * > ${OUTSIDE}`),
      ],
    },
  },
  {
    name: "serviceLoopPrevention Reject says so",
    resources: [bgp(SERVICE_NETWORKS), felix("{serviceLoopPrevention: Reject}")],
    checks: [toService("udp/53", `reject * > ${OUTSIDE}`)],
    after: {
      resources: [felix("{serviceLoopPrevention: Disabled}")],
      checks: [toService("udp/53", `allow * > ${OUTSIDE}`)],
    },
  },
];
