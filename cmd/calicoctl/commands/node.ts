import { type BgpStatus, CONTROL_SOCKET, ControlClient, type PeerStatus } from "../../../lib/bgp/control/index.ts";
import { type Call, type Command, type Style, styleFor, table, toJson } from "../../../lib/cli/index.ts";

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
  const status = await new ControlClient(args.text("socket") || CONTROL_SOCKET).status();
  if (args.text("output") === "json") {
    io.stdout.write(toJson(status));
    return 0;
  }
  io.stdout.write(`Calico process is running.\n${statusText(status, Date.now(), styleFor(io.stdout, env))}\n`);
  return 0;
}

/** Upstream's tables, one a family, and below each what went wrong last. */
export function statusText(status: BgpStatus, now: number, style: Style): string {
  const parts = ([4, 6] as const).map((family) => {
    const peers = status.peers.filter((peer) => peer.family === family);
    const title = `\nIPv${family} BGP status\n`;
    if (peers.length === 0) return `${title}No IPv${family} peers found.\n`;
    return `${title}${peerTable(peers, now, style)}${errorsText(peers, now)}`;
  });
  const problems = status.problems.map((problem) => `  ${problem}\n`).join("");
  return parts.join("") + (problems && `\nNot as configured\n${problems}`);
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
        since(peer.since, now),
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
    return [`  ${since(lastError.at, now)} ${who}: ${lastError.message}${over}\n`];
  });
  return lines.length > 0 ? `Last errors\n${lines.join("")}` : "";
}

/** As BIRD says it: the time of day, or the day when that was another one. */
function since(at: number, now: number): string {
  const text = (time: number): readonly [string, string] => {
    const date = new Date(time - new Date(time).getTimezoneOffset() * 60_000).toISOString();
    return [date.slice(0, 10), date.slice(11, 19)];
  };
  const [day, time] = text(at);
  return day === text(now)[0] ? time : day;
}
