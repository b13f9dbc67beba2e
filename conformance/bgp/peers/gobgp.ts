/** GoBGP: a file for its neighbours, and the `gobgp` client for routes and questions. */
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

const FILE = "/tmp/gobgpd.toml";

class GoBgp extends DaemonPeer {
  async established(neighbour: string): Promise<boolean> {
    const all = JSON.parse(await this.#ask("neighbor", "-j")) as {
      readonly state?: { readonly neighbor_address?: string; readonly session_state?: number };
    }[];
    // 6: Established, in its API.
    return all.some(({ state }) => state?.neighbor_address === neighbour && state.session_state === 6);
  }

  async routes(family: Family): Promise<readonly LearnedRoute[]> {
    const text = await this.#ask("global", "rib", "-a", `ipv${family}`, "-j");
    const all = (text.trim() === "" ? {} : JSON.parse(text)) as Record<string, readonly GoBgpPath[]>;
    return Object.entries(all)
      .flatMap(([prefix, paths]) =>
        paths
          .filter((path) => path["neighbor-ip"] !== undefined && path["neighbor-ip"] !== "<nil>")
          .map((path) => learned(prefix, path)),
      )
      .sort(byPrefix);
  }

  async announce(routes: readonly OriginatedRoute[]): Promise<void> {
    for (const route of routes) {
      this.originated.set(route.prefix, route);
      const { prefix, communities = [], med } = route;
      const plain = communities.filter((one) => !isLarge(one));
      const large = communities.filter(isLarge);
      await this.#ask(
        ...["global", "rib", "-a", `ipv${familyOf(prefix)}`, "add", prefix],
        ...(plain.length > 0 ? ["community", plain.join(",")] : []),
        ...(large.length > 0 ? ["large-community", large.join(",")] : []),
        ...(med === undefined ? [] : ["med", String(med)]),
      );
    }
  }

  async withdraw(prefixes: readonly string[]): Promise<void> {
    for (const prefix of prefixes) {
      this.originated.delete(prefix);
      await this.#ask("global", "rib", "-a", `ipv${familyOf(prefix)}`, "del", prefix);
    }
  }

  async refresh(neighbour: string): Promise<void> {
    await this.#ask("neighbor", neighbour, "softresetin");
  }

  async shutDown(neighbour: string, words: string): Promise<void> {
    await this.#ask("neighbor", neighbour, "shutdown", "--reason", words);
  }

  async lastNotification(): Promise<string> {
    return (
      this.log()
        .split("\n")
        .findLast((line) => /received notification/i.test(line)) ?? ""
    );
  }

  protected async begin(again: boolean): Promise<Daemon> {
    await Bun.write(this.node.path(FILE), configuration(this.description));
    return this.node.daemon("gobgpd", [
      ...["gobgpd", "-f", FILE, "--api-hosts", "127.0.0.1:50051"],
      // It says that it restarts.
      ...(again ? ["-r"] : []),
    ]);
  }

  protected override async answers(): Promise<boolean> {
    const { status, stdout } = await this.node.exec(["gobgp", "neighbor", "-j"]);
    return status === 0 && stdout.includes("neighbor_address");
  }

  override async restart(): Promise<void> {
    await super.restart();
    await this.announce([...this.originated.values()]);
  }

  #ask(...words: readonly string[]): Promise<string> {
    return this.node.run(["gobgp", ...words]);
  }
}

export const gobgp = driverOf(GoBgp, {
  name: "GoBGP",
  missing: () => missingTool("gobgpd"),
  cannot: {
    refresh: "its soft reset uses what it kept of the first time",
    keepForwarding: "it never says that it forwarded while it was away",
  },
});

function configuration({ asn, routerId, neighbours, clusterId }: PeerDescription): string {
  return `[global.config]\n  as = ${asn}\n  router-id = "${routerId}"\n${neighbours.map((one) => session(one, clusterId)).join("")}`;
}

function session(neighbour: Neighbour, clusterId: string | undefined): string {
  const { address, asn, local, password, ttlSecurity, passive, gracefulRestart, reflectorClient, addPathSend } =
    neighbour;
  const tables: [string, string[]][] = [
    [
      "config",
      [
        `neighbor-address = "${address}"`,
        `peer-as = ${asn}`,
        ...(password === undefined ? [] : [`auth-password = "${password}"`]),
      ],
    ],
    ["timers.config", ["connect-retry = 1", "idle-hold-time-after-reset = 1"]],
    ["transport.config", [`local-address = "${local}"`, ...(passive ? ["passive-mode = true"] : [])]],
    ...(ttlSecurity === undefined
      ? []
      : ([["ttl-security.config", ["enabled = true", `ttl-min = ${256 - ttlSecurity}`]]] as [string, string[]][])),
    ...(gracefulRestart === undefined
      ? []
      : ([
          [
            "graceful-restart.config",
            ["enabled = true", `restart-time = ${gracefulRestart}`, "notification-enabled = true"],
          ],
        ] as [string, string[]][])),
    ...(reflectorClient
      ? ([
          [
            "route-reflector.config",
            [
              "route-reflector-client = true",
              ...(clusterId === undefined ? [] : [`route-reflector-cluster-id = "${clusterId}"`]),
            ],
          ],
        ] as [string, string[]][])
      : []),
  ];
  const families = familiesOf(neighbour).map(
    (family) => `  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv${family}-unicast"
${gracefulRestart === undefined ? "" : "    [neighbors.afi-safis.mp-graceful-restart.config]\n      enabled = true\n"}${
  addPathSend ? "    [neighbors.afi-safis.add-paths.config]\n      send-max = 8\n" : ""
}`,
  );
  const text = tables.map(([name, lines]) => `  [neighbors.${name}]\n${lines.map((line) => `    ${line}\n`).join("")}`);
  return `[[neighbors]]\n${text.join("")}${families.join("")}`;
}

interface GoBgpPath {
  readonly "neighbor-ip"?: string;
  readonly attrs: readonly {
    readonly type: number;
    readonly nexthop?: string;
    readonly as_paths?: readonly { readonly segment_type: number; readonly asns: readonly number[] }[];
    readonly communities?: readonly number[];
    readonly metric?: number;
    readonly value?: unknown;
  }[];
}

function learned(prefix: string, path: GoBgpPath): LearnedRoute {
  const of = (type: number) => path.attrs.find((attribute) => attribute.type === type);
  const large = (of(32)?.value ?? []) as readonly { ASN: number; LocalData1: number; LocalData2: number }[];
  const plain = of(8)?.communities ?? [];
  const asPath = (of(2)?.as_paths ?? []).flatMap(({ segment_type, asns }) =>
    segment_type === 1 ? [`{${asns.join(" ")}}`] : [asns.join(" ")],
  );
  const [localPref, med, originator, clusters] = [of(5)?.value, of(4)?.metric, of(9)?.value, of(10)?.value];
  return {
    prefix,
    nextHop: of(14)?.nexthop ?? of(3)?.nexthop ?? "",
    asPath: asPath.join(" "),
    communities: [
      ...plain.map((value) => `${value >>> 16}:${value & 0xffff}`),
      ...large.map(({ ASN, LocalData1, LocalData2 }) => `${ASN}:${LocalData1}:${LocalData2}`),
    ].sort(),
    ...(localPref !== undefined && { localPref: Number(localPref) }),
    ...(med !== undefined && { med }),
    ...(originator !== undefined && { originatorId: String(originator) }),
    ...(Array.isArray(clusters) && { clusterList: clusters as string[] }),
  };
}
