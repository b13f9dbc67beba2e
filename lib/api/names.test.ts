import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  affinityName,
  cidrName,
  containerInterfaceName,
  type EndpointId,
  endpointName,
  endpointNameMatches,
  endpointNamePrefix,
  hostnameHash,
  parseEndpointName,
  podInterfaceName,
} from "./names.ts";

const k8s: EndpointId = { node: "node-1", orchestrator: "k8s", pod: "pod-name", endpoint: "eth0" };
const cni: EndpointId = { node: "node-1", orchestrator: "cni", containerID: "abcdefa0123456", endpoint: "eth0" };
const libnetwork: EndpointId = { node: "node-1", orchestrator: "libnetwork", endpoint: "abcdefgh" };
const other: EndpointId = { node: "node-1", orchestrator: "foo", workload: "foo-foo", endpoint: "abcdefgh" };

describe("endpoint names", () => {
  test.each([
    [k8s, "node--1-k8s-pod--name-eth0"],
    [cni, "node--1-cni-abcdefa0123456-eth0"],
    [libnetwork, "node--1-libnetwork-libnetwork-abcdefgh"],
    [other, "node--1-foo-foo--foo-abcdefgh"],
  ])("%j", (id, name) => {
    expect(endpointName(id)).toBe(name);
    expect(endpointNamePrefix(id)).toBe(name);
    expect(parseEndpointName(name)).toEqual(id);
    expect(endpointNameMatches(id, name)).toBe(true);
  });

  test.each<[EndpointId, string]>([
    [{ node: "node-1", orchestrator: "", pod: "p", endpoint: "eth0" }, "the name of an endpoint needs an orchestrator"],
    [{ node: "", orchestrator: "k8s", pod: "p", endpoint: "eth0" }, "the name of an endpoint needs a node"],
    [{ node: "n", orchestrator: "k8s", endpoint: "eth0" }, "the name of an endpoint needs a pod"],
    [{ node: "n", orchestrator: "k8s", pod: "p" }, "the name of an endpoint needs an endpoint"],
    [{ ...cni, containerID: "-a" }, 'the containerID "-a" of an endpoint must not begin or end with a dash'],
    [{ ...other, workload: "a-" }, 'the workload "a-" of an endpoint must not begin or end with a dash'],
  ])("%j has no name", (id, message) => {
    expect(() => endpointName(id)).toThrow(message);
  });

  test.each<[EndpointId, string]>([
    [{ node: "node-1", orchestrator: "foo", pod: "pod-name", endpoint: "eth0" }, "node--1-foo-"],
    [{ node: "node-1", orchestrator: "k8s", endpoint: "eth0" }, "node--1-k8s-"],
    [{ node: "node-1", orchestrator: "k8s", pod: "pod-name" }, "node--1-k8s-pod--name-"],
    [{ node: "node-1", orchestrator: "", pod: "pod-name" }, "node--1-"],
  ])("%j has a prefix", (id, prefix) => {
    expect(endpointNamePrefix(id)).toBe(prefix);
  });

  test("a prefix needs a node", () => {
    expect(() => endpointNamePrefix({ node: "", orchestrator: "k8s" })).toThrow("needs a node");
  });

  test.each<[EndpointId, string, boolean]>([
    [k8s, "node--1-k8s-pod--name-eth", false],
    [{ node: "node-1", orchestrator: "cni", endpoint: "eth0" }, "node--1-cni-anything-eth0", true],
    [{ ...cni, containerID: "abcde" }, "node--1-cni-abcdef-eth0", false],
    [{ node: "node-1", orchestrator: "k8s", endpoint: "eth0" }, "node--1-k8s-", false],
    [{ node: "node-1", orchestrator: "k8s", pod: "pod", endpoint: "eth0" }, "node--1-k8s-pod-eth0-extra", false],
    [{ node: "n", orchestrator: "k8s", pod: "pod" }, "n-k8s-pod--1-eth0", false],
    [{ node: "n", orchestrator: "k8s", pod: "pod" }, "n-k8s-pod-eth0", true],
    [{ node: "n", orchestrator: "k8s" }, "", false],
  ])("%j against %s: %s", (id, name, matches) => {
    expect(endpointNameMatches(id, name)).toBe(matches);
  });

  test.each<[string, EndpointId | undefined]>([
    ["", undefined],
    ["node-k8s-pod-eth0", { node: "node", orchestrator: "k8s", pod: "pod", endpoint: "eth0" }],
    ["node-", { node: "node", orchestrator: "" }],
    ["node-k8s-pod--name-", { node: "node", orchestrator: "k8s", pod: "pod-name" }],
    ["node-cni-xyz-eth0", { node: "node", orchestrator: "cni", containerID: "xyz", endpoint: "eth0" }],
    ["node-libnetwork-libnetwork-eth0", { node: "node", orchestrator: "libnetwork", endpoint: "eth0" }],
    [
      "node-foo--orch-workload-eth0",
      { node: "node", orchestrator: "foo-orch", workload: "workload", endpoint: "eth0" },
    ],
    ["coredns-668d6bf9bc-bxhr6", { node: "coredns", orchestrator: "668d6bf9bc", workload: "bxhr6" }],
    ["calico-kube-controllers-7946b84856-2fwwq", undefined],
  ])("%s parses", (name, id) => {
    expect(parseEndpointName(name)).toEqual(id);
  });

  test("any parts lead back, and their prefix begins their name", () => {
    const part = fc
      .array(fc.constantFrom("a", "1", "-", "--", ".", "x-y"), { minLength: 1, maxLength: 6 })
      .map((pieces) => pieces.join(""))
      .filter((text) => !text.startsWith("-") && !text.endsWith("-"));
    fc.assert(
      fc.property(part, part, part, part, (node, orchestrator, workload, endpoint) => {
        const id: EndpointId = { node, orchestrator, workload, endpoint };
        const name = endpointName(id);
        expect(parseEndpointName(name)).toEqual(id);
        expect(name.startsWith(endpointNamePrefix({ node, orchestrator, workload }))).toBe(true);
        expect(endpointNameMatches({ node, orchestrator, workload }, name)).toBe(true);
        expect(endpointNameMatches({ node, orchestrator, workload: `${workload}-1` }, name)).toBe(false);
      }),
    );
  });
});

describe("interface names", () => {
  test.each([
    ["default", "nginx", "calic440f455693"],
    ["kube-system", "coredns-abc", "cali3d5d6ab04b5"],
  ])("pod %s/%s has %s", (namespace, pod, name) => {
    expect(podInterfaceName(namespace, pod)).toBe(name);
    expect(podInterfaceName(namespace, pod, "eni")).toBe(name.replace("cali", "eni"));
  });

  test("another container has the beginning of its id", () => {
    expect(containerInterfaceName("0123456789abcdef")).toBe("cali0123456789a");
    expect(containerInterfaceName("short", "veth")).toBe("vethshort");
  });
});

describe("IPAM names", () => {
  test.each([
    ["192.168.0.0/26", "192-168-0-0-26"],
    ["fd00::/122", "fd00---122"],
    ["fd00:1:2:3:4:5:6:0/122", "fd00-1-2-3-4-5-6-0-122"],
  ])("%s is %s", (cidr, name) => {
    expect(cidrName(cidr)).toBe(name);
    expect(affinityName("node1", cidr)).toBe(`node1-${name}`);
  });

  test("an affinity's name is cut below 253 characters, and still tells owners apart", () => {
    const block = "192-168-0-0-26";
    expect(affinityName("n".repeat(252 - block.length - 1), "192.168.0.0/26")).toHaveLength(252);
    const a = affinityName("n".repeat(252 - block.length), "192.168.0.0/26");
    expect(a).toMatch(/^n{225}-192-168-0-0-26-[0-9a-f]{11}$/);
    expect(a.length).toBeLessThan(253);
    expect(affinityName(`${"n".repeat(252)}x`, "192.168.0.0/26")).not.toBe(
      affinityName(`${"n".repeat(252)}y`, "192.168.0.0/26"),
    );
  });

  test("the hash of a host name is the one other Calicos compute", () => {
    expect(hostnameHash("node1")).toBe("7DS2CCNJGGLTHBDQLLFO6SX24SY2YDDEG3W2VN556FA2W4DLLV5A");
  });
});
