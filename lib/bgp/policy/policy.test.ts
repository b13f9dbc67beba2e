import { describe, expect, it } from "vitest";
import { parseAddress } from "../../ip/index.ts";
import type { Filter, FilterRule, NodeBgp, Peer } from "../model/index.ts";
import { OVERRIDE_PREFERENCE } from "../model/index.ts";
import { type Sample, sampleNode, samplePeer } from "../model/testing.ts";
import type { Route } from "../rib/index.ts";
import type { PathAttributes } from "../wire/index.ts";
import { exportPolicy, importPolicy, kernelPolicy, staticRoutes } from "./index.ts";
import { prefixIn } from "./prefixes.ts";

const MOST = 2_147_483_647;

function attributes(some: Partial<PathAttributes> = {}): PathAttributes {
  return {
    origin: 0,
    asPath: [],
    nextHop: parseAddress("10.0.0.2"),
    atomicAggregate: false,
    communities: [],
    largeCommunities: [],
    extendedCommunities: [],
    clusterList: [],
    unknown: [],
    ...some,
  };
}

function route(cidr: string, some: Partial<Route> = {}): Route {
  return { prefix: prefixIn(cidr.includes(":") ? 6 : 4, cidr), source: "bgp", attributes: attributes(), ...some };
}

const local = (cidr: string, some: Partial<Route> = {}) => route(cidr, { source: "kernel", ...some });

function filtered(
  rules: { readonly importV4?: FilterRule[]; readonly exportV4?: FilterRule[] },
  sample: Sample = {},
): NodeBgp {
  const filter: Filter = { name: "f", importV4: [], exportV4: [], importV6: [], exportV6: [], ...rules };
  return sampleNode({ filters: { f: filter }, ...sample });
}

const POOL = { cidr: "10.244.0.0/16", encapsulation: "none", exported: true } as const;
const rack: Peer = samplePeer({ name: "Global_10_0_0_9", kind: "global", address: "10.0.0.9", asn: 65001 });
const mesh = samplePeer();
const withFilter = samplePeer({ filters: ["f"] });

describe("import", () => {
  it("takes everything as it is when no filter says otherwise, and looks at no prefix for that", () => {
    const policy = importPolicy(sampleNode(), 4, mesh);
    const given = attributes({ localPref: 100 });
    expect(policy.decide(route("1.2.3.0/24", { attributes: given }))?.attributes).toBe(given);
    expect(policy.decide(route("1.2.3.0/24", { attributes: given }))?.preference).toBeUndefined();
    expect(policy.ignoresPrefix).toBe(true);
  });

  it("prefers a route of elevated priority to a local workload's", () => {
    const policy = importPolicy(sampleNode(), 4, mesh);
    const preference = (localPref: number) =>
      policy.decide(route("10.244.1.1/32", { attributes: attributes({ localPref }) }))?.preference;
    expect(preference(MOST - 512)).toBe(OVERRIDE_PREFERENCE);
    expect(preference(MOST - 1023)).toBe(OVERRIDE_PREFERENCE);
    expect(preference(MOST - 1024)).toBeUndefined();
  });

  it("believes no LOCAL_PREF of another AS", () => {
    const verdict = importPolicy(sampleNode(), 4, rack).decide(
      route("1.2.3.0/24", { attributes: attributes({ localPref: MOST - 1 }) }),
    );
    expect(verdict).toMatchObject({ attributes: { origin: 0 } });
    expect(verdict?.attributes).not.toHaveProperty("localPref");
    expect(verdict?.preference).toBeUndefined();
  });

  it("asks the filters' rules in order, and lets the first that matches decide", () => {
    const model = filtered({
      importV4: [
        { action: "reject", prefix: { cidr: "10.1.0.0/16", operator: "in" }, operations: [] },
        {
          action: "accept",
          prefix: { cidr: "10.0.0.0/8", operator: "in" },
          operations: [
            { kind: "addCommunity", community: [65000, 7] },
            { kind: "prependAsPath", asns: [1, 2] },
            { kind: "setPriority", priority: 512 },
          ],
        },
        { action: "reject", operations: [] },
      ],
    });
    const policy = importPolicy(model, 4, withFilter);
    expect(policy.ignoresPrefix).toBe(false);
    expect(policy.decide(route("10.1.2.0/24"))).toBeUndefined();
    expect(policy.decide(route("11.0.0.0/8"))).toBeUndefined();
    const path = [{ type: "sequence", asns: [9] }] as const;
    expect(policy.decide(route("10.2.0.0/16", { attributes: attributes({ asPath: path }) }))).toEqual({
      attributes: attributes({
        asPath: [{ type: "sequence", asns: [1, 2, 9] }],
        communities: [0xfde8_0007],
        localPref: MOST - 512,
      }),
    });
  });

  it("makes of equal attributes the very same object, again and again", () => {
    const model = filtered({
      importV4: [{ action: "accept", operations: [{ kind: "addCommunity", community: [1, 2, 3] }] }],
    });
    const policy = importPolicy(model, 4, withFilter);
    const given = attributes();
    const first = policy.decide(route("10.1.0.0/16", { attributes: given }))?.attributes;
    policy.decide(route("10.2.0.0/16", { attributes: attributes({ med: 3 }) }));
    expect(policy.decide(route("10.3.0.0/16", { attributes: given }))?.attributes).toBe(first);
    expect(given.largeCommunities).toEqual([]);
    expect(policy.decide(route("10.3.0.0/16", { attributes: first as PathAttributes }))?.attributes).toBe(first);
  });

  it("does without a filter that is not there, and one named like a property of every object", () => {
    const policy = importPolicy(sampleNode(), 4, samplePeer({ filters: ["missing", "constructor", "__proto__"] }));
    expect(policy.decide(route("10.1.0.0/16"))).toBeDefined();
  });
});

describe("a rule", () => {
  const takes = (rule: Partial<FilterRule>, given: Route, peer: Partial<Peer> = {}): boolean => {
    const model = filtered({ exportV4: [{ action: "accept", operations: [], ...rule }] });
    return exportPolicy(model, 4, { ...withFilter, ...peer }).decide(given) !== undefined;
  };

  it.each([
    ["in", undefined, undefined, ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32"]],
    ["equal", undefined, undefined, ["10.0.0.0/8"]],
    ["notIn", undefined, undefined, ["11.0.0.0/8", "8.0.0.0/6"]],
    ["notEqual", undefined, undefined, ["10.1.0.0/16", "10.1.1.1/32", "11.0.0.0/8", "8.0.0.0/6"]],
    ["in", 16, 24, ["10.1.0.0/16"]],
    ["in", 0, undefined, ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32"]],
    ["notIn", 16, 24, ["10.0.0.0/8", "10.1.1.1/32", "11.0.0.0/8", "8.0.0.0/6"]],
    ["in", 24, 16, []],
    // A prefix never equals a set of prefixes.
    ["equal", 8, 8, []],
    ["notEqual", 8, 8, ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "11.0.0.0/8", "8.0.0.0/6"]],
  ] as const)("with 10.0.0.0/8 %s, lengths %s to %s, takes %j", (operator, minLength, maxLength, expected) => {
    const all = ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "11.0.0.0/8", "8.0.0.0/6"];
    const prefix = {
      cidr: "10.0.0.0/8",
      operator,
      ...(minLength !== undefined && { minLength }),
      ...(maxLength !== undefined && { maxLength }),
    };
    expect(all.filter((cidr) => takes({ prefix }, route(cidr)))).toEqual(expected);
  });

  it("asks for the beginning of a path, in which a set is one place", () => {
    const path = (asPath: PathAttributes["asPath"]) =>
      takes({ asPathPrefix: [1, 2] }, route("10.0.0.0/8", { attributes: attributes({ asPath }) }));
    expect(path([{ type: "sequence", asns: [1, 2] }])).toBe(true);
    expect(path([{ type: "sequence", asns: [1, 2, 3] }])).toBe(true);
    expect(
      path([
        { type: "sequence", asns: [1] },
        { type: "set", asns: [3, 2] },
      ]),
    ).toBe(true);
    expect(
      path([
        { type: "sequence", asns: [1] },
        { type: "sequence", asns: [2] },
      ]),
    ).toBe(true);
    expect(path([{ type: "sequence", asns: [1] }])).toBe(false);
    expect(path([{ type: "sequence", asns: [2, 1] }])).toBe(false);
    expect(path([])).toBe(false);
  });

  it("asks for source, interface, type of peer, communities and priority", () => {
    expect(takes({ learned: true }, route("10.0.0.0/8"))).toBe(true);
    expect(takes({ learned: true }, local("10.0.0.0/8"))).toBe(false);
    expect(takes({ interface: "eth*" }, local("10.0.0.0/8", { interface: "eth1" }))).toBe(true);
    expect(takes({ interface: "eth*" }, local("10.0.0.0/8"))).toBe(false);
    expect(takes({ peerType: "ebgp" }, route("10.0.0.0/8"))).toBe(false);
    expect(takes({ peerType: "ebgp" }, route("10.0.0.0/8"), { asn: 65001 })).toBe(true);
    expect(takes({ peerType: "ibgp" }, route("10.0.0.0/8"), { asn: 65001, localAsn: 65001 })).toBe(true);
    const tagged = attributes({ communities: [0xffff_0001], largeCommunities: [[1, 2, 3]] });
    expect(takes({ community: [65535, 1] }, route("10.0.0.0/8", { attributes: tagged }))).toBe(true);
    expect(takes({ community: [65535, 2] }, route("10.0.0.0/8", { attributes: tagged }))).toBe(false);
    expect(takes({ community: [1, 2, 3] }, route("10.0.0.0/8", { attributes: tagged }))).toBe(true);
    expect(takes({ community: [1, 2, 4] }, route("10.0.0.0/8", { attributes: tagged }))).toBe(false);
    expect(takes({ priority: 512 }, local("10.0.0.0/8", { metric: 512 }))).toBe(true);
    expect(takes({ priority: 1024 }, local("10.0.0.0/8"))).toBe(true);
    expect(takes({ priority: MOST - 100 }, route("10.0.0.0/8"))).toBe(true);
  });
});

describe("export", () => {
  const model = sampleNode({
    ipv4: {
      blocks: [
        { cidr: "10.244.1.0/26", state: "confirmed" },
        { cidr: "10.244.2.0/26", state: "pending" },
        { cidr: "10.244.3.0/26" },
      ],
      pools: [POOL, { cidr: "10.245.0.0/16", encapsulation: "none", exported: false }],
      services: ["10.96.0.0/12"],
      externalRanges: ["80.0.0.0/24"],
      communities: [
        { prefix: "10.244.1.0/24", communities: [[65000, 1]] },
        {
          prefix: "10.244.0.0/16",
          communities: [
            [65000, 2],
            [1, 2, 3],
          ],
        },
      ],
    },
  });
  const out = (given: Route, peer = mesh, node = model) => exportPolicy(node, 4, peer).decide(given)?.attributes;

  it("tells blocks as a whole, with what is longer only at elevated priority", () => {
    expect(out(local("10.244.1.0/26", { source: "static" }))).toMatchObject({ localPref: MOST - 1024 });
    expect(out(local("10.244.1.5/32", { metric: 1024 }))).toBeUndefined();
    expect(out(local("10.244.1.5/32"))).toBeUndefined();
    expect(out(local("10.244.1.5/32", { metric: 512 }))).toMatchObject({ localPref: MOST - 512 });
    expect(out(route("10.244.1.5/32", { attributes: attributes({ localPref: MOST - 512 }) }))).toBeDefined();
    expect(out(local("10.244.3.5/32", { metric: 1024 }))).toBeUndefined();
    expect(out(local("10.244.2.5/32", { metric: 1024 }))).toBeDefined();
  });

  it("tells what is in pools and services, and of a pool without BGP export nothing", () => {
    expect(out(local("10.244.9.0/26"))).toBeDefined();
    expect(out(local("10.96.0.10/32", { source: "static" }))).toBeDefined();
    expect(out(local("10.245.1.0/26"))).toBeUndefined();
    expect(out(local("192.168.0.0/24", { source: "device", interface: "eth0" }))).toBeUndefined();
    expect(out(local("80.0.0.1/32"))).toBeUndefined();
  });

  it("passes on the addresses of services when it reflects", () => {
    expect(out(route("80.0.0.1/32"), mesh, { ...model, clusterId: "1.1.1.1" })).toBeDefined();
  });

  it("keeps the agent's tunnels from its own AS, and the BPF dataplane's interfaces from everybody", () => {
    const via = (name: string, peer: Peer, node = model) =>
      out(local("10.244.9.0/26", { interface: name }), peer, node) !== undefined;
    for (const name of ["vxlan.calico", "wireguard.cali", "tunl0"]) {
      expect([name, via(name, mesh), via(name, rack)]).toEqual([name, false, true]);
    }
    expect([via("bpfin.cali", mesh), via("bpfin.cali", rack)]).toEqual([false, false]);
    const programs = { noEncap: true, ipip: true };
    expect(via("tunl0", mesh, { ...model, ipv4: { ...model.ipv4, programs } })).toBe(true);
  });

  it("tags what lies within advertised prefixes, all of them", () => {
    expect(out(local("10.244.1.0/26"))).toMatchObject({
      communities: [0xfde8_0001, 0xfde8_0002],
      largeCommunities: [[1, 2, 3]],
    });
    expect(out(local("10.244.9.0/26"))).toMatchObject({ communities: [0xfde8_0002] });
  });

  it("passes on what it learned as it is", () => {
    const given = attributes({ localPref: 150 });
    expect(out(route("10.96.0.0/12", { attributes: given }))).toBe(given);
  });

  it("has one key for peers that are told the same, whatever they are called", () => {
    const key = (peer: Partial<Peer>, node = model) => exportPolicy(node, 4, { ...mesh, ...peer }).key;
    expect(key({ name: "Mesh_10_0_0_3", address: "10.0.0.3", filters: ["missing"] })).toBe(key({}));
    expect(key({}, structuredClone(model))).toBe(key({}));
    expect(key({ asn: 65001 })).not.toBe(key({}));
    expect(key({}, { ...model, ipv4: { ...model.ipv4, blocks: [] } })).not.toBe(key({}));
    expect(exportPolicy(model, 6, mesh).key).not.toBe(key({}));
    expect(importPolicy(model, 4, mesh).key).not.toBe(key({}));
  });
});

describe("the kernel's table", () => {
  const verdict = (sample: Sample, cidr: string, some: Partial<PathAttributes> = {}) =>
    kernelPolicy(sampleNode(sample), cidr.includes(":") ? 6 : 4)(
      prefixIn(cidr.includes(":") ? 6 : 4, cidr),
      attributes(some),
      undefined,
    );

  it("has the metric that LOCAL_PREF means, and elevated routes before local ones", () => {
    expect(verdict({}, "10.244.1.0/26", { localPref: MOST - 1024 })).toEqual({ metric: 1024, overridesLocal: false });
    expect(verdict({}, "10.244.1.1/32", { localPref: MOST - 512 })).toEqual({ metric: 512, overridesLocal: true });
    expect(verdict({}, "0.0.0.0/0")).toEqual({ metric: MOST - 100, overridesLocal: false });
  });

  it("leaves to the agent what is the agent's", () => {
    expect(verdict({ ipv4: { notProgrammed: ["10.96.0.0/12"] } }, "10.96.0.1/32")).toBeUndefined();
    expect(verdict({ ipv4: { wireguardPeers: ["10.0.0.2"] } }, "10.244.1.0/26")).toBeUndefined();
    expect(verdict({ ipv4: { wireguardPeers: ["10.0.0.3"] } }, "10.244.1.0/26")).toBeDefined();
    const pool = (encapsulation: "none" | "ipip" | "ipip-cross-subnet" | "vxlan", noEncap: boolean, ipip: boolean) =>
      verdict({ ipv4: { pools: [{ ...POOL, encapsulation }], programs: { noEncap, ipip } } }, "10.244.1.0/26") !==
      undefined;
    expect([pool("none", true, false), pool("none", false, true)]).toEqual([true, false]);
    expect([pool("ipip", true, false), pool("ipip", true, true), pool("vxlan", true, true)]).toEqual([
      false,
      false,
      false,
    ]);
    // On the node's own subnet a cross-subnet pool needs no tunnel.
    expect([pool("ipip-cross-subnet", true, true), pool("ipip-cross-subnet", true, false)]).toEqual([true, false]);
  });

  it("is asked of pools in the order of their text, for IPv4", () => {
    const pools = [
      { cidr: "10.244.0.0/16", encapsulation: "none", exported: true },
      { cidr: "10.244.0.0/24", encapsulation: "vxlan", exported: true },
    ] as const;
    expect(verdict({ ipv4: { pools } }, "10.244.0.0/26")).toBeDefined();
    const { subnet: _, ...withoutSubnet } = sampleNode({ ipv4: { pools: [{ ...POOL, encapsulation: "vxlan" }] } }).ipv4;
    expect(
      kernelPolicy({ ...sampleNode(), ipv4: withoutSubnet }, 4)(prefixIn(4, "10.244.0.0/26"), attributes(), undefined),
    ).toBeDefined();
  });
});

describe("this node's own routes", () => {
  it("are its blocks of more than one address, services, and routes to peers behind a gateway", () => {
    const model = sampleNode({
      ipv4: {
        blocks: [{ cidr: "10.244.1.0/26" }, { cidr: "10.244.2.1/32" }, { cidr: "10.250.0.0/26" }],
        services: ["10.96.0.0/12"],
        notProgrammed: ["10.96.0.0/12"],
        pools: [POOL, { cidr: "10.250.0.0/16", encapsulation: "vxlan", exported: true }],
        peerRoutes: [
          { peer: "10.9.0.1", via: "10.0.0.254", kind: "node" },
          { peer: "10.9.0.1", via: "10.0.0.253", kind: "global" },
        ],
      },
    });
    expect(staticRoutes(model, 4).map(({ cidr, via, programmed }) => [cidr, via, programmed])).toEqual([
      ["10.244.1.0/26", undefined, true],
      ["10.250.0.0/26", undefined, false],
      ["10.96.0.0/12", undefined, false],
      ["10.9.0.1/32", "10.0.0.253", true],
    ]);
  });
});
