/** `calicoctl node status`: upstream's tables of BGP peers, and what went wrong with them. Loaded when it is asked for. */
import {
  type BgpStatus,
  CONTROL_SOCKET,
  ControlClient,
  ControlError,
  type PeerStatus,
  whatWentWrong,
} from "../../../lib/bgp/control/index.ts";
import { type Call, type Style, styleFor, table, toJson, UsageError } from "../../../lib/cli/index.ts";
import { formatSince } from "../../../lib/node/time.ts";

/** In upstream's words. */
const TYPES: Readonly<Record<PeerStatus["kind"], string>> = {
  mesh: "node-to-node mesh",
  global: "global",
  node: "node specific",
  localWorkload: "local workload",
};

export async function showStatus({ args, env, io }: Call): Promise<number> {
  const format = args.text("output");
  if (format !== undefined && format !== "json") throw new UsageError(`--output ${format}: there is json only`);
  let status: BgpStatus;
  try {
    status = await new ControlClient(args.text("socket") || CONTROL_SOCKET).status();
  } catch (error) {
    if (!(error instanceof ControlError && error.code === "BGP_NOT_RUNNING")) throw error;
    // Upstream's sentence, by itself, as scripts look for it.
    io.stderr.write(`Calico process is not running.\n${error.words}\n`);
    return 1;
  }
  const text = statusText(status, Date.now(), styleFor(io.stdout, env));
  io.stdout.write(format === "json" ? toJson(status) : `Calico process is running.\n${text}\n`);
  return 0;
}

/** Upstream's tables, one a family, and below each what went wrong last. */
function statusText(status: BgpStatus, now: number, style: Style): string {
  const problems = status.problems.map((problem) => `  ${problem}\n`).join("");
  const notAsConfigured = problems && `\nNot as configured\n${problems}`;
  if (status.backend === "none") return `\nThe BGP backend process (BIRD) is not running.\n${notAsConfigured}`;
  const parts = ([4, 6] as const).map((family) => {
    const peers = status.peers.filter((peer) => peer.family === family).sort((a, b) => (a.name < b.name ? -1 : 1));
    const title = `\nIPv${family} BGP status\n`;
    if (peers.length === 0) return `${title}No IPv${family} peers found.\n`;
    return `${title}${peerTable(peers, now, style)}${errorsText(peers, now)}`;
  });
  return parts.join("") + notAsConfigured;
}

function peerTable(peers: readonly PeerStatus[], now: number, style: Style): string {
  return table({
    headings: ["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"],
    heading: style.bold,
    rows: peers.map((peer) => {
      const up = peer.state === "Established";
      return [
        peer.address,
        TYPES[peer.kind],
        { text: up ? "up" : "start", style: up ? style.green : style.red },
        peer.since === 0 ? "-" : formatSince(peer.since, now),
        peer.state,
      ];
    }),
  });
}

/** Of each peer what ended the last session, and below it why there is no other. */
function errorsText(peers: readonly PeerStatus[], at: number): string {
  const lines = peers.flatMap((peer) => {
    const { address, node, state } = peer;
    const { ended, now } = whatWentWrong(peer);
    const who = node === undefined ? address : `${address} (${node})`;
    const over = state === "Established" ? " (over: the session is up)" : "";
    return [
      ...(ended ? [`  ${formatSince(ended.at, at)} ${who}: went down: ${ended.message}${over}\n`] : []),
      ...(now ? [`  ${formatSince(now.at, at)} ${who}: ${now.message}${over}\n`] : []),
    ];
  });
  return lines.length > 0 ? `Last errors\n${lines.join("")}` : "";
}
