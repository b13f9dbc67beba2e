/** The pools a new cluster begins with, and those whose encapsulation is not there. Decisions only. */
import type { IPPool } from "../api/ippool.ts";
import { API_VERSION } from "../api/meta.ts";
import { type Address, type Cidr, containsAddress, formatCidr, parseCidr, tryParseCidr } from "../ip/index.ts";
import { flag } from "./environment.ts";
import { NodeError } from "./errors.ts";
import type { Env, UnservedPool } from "./types.ts";

const NAMES = { 4: "default-ipv4-ippool", 6: "default-ipv6-ippool" } as const;
const BLOCK_SIZES = { 4: { usual: 26, least: 20, most: 32 }, 6: { usual: 122, least: 116, most: 128 } } as const;
const USUAL_IPV4 = "192.168.0.0/16";

/** What the pools depend on. */
export interface PoolInputs {
  readonly env: Env;
  /** All pools there are. */
  readonly existing: readonly IPPool[];
  /** Addresses of this machine: the usual pool is not taken where they lie in it. */
  readonly hostAddresses: readonly Address[];
  /** Whether the machine has IPv6. */
  readonly ipv6: boolean;
  /** `data` of kubeadm's ConfigMap. */
  readonly kubeadmConfig?: Readonly<Record<string, string>>;
  /** Five random bytes, of which an IPv6 pool is made (RFC 4193). */
  readonly random: () => Uint8Array;
}

/** The pools to be made: one for each family that has none, unless the environment says otherwise. Throws NodeError ENVIRONMENT. */
export function defaultPools(inputs: PoolInputs): IPPool[] {
  const { env, existing } = inputs;
  const asked = { 4: env.CALICO_IPV4POOL_CIDR || "", 6: env.CALICO_IPV6POOL_CIDR || "" };
  if (env.NO_DEFAULT_POOLS?.toLowerCase() === "true") {
    if (asked[4] !== "" || asked[6] !== "") {
      const which = asked[4] !== "" ? "CALICO_IPV4POOL_CIDR" : "CALICO_IPV6POOL_CIDR";
      throw new NodeError("ENVIRONMENT", `NO_DEFAULT_POOLS=true and ${which} contradict each other; unset one of them`);
    }
    return [];
  }
  const fromKubeadm = kubeadmPodCidrs(inputs.kubeadmConfig);
  return ([4, 6] as const).flatMap((version) => {
    if (asked[version] === "none") return [];
    // Read in any case: what is wrong in it is not to wait until the last pool is deleted.
    const pool = poolOf(version, asked[version] || fromKubeadm[version], inputs);
    if (version === 6 && !(inputs.ipv6 && flag(env, "FELIX_IPV6SUPPORT", true))) return [];
    return existing.some((other) => tryParseCidr(other.spec.cidr)?.version === version) ? [] : [pool];
  });
}

function poolOf(version: 4 | 6, cidr: string | undefined, inputs: PoolInputs): IPPool {
  const { env } = inputs;
  const prefix = `CALICO_IPV${version}POOL_`;
  const refuse = (name: string, why: string): never => {
    throw new NodeError("ENVIRONMENT", `${prefix}${name}=${env[prefix + name] ?? ""}: ${why}`);
  };
  const sizes = BLOCK_SIZES[version];
  const blockSize = Number(env[`${prefix}BLOCK_SIZE`] || sizes.usual);
  if (!Number.isInteger(blockSize) || blockSize < sizes.least || blockSize > sizes.most) {
    refuse("BLOCK_SIZE", `must be a number from ${sizes.least} to ${sizes.most}`);
  }
  const parsed = cidr ? tryParseCidr(cidr) : unusedCidr(version, inputs);
  if (parsed?.version !== version) return refuse("CIDR", `${cidr} is not an IPv${version} CIDR`);
  const ipipMode = version === 4 ? mode("IPIP") : "Never";
  const vxlanMode = mode("VXLAN");
  if (ipipMode !== "Never" && vxlanMode !== "Never")
    refuse("VXLAN", `contradicts ${prefix}IPIP; one of them must be Never`);
  return {
    apiVersion: API_VERSION,
    kind: "IPPool",
    metadata: { name: NAMES[version] },
    spec: {
      cidr: formatCidr(parsed),
      ipipMode,
      vxlanMode,
      natOutgoing: flag(env, `${prefix}NAT_OUTGOING`, version === 4),
      disableBGPExport: flag(env, `${prefix}DISABLE_BGP_EXPORT`, false),
      blockSize,
      nodeSelector: env[`${prefix}NODE_SELECTOR`] || "all()",
      allowedUses: ["Workload", "Tunnel"],
      assignmentMode: "Automatic",
    },
  };

  function mode(name: "IPIP" | "VXLAN"): "Never" | "Always" | "CrossSubnet" {
    switch ((env[prefix + name] ?? "").toLowerCase()) {
      case "":
      case "off":
      case "never":
        return "Never";
      case "always":
        return "Always";
      case "crosssubnet":
      case "cross-subnet":
        return "CrossSubnet";
      default:
        return refuse(name, "must be Never, Always or CrossSubnet");
    }
  }
}

/** IPv4: the usual one, or the first of 172.16/16 to 172.31/16, that this machine is not in itself. IPv6: a network of one's own. */
function unusedCidr(version: 4 | 6, { hostAddresses, random }: PoolInputs): Cidr {
  if (version === 6) {
    let value = 0xfdn;
    for (const byte of random().subarray(0, 5)) value = (value << 8n) | BigInt(byte);
    return { version: 6, base: value << 80n, length: 48 };
  }
  const usual = parseCidr(USUAL_IPV4);
  const free = (cidr: Cidr) => !hostAddresses.some((address) => containsAddress(cidr, address));
  const others = Array.from({ length: 16 }, (_, i) => parseCidr(`172.${16 + i}.0.0/16`));
  return [usual, ...others].find(free) ?? usual;
}

/** `podSubnet: 10.244.0.0/16,fd00::/56` in kubeadm's ClusterConfiguration: the first of each family. */
function kubeadmPodCidrs(data: Readonly<Record<string, string>> = {}): { 4?: string; 6?: string } {
  const found: { 4?: string; 6?: string } = {};
  for (const text of Object.values(data)) {
    const line = /podSubnet: (.*)/.exec(text)?.[1];
    if (line === undefined) continue;
    for (const item of line.split(",")) {
      const cidr = tryParseCidr(item.trim().replace(/^"|"$/g, ""));
      if (!cidr) break;
      found[cidr.version] ??= formatCidr(cidr);
    }
    break;
  }
  return found;
}

/** Pools that ask for an encapsulation. For now there is none; so their addresses are reached on their own node only. */
export function unservedPools(pools: readonly IPPool[]): UnservedPool[] {
  return pools.flatMap(({ metadata: { name }, spec: { cidr, ipipMode, vxlanMode } }) => {
    const encapsulation =
      ipipMode && ipipMode !== "Never" ? "IPIP" : vxlanMode && vxlanMode !== "Never" ? "VXLAN" : undefined;
    if (!encapsulation) return [];
    const how = encapsulation === "IPIP" ? ipipMode : vxlanMode;
    const field = encapsulation === "IPIP" ? "ipipMode" : "vxlanMode";
    const message = `IPPool ${name} (${cidr}) is not served: it asks for ${encapsulation} (${how}), which this version does not make; set ${field}: Never where nodes reach each other without, over BGP`;
    return [{ pool: name, cidr, encapsulation, message }];
  });
}
