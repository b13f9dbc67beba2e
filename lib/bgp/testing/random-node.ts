/** Nodes and routes made of a seed: for tests that compare two ways to decide. */
import { formatCidr, parseAddress, parseCidr } from "../../ip/index.ts";
import type { Family, FamilyBgp, Filter, FilterRule, NodeBgp, Peer, Pool } from "../model/index.ts";
import type { PathAttributes } from "../wire/index.ts";

export const OWN_ASN = 64512;
export const OTHER_ASN = 65001;
export const MOST = 2_147_483_647;
/** Every peer is behind it: the interface that BIRD resolves learned routes to. */
export const UPLINK = "eth0";
export const INTERFACES = ["eth9", "tunl0", "wireguard.cali", "vxlan.calico", "bpfin.cali", "calix1"] as const;

/** mulberry32: the same numbers for the same seed, everywhere. */
export class Random {
  constructor(private state: number) {}
  below(most: number): number {
    this.state = (this.state + 0x6d2b79f5) | 0;
    let value = Math.imul(this.state ^ (this.state >>> 15), this.state | 1);
    value ^= value + Math.imul(value ^ (value >>> 7), value | 61);
    return ((value ^ (value >>> 14)) >>> 0) % most;
  }
  chance(percent: number): boolean {
    return this.below(100) < percent;
  }
  one<T>(from: readonly T[]): T {
    return from[this.below(from.length)] as T;
  }
  many<T>(count: number, make: () => T): T[] {
    return Array.from({ length: count }, make);
  }
}

/** Networks that everything is about, so that rules, pools, blocks and routes meet each other. */
export const BASES: Readonly<Record<Family, readonly string[]>> = {
  4: [
    "10.0.0.0/8",
    "10.1.0.0/16",
    "10.2.0.0/16",
    "10.1.8.0/24",
    "10.1.8.64/26",
    "10.1.9.0/26",
    "10.2.3.0/28",
    "172.16.0.0/20",
    "80.15.0.0/24",
  ],
  6: [
    "fd00::/8",
    "fd00:1::/32",
    "fd00:2::/48",
    "fd00:2:0:1::/64",
    "fd00:2:0:1::40/122",
    "2001:db8::/32",
    "2001:db8:5::/64",
  ],
};

export function prefixNear(random: Random, family: Family): string {
  const base = parseCidr(random.one(BASES[family]));
  const width = family === 4 ? 32 : 128;
  const length = random.chance(25)
    ? base.length
    : random.chance(30)
      ? width
      : base.length + random.below(width - base.length + 1);
  const address =
    base.base +
    ((BigInt(random.below(2 ** 30)) << BigInt(Math.max(0, width - base.length - 30))) %
      (1n << BigInt(width - base.length)));
  const shift = BigInt(width - length);
  return formatCidr({ version: family, base: (address >> shift) << shift, length });
}

export function randomCommunity(random: Random) {
  return random.chance(60)
    ? ([65000 + random.below(2), random.below(3)] as const)
    : ([64512, random.below(2), random.below(2)] as const);
}

export function randomRule(random: Random, family: Family): FilterRule {
  const cidr = random.one(BASES[family]);
  const own = Number(cidr.split("/")[1]);
  const width = family === 4 ? 32 : 128;
  const accepts = random.chance(50);
  const operation = () =>
    random.one([
      { kind: "addCommunity", community: randomCommunity(random) },
      { kind: "prependAsPath", asns: random.many(1 + random.below(3), () => 4_200_000_000 + random.below(3)) },
      { kind: "setPriority", priority: random.one([100, 512, 1024, 3000]) },
    ] as const);
  return {
    action: accepts ? "accept" : "reject",
    ...(random.chance(70) && {
      prefix: {
        cidr,
        operator: random.one(["equal", "in", "in", "in", "notEqual", "notIn"] as const),
        ...(random.chance(30) && { minLength: own + random.below(width - own + 1) }),
        ...(random.chance(30) && { maxLength: own + random.below(width - own + 1) }),
      },
    }),
    ...(random.chance(15) && { learned: true }),
    ...(random.chance(15) && { interface: random.one(["*.cali", "eth?", "tunl0", "w*d.c*", "e*", "*9"]) }),
    ...(random.chance(20) && { peerType: random.one(["ebgp", "ibgp"] as const) }),
    ...(random.chance(20) && { community: randomCommunity(random) }),
    ...(random.chance(15) && { asPathPrefix: random.one([[OTHER_ASN], [OTHER_ASN, 7], [7], [8, 7]]) }),
    ...(random.chance(15) && { priority: random.one([512, 1024, MOST - 100]) }),
    operations: accepts ? random.many(random.below(3), operation) : [],
  };
}

export function randomFilter(random: Random, name: string): Filter {
  const rules = (family: Family) => random.many(random.below(4), () => randomRule(random, family));
  return { name, importV4: rules(4), exportV4: rules(4), importV6: rules(6), exportV6: rules(6) };
}

export const OWN_ADDRESS: Readonly<Record<Family, string>> = { 4: "10.99.0.1", 6: "fd99::1" };

/** Two peers on the node's own subnet and two on another, of both types. */
export function peersOf(
  random: Random,
  family: Family,
  filters: readonly string[],
  clusterId: string | undefined,
): Peer[] {
  return [0, 1, 2, 3].map((index) => {
    const address =
      family === 4 ? `10.${index < 2 ? 99 : 98}.0.${10 + index}` : `fd${index < 2 ? 99 : 98}::${10 + index}`;
    const asn = index % 2 === 0 ? OWN_ASN : OTHER_ASN;
    // BIRD, which plays all the others, has one session with an address: each has one of ours to itself.
    const own = family === 4 ? `10.99.0.${110 + index}` : `fd99::${110 + index}`;
    return {
      name: `Global_${address.replace(/[.:]/g, "_")}`,
      kind: "global",
      address,
      asn,
      sourceAddress: own,
      passive: true,
      ...(clusterId !== undefined && asn === OWN_ASN && { reflectorClient: clusterId }),
      nextHop: "auto",
      allowedOwnAsns: 0,
      filters: filters.filter(() => random.chance(35)),
      reason: `BGPPeer p${index}`,
    };
  });
}

export function randomFamily(random: Random, family: Family, peers: readonly Peer[]): FamilyBgp {
  const some = (count: number) => [...new Set(random.many(count, () => random.one(BASES[family])))].toSorted();
  const pool = (cidr: string): Pool => ({
    cidr,
    encapsulation:
      family === 6
        ? random.one(["none", "vxlan"])
        : random.one(["none", "none", "ipip", "ipip-cross-subnet", "vxlan", "vxlan-cross-subnet"]),
    exported: random.chance(75),
  });
  return {
    family,
    address: OWN_ADDRESS[family],
    subnet: family === 4 ? "10.99.0.0/24" : "fd99::/64",
    peers,
    blocks: some(4).map((cidr) => ({
      cidr,
      ...(random.chance(60) && { state: random.one(["confirmed", "pending"] as const) }),
    })),
    services: some(2),
    notProgrammed: some(1),
    externalRanges: some(1),
    loadBalancerRanges: some(1),
    pools: some(4).map(pool),
    communities: some(2).map((prefix) => ({
      prefix,
      communities: random.many(1 + random.below(2), () => randomCommunity(random)),
    })),
    peerRoutes: [],
    normalPriority: 1024,
    wireguardPeers: peers
      .slice(1, 2)
      .filter(() => random.chance(50))
      .map((peer) => peer.address),
    programs: { noEncap: random.chance(70), ipip: random.chance(50) },
  };
}

export function randomModel(random: Random): NodeBgp {
  const names = ["a", "b.c", "d-e"];
  const clusterId = random.chance(50) ? "1.2.3.4" : undefined;
  const family = (which: Family) => randomFamily(random, which, peersOf(random, which, names, clusterId));
  return {
    node: "node-under-test",
    asn: OWN_ASN,
    routerId: "10.99.0.1",
    ...(clusterId !== undefined && { clusterId }),
    log: "none",
    listen: { onlyNodeAddresses: true },
    ignoredInterfaces: [],
    ipv4: family(4),
    ipv6: family(6),
    filters: Object.fromEntries(names.map((name) => [name, randomFilter(random, name)])),
    problems: [],
  };
}

export interface Learned {
  readonly net: string;
  readonly localPref?: number;
  readonly path: readonly number[];
  readonly communities: readonly (readonly [number, number])[];
  readonly large: readonly (readonly [number, number, number])[];
}

export function randomLearned(random: Random, net: string): Learned {
  return {
    net,
    ...(random.chance(70) && {
      localPref: random.one([100, 200, MOST - 512, MOST - 1024, MOST - 1023, MOST, 4_294_967_295]),
    }),
    path: random.one([[], [7], [8, 7], [7, 8, 9]]),
    communities: random.chance(40) ? [[65000 + random.below(2), random.below(3)]] : [],
    large: random.chance(30) ? [[64512, random.below(2), random.below(2)]] : [],
  };
}

/** As it reaches us from that peer: an eBGP neighbour puts its AS in front, and its LOCAL_PREF stays at home. */
export function received(peer: Peer, route: Learned): PathAttributes {
  const external = peer.asn !== OWN_ASN;
  const path = external ? [peer.asn, ...route.path] : route.path;
  return {
    origin: 0,
    asPath: path.length > 0 ? [{ type: "sequence", asns: path }] : [],
    nextHop: parseAddress(peer.address),
    ...(!external && { localPref: route.localPref ?? 100 }),
    atomicAggregate: false,
    communities: route.communities.map(([asn, value]) => ((asn << 16) | value) >>> 0),
    largeCommunities: route.large,
    extendedCommunities: [],
    clusterList: [],
    unknown: [],
  };
}

export const LOCAL: PathAttributes = {
  origin: 0,
  asPath: [],
  nextHop: parseAddress("10.99.0.1"),
  atomicAggregate: false,
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  clusterList: [],
  unknown: [],
};
