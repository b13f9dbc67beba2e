/** FRR: bgpd alone, or with zebra (and bfdd) where the kernel's routes are its to make. Changes go by vtysh. */
import { existsSync } from "node:fs";
import type { Daemon } from "../../lab/index.ts";
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
} from "./types.ts";

const FOLDER = "/run/frr";
const FILE = "/tmp/bgpd.conf";

class Frr extends DaemonPeer {
  /** Beside bgpd: they are never killed. */
  readonly #beside: Daemon[] = [];
  #maps = 0;

  async established(neighbour: string): Promise<boolean> {
    const text = await this.#vtysh(`show bgp neighbors ${neighbour} json`);
    const all = JSON.parse(text) as Record<string, { bgpState?: string }>;
    return all[neighbour]?.bgpState === "Established";
  }

  async routes(family: Family): Promise<readonly LearnedRoute[]> {
    const { routes = {} } = JSON.parse(await this.#vtysh(`show bgp ipv${family} unicast json`)) as {
      routes?: Record<string, unknown>;
    };
    const prefixes = Object.keys(routes);
    if (prefixes.length === 0) return [];
    const said = await this.#vtysh(...prefixes.map((prefix) => `show bgp ipv${family} unicast ${prefix} json`));
    return said
      .split(/^(?=\{)/m)
      .map((part) => JSON.parse(part) as { prefix?: string; paths?: readonly FrrPath[] })
      .flatMap(({ prefix, paths = [] }) =>
        paths
          .filter(({ peer }) => peer?.peerId !== undefined && peer.peerId !== "0.0.0.0" && peer.peerId !== "::")
          .map((path) => learned(prefix ?? "", path)),
      )
      .sort(byPrefix);
  }

  async announce(routes: readonly OriginatedRoute[]): Promise<void> {
    const lines: string[] = [];
    for (const route of routes) {
      this.originated.set(route.prefix, route);
      lines.push(...this.#network(route));
    }
    await this.#configure(lines);
  }

  async withdraw(prefixes: readonly string[]): Promise<void> {
    const lines = prefixes.flatMap((prefix) => {
      this.originated.delete(prefix);
      return [
        `router bgp ${this.description.asn}`,
        `address-family ipv${familyOf(prefix)} unicast`,
        `no network ${prefix}`,
        "exit",
        "exit",
      ];
    });
    await this.#configure(lines);
  }

  async refresh(neighbour: string): Promise<void> {
    await this.#vtysh(`clear bgp ${neighbour} soft in`);
  }

  async shutDown(neighbour: string, words: string): Promise<void> {
    await this.#configure([`router bgp ${this.description.asn}`, `neighbor ${neighbour} shutdown message ${words}`]);
  }

  async lastNotification(neighbour: string): Promise<string> {
    const all = JSON.parse(await this.#vtysh(`show bgp neighbors ${neighbour} json`)) as Record<string, object>;
    return JSON.stringify(
      Object.entries(all[neighbour] ?? {}).filter(([name]) => /^last(Reset|Notif|Error|Shutdown)/.test(name)),
    );
  }

  protected async begin(): Promise<Daemon> {
    const { kernel, neighbours } = this.description;
    await this.node.run(["install", "-d", "-o", "frr", "-g", "frr", FOLDER]);
    await Bun.write(this.node.path(FILE), this.#configuration());
    const common = ["--vty_socket", FOLDER, "-A", "127.0.0.1", "--log", "stdout"];
    const run = (name: string, ...more: string[]): Promise<Daemon> =>
      this.node.daemon(name, [`/usr/lib/frr/${name}`, ...common, "-i", `${FOLDER}/${name}.pid`, ...more]);
    if (kernel && this.#beside.length === 0) {
      await Bun.write(this.node.path("/tmp/zebra.conf"), "");
      this.#beside.push(await run("zebra", "-f", "/tmp/zebra.conf", "-z", `${FOLDER}/zserv.api`));
      if (neighbours.some(({ bfd }) => bfd)) {
        await Bun.write(this.node.path("/tmp/bfdd.conf"), "");
        this.#beside.push(await run("bfdd", "-f", "/tmp/bfdd.conf", "-z", `${FOLDER}/zserv.api`));
      }
    }
    return run("bgpd", "-f", FILE, ...(kernel ? ["-z", `${FOLDER}/zserv.api`] : ["-Z", "-n", "-S"]));
  }

  protected override async answers(): Promise<boolean> {
    return (await this.node.exec([...VTYSH, "show version"])).status === 0;
  }

  override log(): string {
    return super.log() + this.#beside.map((daemon) => daemon.log()).join("");
  }

  async #vtysh(...commands: readonly string[]): Promise<string> {
    const [tool, ...rest] = VTYSH.slice(0, -1);
    return this.node.run([tool!, ...rest, ...commands.flatMap((command) => ["-c", command])]);
  }

  async #configure(lines: readonly string[]): Promise<void> {
    await this.#vtysh("configure terminal", ...lines);
  }

  #network(route: OriginatedRoute): string[] {
    const { prefix, communities = [], med } = route;
    const name = `ROUTE${++this.#maps}`;
    const plain = communities.filter((one) => !isLarge(one));
    const large = communities.filter(isLarge);
    return [
      `route-map ${name} permit 10`,
      ...(plain.length > 0 ? [`set community ${plain.join(" ")}`] : []),
      ...(large.length > 0 ? [`set large-community ${large.join(" ")}`] : []),
      ...(med === undefined ? [] : [`set metric ${med}`]),
      "exit",
      `router bgp ${this.description.asn}`,
      `address-family ipv${familyOf(prefix)} unicast`,
      `network ${prefix} route-map ${name}`,
      "exit",
      "exit",
    ];
  }

  #configuration(): string {
    const { asn, routerId, neighbours, clusterId } = this.description;
    const lines = [
      `router bgp ${asn}`,
      `bgp router-id ${routerId}`,
      "no bgp ebgp-requires-policy",
      "no bgp default ipv4-unicast",
      "no bgp network import-check",
      "bgp bestpath as-path multipath-relax",
      ...(clusterId === undefined ? [] : [`bgp cluster-id ${clusterId}`]),
      ...(neighbours.some(({ gracefulRestart }) => gracefulRestart !== undefined)
        ? [
            "bgp graceful-restart",
            "bgp graceful-restart preserve-fw-state",
            `bgp graceful-restart restart-time ${Math.max(...neighbours.map((one) => one.gracefulRestart ?? 1))}`,
          ]
        : []),
      ...neighbours.flatMap(session),
      ...([4, 6] as const).flatMap((family) => [
        `address-family ipv${family} unicast`,
        "maximum-paths 8",
        ...neighbours.filter((one) => familiesOf(one).includes(family)).flatMap(activation),
        "exit-address-family",
      ]),
      "exit",
      ...[...this.originated.values()].flatMap((route) => this.#network(route)),
    ];
    return `${lines.join("\n")}\n`;
  }
}

export const frr = driverOf(Frr, {
  name: "FRR",
  missing: () => (existsSync("/usr/lib/frr/bgpd") ? undefined : "needs frr: scripts/setup installs it"),
  cannot: {},
});

const VTYSH = ["vtysh", "--vty_socket", FOLDER, "-c"];

function session(neighbour: Neighbour): string[] {
  const { address, asn, local, password, ttlSecurity, passive, bfd } = neighbour;
  const word = `neighbor ${address}`;
  return [
    `${word} remote-as ${asn}`,
    `${word} update-source ${local}`,
    `${word} timers connect 1`,
    ...(password === undefined ? [] : [`${word} password ${password}`]),
    ...(ttlSecurity === undefined ? [] : [`${word} ttl-security hops ${ttlSecurity}`]),
    ...(passive ? [`${word} passive`] : []),
    ...(bfd ? [`${word} bfd 3 100 100`] : []),
  ];
}

function activation({ address, reflectorClient, addPathSend, nextHopSelf }: Neighbour): string[] {
  const word = `neighbor ${address}`;
  return [
    `${word} activate`,
    ...(reflectorClient ? [`${word} route-reflector-client`] : []),
    ...(addPathSend ? [`${word} addpath-tx-all-paths`] : []),
    ...(nextHopSelf ? [`${word} next-hop-self${reflectorClient ? " force" : ""}`] : []),
  ];
}

interface FrrPath {
  readonly aspath?: { readonly string?: string };
  readonly metric?: number;
  readonly locPrf?: number;
  readonly community?: { readonly string?: string };
  readonly largeCommunity?: { readonly string?: string };
  readonly originatorId?: string;
  readonly clusterList?: { readonly list?: readonly string[] };
  readonly nexthops?: readonly { readonly ip?: string; readonly scope?: string }[];
  readonly peer?: { readonly peerId?: string };
}

function learned(prefix: string, path: FrrPath): LearnedRoute {
  const words = (text: string | undefined): string[] => (text ? text.split(" ") : []);
  const hop = path.nexthops?.find(({ scope }) => scope !== "link-local") ?? path.nexthops?.[0];
  const asPath = path.aspath?.string ?? "";
  return {
    prefix,
    nextHop: hop?.ip ?? "",
    asPath: asPath === "Local" ? "" : asPath,
    communities: [...words(path.community?.string), ...words(path.largeCommunity?.string)].sort(),
    ...(path.locPrf !== undefined && { localPref: path.locPrf }),
    ...(path.metric !== undefined && { med: path.metric }),
    ...(path.originatorId && { originatorId: path.originatorId }),
    ...(path.clusterList?.list && { clusterList: path.clusterList.list }),
  };
}
