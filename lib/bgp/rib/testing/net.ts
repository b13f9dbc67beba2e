/** Tables with peers around them, of which a test says only what it is about. */
import { parseAddress, parseCidr } from "../../../ip/index.ts";
import type { AsSegment, Negotiated, PathAttributes } from "../../wire/index.ts";
import { prefixOf } from "../cidr.ts";
import { Tables } from "../rib.ts";
import { ACCEPT, prefixText, Receiver, updatesOf } from "../testing.ts";
import type { Best, PeerId, Prefix, RibOptions, RibPeer } from "../types.ts";

export const negotiated: Negotiated = {
  fourOctetAsn: true,
  extendedMessages: false,
  families: [4, 6],
  addPathReceive: [],
  addPathSend: [],
  extendedNextHop: false,
};

export const prefix = (text: string): Prefix => prefixOf(parseCidr(text));

export const P = prefix("10.1.0.0/24");
export const P_TEXT = prefixText(P);

export function path(...asns: number[]): AsSegment[] {
  return asns.length === 0 ? [] : [{ type: "sequence", asns }];
}

export function attributes(rest: Partial<PathAttributes> = {}): PathAttributes {
  return {
    origin: 0,
    asPath: path(65001),
    nextHop: parseAddress("192.0.2.1"),
    atomicAggregate: false,
    communities: [],
    largeCommunities: [],
    extendedCommunities: [],
    clusterList: [],
    unknown: [],
    ...rest,
  };
}

export class Net {
  readonly told: Best[] = [];
  readonly rib: Tables;
  #next = 1;

  constructor(options: Partial<Pick<RibOptions, "restarting" | "sliceMs" | "costs">> = {}) {
    this.rib = new Tables({
      routerId: 0x0a000001,
      asn: 64512,
      onBest: (changes) => this.told.push(...structuredClone(changes)),
      ...options,
    });
  }

  peer(rest: Partial<RibPeer> & { readonly type: "ibgp" | "ebgp" }) {
    const number = this.#next++;
    const receiver = new Receiver(rest.negotiated ?? negotiated);
    const session: RibPeer = {
      name: `peer-${number}`,
      address: parseAddress(`192.0.2.${100 + number}`),
      routerId: number,
      asn: rest.type === "ibgp" ? 64512 : 65000 + number,
      localAsn: 64512,
      localAddress: { 4: parseAddress("192.0.2.254"), 6: parseAddress("2001:db8::254") },
      negotiated,
      nextHop: "auto",
      allowedOwnAsns: 0,
      importPolicy: ACCEPT,
      exportPolicy: ACCEPT,
      send: receiver.send,
      ...rest,
    };
    const id = this.rib.addPeer(session);
    const tell = (parts: Parameters<typeof updatesOf>[2], family: 4 | 6 = 4) => {
      for (const update of updatesOf(session, family, parts)) this.rib.update(id, update);
    };
    return {
      id,
      session,
      receiver,
      reach: (told: Partial<PathAttributes> = {}, ...prefixes: Prefix[]) => {
        const all = prefixes.length === 0 ? [P] : prefixes;
        tell({ reach: all.map((p) => [p] as const), attributes: attributes(told) }, all[0]!.family);
      },
      withdraw: (...prefixes: Prefix[]) => tell({ withdraw: (prefixes.length === 0 ? [P] : prefixes).map((p) => [p]) }),
    };
  }

  /** Names of all whose path of a prefix was told last. */
  best(p = P): PeerId[] {
    return (
      this.told.findLast(({ prefix }) => prefixText(prefix) === prefixText(p))?.paths.map(({ peer }) => peer) ?? []
    );
  }
}

/** What is sent for a path: by one peer, to another. */
export async function passed(
  from: Partial<RibPeer> & { readonly type: "ibgp" | "ebgp" },
  to: Partial<RibPeer> & { readonly type: "ibgp" | "ebgp" },
  told: Partial<PathAttributes> = {},
): Promise<PathAttributes | undefined> {
  const net = new Net();
  const a = net.peer(from);
  const b = net.peer(to);
  a.reach(told);
  await net.rib.settled();
  return b.receiver.attributes.get(P_TEXT);
}
