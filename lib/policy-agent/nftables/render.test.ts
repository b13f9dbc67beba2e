import { describe, expect, it } from "vitest";
import type { Action, Match, Rule } from "../rules/index.ts";
import { compileRules, hashOf, portSetsOf, renderRule } from "./render.ts";
import { cases } from "./testcases.ts";

const filter = (version: 4 | 6) => ({ version, table: "filter" }) as const;

describe.each([4, 6] as const)("rules of IPv%i as text", (version) => {
  it.each(cases(version).map(({ rule, text }) => [text, rule] as const))("%s", (text, rule) => {
    expect(renderRule(rule, filter(version))).toBe(text);
  });

  it("has a case for every match and every action", () => {
    const all = cases(version).map(({ rule }) => rule);
    const found = new Set([...all.flatMap(({ match }) => match.map(({ is }) => is)), ...all.map((r) => r.action.do)]);
    const named: Record<Exclude<Match["is"], "ipvs"> | Action["do"], true> = {
      protocol: true,
      net: true,
      set: true,
      "port-set": true,
      ports: true,
      icmp: true,
      mark: true,
      interface: true,
      conntrack: true,
      dnatted: true,
      "local-address": true,
      "reverse-path-failed": true,
      limit: true,
      accept: true,
      drop: true,
      return: true,
      notrack: true,
      reject: true,
      jump: true,
      goto: true,
      "set-mark": true,
      "save-mark": true,
      "restore-mark": true,
      log: true,
      nflog: true,
      masquerade: true,
      snat: true,
      dnat: true,
      dscp: true,
    };
    expect([...found].toSorted()).toEqual(Object.keys(named).toSorted());
  });
});

describe("what cannot be said", () => {
  const said = (match: Match, action: Action = { do: "drop" }): string => {
    try {
      return compileRules("filter-cali-x", [{ match: [match], action }], filter(4))[0]!.text;
    } catch (error) {
      return String(error);
    }
  };
  it.each<[Match, string]>([
    [{ is: "ipvs" }, "nftables knows nothing of IPVS"],
    [{ is: "net", side: "source", net: "fd00::/8" }, '"fd00::/8" is no CIDR of IPv4'],
    [{ is: "net", side: "source", net: "rubbish" }, '"rubbish" is no CIDR of IPv4'],
    [{ is: "ports", side: "source", ports: [] }, "a list of ports is empty"],
    [{ is: "ports", side: "source", ports: [{ first: 9, last: 3 }] }, "9-3 is no range of ports"],
    [{ is: "interface", direction: "in", name: "longer-than-fifteen" }, "is no name of an interface"],
    [{ is: "limit", rate: "5/moment", burst: 1 }, "is no rate such as 5/second"],
    [{ is: "protocol", protocol: 300 }, "300 is no protocol number"],
    [{ is: "conntrack", states: [] }, "a list of states is empty"],
  ])("%j", (match, words) => {
    expect(said(match)).toContain("rule 1 of chain filter-cali-x: ");
    expect(said(match)).toContain(words);
  });

  it("is said of actions, too", () => {
    const any: Match = { is: "protocol", protocol: 6 };
    expect(said(any, { do: "dnat", address: "fd00::1" })).toContain('"fd00::1" is no address of IPv4');
    expect(said(any, { do: "dscp", value: 64 })).toContain("64 is no DSCP");
    expect(said(any, { do: "nflog", group: 65536, prefix: "x" })).toContain("65536 is no NFLOG group");
  });
});

it("cuts and cleans the prefixes of log lines rather than refusing them", () => {
  const text = (action: Action): string => renderRule({ match: [], action }, filter(4));
  expect(text({ do: "log", prefix: `a"b\\c\nd${"é".repeat(300)}` })).toBe(
    `counter log prefix "a_b_c_d${"_".repeat(118)}: " level info`,
  );
  expect(text({ do: "nflog", group: 1, prefix: "x".repeat(128), size: -1 })).toBe(
    `counter log prefix "${"x".repeat(127)}" group 1`,
  );
});

describe("hashes", () => {
  const rule = (mark: number, comment?: string): Rule => ({
    match: [{ is: "mark", value: mark, mask: 0xff }],
    action: { do: "return" },
    ...(comment !== undefined && { comment }),
  });
  const hashes = (chain: string, ...rules: Rule[]): string[] =>
    compileRules(chain, rules, filter(4)).map(({ hash }) => hash);

  it("stand for the rule, the chain, and all rules before", () => {
    const [a, b] = hashes("x", rule(1), rule(2));
    expect(a).toMatch(/^[\w-]{16}$/);
    expect(hashes("x", rule(1), rule(2))).toEqual([a, b]);
    expect(hashes("x", rule(1), rule(1))[0]).toBe(a);
    expect(hashes("x", rule(1), rule(1))[1]).not.toBe(a);
    expect(hashes("y", rule(1))[0]).not.toBe(a);
    expect(hashes("x", rule(3), rule(2))[1]).not.toBe(b);
  });

  it("are found again in the comment, which stays short and plain", () => {
    const [compiled] = compileRules("x", [rule(1, `Policy "np/ä/${"long".repeat(60)}"`)], filter(4));
    expect(hashOf(compiled!.comment)).toBe(compiled!.hash);
    expect(compiled!.comment).toMatch(/^cali:[\w-]{16}; Policy _np\/_\/long/);
    expect(compiled!.comment.length).toBe(127);
    expect(hashOf("somebody's rule")).toBeUndefined();
    expect(hashOf(undefined)).toBeUndefined();
  });
});

it("shares a set among rules with the same ports, however they are written", () => {
  const ports = (...list: [number, number][]): Rule => ({
    match: [{ is: "ports", side: "source", ports: list.map(([first, last]) => ({ first, last })) }],
    action: { do: "drop" },
  });
  const sets = portSetsOf([ports([1, 5], [9, 9]), ports([9, 9], [3, 5], [1, 2]), ports([7, 7])], 4);
  expect(sets.map(({ ranges }) => ranges)).toEqual([
    [
      { first: 1, last: 5 },
      { first: 9, last: 9 },
    ],
  ]);
});
