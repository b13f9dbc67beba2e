import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseJsonObject, parseNetworkConfig } from "./config.ts";
import { CniError } from "./errors.ts";

const BASE = { cniVersion: "1.0.0", name: "net1", type: "calico", ipam: { type: "calico-ipam" } };

/** Every key, with values that differ from what absence means. */
const FULL = {
  ...BASE,
  mode: "vxlan",
  vxlan_mac_prefix: "0E-2A",
  vxlan_vni: 4096,
  ipam: {
    type: "host-local",
    name: "main",
    subnet: "10.1.0.0/16",
    assign_ipv4: "false",
    assign_ipv6: "true",
    ipv4_pools: ["a", "10.0.0.0/24"],
    ipv6_pools: ["b"],
    routes: [{ dst: "10.0.0.0/8", gw: "10.1.0.1" }, {}],
  },
  qps: 100,
  burst: 200,
  args: {
    "org.apache.mesos": {
      network_info: { name: "x", labels: { labels: [{ key: "k", value: "v" }] } },
    },
  },
  mtu: 1440,
  num_queues: 3,
  nodename: "node-1",
  nodename_file: "/a/nodename",
  nodename_file_optional: true,
  ipam_lock_file: "/a/ipam.lock",
  datastore_type: "etcdv3",
  datastore_file: "/a/datastore.db",
  etcd_endpoints: "http://127.0.0.1:2379",
  etcd_discovery_srv: "example.org",
  etcd_authority: "127.0.0.1:2379",
  etcd_scheme: "https",
  etcd_key_file: "/a/key.pem",
  etcd_cert_file: "/a/cert.pem",
  etcd_ca_cert_file: "/a/ca.pem",
  log_level: "Debug",
  log_file_path: "/a/cni.log",
  log_file_max_size: 10,
  log_file_max_age: 5,
  log_file_max_count: 2,
  policy: {
    type: "k8s",
    k8s_api_root: "https://a",
    k8s_auth_token: "token",
    k8s_client_certificate: "/a/c",
    k8s_client_key: "/a/k",
    k8s_certificate_authority: "/a/ca",
  },
  kubernetes: { k8s_api_root: "https://b", kubeconfig: "/a/kubeconfig", node_name: "n" },
  feature_control: { ip_addrs_no_ipam: true, floating_ips: true },
  container_settings: { allow_ip_forwarding: true },
  include_default_routes: true,
  dataplane_options: { type: "linux" },
  device_type: "netkit",
  runtimeConfig: { dns: { servers: ["10.0.0.10"], domain: "a", searches: ["b"], options: ["ndots:5"] } },
  readiness_gates: ["http://localhost:9099/readiness"],
  policy_setup_timeout_seconds: 7,
  endpoint_status_dir: "/a/status",
  require_mtu_file: true,
  calico_api_group: "projectcalico.org",
  hostname: "old-name",
  windows_use_single_network: true,
  prevResult: { cniVersion: "1.0.0" },
  "cni.dev/valid-attachments": [{ containerID: "abc", ifname: "eth0" }],
  somethingElse: [1, { two: 3 }],
};

function failure(action: () => unknown): CniError {
  try {
    action();
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

test("absent keys have the meaning they have upstream", () => {
  expect(parseNetworkConfig(BASE)).toMatchObject({
    cniVersion: "1.0.0",
    name: "net1",
    ipam: {
      type: "calico-ipam",
      assignIpv4: undefined,
      assignIpv6: undefined,
      ipv4Pools: [],
      ipv6Pools: [],
      routes: [],
    },
    validAttachments: [],
    prevResult: undefined,
    dns: { nameservers: [], domain: "", search: [], options: [] },
    mtu: 0,
    requireMtuFile: false,
    numQueues: 1,
    deviceType: "veth",
    allowIpForwarding: false,
    includeDefaultRoutes: false,
    nodenameFileOptional: false,
    datastore: { type: "", file: "", etcdEndpoints: "" },
    readinessGates: [],
    policySetupTimeoutSeconds: 0,
    log: { level: "info", filePath: "", fileMaxSize: 0 },
    mesosLabels: [],
    policyType: "",
    features: { ipAddrsNoIpam: false, floatingIps: false },
  });
});

test("every key is read", () => {
  expect(parseNetworkConfig(FULL)).toMatchObject({
    ipam: {
      type: "host-local",
      name: "main",
      subnet: "10.1.0.0/16",
      assignIpv4: false,
      assignIpv6: true,
      ipv4Pools: ["a", "10.0.0.0/24"],
      ipv6Pools: ["b"],
      routes: [{ dst: "10.0.0.0/8", gw: "10.1.0.1" }],
    },
    mesosLabels: [{ key: "k", value: "v" }],
    mtu: 1440,
    numQueues: 3,
    nodename: "node-1",
    nodenameFile: "/a/nodename",
    nodenameFileOptional: true,
    hostname: "old-name",
    ipamLockFile: "/a/ipam.lock",
    datastore: {
      type: "etcdv3",
      file: "/a/datastore.db",
      etcdEndpoints: "http://127.0.0.1:2379",
      etcdDiscoverySrv: "example.org",
      etcdAuthority: "127.0.0.1:2379",
      etcdScheme: "https",
      etcdKeyFile: "/a/key.pem",
      etcdCertFile: "/a/cert.pem",
      etcdCaCertFile: "/a/ca.pem",
    },
    log: { level: "debug", filePath: "/a/cni.log", fileMaxSize: 10, fileMaxAge: 5, fileMaxCount: 2 },
    policyType: "k8s",
    features: { ipAddrsNoIpam: true, floatingIps: true },
    allowIpForwarding: true,
    includeDefaultRoutes: true,
    deviceType: "netkit",
    dns: { nameservers: ["10.0.0.10"], domain: "a", search: ["b"], options: ["ndots:5"] },
    readinessGates: ["http://localhost:9099/readiness"],
    policySetupTimeoutSeconds: 7,
    endpointStatusDir: "/a/status",
    requireMtuFile: true,
    prevResult: { cniVersion: "1.0.0" },
    validAttachments: [{ containerId: "abc", ifName: "eth0" }],
    kubernetes: { kubeconfig: "/a/kubeconfig", qps: 100, burst: 200, calico_api_group: "projectcalico.org" },
    raw: FULL,
  });
});

test("an absent cniVersion is 0.2.0", () => {
  expect(parseNetworkConfig({ name: "n", ipam: { type: "calico-ipam" } }).cniVersion).toBe("0.2.0");
  expect(parseNetworkConfig({ ...BASE, cniVersion: "" }).cniVersion).toBe("0.2.0");
});

test.each(["0.5.0", "1.2.0", "2.0.0", "1.0", "latest"])("cniVersion %s is error 1, which names it", (cniVersion) => {
  const error = failure(() => parseNetworkConfig({ ...BASE, cniVersion }));
  expect(error.code).toBe(1);
  expect(error.message).toContain(`"cniVersion" is "${cniVersion}"`);
});

test("the version is known before anything else is checked", () => {
  const seen: string[] = [];
  failure(() => parseNetworkConfig({ cniVersion: "0.4.0", name: 7 }, (version) => seen.push(version)));
  expect(seen).toEqual(["0.4.0"]);
});

describe("a wrong value is error 7, which names the key", () => {
  test.each<[string, Record<string, unknown>]>([
    ["name", { name: undefined }],
    ["name", { name: "" }],
    ["name", { name: "a/b" }],
    ["name", { name: "-a" }],
    ["name", { name: 5 }],
    ["cniVersion", { cniVersion: 1 }],
    ["ipam", { ipam: "calico-ipam" }],
    ["ipam.type", { ipam: {} }],
    ["ipam.type", { ipam: undefined }],
    ["ipam.type", { ipam: { type: "../evil" } }],
    ["ipam.assign_ipv4", { ipam: { type: "calico-ipam", assign_ipv4: "yes" } }],
    ["ipam.assign_ipv6", { ipam: { type: "calico-ipam", assign_ipv6: 1 } }],
    ["ipam.ipv4_pools", { ipam: { type: "calico-ipam", ipv4_pools: "a" } }],
    ["ipam.ipv4_pools[1]", { ipam: { type: "calico-ipam", ipv4_pools: ["a", 2] } }],
    ["ipam.ipv6_pools", { ipam: { type: "calico-ipam", ipv6_pools: {} } }],
    ["ipam.routes[0].dst", { ipam: { type: "host-local", routes: [{ dst: "10.0.0.1" }] } }],
    ["ipam.routes[0].dst", { ipam: { type: "host-local", routes: [{ dst: 1 }] } }],
    ["mtu", { mtu: "1500" }],
    ["mtu", { mtu: 1500.5 }],
    ["mtu", { mtu: -1 }],
    ["mtu", { mtu: 70_000 }],
    ["num_queues", { num_queues: "1" }],
    ["nodename", { nodename: 1 }],
    ["nodename_file", { nodename_file: [] }],
    ["nodename_file_optional", { nodename_file_optional: "true" }],
    ["hostname", { hostname: {} }],
    ["ipam_lock_file", { ipam_lock_file: false }],
    ["datastore_type", { datastore_type: "mysql" }],
    ["datastore_type", { datastore_type: 1 }],
    ["datastore_file", { datastore_file: 1 }],
    ["etcd_endpoints", { etcd_endpoints: ["http://a"] }],
    ["etcd_discovery_srv", { etcd_discovery_srv: 1 }],
    ["etcd_authority", { etcd_authority: 1 }],
    ["etcd_scheme", { etcd_scheme: 1 }],
    ["etcd_key_file", { etcd_key_file: 1 }],
    ["etcd_cert_file", { etcd_cert_file: 1 }],
    ["etcd_ca_cert_file", { etcd_ca_cert_file: 1 }],
    ["log_level", { log_level: 1 }],
    ["log_file_path", { log_file_path: 1 }],
    ["log_file_max_size", { log_file_max_size: "1" }],
    ["log_file_max_age", { log_file_max_age: 1.5 }],
    ["log_file_max_count", { log_file_max_count: -1 }],
    ["policy", { policy: [] }],
    ["policy.type", { policy: { type: 1 } }],
    ["policy.k8s_auth_token", { policy: { k8s_auth_token: 1 } }],
    ["kubernetes.kubeconfig", { kubernetes: { kubeconfig: 1 } }],
    ["qps", { qps: "1" }],
    ["burst", { burst: 0.5 }],
    ["calico_api_group", { calico_api_group: 1 }],
    ["feature_control.ip_addrs_no_ipam", { feature_control: { ip_addrs_no_ipam: "true" } }],
    ["feature_control.floating_ips", { feature_control: { floating_ips: 1 } }],
    ["container_settings.allow_ip_forwarding", { container_settings: { allow_ip_forwarding: 1 } }],
    ["include_default_routes", { include_default_routes: "yes" }],
    ["dataplane_options", { dataplane_options: "grpc" }],
    ["device_type", { device_type: "macvlan" }],
    ["runtimeConfig.dns.servers", { runtimeConfig: { dns: { servers: "a" } } }],
    ["readiness_gates", { readiness_gates: "http://a" }],
    ["readiness_gates[0]", { readiness_gates: ["localhost"] }],
    ["readiness_gates[0]", { readiness_gates: ["ftp://a/"] }],
    ["policy_setup_timeout_seconds", { policy_setup_timeout_seconds: -1 }],
    ["endpoint_status_dir", { endpoint_status_dir: 1 }],
    ["require_mtu_file", { require_mtu_file: "yes" }],
    [
      "args.org.apache.mesos.network_info.labels.labels[0].key",
      { args: { "org.apache.mesos": { network_info: { labels: { labels: [{ key: 1 }] } } } } },
    ],
    ["prevResult", { prevResult: [] }],
    ["cni.dev/valid-attachments", { "cni.dev/valid-attachments": {} }],
    ["cni.dev/valid-attachments[0].containerID", { "cni.dev/valid-attachments": [{ containerID: 1 }] }],
  ])("%s: %j", (key, change) => {
    const error = failure(() => parseNetworkConfig({ ...BASE, ...change }));
    expect(error.message).toContain(`"${key}"`);
    expect(error.code).toBe(7);
  });
});

test.each([
  ["dataplane_options.type", { dataplane_options: { type: "grpc", socket: "unix:///x" } }, "grpc"],
  ["dataplane_options.type", { dataplane_options: { type: "vpp" } }, "vpp"],
])("an unsupported %s is error 2 with the key and the value", (key, change, value) => {
  const error = failure(() => parseNetworkConfig({ ...BASE, ...change }));
  expect(error.code).toBe(2);
  expect(error.message).toContain(key);
  expect(error.message).toContain(`"${value}"`);
});

test("datastore_type may be kubernetes", () => {
  expect(parseNetworkConfig({ ...BASE, datastore_type: "kubernetes" }).datastore.type).toBe("kubernetes");
});

test("null is absent", () => {
  const nulls = Object.fromEntries(Object.keys(FULL).map((key) => [key, null]));
  expect(parseNetworkConfig({ ...nulls, ...BASE })).toMatchObject({ mtu: 0, nodename: "", validAttachments: [] });
});

test("libcni's other name for the valid attachments counts where the specification's is absent", () => {
  const old = { "cni.dev/attachments": [{ containerID: "a", ifname: "eth0" }] };
  expect(parseNetworkConfig({ ...BASE, ...old }).validAttachments).toEqual([{ containerId: "a", ifName: "eth0" }]);
});

test.each(["num_queues", "qps"])("upstream takes a negative %s", (key) => {
  expect(parseNetworkConfig({ ...BASE, [key]: -1 }).numQueues).toBe(1);
});

test.each(["", "{", "nul", '{"a":1', "\u0000", "﻿{}"])("stdin %j is error 6", (text) => {
  expect(failure(() => parseJsonObject(text)).code).toBe(6);
});

test.each(["[]", "null", "7", '"text"'])("stdin %s is JSON but no object", (text) => {
  expect(failure(() => parseJsonObject(text)).message).toContain("object");
});

test("a complaint about broken JSON repeats nothing of it", () => {
  const error = failure(() => parseJsonObject('{"policy":{"k8s_auth_token":"SECRET'));
  expect(error.message + error.details).not.toContain("SECRET");
});

/** Replaces, removes or adds one value anywhere in the configuration. */
const mutated = fc
  .tuple(fc.array(fc.tuple(fc.nat(), fc.nat(4), fc.jsonValue()), { minLength: 1, maxLength: 4 }))
  .map(([changes]) => {
    const root = structuredClone(FULL) as Record<string, unknown>;
    for (const [where, how, value] of changes) {
      const places = containersOf(root);
      const place = places[where % places.length]!;
      const keys = Object.keys(place);
      const key = keys.length === 0 ? "x" : keys[where % keys.length]!;
      if (how === 0) delete (place as Record<string, unknown>)[key];
      else if (how === 1) (place as Record<string, unknown>)[`${key}x`] = value;
      else (place as Record<string, unknown>)[key] = value;
    }
    // Through JSON again, as from stdin: a list has no holes.
    return JSON.parse(JSON.stringify(root)) as Record<string, unknown>;
  });

function containersOf(value: unknown): object[] {
  if (typeof value !== "object" || value === null) return [];
  return [value, ...Object.values(value).flatMap(containersOf)];
}

test("mutated configurations are read or refused with a CniError that names something, never anything else", () => {
  fc.assert(
    fc.property(mutated, (raw) => {
      try {
        parseNetworkConfig(raw);
      } catch (error) {
        expect(error).toBeInstanceOf(CniError);
        expect([1, 2, 7]).toContain((error as CniError).code);
        expect((error as CniError).message).toMatch(/"[^"]+"/);
      }
    }),
    { numRuns: 5000 },
  );
});

test("text with flipped characters is read or refused with a CniError", () => {
  const text = JSON.stringify(FULL);
  const flips = fc.array(fc.tuple(fc.nat(text.length - 1), fc.string({ minLength: 0, maxLength: 2 })), {
    minLength: 1,
    maxLength: 3,
  });
  fc.assert(
    fc.property(flips, (changes) => {
      let broken = text;
      for (const [at, replacement] of changes) broken = broken.slice(0, at) + replacement + broken.slice(at + 1);
      try {
        parseNetworkConfig(parseJsonObject(broken));
      } catch (error) {
        expect(error).toBeInstanceOf(CniError);
      }
    }),
    { numRuns: 3000 },
  );
});

test("deeply nested JSON is refused or read, not fatal", () => {
  const deep = `{"name":"n","ipam":{"type":"calico-ipam"},"x":${"[".repeat(100_000)}${"]".repeat(100_000)}}`;
  try {
    parseNetworkConfig(parseJsonObject(deep));
  } catch (error) {
    expect(error).toBeInstanceOf(CniError);
  }
});
