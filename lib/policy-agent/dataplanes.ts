import { pathExists } from "../sys/index.ts";
import type { Logger } from "../telemetry/index.ts";
import { pause } from "../wait/index.ts";
import type { AgentConfig } from "./config/index.ts";
import { openIptables, removeIptables } from "./iptables/index.ts";
import { type Mode, otherModes } from "./mode.ts";
import { openNftables } from "./nftables/index.ts";
import { type Dataplane, DataplaneError, Program, type Programs } from "./rules/index.ts";

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

/** Until what could not be removed is tried again, in milliseconds. */
const REMOVE_AGAIN_MS = 30_000;

/**
 * Removes what another mode left in the kernel, once the one in use enforces: an agent before this one may have chosen differently. Packets that both let
 * through pass, so nothing opens meanwhile; but endpoints that the other does not know stay closed until it is gone, so that this is tried again and again.
 */
export async function removeLeftovers(
  inUse: Mode,
  ipv6: boolean,
  log: Logger,
  signal: AbortSignal,
  remove = removeMode,
): Promise<void> {
  const said = new Set<string>();
  for (let left = otherModes(inUse); left.length > 0 && !signal.aborted; ) {
    const failed: Mode[] = [];
    for (const mode of left) {
      try {
        await remove(mode, inUse, ipv6);
      } catch (error) {
        failed.push(mode);
        const { message } = error as Error;
        if (said.has(message)) continue;
        said.add(message);
        log.warning("what an earlier choice of dataplane left could not be removed", {
          dataplane: mode,
          error: message,
          "again in ms": REMOVE_AGAIN_MS,
        });
      }
    }
    left = failed;
    if (left.length > 0) await pause(REMOVE_AGAIN_MS, signal);
  }
}

async function removeMode(mode: Mode, inUse: Mode, ipv6: boolean): Promise<void> {
  if (mode === "nftables") await removeNftables(ipv6);
  // To ask iptables-legacy would load its modules; nothing can be there before.
  else if (mode === "iptables-nft" || pathExists(LEGACY_TABLES)) {
    // Both back ends use the same sets.
    const keepSets = inUse !== "nftables";
    await removeIptables({ backend: backendOf(mode), versions: ipv6 ? [4, 6] : [4], keepSets });
  }
}

async function removeNftables(ipv6: boolean): Promise<void> {
  const programs = { v4: new Program(4), ...(ipv6 ? { v6: new Program(6) } : {}) };
  let dataplane: Dataplane;
  try {
    dataplane = await openNftables({ programs });
  } catch (error) {
    // A kernel without nftables holds nothing of it.
    if (error instanceof DataplaneError && error.code === "DATAPLANE_TOOL_MISSING") return;
    throw error;
  }
  try {
    await dataplane.remove();
  } finally {
    await dataplane.close();
  }
}
