import type { BgpStatus, Family, PeerError, PeerStatus } from "./status.ts";

/** In milliseconds: for so long after the start every peer has to be up; afterwards one of them is enough, so that a node that is gone does not make all others unready. */
export const EVERY_PEER_MS = 30_000;
const NAMED = 5;

/**
 * Why BGP is not ready, naming peers and causes; undefined when it is. As upstream's probe: a node without peers is ready, one that has just
 * started needs all of them, so that a rolling update waits, and one that runs needs one.
 */
export function whyNotReady(
  status: BgpStatus,
  uptimeMs: number,
  families: readonly Family[] = [4, 6],
  everyPeerMs = EVERY_PEER_MS,
): string | undefined {
  if (status.waitsFor && status.waitsFor.length > 0) return status.waitsFor.join("; ");
  if (status.backend === "none") return undefined;
  if (status.node === "") return "BGP has no configuration yet: the datastore has not told everything";
  const peers = status.peers.filter(({ family }) => families.includes(family));
  const down = peers.filter(({ state }) => state !== "Established");
  if (down.length > 0 && (uptimeMs < everyPeerMs || down.length === peers.length)) {
    const rest = down.length - NAMED;
    return `BGP not established with ${down.slice(0, NAMED).map(peerInWords).join("; ")}${rest > 0 ? `; and ${rest} more` : ""}`;
  }
  if (uptimeMs < everyPeerMs && status.restarting && peers.length > 0) return "graceful restart in progress";
  return undefined;
}

/** What ended a session is told beside the error of now where it takes no more characters: probes' messages are cut. */
const SHORT = 100;

/** `10.0.0.2 (Mesh_10_0_0_2): Active, refused: nothing listens there (went down: hold timer expired)` */
export function peerInWords(peer: PeerStatus): string {
  const { address, name, state } = peer;
  const { now, ended } = whatWentWrong(peer);
  const before = ended && now && ended.message.length <= SHORT ? ` (went down: ${ended.message})` : "";
  const error = now ?? ended;
  return `${address} (${name}): ${state}${error ? `, ${error.message}${before}` : ""}`;
}

/**
 * Why the session is not up, and what ended the one before: each where there is something to say that the other does not. Of a session that is
 * up again, what ended the one before goes before what was in its way meanwhile.
 */
export function whatWentWrong({ state, since, lastError, endedBy }: PeerStatus): {
  readonly ended?: PeerError;
  readonly now?: PeerError;
} {
  if (!endedBy) return lastError ? { now: lastError } : {};
  const same = lastError && lastError.at === endedBy.at && lastError.message === endedBy.message;
  if (!lastError || same || (state === "Established" && lastError.at <= since)) return { ended: endedBy };
  return { ended: endedBy, now: lastError };
}
