/** What BIRD says of itself, as values. Written for BIRD 2.0.12 and 1.6.8; a line that is not known is passed over, a value that cannot be read is absent. */
import type { Reply } from "./control.ts";

export interface BirdStatus {
  /** `2.0.12` */
  readonly version?: string;
  readonly routerId?: string;
  /** As BIRD prints them, in the daemon's time zone. */
  readonly lastReboot?: string;
  readonly lastReconfiguration?: string;
  /** A graceful restart is under way: nothing is exported until its peers have told everything, or a timer runs out. */
  readonly recovering: boolean;
  /** `Daemon is up and running` */
  readonly message: string;
}

export interface BirdChannel {
  /** `ipv4`, `ipv6`; in BIRD 1.6, whose protocols have one table each, `main`. */
  readonly name: string;
  /** `UP`, `DOWN`, `START`… Absent in BIRD 1.6. */
  readonly state?: string;
  readonly imported: number;
  /** Only where filtered routes are kept. */
  readonly filtered: number;
  readonly exported: number;
  readonly preferred: number;
}

export interface BirdProtocol {
  readonly name: string;
  /** `BGP`, `Kernel`, `Static`… */
  readonly type: string;
  /** `up`, `start`, `down`, `stop`. */
  readonly state: string;
  /** As BIRD prints it, in the form that its configuration asks for. */
  readonly since: string;
  /** Milliseconds since 1970, where that form has a whole date (as our own BIRD 2 configuration's has). */
  readonly sinceTime?: number;
  readonly info: string;
  readonly channels: readonly BirdChannel[];
}

export interface BirdPeer extends BirdProtocol {
  readonly address?: string;
  readonly asn?: number;
  readonly localAsn?: number;
  /** `Idle`, `Connect`, `Active`, `Passive`, `OpenSent`, `OpenConfirm`, `Established`, `Down`. */
  readonly bgpState: string;
  /** Dotted quad. */
  readonly routerId?: string;
  readonly sourceAddress?: string;
  /** What went wrong last: cause, and what to look at. */
  readonly lastError?: string;
}

export interface BirdRoutes {
  /** `total`, or of one table. */
  readonly table: string;
  readonly routes: number;
  readonly networks: number;
}

export function parseStatus(reply: Reply): BirdStatus {
  const value = (pattern: RegExp) =>
    reply.lines.map(({ text }) => pattern.exec(text)?.[1]).find((found) => found !== undefined);
  const found = {
    version: value(/^BIRD (\S+)/),
    routerId: value(/^Router ID is (\S+)/),
    lastReboot: value(/^Last reboot on (.+)$/),
    lastReconfiguration: value(/^Last reconfiguration on (.+)$/),
  };
  return {
    ...(found.version !== undefined && { version: found.version }),
    ...(found.routerId !== undefined && { routerId: found.routerId }),
    ...(found.lastReboot !== undefined && { lastReboot: found.lastReboot }),
    ...(found.lastReconfiguration !== undefined && { lastReconfiguration: found.lastReconfiguration }),
    recovering: reply.lines.some(({ text }) => text.startsWith("Graceful restart recovery in progress")),
    message: reply.text,
  };
}

/** `show route count`. */
export function parseRouteCount(reply: Reply): BirdRoutes[] {
  return reply.lines.flatMap(({ text }) => {
    const found = /(\d+) routes for (\d+) networks(?: in table (\S+))?/.exec(text);
    if (!found) return [];
    return [{ table: found[3] ?? "total", routes: Number(found[1]), networks: Number(found[2]) }];
  });
}

/** `show protocols all`. */
export function parseProtocols(reply: Reply): (BirdProtocol | BirdPeer)[] {
  const protocols: (BirdProtocol | BirdPeer)[] = [];
  let heading: Heading | undefined;
  let details: string[] = [];
  const flush = (): void => {
    if (heading) protocols.push(protocolOf(heading, details));
    details = [];
  };
  for (const { code, text } of reply.lines) {
    if (code === PROTOCOL) {
      flush();
      heading = headingOf(text);
    } else if (code === DETAILS) {
      details.push(text);
    }
  }
  flush();
  return protocols;
}

export function isPeer(protocol: BirdProtocol | BirdPeer): protocol is BirdPeer {
  return protocol.type === "BGP";
}

const PROTOCOL = 1002;
const DETAILS = 1006;

type Heading = Omit<BirdProtocol, "channels">;

/** Name, type, table, state, since, info. A date and a time apart from each other are two columns. */
function headingOf(text: string): Heading | undefined {
  const found = /^(\S+)\s+(\S+)\s+(\S+)\s+(\S+)\s+(\d{4}-\d\d-\d\d \d\d:\d\d\S*|\S+)\s*(.*)$/.exec(text);
  if (!found) return undefined;
  const [, name = "", type = "", , state = "", since = "", info = ""] = found;
  const time = /^\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d/.test(since) ? Date.parse(since.replace(" ", "T")) : Number.NaN;
  return {
    name,
    type,
    state,
    since,
    ...(Number.isNaN(time) ? {} : { sinceTime: time }),
    info: info.trim().replace(/\s{2,}/g, " "),
  };
}

function protocolOf(heading: Heading, details: readonly string[]): BirdProtocol | BirdPeer {
  const channels: { name: string; values: Map<string, string> }[] = [];
  const values = new Map<string, string>();
  let section = values;
  for (const line of details) {
    const channel = /^\s*Channel (\S+)/.exec(line);
    if (channel) {
      section = new Map();
      channels.push({ name: channel[1] ?? "", values: section });
      continue;
    }
    const pair = /^\s*([A-Z][A-Za-z ]*?):\s+(.*)$/.exec(line);
    if (pair?.[1] !== undefined && !section.has(pair[1])) section.set(pair[1], (pair[2] ?? "").trim());
  }
  if (channels.length === 0 && values.has("Routes")) channels.push({ name: "main", values });
  const protocol = { ...heading, channels: channels.map(({ name, values }) => channelOf(name, values)) };
  return heading.type === "BGP" ? peerOf(protocol, values) : protocol;
}

function channelOf(name: string, values: ReadonlyMap<string, string>): BirdChannel {
  const routes = values.get("Routes") ?? "";
  const count = (word: string) => Number(new RegExp(`(\\d+) ${word}`).exec(routes)?.[1] ?? 0);
  const state = values.get("State");
  return {
    name,
    ...(state !== undefined && { state }),
    imported: count("imported"),
    filtered: count("filtered"),
    exported: count("exported"),
    preferred: count("preferred"),
  };
}

function peerOf(protocol: BirdProtocol, values: ReadonlyMap<string, string>): BirdPeer {
  const text = <K extends string>(key: K, name: string) => {
    const value = values.get(name);
    return (value === undefined || value === "" ? {} : { [key]: value }) as { readonly [P in K]?: string };
  };
  const number = <K extends string>(key: K, name: string) => {
    const value = Number(values.get(name));
    return (Number.isInteger(value) && value > 0 ? { [key]: value } : {}) as { readonly [P in K]?: number };
  };
  const address = values.get("Neighbor address");
  const error = values.get("Last error");
  return {
    ...protocol,
    // BIRD prints a link-local neighbour with its interface.
    ...(address && { address: address.replace(/%.*$/, "") }),
    ...number("asn", "Neighbor AS"),
    ...number("localAsn", "Local AS"),
    ...text("routerId", "Neighbor ID"),
    ...text("sourceAddress", "Source address"),
    bgpState: values.get("BGP state") ?? protocol.info.split(" ")[0] ?? "",
    ...(error && { lastError: explain(error) }),
  };
}

/** BIRD's words with what they mean for the user. Unknown ones are left as they are. */
export function explain(error: string): string {
  const hint = HINTS.find(([pattern]) => pattern.test(error))?.[1];
  return hint === undefined ? error : `${error}: ${hint}`;
}

const HINTS: readonly (readonly [RegExp, string])[] = [
  [/connection refused/i, "nothing listens on the peer's BGP port, or a firewall rejects it"],
  [/no route to host|host is unreachable/i, "the peer's address does not answer on its network"],
  [/network is unreachable/i, "this node has no route to the peer's address"],
  [/timed out/i, "packets are lost on the way (TCP port 179 blocked?), or the passwords of both sides differ"],
  [/connection (closed|reset)|broken pipe/i, "the peer ended the connection; its log says why"],
  [/cannot assign requested address/i, "the source address is not one of this node's"],
  [/bad peer as/i, "the peer's AS number is not the one that is configured"],
  [/bad bgp identifier/i, "both sides have the same router id"],
  [/hold timer expired/i, "nothing was heard for a hold time"],
  [/administrative shutdown|peer de-configured/i, "one side was told to end the session"],
  [/cease.*max.*prefix|maximum number of prefixes/i, "more prefixes than the peer takes"],
  [/invalid next hop/i, "the peer's address is not on a network of this node"],
  [/unacceptable hold time/i, "the hold times cannot be agreed on"],
  [/bfd session down/i, "BFD says that the peer cannot be reached"],
];
