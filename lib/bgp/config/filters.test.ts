import { describe, expect, test } from "vitest";
import type { BGPFilterRule } from "../../api/bgpfilter.ts";
import { readFilters } from "./filters.ts";
import { Problems } from "./problems.ts";
import { bgpFilter } from "./testing.ts";

const read = (rule: object, direction: "importV4" | "exportV6" = "importV4") => {
  const problems = new Problems();
  const filters = readFilters([bgpFilter("f", { [direction]: [rule as BGPFilterRule] })], [], problems);
  return { rules: filters.f![direction], problems: problems.all };
};

describe("a rule", () => {
  test("with everything", () => {
    const { rules, problems } = read({
      action: "Accept",
      cidr: "10.0.0.0/8",
      matchOperator: "NotIn",
      prefixLength: { min: 4, max: 24 },
      source: "RemotePeers",
      interface: "*.calico",
      peerType: "iBGP",
      communities: { values: ["65000:1:2"] },
      asPathPrefix: [65000, 65001],
      priority: 512,
      operations: [
        { addCommunity: { value: "65000:3" } },
        { prependASPath: { prefix: [1, 2] } },
        { setPriority: { value: 7 } },
      ],
    });
    expect(problems).toEqual([]);
    expect(rules).toEqual([
      {
        action: "accept",
        // Never shorter than the prefix itself, as upstream bounds it.
        prefix: { cidr: "10.0.0.0/8", operator: "notIn", minLength: 8, maxLength: 24 },
        learned: true,
        interface: "*.calico",
        peerType: "ibgp",
        community: [65000, 1, 2],
        asPathPrefix: [65000, 65001],
        priority: 512,
        operations: [
          { kind: "addCommunity", community: [65000, 3] },
          { kind: "prependAsPath", asns: [1, 2] },
          { kind: "setPriority", priority: 7 },
        ],
      },
    ]);
  });

  test("with little: lengths only where some are said, and the prefix as it is written", () => {
    expect(read({ action: "Reject", cidr: "5000::0/64", matchOperator: "Equal" }, "exportV6").rules).toEqual([
      { action: "reject", prefix: { cidr: "5000::0/64", operator: "equal" }, operations: [] },
    ]);
    expect(
      read({ action: "Reject", cidr: "fd00::/8", matchOperator: "In", prefixLength: {} }, "exportV6").rules[0]!.prefix,
    ).toEqual({
      cidr: "fd00::/8",
      operator: "in",
      minLength: 8,
      maxLength: 128,
    });
  });
});

describe("what is stored may be odd; then less passes", () => {
  const ODD: [string, object][] = [
    ["a prefix of the other family", { cidr: "fd00::/8", matchOperator: "In" }],
    ["an operator of another version", { cidr: "10.0.0.0/8", matchOperator: "Within" }],
    ["a prefix without operator", { cidr: "10.0.0.0/8" }],
    ["a source", { source: "Anywhere" }],
    ["an interface that could be anything in BIRD's file", { interface: 'x" || true' }],
    ["a peer type", { peerType: "ebgp" }],
    ["a community", { communities: { values: ["web"] } }],
    ["several communities", { communities: { values: ["1:1", "1:2"] } }],
    ["no priority", { priority: 0 }],
  ];

  test.each(ODD)("%s: a rule that would accept is left out, one that rejects goes without it", (_, odd) => {
    const accepts = read({ action: "Accept", asPathPrefix: [1], ...odd });
    expect(accepts.rules).toEqual([]);
    expect(accepts.problems).toHaveLength(1);
    expect(accepts.problems[0]).toMatch(/^BGPFilter f: spec\.importV4\[0\]\..*; the rule is left out$/);
    const rejects = read({ action: "Reject", asPathPrefix: [1], ...odd });
    expect(rejects.rules[0]).toMatchObject({ action: "reject", asPathPrefix: [1] });
    expect(JSON.stringify(rejects.rules)).not.toContain("||");
    expect(rejects.problems[0]).toContain("the rule rejects without that condition");
  });

  test("an action of another version rejects", () => {
    expect(read({ action: "Log", cidr: "10.0.0.0/8", matchOperator: "In" }).rules).toMatchObject([
      { action: "reject" },
    ]);
  });

  test.each([
    [{}],
    [{ prependASPath: { prefix: [] } }],
    [{ setPriority: { value: 0 } }],
    [{ addCommunity: { value: "1" } }],
  ])("the operation %j: the rule is left out", (operation) => {
    expect(read({ action: "Accept", operations: [operation] }).rules).toEqual([]);
  });
});
