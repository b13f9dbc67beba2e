import { pathExists } from "../sys/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { AgentConfig } from "./config/index.ts";
import { openIptables, removeIptables } from "./iptables/index.ts";
import { type Mode, otherModes } from "./mode.ts";
import { openNftables } from "./nftables/index.ts";
import { type Dataplane, Program, type Programs } from "./rules/index.ts";

/** Opens the dataplane of a mode; nothing changes before its first apply. */
export async function openDataplane(
  mode: Mode,
  config: AgentConfig,
  programs: Programs,
  logger: Logger,
): Promise<Dataplane> {
  if (mode === "nftables") return openNftables({ programs, maxSetSize: config.MaxIpsetSize });
  return openIptables({
    programs,
    backend: backendOf(mode),
    insertMode: config.ChainInsertMode,
    maxIpsetSize: config.MaxIpsetSize,
    lockProbeInterval: config.IptablesLockProbeIntervalMillis,
    logger,
  });
}

const backendOf = (mode: Exclude<Mode, "nftables">) => (mode === "iptables-nft" ? "nft" : "legacy");

/** The kernel lists here the tables that iptables-legacy has loaded. */
const LEGACY_TABLES = "/proc/self/net/ip_tables_names";

/**
 * Removes what another mode left in the kernel, once the one in use enforces: an agent before this one may have chosen differently. Packets that both let
 * through pass, so nothing opens meanwhile.
 */
export async function removeLeftovers(inUse: Mode, ipv6: boolean, log: Logger): Promise<void> {
  for (const mode of otherModes(inUse)) {
    try {
      if (mode === "nftables") await removeNftables(ipv6);
      // To ask iptables-legacy would load its modules; nothing can be there before.
      else if (mode === "iptables-nft" || pathExists(LEGACY_TABLES)) {
        // Both back ends use the same sets.
        const keepSets = inUse !== "nftables";
        await removeIptables({ backend: backendOf(mode), versions: ipv6 ? [4, 6] : [4], keepSets });
      }
    } catch (error) {
      log.warning("what an earlier choice of dataplane left could not be removed", {
        dataplane: mode,
        error: (error as Error).message,
      });
    }
  }
}

async function removeNftables(ipv6: boolean): Promise<void> {
  const programs = { v4: new Program(4), ...(ipv6 ? { v6: new Program(6) } : {}) };
  const dataplane = await openNftables({ programs });
  try {
    await dataplane.remove();
  } finally {
    await dataplane.close();
  }
}
