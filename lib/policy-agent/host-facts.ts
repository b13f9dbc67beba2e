import { NetlinkError } from "../netlink/index.ts";
import type { Interfaces } from "../routes/index.ts";
import { pathExists } from "../sys/index.ts";
import { detectBackend, KUBERNETES_CHAINS, legacyChains } from "./iptables/index.ts";
import type { ModeFacts } from "./mode.ts";
import { findChains, listTables } from "./nftables/index.ts";

const KUBE_PROXY_TABLE = "kube-proxy";
const IPVS_INTERFACE = "kube-ipvs0";

/** What this node says of itself. */
export function hostFacts(interfaces: Interfaces): ModeFacts {
  const tables = (): ReadonlySet<string> | Error => {
    try {
      return listTables();
    } catch (error) {
      if (error instanceof NetlinkError) return error;
      throw error;
    }
  };
  return {
    kubeProxyTable: async () => {
      const found = tables();
      return !(found instanceof Error) && found.has(KUBE_PROXY_TABLE);
    },
    ipvsInterface: () => interfaces.byName(IPVS_INTERFACE) !== undefined,
    traces: async () => {
      const found = tables();
      const nft = found instanceof Error ? [] : [...findChains(KUBERNETES_CHAINS), found.has(KUBE_PROXY_TABLE)];
      return JSON.stringify([nft, interfaces.byName(IPVS_INTERFACE) !== undefined, await legacyChains()]);
    },
    iptables: () => detectBackend(),
    nftMissing: async () => {
      const found = tables();
      return found instanceof Error ? `the kernel's nftables cannot be used (${found.message})` : undefined;
    },
  };
}

/** Whether the kernel has IPv6 at all. */
export const hasIpv6 = (): boolean => pathExists("/proc/sys/net/ipv6");
