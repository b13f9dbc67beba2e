/** `calico-node bgp peers | routes | explain`: what the BGP process of this node knows. */
import {
  CONTROL_SOCKET,
  ControlClient,
  type PeerStatus,
  type RouteText,
  type WhichRoutes,
} from "../../lib/bgp/control/index.ts";
import { type Call, CliError, type Command, columns, toJson, UsageError } from "../../lib/cli/index.ts";

const OUTPUT = {
  output: { type: "text", short: "o", value: "FORMAT", summary: "json: everything that is known." },
} as const;

export const BGP_COMMANDS: readonly Command[] = [
  {
    name: "peers",
    summary: "Show the sessions: state, what was settled, how many routes, the last error.",
    options: OUTPUT,
    run: async ({ args, io }) => {
      const { peers } = await client().status();
      io.stdout.write(args.text("output") === "json" ? toJson(peers) : peersText(peers));
      return 0;
    },
  },
  {
    name: "routes",
    summary: "Show routes: the best, or what a peer told, what of it was accepted, what it was sent.",
    usage: "[--peer NAME [--received | --accepted | --sent]]",
    options: {
      ...OUTPUT,
      peer: { type: "text", value: "NAME", summary: "Of this peer: a name of `calico-node bgp peers`." },
      received: { type: "boolean", summary: "What it told, before the import filters." },
      accepted: { type: "boolean", summary: "What they let in, as they changed it. This when nothing is said." },
      sent: { type: "boolean", summary: "What it was sent." },
    },
    examples: [{ comment: "What a peer is told", line: "bgp routes --peer Mesh_10_0_0_2 --sent" }],
    run: showRoutes,
  },
  {
    name: "explain",
    summary: "Show every route to a prefix, and why the best is the best.",
    usage: "PREFIX",
    positionals: [{ name: "prefix", type: "text" }],
    options: OUTPUT,
    examples: [{ comment: "Why traffic for a block goes where it goes", line: "bgp explain 192.168.4.0/26" }],
    run: explainPrefix,
  },
];

const client = (): ControlClient => new ControlClient(CONTROL_SOCKET);

function peersText(peers: readonly PeerStatus[]): string {
  return columns({
    headings: ["NAME", "ADDRESS", "AS", "STATE", "SINCE", "RECEIVED", "ACCEPTED", "SENT", "BFD", "LAST ERROR"],
    rows: peers.map(({ name, address, asn, state, since, routes, bfd, lastError }) => [
      name,
      address,
      String(asn),
      state,
      new Date(since).toISOString().slice(0, 19),
      String(routes.received),
      String(routes.accepted),
      String(routes.sent),
      bfd?.state ?? "-",
      lastError?.message ?? "-",
    ]),
  });
}

async function showRoutes({ args, io }: Call): Promise<number> {
  const peer = args.text("peer");
  const asked = (["received", "accepted", "sent"] as const).filter((which) => args.flag(which));
  if (asked.length > 1) throw new UsageError(`--${asked[0]} and --${asked[1]} exclude each other`);
  if (peer === undefined && asked.length > 0) throw new UsageError(`--${asked[0]} needs --peer`);
  const which: WhichRoutes = peer === undefined ? "best" : (asked[0] ?? "accepted");
  const routes = client().routes(which, peer);
  if (args.text("output") === "json") {
    for await (const route of routes) io.stdout.write(`${JSON.stringify(route)}\n`);
    return 0;
  }
  const rows: string[][] = [];
  for await (const route of routes) rows.push(cells(route));
  io.stdout.write(columns({ headings: HEADINGS, rows }));
  return 0;
}

async function explainPrefix({ args, io }: Call): Promise<number> {
  const prefix = args.text("prefix");
  if (!prefix) throw new UsageError("which prefix?");
  const routes = await client().explain(prefix);
  if (args.text("output") === "json") {
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
