import { describe, expect, test } from "vitest";
import { parseResource } from "./registry.ts";
import { describeProblem } from "./schema.ts";

const problems = (spec: unknown) =>
  parseResource({
    apiVersion: "projectcalico.org/v3",
    kind: "HostEndpoint",
    metadata: { name: "x" },
    spec,
  }).problems.map(describeProblem);

describe("HostEndpoint", () => {
  test.each<[string, object]>([
    ["all interfaces", { node: "n1", interfaceName: "*" }],
    ["one interface", { node: "n1", interfaceName: "eth0.100" }],
    ["whichever has an address", { node: "n1", expectedIPs: ["10.0.0.1", "fd00::1"], profiles: ["a"] }],
    ["ports", { node: "n1", interfaceName: "*", ports: [{ name: "web", protocol: "SCTP", port: 65535 }] }],
  ])("takes %s", (_, spec) => {
    expect(problems(spec)).toEqual([]);
  });

  test.each<[string, object, string[]]>([
    [
      "nothing in it",
      {},
      [
        "spec.node: is missing; it must be the name of a node",
        "spec.interfaceName: is missing; it must be an interface or *, unless expectedIPs has the interface's addresses",
      ],
    ],
    [
      "texts that are none",
      { node: "N", interfaceName: "much-too-long-a-name", expectedIPs: ["10.0.0.0/24"] },
      [
        'spec.node: "N": must be a name of lower-case letters, digits, - and ., at most 253 long, with a letter or digit at both ends of every part',
        'spec.interfaceName: "much-too-long-a-name": must be at most 15 characters long, not 20',
        'spec.expectedIPs[0]: "10.0.0.0/24": must be an IP address',
      ],
    ],
    [
      "one address twice",
      { node: "n", expectedIPs: ["10.0.0.1", "10.0.0.1"] },
      ['spec.expectedIPs[1]: "10.0.0.1": is in the list already; remove one'],
    ],
    [
      "ports without one",
      { node: "n", interfaceName: "*", ports: [{ name: "UPPER", protocol: "TCP", port: 0 }, {}] },
      [
        'spec.ports[0].name: "UPPER": must be the name of a port: 1 to 15 lower-case letters, digits and single -, at least one letter',
        "spec.ports[0].port: 0: must be an integer from 1 to 65535",
        "spec.ports[1].name: is missing; it must be the name of a port: 1 to 15 lower-case letters, digits and single -, at least one letter",
        "spec.ports[1].protocol: is missing; it must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255",
        "spec.ports[1].port: is missing; it must be an integer from 1 to 65535",
      ],
    ],
    [
      "a protocol without ports",
      { node: "n", interfaceName: "*", ports: [{ name: "ping", protocol: "ICMP", port: 1 }] },
      ['spec.ports[0].protocol: "ICMP": must be one that has ports: TCP, UDP or SCTP'],
    ],
  ])("refuses %s", (_, spec, expected) => {
    expect(problems(spec)).toEqual(expected);
  });
});
