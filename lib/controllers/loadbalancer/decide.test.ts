import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { newIPAMBlock } from "../../api/ipamblock.ts";
import { parseAddress, parseCidr } from "../../ip/index.ts";
import type { LoadBalancerConfig } from "../config/index.ts";
import { decideService, ingressOf, ingressWithout, type LoadBalancerPool } from "./decide.ts";
import { handleOf, heldIn, isManaged, RequestProblem, type Service } from "./service.ts";

const ALL: LoadBalancerConfig = { assignIPs: "AllServices" };
const ASKED: LoadBalancerConfig = { assignIPs: "RequestedServicesOnly" };
const pool = (name: string, cidr: string, manual = false): LoadBalancerPool => ({
  name,
  cidr: parseCidr(cidr),
  manual,
});
const POOLS = [pool("lb4", "10.0.0.0/24"), pool("lb6", "fd00::/120"), pool("kept", "10.9.0.0/24", true)];

type Annotations = Record<string, string>;
const service = (
  spec: Service["spec"] = {},
  annotations: Annotations = {},
  shown: readonly string[] = [],
): Service => ({
  metadata: { name: "web", namespace: "shop", uid: "2b0e8e5c-5c8a-4d9f-9d0e-1f6b8f6f6a11", annotations },
  spec: { type: "LoadBalancer", ipFamilies: ["IPv4"], ipFamilyPolicy: "SingleStack", ...spec },
  status: { loadBalancer: { ingress: shown.map((ip) => ({ ip, ipMode: "VIP" })) } },
});
const dual: Service["spec"] = { ipFamilies: ["IPv6", "IPv4"], ipFamilyPolicy: "PreferDualStack" };
const IPS = "projectcalico.org/loadBalancerIPs";
const P4 = "projectcalico.org/ipv4pools";
const P6 = "projectcalico.org/ipv6pools";
const decide = (one: Service, held: readonly string[] = [], config = ALL, pools = POOLS, known = true) =>
  decideService(one, held, config, pools, known);

describe("which Services are managed", () => {
  test.each<[Service["spec"], Annotations, boolean, boolean]>([
    [{}, {}, true, false],
    [{ type: "ClusterIP" }, { [IPS]: '["10.0.0.1"]' }, false, false],
    [{ loadBalancerClass: "calico" }, {}, true, true],
    [{ loadBalancerClass: "other" }, { [IPS]: '["10.0.0.1"]' }, false, false],
    [{}, { [P4]: '["lb4"]' }, true, true],
    [{}, { [P6]: '["lb6"]' }, true, true],
    [{}, { [IPS]: "" }, true, false],
    [{ loadBalancerIP: "10.0.0.1" }, {}, true, true],
  ])("%j %j", (spec, annotations, all, asked) => {
    expect(isManaged(service(spec, annotations), ALL)).toBe(all);
    expect(isManaged(service(spec, annotations), ASKED)).toBe(asked);
  });
});

describe("what a Service should have", () => {
  test("an address of each of its families, from any pool", () => {
    expect(decide(service())).toEqual({ kind: "serve", release: [], assign: [{ version: 4, pools: [] }] });
    expect(decide(service(dual), ["10.0.0.1"])).toEqual({
      kind: "serve",
      release: [],
      assign: [{ version: 6, pools: [] }],
    });
    expect(decide(service(dual), ["10.0.0.1", "fd00::1"])).toEqual({ kind: "serve", release: [], assign: [] });
  });

  test("the addresses that it asks for, by annotation or, without one, by loadBalancerIP", () => {
    const asks = { [IPS]: '["10.0.0.7", "fd00:0::7"]' };
    expect(decide(service({ loadBalancerIP: "10.0.0.8" }, asks), ["10.0.0.1", "fd00::7"])).toEqual({
      kind: "serve",
      release: ["10.0.0.1"],
      assign: [{ address: "10.0.0.7" }],
    });
    expect(decide(service({ loadBalancerIP: "10.0.0.8" }, { [IPS]: "[]" }), ["10.0.0.1"])).toEqual({
      kind: "serve",
      release: ["10.0.0.1"],
      assign: [{ address: "10.0.0.8" }],
    });
  });

  test("from the pools that it asks for, by name or CIDR, each family by itself", () => {
    const asks = { [P4]: '["kept", "10.8.0.0/16"]' };
    expect(decide(service(dual, asks), ["10.0.0.1", "fd00::1"])).toEqual({
      kind: "serve",
      release: ["10.0.0.1"],
      assign: [{ version: 4, pools: ["10.9.0.0/24", "10.8.0.0/16"] }],
    });
    expect(decide(service(dual, asks), ["10.9.0.1", "fd00::1"])).toMatchObject({ release: [], assign: [] });
  });

  test("what is not asked for any more, of a pool that is gone, or of a family that it has not, goes back", () => {
    // 10.9.0.0/24 is for those who ask.
    expect(decide(service(), ["10.9.0.1"])).toMatchObject({ release: ["10.9.0.1"], assign: [{ version: 4 }] });
    expect(decide(service(), ["172.16.0.1"])).toMatchObject({ release: ["172.16.0.1"], assign: [{ version: 4 }] });
    expect(decide(service(), ["10.0.0.1", "fd00::1"])).toMatchObject({ release: ["fd00::1"], assign: [] });
  });

  test("nothing goes for want of a pool while one cannot be read", () => {
    expect(decide(service(), ["172.16.0.1"], ALL, POOLS, false)).toMatchObject({ release: [], assign: [] });
    expect(decide(service(), ["172.16.0.1"], ALL, [], false)).toEqual({ kind: "leave" });
  });

  test("of two addresses the one that its status shows stays", () => {
    expect(decide(service({}, {}, ["10.0.0.9"]), ["10.0.0.2", "10.0.0.9"])).toMatchObject({
      release: ["10.0.0.2"],
      assign: [],
    });
  });

  test("without pools, or managed no longer, all goes back; what never had anything is left alone", () => {
    for (const [one, config, pools] of [
      [service(), ALL, []],
      [service(), ASKED, POOLS],
      [service({ loadBalancerClass: "other" }), ALL, POOLS],
      [service({ type: "NodePort" }), ALL, POOLS],
    ] as const) {
      expect(decide(one, ["10.0.0.1"], config, [...pools])).toEqual({ kind: "withdraw" });
      expect(decide(one, [], config, [...pools])).toEqual({ kind: "leave" });
    }
  });

  test.each<[Service["spec"], Annotations, string]>([
    [{}, { [IPS]: "10.0.0.1" }, `${IPS}: "10.0.0.1" must be a JSON list of texts`],
    [{}, { [IPS]: '["10.0.0.256"]' }, `${IPS}: "10.0.0.256" is not an address`],
    [{}, { [IPS]: '["10.0.0.1","10.0.0.2"]' }, `${IPS}: 2 IPv4 addresses; a Service has one at most`],
    [{ loadBalancerIP: "x" }, {}, 'spec.loadBalancerIP: "x" is not an address'],
    [{}, { [P4]: '["none"]' }, `${P4}: "none" is neither a CIDR nor the name of an IPPool that allows LoadBalancer`],
    [{}, { [P6]: '["lb4"]' }, `${P6}: "lb4" is not IPv6`],
  ])("a request that cannot be understood changes nothing: %j %j", (spec, annotations, message) => {
    expect(() => decide(service(spec, annotations), ["10.0.0.1"])).toThrow(RequestProblem);
    expect(() => decide(service(spec, annotations), ["10.0.0.1"])).toThrow(message);
  });

  test("carried out once nothing is left to do, and never more than one address of a family", () => {
    const address = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.9.0.1", "fd00::1", "fd00::2", "172.16.0.1");
    const family = fc.constantFrom<("IPv4" | "IPv6")[]>(["IPv4"], ["IPv6"], ["IPv4", "IPv6"], ["IPv6", "IPv4"]);
    const asks = fc.record(
      {
        [IPS]: fc.constantFrom('["10.0.0.1"]', '["fd00::2","10.9.0.1"]', "[]"),
        [P4]: fc.constantFrom('["kept"]', '["10.0.0.0/24"]'),
        [P6]: fc.constantFrom('["lb6"]'),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(
        fc.uniqueArray(address),
        fc.uniqueArray(address),
        family,
        asks,
        fc.constantFrom(ALL, ASKED),
        fc.subarray(POOLS),
        (held, shown, ipFamilies, annotations, config, pools) => {
          const one = service({ ipFamilies }, annotations as Annotations, shown);
          let plan: ReturnType<typeof decide>;
          try {
            plan = decide(one, held, config, pools);
          } catch (error) {
            if (error instanceof RequestProblem) return;
            throw error;
          }
          if (plan.kind !== "serve") {
            expect(plan.kind).toBe(held.length === 0 ? "leave" : "withdraw");
            return;
          }
          const { release, assign } = plan;
          // Addresses that an allocator could have given.
          const given = assign.map((wanted) => {
            if ("address" in wanted) return wanted.address;
            if (wanted.pools[0])
              return wanted.pools[0].startsWith("10.9")
                ? "10.9.0.200"
                : wanted.version === 4
                  ? "10.0.0.200"
                  : "fd00::c8";
            const any = pools.find(({ cidr, manual }) => cidr.version === wanted.version && !manual);
            return any && (wanted.version === 4 ? "10.0.0.200" : "fd00::c8");
          });
          const now = [
            ...held.filter((text) => !release.includes(text)),
            ...given.filter((text) => text !== undefined),
          ];
          for (const version of [4, 6])
            expect(now.filter((text) => parseAddress(text).version === version).length).toBeLessThan(2);
          const after = decide(one, now, config, pools);
          expect(after).toMatchObject({ release: [] });
          // What could not be given is all that is still wanted.
          expect(after.kind === "serve" && after.assign.length).toBe(given.filter((text) => text === undefined).length);
        },
      ),
    );
  });
});

describe("what its status says", () => {
  test("exactly what it holds, its first family first, and what is told of an address is kept", () => {
    expect(ingressOf(service({}, {}, ["10.0.0.1"]), ["10.0.0.1"])).toBeUndefined();
    expect(ingressOf(service(dual, {}, ["10.0.0.1", "fd00::1"]), ["fd00::1", "10.0.0.1"])).toBeUndefined();
    expect(ingressOf(service(dual, {}, ["10.0.0.1"]), ["10.0.0.1", "fd00::1"])).toEqual([
      { ip: "fd00::1" },
      { ip: "10.0.0.1", ipMode: "VIP" },
    ]);
    expect(ingressOf(service({}, {}, ["10.0.0.1"]), [])).toEqual([]);
    const { status: _, ...bare } = service();
    expect(ingressOf(bare, ["10.0.0.1"])).toEqual([{ ip: "10.0.0.1" }]);
  });

  test("of what is another's only ours goes", () => {
    const others = service({}, {}, ["10.0.0.1", "203.0.113.1"]);
    expect(ingressWithout(others, ["10.0.0.1"])).toEqual([{ ip: "203.0.113.1", ipMode: "VIP" }]);
    expect(ingressWithout(others, ["10.0.0.2"])).toBeUndefined();
    expect(ingressWithout({ ...others, spec: { type: "ClusterIP" } }, ["10.0.0.1"])).toBeUndefined();
  });
});

describe("what a Service holds", () => {
  test("is found by upstream's handle", () => {
    // printf web-shop-2b0e8e5c-5c8a-4d9f-9d0e-1f6b8f6f6a11 | openssl dgst -sha256 -binary | basenc --base64url | tr -d '_=-'
    expect(handleOf(service())).toBe("lb-4ALxGh6nlZOJRkI2pd7UShgz9IdObgmT3VAu0jIrlVM");
    const upper = service();
    expect(handleOf({ ...upper, metadata: { ...upper.metadata!, uid: upper.metadata!.uid!.toUpperCase() } })).toBe(
      handleOf(service()),
    );
  });

  test("is read from blocks: what a Service has, not what cools down or is somebody else's", () => {
    const block = newIPAMBlock({ cidr: "10.0.0.0/30", sequenceNumber: 1n });
    const secondary = { namespace: "shop", service: "web", type: "LoadBalancer" };
    block.spec.attributes = [
      { handle_id: "lb-a", secondary },
      { handle_id: "lb-b", secondary, releasedAt: "2026-01-01T00:00:00Z" },
      { handle_id: "k8s-pod-network.x", secondary: { namespace: "shop", pod: "web-0" } },
    ];
    block.spec.allocations = [2, 0, 1, null];
    expect(heldIn(block)).toEqual([{ service: "shop/web", handle: "lb-a", address: "10.0.0.1" }]);
    block.spec.allocations = [2, null, 1, null];
    expect(heldIn(block)).toBeUndefined();
  });
});
