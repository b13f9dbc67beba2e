/** How policy is put into the kernel. */
export type Mode = "nftables" | "iptables-nft" | "iptables-legacy";

/** What the node says of itself. Each is asked for only where the answer can matter. */
export interface ModeFacts {
  /** The table `kube-proxy` is there: kube-proxy runs in nftables mode. */
  kubeProxyTable(): Promise<boolean>;
  /**
   * What there is of kubelet's and kube-proxy's, in short: the same text as long as none of it comes or goes. Cheap, which {@link iptables} is not:
   * it reads all rules, and kube-proxy may have tens of thousands.
   */
  traces(): Promise<string>;
  /** `kube-ipvs0` is there: kube-proxy runs in IPVS mode, for which it needs iptables. */
  ipvsInterface(): boolean;
  /** Which back end of iptables kube-proxy's or kubelet's chains are in, or which is to be used anyway, and the reason. */
  iptables(): Promise<{ readonly backend: "nft" | "legacy"; readonly reason: string; readonly kubeProxy: boolean }>;
  /** Why nft cannot be used; undefined: it can. */
  nftMissing(): Promise<string | undefined>;
}

export interface ModeChoice {
  readonly mode: Mode;
  /** For the log, in words. */
  readonly reason: string;
  /** kube-proxy runs in IPVS mode, whichever dataplane it is: its rules are to be others then. */
  readonly ipvs: boolean;
}

interface ModeSettings {
  readonly nftablesMode: "Auto" | "Enabled" | "Disabled";
  readonly iptablesBackend: "auto" | "nft" | "legacy";
}

/** Chooses now; and again, each time that it is asked, if anything on which the choice depends has come or gone since. */
export async function followMode(
  settings: ModeSettings,
  facts: ModeFacts,
): Promise<{ readonly choice: ModeChoice; readonly again: () => Promise<ModeChoice | undefined> }> {
  const { nftablesMode, iptablesBackend } = settings;
  const isFixed = nftablesMode === "Enabled" || (nftablesMode === "Disabled" && iptablesBackend !== "auto");
  // With a fixed mode IPVS is all that there is to follow, and is cheap to ask for.
  const traces = async () => (isFixed ? String(facts.ipvsInterface()) : await facts.traces());
  let seen = await traces();
  const choice = await chooseMode(settings, facts);
  return {
    choice,
    again: async () => {
      const now = await traces();
      if (now === seen) return undefined;
      const next = await chooseMode(settings, facts);
      seen = now;
      return next;
    },
  };
}

/**
 * Which dataplane to use, by NFTablesMode and IptablesBackend. `Auto` follows kube-proxy, because rules of two systems at the same hooks are seen
 * best by who looks at one; where there is none it is nftables, which changes one thing at a time and shares no lock.
 */
export async function chooseMode(settings: ModeSettings, facts: ModeFacts): Promise<ModeChoice> {
  // Asked for first: what the rest finds may be newer, and then the traces change again.
  const ipvs = facts.ipvsInterface();
  return { ...(await chooseDataplane(settings, facts, ipvs)), ipvs };
}

type DataplaneChoice = Omit<ModeChoice, "ipvs">;

async function chooseDataplane(settings: ModeSettings, facts: ModeFacts, ipvs: boolean): Promise<DataplaneChoice> {
  if (settings.nftablesMode === "Enabled") return { mode: "nftables", reason: "NFTablesMode is Enabled" };
  if (settings.nftablesMode === "Disabled")
    return iptables(settings.iptablesBackend, facts, "NFTablesMode is Disabled");
  if (await facts.kubeProxyTable()) return { mode: "nftables", reason: "kube-proxy runs in nftables mode" };
  if (ipvs) return iptables(settings.iptablesBackend, facts, "kube-proxy runs in IPVS mode");
  const found = await facts.iptables();
  if (found.kubeProxy) {
    const backend = settings.iptablesBackend === "auto" ? found.backend : settings.iptablesBackend;
    return { mode: `iptables-${backend}`, reason: `kube-proxy runs in iptables mode: ${found.reason}` };
  }
  const missing = await facts.nftMissing();
  if (missing === undefined) return { mode: "nftables", reason: "no kube-proxy was found" };
  const backend = settings.iptablesBackend === "auto" ? found.backend : settings.iptablesBackend;
  return { mode: `iptables-${backend}`, reason: `no kube-proxy was found, and ${missing}` };
}

async function iptables(wanted: "auto" | "nft" | "legacy", facts: ModeFacts, why: string): Promise<DataplaneChoice> {
  if (wanted !== "auto") return { mode: `iptables-${wanted}`, reason: `${why}, IptablesBackend is ${wanted}` };
  const { backend, reason } = await facts.iptables();
  return { mode: `iptables-${backend}`, reason: `${why}; ${reason}` };
}

/** The names of the other two: what they left in the kernel, by an earlier choice, is to be removed once this one enforces. */
export function otherModes(mode: Mode): Mode[] {
  return (["nftables", "iptables-nft", "iptables-legacy"] as const).filter((other) => other !== mode);
}
