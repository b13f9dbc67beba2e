/** BIRD 2: one configuration file, written anew and reloaded through `birdcl` for whatever changes. */
import { type Daemon, missingTool } from "../../lab/index.ts";
import { DaemonPeer, driverOf } from "./daemon.ts";
import {
  byPrefix,
  type Family,
  familiesOf,
  familyOf,
  isLarge,
  type LearnedRoute,
  type Neighbour,
  type OriginatedRoute,
  type PeerDescription,
} from "./types.ts";

const CONTROL = "/tmp/bird.ctl";
const FILE = "/tmp/bird.conf";

class Bird2 extends DaemonPeer {
  async established(neighbour: string): Promise<boolean> {
    return /BGP state: +Established/.test(await this.#ask(`show protocols all ${this.#protocol(neighbour)}`));
  }

  async routes(family: Family): Promise<readonly LearnedRoute[]> {
    const text = await this.#ask(`show route all table master${family}`);
    return parseRoutes(text).sort(byPrefix);
  }

  async announce(routes: readonly OriginatedRoute[]): Promise<void> {
    for (const route of routes) this.originated.set(route.prefix, route);
    await this.#configure();
  }

  async withdraw(prefixes: readonly string[]): Promise<void> {
    for (const prefix of prefixes) this.originated.delete(prefix);
    await this.#configure();
  }

  async refresh(neighbour: string): Promise<void> {
    await this.#ask(`reload in ${this.#protocol(neighbour)}`);
  }

  async shutDown(neighbour: string, words: string): Promise<void> {
    await this.#ask(`disable ${this.#protocol(neighbour)} "${words}"`);
  }

  async lastNotification(neighbour: string): Promise<string> {
    const text = await this.#ask(`show protocols all ${this.#protocol(neighbour)}`);
    return /Last error: +(.*)/.exec(text)?.[1] ?? "";
  }

  protected async begin(again: boolean): Promise<Daemon> {
    await this.#write();
    return this.node.daemon("bird", [
      ...["/usr/sbin/bird", "-f", "-c", FILE, "-s", CONTROL],
      // Recovery: routes in the kernel are kept until peers have told theirs.
      ...(again ? ["-R"] : []),
    ]);
  }

  protected override async answers(): Promise<boolean> {
    return (await this.node.exec(["birdcl", "-s", CONTROL, "show", "status"])).status === 0;
  }

  #protocol(neighbour: string): string {
    const index = this.description.neighbours.findIndex(({ address }) => address === neighbour);
    return `n${index}`;
  }

  #ask(command: string): Promise<string> {
    return this.node.run(["birdcl", "-s", CONTROL, ...command.split(" ")]);
  }

  async #write(): Promise<void> {
    await Bun.write(this.node.path(FILE), birdConfiguration(this.description, [...this.originated.values()]));
  }

  async #configure(): Promise<void> {
    await this.#write();
    const said = await this.#ask("configure");
    if (!/Reconfigur/.test(said)) throw new Error(`BIRD: ${said}`);
  }
}

export const bird2 = driverOf(Bird2, {
  name: "BIRD 2",
  missing: () => missingTool("bird"),
  cannot: {},
});

function birdConfiguration(description: PeerDescription, routes: readonly OriginatedRoute[]): string {
  const { neighbours, routerId, kernel, clusterId } = description;
  const parts = [
    "log stderr all;\n",
    `router id ${routerId};\n`,
    'timeformat protocol "%s.%f";\n',
    "protocol device {}\n",
    neighbours.some(({ gracefulRestart }) => gracefulRestart !== undefined) ? "graceful restart wait 30;\n" : "",
    neighbours.some(({ bfd }) => bfd)
      ? 'protocol bfd { interface "*" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }\n'
      : "",
  ];
  // Next hops are resolved by them, and they are nobody else's business.
  if (kernel) parts.push("protocol direct { ipv4; ipv6; }\n");
  for (const family of [4, 6] as const) {
    const own = routes.filter(({ prefix }) => familyOf(prefix) === family);
    parts.push(
      `protocol static own${family} {\n  ipv${family};\n${own.map((route) => `  ${staticRoute(route)}\n`).join("")}}\n`,
    );
    if (kernel) {
      parts.push(
        `protocol kernel kernel${family} { ipv${family} { export where source = RTS_BGP; }; persist; merge paths on; ${neighbours.some(({ gracefulRestart }) => gracefulRestart !== undefined) ? "graceful restart;" : ""} }\n`,
      );
    }
  }
  for (const [index, neighbour] of neighbours.entries()) parts.push(session(index, neighbour, description, clusterId));
  return parts.join("");
}

function staticRoute({ prefix, communities = [], med }: OriginatedRoute): string {
  const add = communities.map((community) => {
    const numbers = community.replaceAll(":", ", ");
    return `bgp_${isLarge(community) ? "large_" : ""}community.add((${numbers})); `;
  });
  return `route ${prefix} blackhole { ${med === undefined ? "" : `bgp_med = ${med}; `}${add.join("")}};`;
}

function session(index: number, neighbour: Neighbour, { asn }: PeerDescription, clusterId: string | undefined): string {
  const { address, local, password, ttlSecurity, passive, gracefulRestart, addPathSend, reflectorClient, bfd } =
    neighbour;
  const lines = [
    `local ${local} as ${asn}`,
    `neighbor ${address} as ${neighbour.asn}`,
    "connect delay time 1",
    "connect retry time 1",
    "error wait time 1, 2",
    password === undefined ? "" : `password "${password}"`,
    ttlSecurity === undefined ? "" : "ttl security on",
    passive ? "passive on" : "",
    gracefulRestart === undefined ? "" : `graceful restart on; graceful restart time ${gracefulRestart}`,
    reflectorClient ? `rr client${clusterId === undefined ? "" : `; rr cluster id ${clusterId}`}` : "",
    bfd ? "bfd on" : "",
    neighbour.fourOctetAsn === false ? "enable as4 off" : "",
    "enable extended messages on",
  ];
  // BIRD keeps a MED from peers of another AS unless their filter sets it.
  const channels = familiesOf(neighbour).map(
    (family) =>
      `ipv${family} { import all; export filter { if source = RTS_DEVICE then reject; if defined(bgp_med) then bgp_med = bgp_med; accept; }; ${addPathSend ? "add paths tx; " : ""}${neighbour.nextHopSelf ? "next hop self; " : ""}}`,
  );
  return `protocol bgp n${index} {\n${[...lines.filter((line) => line !== ""), ...channels].map((line) => `  ${line};\n`).join("")}}\n`;
}

/** `show route all`: a line a path with its protocol, and lines of attributes behind it. */
function parseRoutes(text: string): LearnedRoute[] {
  const routes: LearnedRoute[] = [];
  let prefix = "";
  for (const part of text.split(/^(?=\S|\s{10,}unicast|\s{10,}blackhole)/m)) {
    const head = /^(\S*)\s+(?:unicast|blackhole|unreachable) \[(\S+)/.exec(part);
    if (!head) continue;
    if (head[1]) prefix = head[1];
    if (!head[2]!.startsWith("n")) continue;
    const of = (name: string): string | undefined => new RegExp(`BGP\\.${name}: ?(.*)$`, "m").exec(part)?.[1]?.trim();
    const list = (name: string): string[] =>
      [...(of(name) ?? "").matchAll(/\(([^)]*)\)/g)].map((match) => match[1]!.replaceAll(/,\s*/g, ":"));
    const clusterList = of("cluster_list");
    const [localPref, med, originatorId] = [of("local_pref"), of("med"), of("originator_id")];
    routes.push({
      prefix,
      nextHop: (of("next_hop") ?? "").split(" ")[0]!,
      asPath: of("as_path") ?? "",
      communities: [...list("community"), ...list("large_community")].sort(),
      ...(localPref && { localPref: Number(localPref) }),
      ...(med && { med: Number(med) }),
      ...(originatorId && { originatorId }),
      ...(clusterList && { clusterList: clusterList.split(" ") }),
    });
  }
  return routes;
}
