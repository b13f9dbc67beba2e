/** ExaBGP: told what to do through a pipe, and telling what it hears as JSON lines, of which the table is made here. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
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

const FILE = "/tmp/exabgp.conf";
const HEARD = "/tmp/exabgp.json";
const TOLD = "/tmp/exabgp.told";

class ExaBgp extends DaemonPeer {
  async established(neighbour: string): Promise<boolean> {
    const states = this.#heard().flatMap(({ type, neighbor }) =>
      type === "state" && neighbor?.address?.peer === neighbour ? [neighbor.state] : [],
    );
    return states.at(-1) === "up";
  }

  async routes(family: Family): Promise<readonly LearnedRoute[]> {
    const table = new Map<string, LearnedRoute>();
    for (const { type, neighbor } of this.#heard()) {
      const peer = neighbor?.address?.peer;
      if (!peer) continue;
      if (type === "state" && neighbor.state !== "up") {
        for (const key of table.keys()) if (key.startsWith(`${peer} `)) table.delete(key);
      }
      const update = neighbor.message?.update;
      if (type !== "update" || !update) continue;
      const name = `ipv${family} unicast`;
      for (const { nlri } of update.withdraw?.[name] ?? []) table.delete(`${peer} ${nlri}`);
      for (const [nextHop, prefixes] of Object.entries(update.announce?.[name] ?? {})) {
        for (const { nlri } of prefixes) table.set(`${peer} ${nlri}`, learned(nlri, nextHop, update.attribute ?? {}));
      }
    }
    return [...table.values()].sort(byPrefix);
  }

  async announce(routes: readonly OriginatedRoute[]): Promise<void> {
    for (const route of routes) {
      this.originated.set(route.prefix, route);
      this.#tell(`announce route ${words(route)}`);
    }
  }

  async withdraw(prefixes: readonly string[]): Promise<void> {
    for (const prefix of prefixes) {
      this.originated.delete(prefix);
      this.#tell(`withdraw route ${prefix} next-hop self`);
    }
  }

  async refresh(neighbour: string): Promise<void> {
    const family = familyOf(neighbour) === 4 ? "ipv4" : "ipv6";
    this.#tell(`neighbor ${neighbour} announce route-refresh ${family} unicast`);
  }

  /** It has no words of its own to send with one: RFC 9003's it knows as a fixed sentence. */
  async shutDown(neighbour: string, _words: string): Promise<void> {
    this.#tell(`neighbor ${neighbour} teardown 2`);
  }

  /** It ends its session when it hears a NOTIFICATION, as it should, and calls that a message that it cannot decode. */
  async lastNotification(neighbour: string): Promise<string> {
    const reasons = this.#heard().flatMap(({ neighbor }) =>
      neighbor?.address?.peer === neighbour && neighbor.state === "down" ? [neighbor.reason ?? ""] : [],
    );
    const told = reasons.some((reason) => /notification received|message of type \\?"3/.test(reason));
    return told ? `Cease, or another NOTIFICATION: ${reasons.join("; ")}` : "";
  }

  protected async begin(): Promise<Daemon> {
    await Bun.write(this.node.path(HEARD), "");
    await Bun.write(this.node.path(TOLD), "");
    await Bun.write(this.node.path(FILE), configuration(this.description));
    const ports = "exabgp.api.cli=false exabgp.daemon.user=root exabgp.log.destination=stdout exabgp.log.level=INFO";
    const attempts = "exabgp.api.ack=false exabgp.log.short=true";
    return this.node.daemon("exabgp", ["env", ...`${ports} ${attempts}`.split(" "), "exabgp", FILE]);
  }

  override async restart(): Promise<void> {
    await super.restart();
    await this.announce([...this.originated.values()]);
  }

  #tell(line: string): void {
    appendFileSync(this.node.path(TOLD), `${line}\n`);
  }

  #heard(): readonly Heard[] {
    const file = this.node.path(HEARD);
    if (!existsSync(file)) return [];
    const lines = readFileSync(file, "utf8").split("\n").slice(0, -1);
    return lines.flatMap((line) => {
      try {
        return [JSON.parse(line) as Heard];
      } catch {
        return [];
      }
    });
  }
}

export const exabgp = driverOf(ExaBgp, {
  name: "ExaBGP",
  missing: () => missingTool("exabgp"),
  cannot: {
    gracefulRestart: "it keeps no routes",
    ttlSecurity: "it checks no TTL of what arrives",
    addPath: "it passes no routes on",
    wordsOfShutDown: "its words are always the same",
  },
});

function words({ prefix, communities = [], med }: OriginatedRoute): string {
  const plain = communities.filter((one) => !isLarge(one));
  const large = communities.filter(isLarge);
  return [
    `${prefix} next-hop self`,
    ...(med === undefined ? [] : [`med ${med}`]),
    ...(plain.length > 0 ? [`community [ ${plain.join(" ")} ]`] : []),
    ...(large.length > 0 ? [`large-community [ ${large.join(" ")} ]`] : []),
  ].join(" ");
}

function configuration({ asn, routerId, neighbours }: PeerDescription): string {
  return `process bed {
  run /bin/sh -c "tail -n +1 -F ${TOLD} & exec cat >>${HEARD}";
  encoder json;
}
${neighbours.map((neighbour) => session(neighbour, asn, routerId)).join("")}`;
}

function session(neighbour: Neighbour, asn: number, routerId: string): string {
  const { address, local, password, ttlSecurity, passive, addPathSend, fourOctetAsn, gracefulRestart } = neighbour;
  return `neighbor ${address} {
  local-address ${local};
  local-as ${asn};
  peer-as ${neighbour.asn};
  router-id ${routerId};
  ${password === undefined ? "" : `md5-password ${password};`}
  ${ttlSecurity === undefined ? "" : "outgoing-ttl 255;"}
  ${passive ? "passive true;" : ""}
  family { ${familiesOf(neighbour)
    .map((family) => `ipv${family} unicast;`)
    .join(" ")} }
  capability {
    route-refresh enable;
    ${fourOctetAsn === false ? "asn4 disable;" : "asn4 enable;"}
    ${addPathSend ? "add-path send;" : ""}
    ${gracefulRestart === undefined ? "" : `graceful-restart ${gracefulRestart};`}
  }
  api { processes [ bed ]; neighbor-changes; receive { parsed; update; } }
}
`;
}

interface Attributes {
  readonly "as-path"?: readonly number[] | Readonly<Record<string, { readonly value: readonly number[] }>>;
  readonly "local-preference"?: number;
  readonly med?: number;
  readonly community?: readonly (readonly number[])[];
  readonly "large-community"?: readonly (readonly number[])[];
  readonly "originator-id"?: string;
  readonly "cluster-list"?: readonly string[];
}

type Prefixes = readonly { readonly nlri: string }[];

interface Heard {
  readonly type?: string;
  readonly neighbor?: {
    readonly address?: { readonly peer?: string };
    readonly state?: string;
    readonly reason?: string;
    readonly message?: {
      readonly update?: {
        readonly attribute?: Attributes;
        readonly announce?: Readonly<Record<string, Readonly<Record<string, Prefixes>>>>;
        readonly withdraw?: Readonly<Record<string, Prefixes>>;
      };
    };
  };
}

function learned(prefix: string, nextHop: string, attributes: Attributes): LearnedRoute {
  const { "local-preference": localPref, med, community = [], "originator-id": originatorId } = attributes;
  const clusterList = attributes["cluster-list"];
  const path = attributes["as-path"] ?? [];
  const asns = Array.isArray(path) ? path : Object.values(path).flatMap(({ value }) => value);
  return {
    prefix,
    nextHop,
    asPath: asns.join(" "),
    communities: [...community, ...(attributes["large-community"] ?? [])].map((numbers) => numbers.join(":")).sort(),
    ...(localPref !== undefined && { localPref }),
    ...(med !== undefined && { med }),
    ...(originatorId !== undefined && { originatorId }),
    ...(clusterList && { clusterList }),
  };
}
