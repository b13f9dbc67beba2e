import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { HostEndpoint } from "../../api/hostendpoint.ts";
import type { HostEndpointTemplate } from "../../api/kubecontrollersconfiguration.ts";
import { API_VERSION } from "../../api/meta.ts";
import type { Node, NodeSpec } from "../../api/node.ts";
import { checkResource } from "../../api/resource.ts";
import { decideEndpoints, isAutomatic, nodeAddresses, wantedEndpoints } from "./decide.ts";
import type { HostEndpointsConfig } from "./index.ts";

const node = (name: string, spec: NodeSpec = {}, labels: Record<string, string> = {}): Node => ({
  apiVersion: API_VERSION,
  kind: "Node",
  metadata: { name, labels, annotations: { "a.node": "has these" } },
  spec,
});
const on: HostEndpointsConfig = { autoCreate: true, createDefault: true, templates: [] };
const withTemplates = (...templates: HostEndpointTemplate[]): HostEndpointsConfig => ({
  autoCreate: true,
  createDefault: false,
  templates,
});
const dual: NodeSpec = {
  bgp: { ipv4Address: "10.0.0.1/24", ipv6Address: "fd00::1/64", ipv4IPIPTunnelAddr: "192.168.0.1" },
  ipv4VXLANTunnelAddr: "192.168.0.2",
  ipv6VXLANTunnelAddr: "fd01::2",
  wireguard: { interfaceIPv4Address: "192.168.0.3", interfaceIPv6Address: "fd01::3" },
  addresses: [
    { address: "10.0.0.1/24", type: "CalicoNodeIP" },
    { address: "10.0.0.1", type: "InternalIP" },
    { address: "172.16.0.1", type: "InternalIP" },
    { address: "203.0.113.1", type: "ExternalIP" },
  ],
  interfaces: [
    { name: "eth0", addresses: ["10.0.0.1"] },
    { name: "eth1", addresses: ["10.1.0.1", "fd02::1"] },
    { name: "lo" },
  ],
};
const names = (config: HostEndpointsConfig, of = node("n1", dual)) =>
  wantedEndpoints(of, config).endpoints.map(({ metadata }) => metadata.name);
const decide = (of: Node | undefined, config: HostEndpointsConfig, existing: readonly HostEndpoint[], name = "n1") =>
  decideEndpoints(
    of,
    config,
    existing.filter((one) => isAutomatic(one) && one.spec.node === name),
    (wanted) => existing.find(({ metadata }) => metadata.name === wanted),
  );

describe("what a node's host endpoints shall be", () => {
  test("the default one, as upstream makes it", () => {
    expect(wantedEndpoints(node("n1", dual, { rack: "a" }), on)).toEqual({
      problems: [],
      endpoints: [
        {
          apiVersion: "projectcalico.org/v3",
          kind: "HostEndpoint",
          metadata: {
            name: "n1-auto-hep",
            labels: { rack: "a", "projectcalico.org/created-by": "calico-kube-controllers" },
          },
          spec: {
            node: "n1",
            interfaceName: "*",
            expectedIPs: [
              "10.0.0.1",
              "fd00::1",
              "192.168.0.1",
              "192.168.0.2",
              "fd01::2",
              "192.168.0.3",
              "fd01::3",
              "172.16.0.1",
              "10.1.0.1",
              "fd02::1",
            ],
            profiles: ["projectcalico-default-allow"],
          },
        },
      ],
    });
  });

  test("addresses that are none are left out, each counts once", () => {
    const addresses = ["10.0.0.1/24", "10.0.0.1", "x", "10.0.0.1/99", "FD00::0001", "fd00::1"];
    expect(nodeAddresses(node("n", { interfaces: [{ name: "eth0", addresses }] }))).toEqual(["10.0.0.1", "fd00::1"]);
  });

  test("templates: by interface, by network, by both, for the nodes that they select", () => {
    const byInterface = { generateName: "dmz", interfacePattern: "^eth" };
    expect(wantedEndpoints(node("n1", dual), withTemplates(byInterface)).endpoints.map(({ spec }) => spec)).toEqual([
      { node: "n1", interfaceName: "eth0", expectedIPs: ["10.0.0.1"], profiles: ["projectcalico-default-allow"] },
      {
        node: "n1",
        interfaceName: "eth1",
        expectedIPs: ["10.1.0.1", "fd02::1"],
        profiles: ["projectcalico-default-allow"],
      },
    ]);
    expect(names(withTemplates(byInterface))).toEqual(["n1-dmz-eth0-auto-hep", "n1-dmz-eth1-auto-hep"]);
    const byNetwork = { generateName: "lan", interfaceCIDRs: ["10.0.0.0/8"] };
    expect(wantedEndpoints(node("n1", dual), withTemplates(byNetwork)).endpoints).toMatchObject([
      { metadata: { name: "n1-lan-auto-hep" }, spec: { expectedIPs: ["10.0.0.1", "10.1.0.1"] } },
    ]);
    const both = { ...byNetwork, interfacePattern: "1$" };
    expect(wantedEndpoints(node("n1", dual), withTemplates(both)).endpoints).toMatchObject([
      { metadata: { name: "n1-lan-eth1-auto-hep" }, spec: { expectedIPs: ["10.0.0.1", "10.1.0.1", "fd02::1"] } },
    ]);
    expect(names(withTemplates({ generateName: "far", interfaceCIDRs: ["100.64.0.0/10"] }))).toEqual([]);
    expect(names(withTemplates({ ...byNetwork, nodeSelector: "has(rack)" }))).toEqual([]);
    expect(names(withTemplates({ ...byNetwork, nodeSelector: "has(rack)" }), node("n1", dual, { rack: "" }))).toEqual([
      "n1-lan-auto-hep",
    ]);
  });

  test("a template's labels win over the node's, and neither over the controller's own", () => {
    const labels = { rack: "b", "projectcalico.org/created-by": "me" };
    const template = { generateName: "t", interfacePattern: "eth0", labels, annotations: { note: "x" } };
    const [endpoint] = wantedEndpoints(node("n1", dual, { rack: "a", zone: "z" }), withTemplates(template)).endpoints;
    expect(endpoint?.metadata).toMatchObject({
      labels: { rack: "b", zone: "z", "projectcalico.org/created-by": "calico-kube-controllers" },
      annotations: { note: "x" },
    });
  });

  test("a name that is too long becomes upstream's hash of it", () => {
    const long = `${"n".repeat(63)}.${"o".repeat(63)}.${"d".repeat(63)}.${"e".repeat(61)}`;
    expect(long).toHaveLength(253);
    const [name] = names(on, node(long));
    // The SHA-256 of the name in base64url, without - and _, in lower case.
    expect(name).toBe("bueemldrq5yzxe8vezowrx1iiah9lgtgkovkj2v3la-auto-hep");
    expect(names(on, node(long.slice(0, 244)))).toEqual([`${long.slice(0, 244)}-auto-hep`]);
  });
});

describe("what is done about it", () => {
  test("nothing when all is as it should be; what differs is updated in place", () => {
    const wanted = wantedEndpoints(node("n1", dual), on).endpoints[0]!;
    const stored = {
      ...wanted,
      metadata: { ...wanted.metadata, uid: "u", resourceVersion: "7", finalizers: ["keep"] },
    };
    expect(decide(node("n1", dual), on, [stored])).toEqual({ create: [], update: [], delete: [], problems: [] });
    // Who takes the profile away keeps it so.
    const closed = { ...stored, spec: { ...stored.spec, profiles: [] } };
    expect(decide(node("n1", dual), on, [closed]).update).toEqual([]);
    for (const other of [
      { ...stored, metadata: { ...stored.metadata, annotations: { added: "by hand" } } },
      { ...stored, metadata: { ...stored.metadata, labels: { ...stored.metadata.labels, more: "" } } },
      { ...stored, spec: { ...stored.spec, expectedIPs: ["10.9.9.9"] } },
      { ...stored, spec: { ...stored.spec, interfaceName: "eth0" } },
    ])
      expect(decide(node("n1", dual), on, [other])).toEqual({ create: [], update: [stored], delete: [], problems: [] });
  });

  test("what no template makes any more goes, and all goes when the node is gone or it is turned off", () => {
    const template = { generateName: "dmz", interfacePattern: "eth" };
    const before = wantedEndpoints(node("n1", dual), { ...on, templates: [template] }).endpoints;
    const gone = (config: HostEndpointsConfig, of: Node | undefined) =>
      decide(of, config, before).delete.map(({ metadata }) => metadata.name);
    expect(gone(on, node("n1", dual))).toEqual(["n1-dmz-eth0-auto-hep", "n1-dmz-eth1-auto-hep"]);
    expect(gone(on, undefined)).toHaveLength(3);
    expect(gone({ ...on, autoCreate: false }, node("n1", dual))).toHaveLength(3);
  });

  test("others' are left alone, whatever they are called", () => {
    const foreign: HostEndpoint = {
      ...wantedEndpoints(node("n1", dual), on).endpoints[0]!,
      metadata: { name: "n1-auto-hep", labels: { rack: "a" } },
    };
    expect(decide(node("n1", dual), on, [foreign])).toEqual({
      create: [],
      update: [],
      delete: [],
      problems: ["the HostEndpoint n1-auto-hep is somebody else's; it is left as it is"],
    });
    expect(decide(undefined, on, [foreign]).delete).toEqual([]);
  });

  test.each<[HostEndpointTemplate, string]>([
    [{ generateName: "t", interfacePattern: "(" }, 'interfacePattern: "(" is not a regular expression'],
    [{ generateName: "t", interfaceCIDRs: ["10.0.0.0/33"] }, 'interfaceCIDRs: "10.0.0.0/33" is not a CIDR'],
    [{ interfacePattern: "eth" }, "has no generateName"],
    [{ generateName: "t", interfacePattern: "eth", nodeSelector: "rack ==" }, "nodeSelector: "],
  ])("a template that cannot be carried out takes nothing away: %j", (template, problem) => {
    const before = wantedEndpoints(node("n1", dual), withTemplates({ generateName: "t", interfacePattern: "e" }));
    const changes = decide(node("n1", dual), { ...withTemplates(template), createDefault: true }, before.endpoints);
    expect(changes.delete).toEqual([]);
    expect(changes.create.map(({ metadata }) => metadata.name)).toEqual(["n1-auto-hep"]);
    expect(changes.problems).toHaveLength(1);
    expect(changes.problems[0]).toContain(problem);
  });

  test("whatever there is, doing it once is enough, and only its own are touched", () => {
    const text = fc.constantFrom("10.0.0.1", "10.0.0.2/24", "fd00::1", "no address");
    const label = fc.dictionary(fc.constantFrom("a", "b"), fc.constantFrom("1", "2"));
    const anyNode = fc
      .record({
        labels: label,
        interfaces: fc.uniqueArray(
          fc.record({ name: fc.constantFrom("eth0", "eth1", "lo"), addresses: fc.array(text, { maxLength: 3 }) }),
          { selector: ({ name }) => name },
        ),
      })
      .map(({ labels, interfaces }) => node("n1", { interfaces }, labels));
    const template = fc.record(
      {
        generateName: fc.constantFrom("x", "y"),
        interfacePattern: fc.constantFrom("eth", "lo", "^none$"),
        interfaceCIDRs: fc.constantFrom<string[]>(["10.0.0.0/8"], ["fd00::/8", "10.0.0.2/32"]),
        labels: label,
        nodeSelector: fc.constantFrom("a == '1'", "all()"),
      },
      { requiredKeys: ["generateName"] },
    );
    const config = fc.record({
      autoCreate: fc.boolean(),
      createDefault: fc.boolean(),
      templates: fc.uniqueArray(template, { selector: ({ generateName }) => generateName, maxLength: 2 }),
    });
    const foreign: HostEndpoint = {
      apiVersion: API_VERSION,
      kind: "HostEndpoint",
      metadata: { name: "n1-x-auto-hep" },
      spec: { node: "n1", interfaceName: "eth9" },
    };
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.option(anyNode, { nil: undefined }), config), { minLength: 1, maxLength: 4 }),
        (steps) => {
          let stored: HostEndpoint[] = [foreign];
          for (const [of, settings] of steps) {
            const changes = decide(of, settings, stored);
            for (const one of [...changes.create, ...changes.update])
              expect(checkResource(HostEndpoint, structuredClone(one))).toEqual([]);
            const touched = new Set([...changes.update, ...changes.delete].map(({ metadata }) => metadata.name));
            expect(touched.has(foreign.metadata.name)).toBe(false);
            stored = stored.filter(({ metadata }) => !touched.has(metadata.name));
            stored.push(...changes.create, ...changes.update);
            expect(decide(of, settings, stored)).toMatchObject({ create: [], update: [], delete: [] });
            if (!of || !settings.autoCreate) expect(stored).toEqual([foreign]);
          }
        },
      ),
    );
  });
});
