import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CniError } from "./errors.ts";
import { formatResult, NO_DNS, parseResult, type Result } from "./result.ts";
import { SUPPORTED_VERSIONS } from "./version.ts";

const DUAL: Result = {
  interfaces: [
    { name: "cali0123456789a" },
    { name: "eth0", mac: "02:00:00:00:00:01", mtu: 1440, sandbox: "/run/netns/a" },
  ],
  ips: [
    { address: "10.0.0.5/32", interface: 1 },
    { address: "fd00::5/128", interface: 1 },
  ],
  routes: [{ dst: "10.0.0.5/32" }, { dst: "fd00::5/128" }],
  dns: { nameservers: ["10.0.0.10"], domain: "cluster.local", search: ["a", "b"], options: ["ndots:5"] },
};

describe("the result of one attachment in every version", () => {
  const dns = { nameservers: ["10.0.0.10"], domain: "cluster.local", search: ["a", "b"], options: ["ndots:5"] };

  test.each(["0.1.0", "0.2.0"] as const)("%s: one address a family, with its routes", (version) => {
    expect(formatResult(DUAL, version)).toEqual({
      cniVersion: version,
      ip4: { ip: "10.0.0.5/32", routes: [{ dst: "10.0.0.5/32" }] },
      ip6: { ip: "fd00::5/128", routes: [{ dst: "fd00::5/128" }] },
      dns,
    });
  });

  test.each(["0.3.0", "0.3.1", "0.4.0"] as const)("%s: addresses have a version, interfaces no MTU", (version) => {
    expect(formatResult(DUAL, version)).toEqual({
      cniVersion: version,
      interfaces: [{ name: "cali0123456789a" }, { name: "eth0", mac: "02:00:00:00:00:01", sandbox: "/run/netns/a" }],
      ips: [
        { version: "4", address: "10.0.0.5/32", interface: 1 },
        { version: "6", address: "fd00::5/128", interface: 1 },
      ],
      routes: [{ dst: "10.0.0.5/32" }, { dst: "fd00::5/128" }],
      dns,
    });
  });

  test.each(["1.0.0", "1.1.0"] as const)("%s: as it is", (version) => {
    expect(formatResult(DUAL, version)).toEqual({ cniVersion: version, ...DUAL });
  });

  test("without DNS newer versions have no such key, older ones an empty object", () => {
    const result = { ...DUAL, dns: NO_DNS };
    expect(formatResult(result, "1.0.0")).not.toHaveProperty("dns");
    expect(formatResult(result, "0.4.0").dns).toEqual({});
    expect(formatResult(result, "0.2.0").dns).toEqual({});
  });

  test("no address cannot be said before 0.3.0", () => {
    expect(() => formatResult({ ...DUAL, ips: [] }, "0.2.0")).toThrow(CniError);
    expect(formatResult({ ...DUAL, ips: [] }, "0.3.0")).not.toHaveProperty("ips");
  });
});

test("what an old version can say comes back from it", () => {
  for (const version of SUPPORTED_VERSIONS) {
    const back = parseResult(formatResult(DUAL, version), "1.1.0", "x");
    expect(back.ips.map(({ address }) => address)).toEqual(["10.0.0.5/32", "fd00::5/128"]);
    expect(back.routes).toEqual(DUAL.routes);
    expect(back.dns).toEqual(DUAL.dns);
  }
});

test("host-local's answer of every shape is read", () => {
  const modern = {
    cniVersion: "1.0.0",
    ips: [{ address: "10.1.0.2/24", gateway: "10.1.0.1" }],
    routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }],
    dns: {},
  };
  const old = {
    ip4: { ip: "10.1.0.2/24", gateway: "10.1.0.1", routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }] },
    dns: {},
  };
  const expected = {
    interfaces: [],
    ips: [{ address: "10.1.0.2/24", gateway: "10.1.0.1" }],
    routes: [{ dst: "0.0.0.0/0", gw: "10.1.0.1" }],
    dns: NO_DNS,
  };
  expect(parseResult(modern, "0.2.0", "x")).toEqual(expected);
  expect(parseResult(old, "0.2.0", "x")).toEqual(expected);
});

test("a result that does not say its version is of the configuration's", () => {
  const raw = { ips: [{ version: "4", address: "10.1.0.2/24" }] };
  expect(parseResult(raw, "0.3.1", "x").ips).toEqual([{ address: "10.1.0.2/24" }]);
  expect(parseResult(raw, "0.2.0", "x").ips).toEqual([]);
});

test.each<[unknown, string]>([
  [[], "prevResult"],
  [{ cniVersion: "9.9.9" }, "9.9.9"],
  [{ ips: [{ address: "10.0.0.1" }] }, "prevResult.ips[0].address"],
  [{ ips: [{ address: "10.0.0.1/33" }] }, "prevResult.ips[0].address"],
  [{ ips: [{ address: "10.0.0.1/24", gateway: "x" }] }, "prevResult.ips[0].gateway"],
  [{ ips: [{ address: "10.0.0.1/24", interface: 1 }], interfaces: [{ name: "a" }] }, "prevResult.ips[0].interface"],
  [{ routes: [{ dst: "default" }] }, "prevResult.routes[0].dst"],
  [{ interfaces: {} }, "prevResult.interfaces"],
  [{ dns: { nameservers: "a" } }, "prevResult.dns.nameservers"],
])("%j is refused by name", (raw, named) => {
  expect(() => parseResult(raw, "1.0.0", "prevResult")).toThrow(named);
});

const address4 = fc.ipV4();
const result = fc.record({
  interfaces: fc.array(
    fc.record({
      name: fc.constantFrom("eth0", "cali1"),
      mac: fc.constant("02:00:00:00:00:01"),
      sandbox: fc.constant("/a"),
    }),
    { minLength: 2, maxLength: 3 },
  ),
  ips: fc.array(fc.record({ address: address4.map((ip) => `${ip}/24`), gateway: address4, interface: fc.nat(1) }), {
    minLength: 1,
  }),
  routes: fc.array(
    fc.record({ dst: address4.map((ip) => `${ip}/8`), gw: address4, mtu: fc.integer({ min: 1, max: 9000 }) }),
  ),
  dns: fc.record({
    nameservers: fc.array(fc.ipV4()),
    domain: fc.string(),
    search: fc.array(fc.string()),
    options: fc.array(fc.string()),
  }),
});

test("from 0.3.0 on printing and reading a result lose nothing but what the version cannot say", () => {
  fc.assert(
    fc.property(result, fc.constantFrom(...SUPPORTED_VERSIONS.slice(2)), (original, version) => {
      const clean = { ...original, dns: { ...original.dns, domain: original.dns.domain.replaceAll("\0", "") } };
      fc.pre(![...original.dns.search, ...original.dns.options].some((text) => text.includes("\0")));
      expect(parseResult(JSON.parse(JSON.stringify(formatResult(clean, version))), "0.1.0", "x")).toEqual(clean);
    }),
  );
});

test("any JSON is a result or a CniError", () => {
  const near = fc.record(
    {
      cniVersion: fc.constantFrom(...SUPPORTED_VERSIONS),
      ips: fc.jsonValue(),
      routes: fc.jsonValue(),
      interfaces: fc.jsonValue(),
      ip4: fc.jsonValue(),
      dns: fc.jsonValue(),
    },
    { requiredKeys: [] },
  );
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), near), (raw) => {
      try {
        parseResult(raw, "1.0.0", "x");
      } catch (error) {
        expect(error).toBeInstanceOf(CniError);
      }
    }),
    { numRuns: 2000 },
  );
});
