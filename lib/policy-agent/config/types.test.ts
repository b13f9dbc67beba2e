import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { defaultOf, PARAMETER_NAMES, parameterOf } from "./parameters.ts";
import * as t from "./types.ts";

const value = <T>(type: t.Type<T>, text: string): T | "refused" => {
  const parsed = type.parse(text);
  return "value" in parsed ? parsed.value : "refused";
};

describe("what texts are read as", () => {
  test.each<[string, t.Type<unknown>, Record<string, unknown>]>([
    [
      "flag",
      t.flag,
      {
        TRUE: true,
        "1": true,
        yes: true,
        y: true,
        t: true,
        False: false,
        "0": false,
        n: false,
        on: "refused",
        "": "refused",
      },
    ],
    ["optional flag", t.optionalFlag, { t: true, f: false, "2": "refused" }],
    [
      "integer",
      t.integer(),
      {
        "10": 10,
        "-3": -3,
        "0x1F": 31,
        "0b101": 5,
        "0o17": 15,
        "017": 15,
        "+4": 4,
        "0": 0,
        "1.5": "refused",
        "08": "refused",
        "9007199254740993": "refused",
        x: "refused",
      },
    ],
    ["integer in a range", t.integer(1, 3), { "1": 1, "3": 3, "0": "refused", "4": "refused" }],
    ["integer from", t.integer(-1), { "-1": -1, "-2": "refused", "99999": 99999 }],
    [
      "mark",
      t.markMask,
      { "0xffff0000": 0xffff0000, "3": 3, "1": "refused", "0x100000000": "refused", "-1": "refused" },
    ],
    [
      "seconds",
      t.seconds,
      {
        "90": 90_000,
        "0.5": 500,
        "0": 0,
        "1e1": 10_000,
        "1m30s": 90_000,
        "-1": "refused",
        "-1s": "refused",
        inf: "refused",
        "": "refused",
        ".": "refused",
      },
    ],
    ["milliseconds", t.millis, { "50": 50, "0.25": 0.25, "1s": 1000, "1 s": "refused" }],
    ["text", t.text, { "a b": "a b", "a\nb": "refused" }],
    ["word", t.choice(["Enabled", "Disabled"]), { enabled: "Enabled", DISABLED: "Disabled", auto: "refused" }],
    ["interface filter", t.interfaceFilter, { "docker+": "docker+", "": "refused", "sixteen-letters-": "refused" }],
    ["interface filters", t.interfaceFilters, { "docker+, br-1": ["docker+", "br-1"], "a,b c": "refused" }],
    ["prefixes", t.interfacePrefixes, { "cali,tap": ["cali", "tap"], "cali,": "refused", "a.b": "refused" }],
    [
      "patterns",
      t.interfacePatterns,
      { "kube-ipvs0,/^veth/": [/^kube-ipvs0$/, /^veth/], "/(/": "refused", "a b": "refused" },
    ],
    ["expression", t.regex, { "^eth": /^eth/, "(?i)ETH": /ETH/i, "(": "refused" }],
    ["IPv4", t.ipv4, { "10.0.0.1": "10.0.0.1", "fd00::1": "refused", "10.0.0.0/8": "refused" }],
    ["IPv6", t.ipv6, { "FD00:0::1": "fd00::1", "10.0.0.1": "refused" }],
    ["networks", t.cidrs, { "10.1.2.3/8, fd00::1": ["10.0.0.0/8", "fd00::1/128"], " ,": [], x: "refused" }],
    [
      "ports of protocols",
      t.protoPorts,
      {
        "tcp:22,UDP:68": [
          { protocol: 6, port: 22 },
          { protocol: 17, port: 68 },
        ],
        "80": [{ protocol: 6, port: 80 }],
        " sctp:1 , ": [{ protocol: 132, port: 1 }],
        "tcp:10.0.0.1/8:22": [{ protocol: 6, port: 22, net: "10.0.0.0/8" }],
        "tcp:[fd00::1]:22": [{ protocol: 6, port: 22, net: "fd00::1/128" }],
        "tcp:0": [{ protocol: 6, port: 0 }],
        "tcp:65536": "refused",
        "icmp:1": "refused",
        "tcp:fd00::1:22": "refused",
        "tcp:nowhere:22": "refused",
        "tcp:10.0.0.0/8:22:1": "refused",
        "[fd00::/8]:22": [{ protocol: 6, port: 22, net: "fd00::/8" }],
        "10.0.0.0/8:22": "refused",
        "tcp:[:22": "refused",
      },
    ],
    [
      "port range",
      t.portRange,
      {
        "80": { first: 80, last: 80 },
        "1:2": { first: 1, last: 2 },
        "2:1": "refused",
        http: "refused",
        "1:2:3": "refused",
      },
    ],
    [
      "port ranges",
      t.portRanges,
      {
        "80,1:2": [
          { first: 80, last: 80 },
          { first: 1, last: 2 },
        ],
        "80,x": "refused",
      },
    ],
    [
      "table range",
      t.tableRange,
      { "1-250": { min: 1, max: 250 }, "0-1": "refused", "2-1": "refused", "1-251": "refused" },
    ],
    [
      "table ranges",
      t.tableRanges,
      {
        "1-2 5-4294967": "refused",
        "1-2,5-9": [
          { min: 1, max: 2 },
          { min: 5, max: 9 },
        ],
        "1-65535": [{ min: 1, max: 65535 }],
        "1-65536": "refused",
        "1": "refused",
      },
    ],
    [
      "pairs",
      t.keyValues,
      {
        "a=1, b=x y,": { a: "1", b: "x y" },
        "": {},
        "a=": { a: "" },
        "a=b=c": { a: "b=c" },
        a: "refused",
        "=b": "refused",
      },
    ],
    [
      "pairs with durations",
      t.keyDurations,
      { "a=90s,b c=0": { a: 90_000, "b c": 0 }, "a=90": "refused", "a=-1s": "refused" },
    ],
    ["code point", t.dscp, { EF: 46, af11: 10, AF43: 38, CS6: 48, df: 0, "23": 23, "64": "refused", CS7: "refused" }],
    ["rate", t.rate, { "10/second": "10/second", "": "", "0/day": "refused", "10/week": "refused" }],
    ["region", t.region, { one: "one", One: "refused", ["a".repeat(46)]: "a".repeat(46), ["a".repeat(47)]: "refused" }],
    [
      "servers",
      t.endpoints,
      {
        "https://a:2379, https://b:2379/": ["https://a:2379/", "https://b:2379/"],
        "http://a:1,https://b:1": "refused",
        "https://user@a": "refused",
        "https://a/path": "refused",
        "ftp://a": "refused",
      },
    ],
    ["host and port", t.authority, { "127.0.0.1:2379": "127.0.0.1:2379", a: "refused", "http://a:1": "refused" }],
  ])("%s", (_, type, expected) => {
    const found = Object.fromEntries(Object.keys(expected).map((text) => [text, value(type, text)]));
    expect(found).toEqual(expected);
  });

  test("no text makes a type throw, and what it takes has the type's shape", () => {
    const texts = fc.oneof(
      fc.string(),
      fc.stringMatching(/^[a-z0-9:.,=/[\]*+-]{0,20}$/),
      fc.constantFrom("none", "tcp:[]:1", "1-", "-", "=", ",", "/", "//", "0x", "[", "tcp:1:2:3:4"),
    );
    fc.assert(
      fc.property(fc.constantFrom(...PARAMETER_NAMES), texts, (name, given) => {
        const { type } = parameterOf(name);
        const parsed = type.parse(given);
        if ("must" in parsed) expect(parsed.must).toBe(type.means);
        else if (type.zero !== undefined) expect(typeof parsed.value).toBe(typeof type.zero);
      }),
      { numRuns: 2000 },
    );
  });

  test("ports that are printed are read as what they were", () => {
    const port = fc.record({
      protocol: fc.constantFrom(6, 17, 132),
      port: fc.nat(65535),
      net: fc.option(fc.constantFrom("10.0.0.0/8", "192.168.1.1/32", "fd00::/64"), { nil: undefined }),
    });
    const names: Record<number, string> = { 6: "tcp", 17: "UDP", 132: "sctp" };
    fc.assert(
      fc.property(fc.array(port), (ports) => {
        const text = ports
          .map(({ protocol, port, net }) =>
            [names[protocol], net?.includes(":") ? `[${net}]` : net, port]
              .filter((part) => part !== undefined)
              .join(":"),
          )
          .join(",");
        expect(value(t.protoPorts, text)).toEqual(
          ports.map(({ net, ...rest }) => (net === undefined ? rest : { ...rest, net })),
        );
      }),
    );
  });
});

test("every default is one that its type reads, and what must not be none has one", () => {
  for (const name of PARAMETER_NAMES) {
    const known = parameterOf(name);
    expect(() => defaultOf(known), name).not.toThrow();
    if (known.type.nonZero && name !== "FelixHostname") expect(known.default, name).toBeDefined();
  }
});
