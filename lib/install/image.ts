/** What an image of Calico holds: this executable and the tools with which it talks to the kernel. No shell, nothing else. */

/** The names of the one executable, beside /usr/bin/calico. */
export const IMAGE_PROGRAMS = [
  "calico-node",
  "calico-kube-controllers",
  "calicoctl",
  "calico-ipam",
  "calico-cni",
] as const;

/**
 * Debian's packages, and what is taken of them. iptables of both kinds: which one is used depends on where other programs of the node, such as
 * kube-proxy, have their chains. nft is for people: the agent itself speaks netlink.
 */
export const IMAGE_PACKAGES = ["iptables", "ipset", "nftables"] as const;
export const IMAGE_TOOLS = ["nft", "ipset", "xtables-nft-multi", "xtables-legacy-multi"].map(
  (tool) => `/usr/sbin/${tool}`,
);

/** In /usr/sbin: what iptables is called → what it is. */
export const IMAGE_LINKS: readonly (readonly [name: string, target: string])[] = ["iptables", "ip6tables"].flatMap(
  (tool) =>
    ["", "-save", "-restore"].flatMap((part) => [
      [`${tool}${part}`, "xtables-nft-multi"] as const,
      [`${tool}-nft${part}`, "xtables-nft-multi"] as const,
      [`${tool}-legacy${part}`, "xtables-legacy-multi"] as const,
    ]),
);

/** What matches and targets of iptables are loaded from. `triplet`: Debian's name of the architecture, or a pattern for it. */
export const xtablesFolder = (triplet: string): string => `/usr/lib/${triplet}/xtables`;

/** Folders that there must be for what is mounted. */
export const IMAGE_FOLDERS = ["etc", "tmp", "proc", "sys", "dev", "run", "var/run", "var/lib", "status"] as const;
