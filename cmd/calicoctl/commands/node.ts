import {
  type BgpStatus,
  CONTROL_SOCKET,
  ControlClient,
  ControlError,
  type PeerStatus,
} from "../../../lib/bgp/control/index.ts";
import { type Call, type Command, type Style, styleFor, table, toJson, UsageError } from "../../../lib/cli/index.ts";
import { formatSince } from "../../../lib/node/index.ts";

/** In upstream's words. */
const TYPES: Readonly<Record<PeerStatus["kind"], string>> = {
  mesh: "node-to-node mesh",
  global: "global",
  node: "node specific",
  localWorkload: "local workload",
};

export const nodeCommand: Command = {
  name: "node",
  summary: "Look at this node.",
  commands: [
    {
      name: "status",
      summary: "Show the BGP peers of this node, and what went wrong last with each.",
      description:
        "Show the BGP peers of this node: whether each session is up, since when, and what went wrong last in words.\n" +
        "Asks the calico-node that runs on this machine, so it is run there, as root.",
      options: {
        output: { type: "text", short: "o", value: "FORMAT", summary: "json: everything that is known of each peer." },
        socket: { type: "text", value: "PATH", hidden: true, summary: "Where calico-node listens." },
      },
      examples: [{ comment: "Why a peer is not up", line: "node status" }],
      run: showStatus,
    },
  ],
};

async function showStatus({ args, env, io }: Call): Promise<number> {
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
export function statusText(status: BgpStatus, now: number, style: Style): string {
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

function errorsText(peers: readonly PeerStatus[], now: number): string {
  const lines = peers.flatMap(({ address, node, lastError, state }) => {
    if (!lastError) return [];
    const who = node === undefined ? address : `${address} (${node})`;
    const over = state === "Established" ? " (over: the session is up)" : "";
    return [`  ${formatSince(lastError.at, now)} ${who}: ${lastError.message}${over}\n`];
  });
  return lines.length > 0 ? `Last errors\n${lines.join("")}` : "";
}
