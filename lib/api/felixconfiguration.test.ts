import { describe, expect, test } from "vitest";
import { FelixConfiguration } from "./felixconfiguration.ts";
import { parseResource } from "./registry.ts";
import { describeProblem } from "./schema.ts";

const problems = (spec: unknown, name = "x") =>
  parseResource({
    apiVersion: "projectcalico.org/v3",
    kind: "FelixConfiguration",
    metadata: { name },
    spec,
  }).problems.map(describeProblem);

describe("FelixConfiguration", () => {
  test("has upstream's fields, none of which has a default", () => {
    const { spec } = FelixConfiguration;
    if (spec.type !== "object") throw new Error("not an object");
    expect(Object.keys(spec.fields)).toHaveLength(188);
    for (const [name, field] of Object.entries(spec.fields)) {
      expect(field.optional, name).toBe(true);
      expect(field.default, name).toBeUndefined();
    }
  });

  test.each<[string, object]>([
    ["nothing in it", {}],
    ["words in any case", { chainInsertMode: "APPEND", logSeverityScreen: "debug", bpfLogLevel: "" }],
    ["durations", { routeRefreshInterval: "1m30s", iptablesLockProbeInterval: "0.5ms", xdpRefreshInterval: "0s" }],
    ["no failsafe ports", { failsafeInboundHostPorts: [], failsafeOutboundHostPorts: [] }],
    ["failsafe ports of a network", { failsafeInboundHostPorts: [{ protocol: "TCP", port: 22, net: "10.0.0.0/8" }] }],
    ["ranges", { kubeNodePortRanges: [80, "30000:32767"], natPortRange: "1024:65535", bpfPSNATPorts: 1 }],
    ["tables", { routeTableRanges: [{ min: 1, max: 4294967295 - 4294901761 }] }],
    ["marks", { iptablesMarkMask: 0xffff0000, nftablesMarkMask: 0 }],
    ["lists as text", { featureDetectOverride: "A=true,B=,", featureGates: "A=b" }],
    ["health", { healthTimeoutOverrides: [{ name: "InternalDataplaneMainLoop", timeout: "2m" }] }],
    [
      "eBPF",
      { bpfConntrackTimeouts: { tcpFinsSeen: "Auto" }, bpfLogFilters: { all: "tcp" }, bpfExtToServiceConnmark: 1 },
    ],
    ["selected nodes", { nodeSelector: 'rack == "a"' }],
  ])("takes %s", (_, spec) => {
    expect(problems(spec)).toEqual([]);
  });

  test.each<[string, object, string[]]>([
    ["a word", { chainInsertMode: "Top" }, ['spec.chainInsertMode: "Top": must be one of Insert, Append']],
    ["a mode", { nftablesMode: "auto" }, ['spec.nftablesMode: "auto": must be one of Disabled, Enabled, Auto']],
    [
      "seconds",
      { routeRefreshInterval: "90" },
      ['spec.routeRefreshInterval: "90": must be a duration such as 90s, 1m30s or 500ms'],
    ],
    ["a port", { healthPort: 65536 }, ["spec.healthPort: 65536: must be an integer from 0 to 65535"]],
    ["a mark", { iptablesMarkMask: -1 }, ["spec.iptablesMarkMask: -1: must be an integer from 0 to 4294967295"]],
    [
      "a rate",
      { logActionRateLimit: "0/second" },
      ['spec.logActionRateLimit: "0/second": must be a rate such as 10/second, 100/minute, 5/hour or 1/day'],
    ],
    [
      "the wrong family",
      { natOutgoingAddress: "fd00::1", deviceRouteSourceAddressIPv6: "10.0.0.1" },
      [
        'spec.natOutgoingAddress: "fd00::1": must be an IPv4 address',
        'spec.deviceRouteSourceAddressIPv6: "10.0.0.1": must be an IPv6 address',
      ],
    ],
    [
      "names of ports",
      { kubeNodePortRanges: ["http"], natPortRange: "http" },
      [
        'spec.kubeNodePortRanges[0]: "http": must be a port or a range of ports, not a name',
        'spec.natPortRange: "http": must be a port or a range of ports, not a name',
      ],
    ],
    [
      "too many ranges",
      { kubeNodePortRanges: [1, 2, 3, 4, 5, 6, 7, 8] },
      ["spec.kubeNodePortRanges: [1,2,3,4,5,6,7,8]: must be a list of at most 7 items, not 8"],
    ],
    [
      "IPv6 nodes",
      { externalNodesList: ["10.0.0.1", "fd00::1"] },
      ['spec.externalNodesList[1]: "fd00::1": must be IPv4'],
    ],
    ["an expression", { mtuIfacePattern: "(" }, ['spec.mtuIfacePattern: "(": must be a regular expression']],
    [
      "tables of both kinds",
      { routeTableRange: { min: 5, max: 4 }, routeTableRanges: [{ min: 2, max: 1 }] },
      [
        'spec.routeTableRange: {"min":5,"max":4}: cannot be there together with routeTableRanges; remove it',
        "spec.routeTableRange.max: 4: must be from min, 5, to 250",
        "spec.routeTableRanges[0].max: 1: must be from min, 2, to 4294967295",
      ],
    ],
    [
      "too many tables",
      {
        routeTableRanges: [
          { min: 1, max: 65535 },
          { min: 70000, max: 70000 },
        ],
      },
      [
        'spec.routeTableRanges: [{"min":1,"max":65535},{"min":70000,"max":70000}]: must be at most 65535 tables together',
      ],
    ],
    [
      "a region",
      { openstackRegion: "a".repeat(47) },
      [
        `spec.openstackRegion: "${"a".repeat(47)}": must be a name of lower-case letters, digits and -, at most 46 long`,
      ],
    ],
    [
      "an interface",
      { bpfLogFilters: { "a b": "" } },
      ['spec.bpfLogFilters["a b"]: must be the name of an interface, or all, weps or heps'],
    ],
    ["a field", { healthport: 1 }, ["spec.healthport: 1: is not a field here; did you mean healthPort?"]],
  ])("refuses %s", (_, spec, expected) => {
    expect(problems(spec)).toEqual(expected);
  });

  test("says in the field that counts what one that is superseded says", () => {
    const spec = (bpfConnectTimeLoadBalancingEnabled: boolean) =>
      parseResource({
        apiVersion: "projectcalico.org/v3",
        kind: "FelixConfiguration",
        metadata: { name: "default" },
        spec: { bpfConnectTimeLoadBalancingEnabled, bpfConnectTimeLoadBalancing: "TCP" },
      }).resource?.spec;
    const rest = { bpfHostNetworkedNATWithoutCTLB: "Disabled" };
    expect(spec(true)).toMatchObject({ bpfConnectTimeLoadBalancing: "Enabled", ...rest });
    expect(spec(false)).toMatchObject({ bpfConnectTimeLoadBalancing: "Disabled", ...rest });
  });

  test("selects nodes only under a name of its own", () => {
    for (const name of ["default", "node.n1"]) {
      expect(problems({ nodeSelector: "all()" }, name)).toEqual([
        'spec.nodeSelector: "all()": must be absent where the name is default or begins with node.',
      ]);
      expect(problems({}, name)).toEqual([]);
    }
    expect(problems({ nodeSelector: "all()" }, "nodes")).toEqual([]);
  });
});
