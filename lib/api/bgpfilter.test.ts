import { describe, expect, test } from "vitest";
import { BGPFilter } from "./bgpfilter.ts";
import { findKind, parseResource } from "./registry.ts";
import { describeProblem } from "./schema.ts";

const parse = (spec: unknown) =>
  parseResource({ apiVersion: "projectcalico.org/v3", kind: "BGPFilter", metadata: { name: "x" }, spec });
const ofRule = (rule: object, direction = "importV4") =>
  parse({ [direction]: [{ action: "Accept", ...rule }] }).problems.map(describeProblem);

describe("BGPFilter", () => {
  test("has upstream's fields in every direction", () => {
    const { spec } = BGPFilter;
    if (spec.type !== "object") throw new Error("not an object");
    expect(Object.keys(spec.fields)).toEqual(["exportV4", "importV4", "exportV6", "importV6"]);
    for (const list of Object.values(spec.fields)) {
      if (list.type !== "array" || list.items.type !== "object") throw new Error("not a list of rules");
      expect(Object.keys(list.items.fields)).toEqual(
        "cidr prefixLength source interface matchOperator peerType communities asPathPrefix priority action operations".split(
          " ",
        ),
      );
    }
  });

  test("goes by upstream's names", () => {
    for (const name of ["bgpfilter", "bgpf", "bgpfs", "bf", "bfs"]) expect(findKind(name)).toBe(BGPFilter);
  });

  test.each<[string, object, string?]>([
    ["an action alone", {}],
    ["a prefix", { cidr: "10.0.0.0/8", matchOperator: "In", prefixLength: { min: 16, max: 24 } }],
    ["a prefix that is spelled otherwise", { cidr: "5000::0/64", matchOperator: "NotEqual" }, "exportV6"],
    ["lengths up to 128", { cidr: "fd00::/8", matchOperator: "NotIn", prefixLength: { max: 128 } }, "exportV6"],
    ["an interface", { interface: "*.calico", source: "RemotePeers", peerType: "eBGP" }],
    ["communities", { communities: { values: ["65535:0"] } }],
    ["large communities", { communities: { values: ["4294967295:0:1"] } }],
    ["paths and priorities", { asPathPrefix: ["65000", "1.1"], priority: 2147483646 }],
    [
      "operations",
      {
        operations: [
          { addCommunity: { value: "1:2:3" } },
          { prependASPath: { prefix: [1, "2"] } },
          { setPriority: { value: 1 } },
        ],
      },
    ],
    ["rejection", { action: "Reject", interface: "eth0" }],
  ])("takes %s", (_, rule, direction) => {
    expect(ofRule(rule, direction)).toEqual([]);
  });

  test.each<[object, string, string?]>([
    [{ action: undefined }, ".action: is missing; it must be one of Accept, Reject"],
    [{ action: "accept" }, '.action: "accept": must be one of Accept, Reject'],
    [{ cidr: "10.0.0.0/8" }, ".matchOperator: is missing; with cidr it must be one of Equal, NotEqual, In, NotIn"],
    [{ matchOperator: "In" }, '.matchOperator: "In": must be absent without cidr, or cidr be there'],
    [{ prefixLength: { min: 8 } }, '.prefixLength: {"min":8}: must be absent without cidr, or cidr be there'],
    [{ cidr: "fd00::/64", matchOperator: "In" }, '.cidr: "fd00::/64": must be an IPv4'],
    [{ cidr: "10.0.0.0/8", matchOperator: "In" }, '.cidr: "10.0.0.0/8": must be an IPv6', "importV6"],
    [{ cidr: "10.0.0.1", matchOperator: "In" }, '.cidr: "10.0.0.1": must have a prefix length'],
    [
      { cidr: "10.0.0.0/8", matchOperator: "In", prefixLength: { max: 33 } },
      ".prefixLength.max: 33: must be an integer",
    ],
    [{ interface: "eth 0" }, '.interface: "eth 0": must be the name of a network interface'],
    [{ source: "remotepeers" }, '.source: "remotepeers": must be one of RemotePeers'],
    [{ communities: { values: ["65536:1"] } }, '.communities.values[0]: "65536:1": must be a community'],
    [{ communities: { values: ["01:1"] } }, '.communities.values[0]: "01:1": must be a community'],
    [{ communities: { values: [] } }, ".communities.values: []: must have exactly one community"],
    [{ communities: { values: ["1:1", "1:2"] } }, ".communities.values: "],
    [{ priority: 0 }, ".priority: 0: must be an integer from 1 to 2147483646"],
    [{ operations: [] }, ".operations: []: must be absent or have one at least"],
    [{ operations: [{}] }, ".operations[0]: {}: must have exactly one of addCommunity, prependASPath, setPriority"],
    [
      { operations: [{ setPriority: { value: 1 }, addCommunity: { value: "1:1" } }] },
      "must have exactly one of addCommunity, prependASPath, setPriority",
    ],
    [
      { operations: [{ prependASPath: { prefix: [] } }] },
      ".prependASPath.prefix: []: must have one AS number at least",
    ],
    [
      { action: "Reject", operations: [{ setPriority: { value: 1 } }] },
      "must be absent unless action is Accept: what is rejected is not changed",
    ],
  ])("refuses %j", (rule, problem, direction = "importV4") => {
    const found = ofRule(rule, direction);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(`spec.${direction}[0]`);
    expect(found[0]).toContain(problem);
  });
});
