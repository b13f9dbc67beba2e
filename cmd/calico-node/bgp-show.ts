/** What the BGP process of this node says, as tables and JSON. */
import {
  CONTROL_SOCKET,
  ControlClient,
  type PeerStatus,
  type RouteText,
  type WhichRoutes,
  whatWentWrong,
} from "../../lib/bgp/control/index.ts";
import { type Args, type Call, CliError, columns, toJson, UsageError } from "../../lib/cli/index.ts";
import { formatMoment, formatSince } from "../../lib/node/time.ts";

const client = (): ControlClient => new ControlClient(CONTROL_SOCKET);

function wantsJson(args: Args): boolean {
  const format = args.text("output");
  if (format !== undefined && format !== "json") throw new UsageError(`--output ${format}: there is json only`);
  return format === "json";
}

export async function showPeers({ args, io }: Call): Promise<number> {
  const isJson = wantsJson(args);
  const { peers, problems } = await client().status();
  io.stdout.write(isJson ? toJson(peers) : peersText(peers, problems));
  return 0;
}

/** Times are the node's own, as in its logs. */
export function peersText(peers: readonly PeerStatus[], problems: readonly string[], now = Date.now()): string {
  const table = columns({
    headings: ["NAME", "ADDRESS", "AS", "STATE", "SINCE", "RECEIVED", "ACCEPTED", "SENT", "BFD", "LAST ERROR"],
    rows: peers.map((peer) => [
      peer.name,
      peer.address,
      String(peer.asn),
      peer.state,
      peer.since === 0 ? "-" : formatMoment(peer.since),
      String(peer.routes.received),
      String(peer.routes.accepted),
      String(peer.routes.sent),
      peer.bfd?.state ?? "-",
      errorText(peer, now),
    ]),
  });
  const none = peers.length === 0 ? "No peers.\n" : table;
  return problems.length === 0 ? none : `${none}\nNot as configured\n${problems.map((text) => `  ${text}\n`).join("")}`;
}

/** `03:00:12 refused: …; 02:58:40 went down: hold timer expired: …` */
function errorText(peer: PeerStatus, at: number): string {
  const { ended, now } = whatWentWrong(peer);
  const texts = [
    ...(now ? [`${formatSince(now.at, at)} ${now.message}`] : []),
    ...(ended ? [`${formatSince(ended.at, at)} went down: ${ended.message}`] : []),
  ];
  return texts.join("; ") || "-";
}

export async function showRoutes({ args, io }: Call): Promise<number> {
  const peer = args.text("peer");
  const asked = (["received", "accepted", "sent"] as const).filter((which) => args.flag(which));
  if (asked.length > 1) throw new UsageError(`--${asked[0]} and --${asked[1]} exclude each other`);
  if (peer === undefined && asked.length > 0) throw new UsageError(`--${asked[0]} needs --peer`);
  const isJson = wantsJson(args);
  const which: WhichRoutes = peer === undefined ? "best" : (asked[0] ?? "accepted");
  const routes = client().routes(which, peer);
  if (isJson) {
    // As it comes: a table can have a million routes.
    let before = "[\n";
    for await (const route of routes) {
      io.stdout.write(before + JSON.stringify(route));
      before = ",\n";
    }
    io.stdout.write(before === "[\n" ? "[]\n" : "\n]\n");
    return 0;
  }
  const rows: string[][] = [];
  for await (const route of routes) rows.push(cells(route));
  io.stdout.write(columns({ headings: HEADINGS, rows }));
  return 0;
}

export async function explainPrefix({ args, io }: Call): Promise<number> {
  const prefix = args.text("prefix");
  if (!prefix) throw new UsageError("which prefix, or which address?");
  const isJson = wantsJson(args);
  const routes = await client().explain(prefix);
  if (isJson) {
    io.stdout.write(toJson(routes));
    return 0;
  }
  if (routes.length === 0) throw new CliError("BGP_NO_ROUTE", `nobody has told a route to ${prefix}`);
  io.stdout.write(
    columns({
      headings: ["", ...HEADINGS, "WHY"],
      rows: routes.map((route) => [route.best ? "*" : "", ...cells(route), route.why ?? ""]),
    }),
  );
  return 0;
}

const HEADINGS = ["PREFIX", "NEXT HOP", "FROM", "AS PATH", "LOCAL PREF", "MED", "COMMUNITIES"];

const cells = (route: RouteText): string[] => [
  route.prefix,
  route.nextHop,
  route.stale ? `${route.from} (stale)` : route.from,
  route.asPath || "-",
  route.localPref === undefined ? "-" : String(route.localPref),
  route.med === undefined ? "-" : String(route.med),
  route.communities.join(" ") || "-",
];
