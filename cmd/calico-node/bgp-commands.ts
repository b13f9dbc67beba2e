/** `calico-node bgp peers | routes | explain`: what the BGP process of this node knows. */
import {
  CONTROL_SOCKET,
  ControlClient,
  type PeerStatus,
  type RouteText,
  type WhichRoutes,
} from "../../lib/bgp/control/index.ts";
import { type Args, type Call, CliError, type Command, columns, toJson, UsageError } from "../../lib/cli/index.ts";
import { formatMoment, formatSince } from "../../lib/node/index.ts";

const OUTPUT = {
  output: { type: "text", short: "o", value: "FORMAT", summary: "json: everything that is known." },
} as const;

export const BGP_COMMANDS: readonly Command[] = [
  {
    name: "peers",
    summary: "Show the sessions: state, what was settled, how many routes, the last error.",
    options: OUTPUT,
    run: async ({ args, io }) => {
      const isJson = wantsJson(args);
      const { peers, problems } = await client().status();
      io.stdout.write(isJson ? toJson(peers) : peersText(peers, problems));
      return 0;
    },
  },
  {
    name: "routes",
    summary: "Show routes: the best, or what a peer told, what of it was accepted, what it was sent.",
    usage: "[--peer NAME [--received | --accepted | --sent]]",
    options: {
      ...OUTPUT,
      peer: { type: "text", value: "NAME", summary: "Of this peer: a name or an address of `calico-node bgp peers`." },
      received: { type: "boolean", summary: "What it told, before the import filters." },
      accepted: { type: "boolean", summary: "What they let in, as they changed it. This when nothing is said." },
      sent: { type: "boolean", summary: "What it was sent." },
    },
    examples: [{ comment: "What a peer is told", line: "bgp routes --peer Mesh_10_0_0_2 --sent" }],
    run: showRoutes,
  },
  {
    name: "explain",
    summary: "Show every route to a prefix, or to the longest one around an address, and why the best is the best.",
    usage: "PREFIX|ADDRESS",
    positionals: [{ name: "prefix", type: "text" }],
    options: OUTPUT,
    examples: [
      { comment: "Why traffic for a block goes where it goes", line: "bgp explain 192.168.4.0/26" },
      { comment: "And for one pod", line: "bgp explain 192.168.4.17" },
    ],
    run: explainPrefix,
  },
];

const client = (): ControlClient => new ControlClient(CONTROL_SOCKET);

function wantsJson(args: Args): boolean {
  const format = args.text("output");
  if (format !== undefined && format !== "json") throw new UsageError(`--output ${format}: there is json only`);
  return format === "json";
}

/** Times are the node's own, as in its logs. */
export function peersText(peers: readonly PeerStatus[], problems: readonly string[], now = Date.now()): string {
  const table = columns({
    headings: ["NAME", "ADDRESS", "AS", "STATE", "SINCE", "RECEIVED", "ACCEPTED", "SENT", "BFD", "LAST ERROR"],
    rows: peers.map(({ name, address, asn, state, since, routes, bfd, lastError }) => [
      name,
      address,
      String(asn),
      state,
      since === 0 ? "-" : formatMoment(since),
      String(routes.received),
      String(routes.accepted),
      String(routes.sent),
      bfd?.state ?? "-",
      lastError ? `${formatSince(lastError.at, now)} ${lastError.message}` : "-",
    ]),
  });
  const none = peers.length === 0 ? "No peers.\n" : table;
  return problems.length === 0 ? none : `${none}\nNot as configured\n${problems.map((text) => `  ${text}\n`).join("")}`;
}

async function showRoutes({ args, io }: Call): Promise<number> {
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

async function explainPrefix({ args, io }: Call): Promise<number> {
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
