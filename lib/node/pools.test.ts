import fc from "fast-check";
import { expect, test } from "vitest";
import type { IPPool } from "../api/ippool.ts";
import { containsAddress, formatCidr, parseAddress, parseCidr } from "../ip/index.ts";
import { defaultPools, type PoolInputs, unservedPools } from "./pools.ts";

const pools = (env: PoolInputs["env"] = {}, over: Partial<PoolInputs> = {}): IPPool[] =>
  defaultPools({
    env,
    existing: [],
    hostAddresses: [],
    ipv6: true,
    random: () => new Uint8Array([1, 2, 3, 4, 5]),
    ...over,
  });
const cidrs = (made: readonly IPPool[]) => made.map(({ metadata, spec }) => `${metadata.name} ${spec.cidr}`);

test("a new cluster gets a pool of each family, without encapsulation", () => {
  expect(pools().map(({ metadata, spec }) => ({ name: metadata.name, ...spec }))).toEqual([
    {
      name: "default-ipv4-ippool",
      cidr: "192.168.0.0/16",
      ipipMode: "Never",
      vxlanMode: "Never",
      natOutgoing: true,
      disableBGPExport: false,
      blockSize: 26,
      nodeSelector: "all()",
      allowedUses: ["Workload", "Tunnel"],
      assignmentMode: "Automatic",
    },
    expect.objectContaining({
      name: "default-ipv6-ippool",
      cidr: "fd01:203:405::/48",
      natOutgoing: false,
      blockSize: 122,
    }),
  ]);
});

test("a family that has a pool, or that is not wanted or not there, gets none", () => {
  const [v4, v6] = pools();
  expect(cidrs(pools({}, { existing: [v4!] }))).toEqual(["default-ipv6-ippool fd01:203:405::/48"]);
  expect(pools({}, { existing: [v4!, v6!] })).toEqual([]);
  expect(pools({ CALICO_IPV4POOL_CIDR: "none", CALICO_IPV6POOL_CIDR: "none" })).toEqual([]);
  expect(pools({ NO_DEFAULT_POOLS: "True" })).toEqual([]);
  expect(cidrs(pools({}, { ipv6: false }))).toEqual(["default-ipv4-ippool 192.168.0.0/16"]);
  expect(cidrs(pools({ FELIX_IPV6SUPPORT: "false" }))).toEqual(["default-ipv4-ippool 192.168.0.0/16"]);
});

test("the environment says what they are like", () => {
  const env = {
    CALICO_IPV4POOL_CIDR: "10.244.1.0/16",
    CALICO_IPV4POOL_IPIP: "Cross-Subnet",
    CALICO_IPV4POOL_BLOCK_SIZE: "24",
    CALICO_IPV4POOL_NODE_SELECTOR: "rack == 'a'",
    CALICO_IPV4POOL_NAT_OUTGOING: "No",
    CALICO_IPV4POOL_DISABLE_BGP_EXPORT: "yes",
    CALICO_IPV6POOL_CIDR: "fd00::/64",
    CALICO_IPV6POOL_VXLAN: "Always",
    CALICO_IPV6POOL_NAT_OUTGOING: "true",
  };
  const [v4, v6] = pools(env);
  expect(v4!.spec).toMatchObject({
    cidr: "10.244.0.0/16",
    ipipMode: "CrossSubnet",
    vxlanMode: "Never",
    blockSize: 24,
    nodeSelector: "rack == 'a'",
    natOutgoing: false,
    disableBGPExport: true,
  });
  expect(v6!.spec).toMatchObject({ cidr: "fd00::/64", vxlanMode: "Always", natOutgoing: true });
});

test("kubeadm's pod networks are taken where the environment says nothing", () => {
  const kubeadmConfig = {
    ClusterStatus: "{}",
    ClusterConfiguration: "networking:\n  podSubnet: 10.9.0.0/16,fd09::/56\n  serviceSubnet: 10.96.0.0/12",
  };
  expect(cidrs(pools({}, { kubeadmConfig }))).toEqual([
    "default-ipv4-ippool 10.9.0.0/16",
    "default-ipv6-ippool fd09::/56",
  ]);
  expect(cidrs(pools({ CALICO_IPV4POOL_CIDR: "10.8.0.0/16" }, { kubeadmConfig }))).toContain(
    "default-ipv4-ippool 10.8.0.0/16",
  );
  const quoted = { ClusterConfiguration: 'podSubnet: "10.9.0.0/16"' };
  expect(cidrs(pools({}, { kubeadmConfig: quoted }))[0]).toBe("default-ipv4-ippool 10.9.0.0/16");
});

test("the pool is not where the machine itself is, as long as another is free", () => {
  const address = fc.tuple(
    fc.constantFrom("192.168", ...Array.from({ length: 16 }, (_, i) => `172.${16 + i}`)),
    fc.nat(255),
  );
  fc.assert(
    fc.property(fc.array(address, { maxLength: 40 }), (parts) => {
      const hostAddresses = parts.map(([network, last]) => parseAddress(`${network}.0.${last}`));
      const cidr = parseCidr(pools({}, { hostAddresses })[0]!.spec.cidr);
      const taken = new Set(parts.map(([network]) => network));
      if (taken.size < 17) expect(hostAddresses.some((one) => containsAddress(cidr, one))).toBe(false);
      else expect(formatCidr(cidr)).toBe("192.168.0.0/16");
    }),
  );
});

const wrong: [Record<string, string>, string][] = [
  [{ CALICO_IPV4POOL_CIDR: "fd00::/64" }, "CALICO_IPV4POOL_CIDR=fd00::/64"],
  [{ CALICO_IPV6POOL_CIDR: "10.0.0.0/8" }, "CALICO_IPV6POOL_CIDR=10.0.0.0/8"],
  [{ CALICO_IPV4POOL_BLOCK_SIZE: "19" }, "CALICO_IPV4POOL_BLOCK_SIZE=19"],
  [{ CALICO_IPV6POOL_BLOCK_SIZE: "x" }, "CALICO_IPV6POOL_BLOCK_SIZE=x"],
  [{ CALICO_IPV4POOL_IPIP: "Sometimes" }, "CALICO_IPV4POOL_IPIP=Sometimes"],
  [{ CALICO_IPV4POOL_IPIP: "Always", CALICO_IPV4POOL_VXLAN: "Always" }, "contradicts CALICO_IPV4POOL_IPIP"],
  [{ NO_DEFAULT_POOLS: "true", CALICO_IPV4POOL_CIDR: "10.0.0.0/8" }, "NO_DEFAULT_POOLS=true and CALICO_IPV4POOL_CIDR"],
];
test.each(wrong)("%o is refused, also where the pool is there already", (env, message) => {
  expect(() => pools(env, { existing: pools() })).toThrow(message);
});

test("pools that ask for an encapsulation are named, with what to do", () => {
  const [v4, v6] = pools({ CALICO_IPV4POOL_IPIP: "Always", CALICO_IPV6POOL_VXLAN: "CrossSubnet" });
  expect(unservedPools([v4!, v6!, ...pools()])).toMatchObject([
    { pool: "default-ipv4-ippool", encapsulation: "IPIP", message: expect.stringContaining("set ipipMode: Never") },
    { pool: "default-ipv6-ippool", encapsulation: "VXLAN", message: expect.stringContaining("VXLAN (CrossSubnet)") },
  ]);
});
