import { describe, expect, test } from "vitest";
import { BGPPeer, FAILURE_DETECTION, parsePeerIP } from "./bgppeer.ts";
import { findKind, parseResource } from "./registry.ts";
import { completeStored } from "./resource.ts";
import { describeProblem } from "./schema.ts";

const parse = (spec: unknown, annotations?: Record<string, string>) =>
  parseResource({
    apiVersion: "projectcalico.org/v3",
    kind: "BGPPeer",
    metadata: { name: "x", ...(annotations ? { annotations } : {}) },
    spec,
  });
const problems = (spec: unknown, annotations?: Record<string, string>) =>
  parse(spec, annotations).problems.map(describeProblem);

describe("BGPPeer", () => {
  test("has upstream's fields, and failureDetectionMode", () => {
    const { spec } = BGPPeer;
    if (spec.type !== "object") throw new Error("not an object");
    expect(Object.keys(spec.fields)).toEqual(
      "node nodeSelector peerIP asNumber localASNumber peerSelector keepOriginalNextHop nextHopMode password sourceAddress maxRestartTime keepaliveTime numAllowedLocalASNumbers ttlSecurity reachableBy filters localWorkloadSelector reversePeering failureDetectionMode".split(
        " ",
      ),
    );
  });

  test("goes by upstream's names", () => {
    for (const name of ["bgppeer", "bgppeers", "bgpp", "bgpps", "bp", "bps"]) expect(findKind(name)).toBe(BGPPeer);
  });

  test.each<[string, object]>([
    ["nothing in it", {}],
    ["an address", { peerIP: "10.0.0.1", asNumber: 64512 }],
    ["an address with a port", { peerIP: "10.0.0.1:1790", asNumber: "65000" }],
    ["an IPv6 address with a port", { peerIP: "[fd00::1]:65535", asNumber: "1.10" }],
    ["nodes and nodes", { nodeSelector: "has(a)", peerSelector: "has(b)", reversePeering: "Manual" }],
    ["empty texts as absence", { node: "", nodeSelector: "all()", peerIP: "", peerSelector: "has(b)" }],
    ["workloads", { node: "n1", localWorkloadSelector: "app == 'bird'", asNumber: 65001, localASNumber: 65002 }],
    ["the older next hop", { peerIP: "10.0.0.1", keepOriginalNextHop: true }],
    ["the newer next hop", { peerIP: "10.0.0.1", keepOriginalNextHop: false, nextHopMode: "Keep" }],
    ["a gateway", { peerIP: "[fd00::1]:179", reachableBy: "fd01::1" }],
    [
      "everything else",
      {
        peerIP: "10.0.0.1",
        password: { secretKeyRef: { name: "bgp", key: "tor", optional: true } },
        sourceAddress: "None",
        maxRestartTime: "2m30s",
        keepaliveTime: "10s",
        numAllowedLocalASNumbers: 2,
        ttlSecurity: 255,
        filters: ["b", "a"],
        failureDetectionMode: "BFDIfDirectlyConnected",
      },
    ],
  ])("takes %s", (_, spec) => {
    expect(problems(spec)).toEqual([]);
  });

  test.each<[object, string]>([
    [
      { node: "a", nodeSelector: "all()" },
      'spec.nodeSelector: "all()": cannot be there together with node; remove one of them',
    ],
    [
      { peerIP: "10.0.0.1", peerSelector: "all()" },
      'spec.peerSelector: "all()": cannot be there together with peerIP; remove one of them',
    ],
    [
      { asNumber: 1, peerSelector: "all()" },
      "spec.asNumber: 1: must be absent together with peerSelector: the nodes' own AS numbers count",
    ],
    [
      { localWorkloadSelector: "all()" },
      "spec.asNumber: is missing; with localWorkloadSelector it must be the workload's AS number",
    ],
    [
      { localWorkloadSelector: "all()", asNumber: 1, peerIP: "10.0.0.1" },
      'spec.peerIP: "10.0.0.1": must be absent together with localWorkloadSelector: the workload\'s address counts',
    ],
    [
      { localWorkloadSelector: "all()", asNumber: 1, peerSelector: "all()" },
      'spec.peerSelector: "all()": cannot be there together with localWorkloadSelector; remove one of them',
    ],
    [{ reachableBy: "10.0.0.1" }, 'spec.reachableBy: "10.0.0.1": must be absent without peerIP, whose gateway it is'],
    [
      { peerIP: "10.0.0.2:1790", reachableBy: "fd00::1" },
      'spec.reachableBy: "fd00::1": must be an IPv4 address, as peerIP is',
    ],
    [
      { peerIP: "10.0.0.1", keepOriginalNextHop: true, nextHopMode: "Auto" },
      "spec.keepOriginalNextHop: true: cannot be there together with nextHopMode, which replaces it; remove it",
    ],
    [
      { peerIP: "10.0.0.1:0" },
      'spec.peerIP: "10.0.0.1:0": must be an address, or one with a port from 1 to 65535: 10.0.0.1:1790 or [fd00::1]:1790',
    ],
    [{ nodeSelector: "has(" }, 'spec.nodeSelector: "has(": must be a selector'],
    [{ ttlSecurity: 256 }, "spec.ttlSecurity: 256: must be an integer from 0 to 255 (hops)"],
    [{ sourceAddress: "useNodeIP" }, 'spec.sourceAddress: "useNodeIP": must be one of UseNodeIP, None'],
    [
      { maxRestartTime: "2 minutes" },
      'spec.maxRestartTime: "2 minutes": must be a duration such as 90s, 1m30s or 500ms',
    ],
    [{ failureDetectionMode: "BFD" }, 'spec.failureDetectionMode: "BFD": must be one of None, BFDIfDirectlyConnected'],
    [{ peerIp: "10.0.0.1" }, 'spec.peerIp: "10.0.0.1": is not a field here; did you mean peerIP?'],
  ])("refuses %j", (spec, problem) => {
    const found = problems(spec);
    expect(found).toHaveLength(1);
    expect(found[0]).toContain(problem);
  });

  test.each([
    ["10.0.0.1", { address: "10.0.0.1", version: 4 }],
    ["10.0.0.1:179", { address: "10.0.0.1", version: 4, port: 179 }],
    ["fd00::1", { address: "fd00::1", version: 6 }],
    ["[fd00::1]:500", { address: "fd00::1", version: 6, port: 500 }],
    ["[10.0.0.1]:500", undefined],
    ["[fd00::1]", undefined],
    ["10.0.0.1:", undefined],
    ["10.0.0.1:65536", undefined],
    ["10.0.0.256", undefined],
    ["router.example.com", undefined],
    [":179", undefined],
    ["", undefined],
  ])("of peerIP %j the address and port are %j", (text, peer) => {
    expect(parsePeerIP(text)).toEqual(peer as ReturnType<typeof parsePeerIP>);
  });

  test("annotations say what upstream's definition has no field for", () => {
    const peer = { peerIP: "10.0.0.1" };
    const { mode, minReceive, multiplier } = FAILURE_DETECTION;
    expect(problems(peer, { [mode]: "BFD", [minReceive]: "50ms", [multiplier]: "255" })).toEqual([]);
    expect(problems(peer, { [mode]: "bfd" })).toEqual([
      `metadata.annotations["${mode}"]: "bfd": must be one of None, BFDIfDirectlyConnected, BFD`,
    ]);
    expect(problems(peer, { [minReceive]: "", [multiplier]: "256" })).toEqual([
      `metadata.annotations["${minReceive}"]: "": must be a duration such as 90s, 1m30s or 500ms`,
      `metadata.annotations["${multiplier}"]: "256": must be a number from 1 to 255`,
    ]);
  });

  test("what another Calico stored is read as it is, with empty durations gone", () => {
    const { resource, problems } = completeStoredPeer({ maxRestartTime: "", peerIP: "nonsense", asNumber: "1.1" });
    expect(problems).toEqual([]);
    expect(resource.spec).toEqual({ peerIP: "nonsense", asNumber: 65537 });
  });
});

function completeStoredPeer(spec: object) {
  const resource: BGPPeer = {
    apiVersion: "projectcalico.org/v3",
    kind: "BGPPeer",
    metadata: { name: "x" },
    spec: spec as BGPPeer["spec"],
  };
  return { resource, problems: completeStored(BGPPeer, resource) };
}
