/** Felix on its own, as suites begin it, and which dataplane it is to use. */
export type DataplaneName = "nftables" | "iptables-nft" | "iptables-legacy";
export const DATAPLANES: readonly DataplaneName[] = ["nftables", "iptables-nft", "iptables-legacy"];

export const DATAPLANE_ENVIRONMENT: Readonly<Record<DataplaneName, Readonly<Record<string, string>>>> = {
  nftables: { FELIX_NFTABLESMODE: "Enabled" },
  "iptables-nft": { FELIX_NFTABLESMODE: "Disabled", FELIX_IPTABLESBACKEND: "NFT" },
  "iptables-legacy": { FELIX_NFTABLESMODE: "Disabled", FELIX_IPTABLESBACKEND: "Legacy" },
};

/**
 * For a shell: felix alone, begun anew when it asks for that. Start-up, which lets pods reach their node as upstream's does, is not in play where it is
 * used.
 */
export const FELIX = "while calico-node felix; [ $? -eq 129 ]; do :; done";
