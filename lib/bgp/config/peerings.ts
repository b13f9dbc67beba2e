/**
 * Which peerings BGPPeers ask for on one node, as upstream's confd works them out (updatePeersV1): first those of all nodes, then those
 * of some, then the other ends of both. One address and port is peered with once; the first that asks for it counts, and what
 * is for all nodes goes before what is for some. Among BGPPeers of one pass upstream's order is by chance; here it is by name.
 */
import { type BGPPeer, type PeerAddress, parsePeerIP } from "../../api/bgppeer.ts";
import type { Profile } from "../../api/profile.ts";
import type { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { formatAddress, parseAddress, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { parseDuration } from "../../wait/duration.ts";
import { BGP_PORT, FAMILIES, type Family } from "../model/index.ts";
import { type BfdWish, bfdWish } from "./bfd.ts";
import { type Cluster, type ClusterNode, selectors } from "./cluster.ts";
import { NO_PASSWORD, type Password, type PasswordField } from "./passwords.ts";
import { byName, byText, type Problems, quoted } from "./problems.ts";

/** One session that is asked for, before what the node itself is comes into it. */
export interface Peering {
  /** Whether every node has it. */
  readonly isGlobal: boolean;
  readonly family: Family;
  readonly address: string;
  readonly port?: number;
  readonly asn: number;
  readonly localAsn?: number;
  readonly useNodeAddress: boolean;
  /** Hops; 0: off. */
  readonly ttlSecurity: number;
  readonly filters: readonly string[];
  readonly restartTime?: number;
  readonly keepaliveTime?: number;
  readonly allowedOwnAsns: number;
  readonly reachableBy?: string;
  readonly nextHop: "auto" | "self" | "keep";
  /** keepOriginalNextHop: with peers of another AS. */
  readonly keepsNextHopOfOthers: boolean;
  /** The other, when it is a node. */
  readonly node?: ClusterNode;
  /** The other was named by its address, not selected. Only then one end is passive. */
  readonly isNamed: boolean;
  readonly isWorkload: boolean;
  readonly password: Password;
  readonly bfd?: BfdWish;
  /** `BGPPeer tor`. */
  readonly reason: string;
}

export interface PeeringInputs {
  readonly cluster: Cluster;
  readonly node: string;
  readonly peers: readonly BGPPeer[];
  readonly filterNames: ReadonlySet<string>;
  readonly endpoints: Iterable<WorkloadEndpoint>;
  readonly profiles: Iterable<Profile>;
  readonly passwordOf: (field: PasswordField | undefined) => Password;
}

/** Upstream's key of a peering: what there is one of. The standard port has no place in it: a peer at it and one without a port are the same. */
export const peeringKey = ({ address, port }: Pick<Peering, "address" | "port">): string =>
  port === undefined || port === BGP_PORT ? address : `${address}-${port}`;

export function readPeerings(inputs: PeeringInputs, problems: Problems): readonly Peering[] {
  const asked = inputs.peers.map((resource) => new Asked(resource, inputs, problems));
  const workloads = localWorkloads(inputs, asked, problems);
  const global = new Map<string, Peering>();
  const own = new Map<string, Peering>();
  const doubles = new Doubles();
  const take = (peering: Peering, isReverse = false): void => {
    const key = peeringKey(peering);
    const before = peering.isGlobal ? global.get(key) : (own.get(key) ?? global.get(key));
    if (!before) (peering.isGlobal ? global : own).set(key, peering);
    // With itself the node has none, whoever asks.
    else if (!isReverse && before.reason !== peering.reason && peering.node?.name !== inputs.node) {
      doubles.add(peering.reason, before.reason, key.replace("-", " port "));
    }
  };
  for (const isGlobal of [true, false]) {
    for (const one of asked) {
      if (one.isGlobal !== isGlobal || !one.isHere) continue;
      for (const peering of one.peerings(workloads.get(one) ?? [])) take(peering);
    }
  }
  for (const one of asked) for (const peering of one.reverse()) take(peering, true);
  doubles.tell(problems);
  return [...global.values(), ...own.values()];
}

/** Peerings that two BGPPeers ask for. */
class Doubles {
  /** Where there are more, one sentence is for all of them: selectors that overlap may do so in each of a thousand nodes. */
  static readonly #each = 3;
  readonly #found = new Map<string, { readonly reason: string; readonly counts: string; readonly peers: string[] }>();

  add(reason: string, counts: string, peer: string): void {
    const key = `${reason}\n${counts}`;
    const found = this.#found.get(key) ?? { reason, counts, peers: [] };
    found.peers.push(peer);
    this.#found.set(key, found);
  }

  tell(problems: Problems): void {
    for (const { reason, counts, peers } of this.#found.values()) {
      if (peers.length > Doubles.#each) {
        problems.add(
          reason,
          `asks for peerings with ${peers.length} addresses (such as ${peers[0]}), as ${counts} does, which counts`,
        );
      } else {
        for (const peer of peers)
          problems.add(reason, `asks for a peering with ${peer}, as ${counts} does, which counts`);
      }
    }
  }
}

/** One BGPPeer, as this node sees it. */
class Asked {
  readonly name: string;
  readonly isGlobal: boolean;
  readonly isHere: boolean;
  readonly workloadSelector: string | undefined;
  readonly #resource: BGPPeer;
  readonly #inputs: PeeringInputs;
  readonly #problems: Problems;
  readonly #reason: string;
  readonly #peer: PeerAddress | undefined;

  constructor(resource: BGPPeer, inputs: PeeringInputs, problems: Problems) {
    this.#resource = resource;
    this.#inputs = inputs;
    this.#problems = problems;
    this.name = resource.metadata.name;
    this.#reason = `BGPPeer ${this.name}`;
    const { node, nodeSelector, localWorkloadSelector, peerSelector, peerIP } = resource.spec;
    const { cluster } = inputs;
    this.isGlobal = !node && !nodeSelector;
    this.workloadSelector = localWorkloadSelector || undefined;
    if (nodeSelector) {
      this.isHere = cluster.self
        ? cluster.selects(nodeSelector, cluster.self, this.#reason, "spec.nodeSelector")
        : false;
    } else this.isHere = !node || node === inputs.node;
    const isByAddress = !localWorkloadSelector && !peerSelector;
    const parsed = isByAddress && peerIP ? parsePeerIP(peerIP) : undefined;
    this.#peer = parsed && { ...parsed, address: formatAddress(parseAddress(parsed.address)) };
    if (isByAddress && !parsed) {
      const what = peerIP
        ? `spec.peerIP ${quoted(peerIP)}: must be an address, or one with a port such as 10.0.0.1:1790 or [fd00::1]:1790`
        : "spec.peerIP: is missing; it must be an address, unless peerSelector or localWorkloadSelector says whom to peer with";
      problems.add(this.#reason, `${what}; there is no session`);
    }
  }

  /** The sessions from this side. */
  peerings(workloads: readonly Workload[]): readonly Peering[] {
    const { spec } = this.#resource;
    const { cluster } = this.#inputs;
    if (this.workloadSelector) return this.#withWorkloads(workloads);
    if (spec.peerSelector) {
      for (const field of ["localASNumber", "numAllowedLocalASNumbers"] as const) {
        if (spec[field]) this.#problem(`spec.${field} ${spec[field]}: has no effect together with peerSelector`);
      }
      return cluster
        .select(spec.peerSelector, this.#reason, "spec.peerSelector")
        .flatMap((node) => this.#withNode(node, this.isGlobal, FAMILIES));
    }
    return this.#withAddress();
  }

  /** The other ends of sessions that other nodes have with this one by it. */
  reverse(): readonly Peering[] {
    const { spec } = this.#resource;
    const { cluster } = this.#inputs;
    const { self } = cluster;
    if (!self || spec.reversePeering === "Manual" || this.workloadSelector) return [];
    let families: readonly Family[];
    if (spec.peerSelector) {
      if (!cluster.selects(spec.peerSelector, self, this.#reason, "spec.peerSelector")) return [];
      families = FAMILIES;
    } else {
      if (!this.#peer || !this.#nodesMeant(this.#peer).includes(self)) return [];
      families = [this.#peer.version];
    }
    return this.#localNodes().flatMap((node) => this.#withNode(node, false, families));
  }

  #localNodes(): readonly ClusterNode[] {
    const { node, nodeSelector } = this.#resource.spec;
    const { cluster } = this.#inputs;
    if (nodeSelector) return cluster.select(nodeSelector, this.#reason, "spec.nodeSelector");
    return node ? cluster.nodes.filter(({ name }) => name === node) : cluster.nodes;
  }

  /** The nodes that an address, a port and the AS number together mean. */
  #nodesMeant({ address, port }: PeerAddress): readonly ClusterNode[] {
    const { cluster } = this.#inputs;
    const asn = this.#resource.spec.asNumber || cluster.asn;
    return cluster
      .nodesAt(address)
      .filter((node) => node.asn === asn && (port === undefined || node.port === undefined || node.port === port));
  }

  #withAddress(): Peering[] {
    const peer = this.#peer;
    if (!peer) return [];
    const { spec } = this.#resource;
    const { cluster } = this.#inputs;
    const meant = peer.port === undefined ? this.#nodesMeant(peer) : [];
    const node = meant[0] ?? cluster.nodesAt(peer.address)[0];
    const asn = spec.asNumber || meant[0]?.asn;
    if (asn === undefined) {
      this.#problem("spec.asNumber: is missing; it must be the AS number of the peer; there is no session");
      return [];
    }
    if (spec.reachableBy && tryParseAddress(spec.reachableBy)?.version !== peer.version) {
      this.#problem(
        `spec.reachableBy ${quoted(spec.reachableBy)}: must be an IPv${peer.version} address, as peerIP is; there is no session`,
      );
      return [];
    }
    const port = peer.port ?? meant[0]?.port;
    return [
      {
        ...this.#common(),
        isGlobal: this.isGlobal,
        family: peer.version,
        address: peer.address,
        ...(port === undefined ? {} : { port }),
        asn,
        ...(spec.localASNumber ? { localAsn: spec.localASNumber } : {}),
        allowedOwnAsns: Math.max(0, spec.numAllowedLocalASNumbers ?? 0),
        ...(node ? { node } : {}),
        isNamed: true,
      },
    ];
  }

  #withNode(node: ClusterNode, isGlobal: boolean, families: readonly Family[]): Peering[] {
    return families.flatMap((family) => {
      const address = node.addresses[family]?.address;
      if (address === undefined) return [];
      const { port, asn } = node;
      return [
        {
          ...this.#common(),
          isGlobal,
          family,
          address,
          ...(port === undefined ? {} : { port }),
          asn,
          allowedOwnAsns: 0,
          node,
          isNamed: false,
        },
      ];
    });
  }

  #withWorkloads(workloads: readonly Workload[]): Peering[] {
    const { asNumber, localASNumber, filters = [] } = this.#resource.spec;
    if (!asNumber) {
      if (workloads.length > 0)
        this.#problem("spec.asNumber: is missing; it must be the workload's AS number; there is no session");
      return [];
    }
    const { bfd } = this.#common();
    return workloads.flatMap(({ addresses }) =>
      addresses.map(({ family, address }) => ({
        isGlobal: this.isGlobal,
        family,
        address,
        asn: asNumber,
        ...(localASNumber ? { localAsn: localASNumber } : {}),
        useNodeAddress: false,
        ttlSecurity: 0,
        filters,
        allowedOwnAsns: 0,
        nextHop: "auto",
        keepsNextHopOfOthers: false,
        isNamed: false,
        isWorkload: true,
        password: NO_PASSWORD,
        ...(bfd ? { bfd } : {}),
        reason: this.#reason,
      })),
    );
  }

  #made: ReturnType<Asked["makeCommon"]> | undefined;

  #common(): ReturnType<Asked["makeCommon"]> {
    this.#made ??= this.makeCommon();
    return this.#made;
  }

  /** What is the same for all of its sessions with nodes and addresses. Only made where there are any, and with it its problems. */
  private makeCommon() {
    const { spec } = this.#resource;
    const { filterNames, passwordOf } = this.#inputs;
    const { filters = [], nextHopMode } = spec;
    for (const name of filters) {
      if (!filterNames.has(name))
        this.#problem(`spec.filters ${quoted(name)}: there is no such BGPFilter; sessions go without it`);
    }
    const bfd = bfdWish(this.#resource, this.#problems);
    const [restartTime, keepaliveTime] = [this.#seconds("maxRestartTime"), this.#seconds("keepaliveTime")];
    return {
      useNodeAddress: (spec.sourceAddress || "UseNodeIP") === "UseNodeIP",
      ttlSecurity: spec.ttlSecurity ?? 0,
      filters,
      ...(restartTime === undefined ? {} : { restartTime }),
      ...(keepaliveTime === undefined ? {} : { keepaliveTime }),
      ...(spec.reachableBy ? { reachableBy: spec.reachableBy } : {}),
      nextHop: nextHopMode === "Self" ? "self" : nextHopMode === "Keep" ? "keep" : "auto",
      keepsNextHopOfOthers: !nextHopMode && spec.keepOriginalNextHop === true,
      isWorkload: false,
      password: passwordOf(spec.password),
      ...(bfd ? { bfd } : {}),
      reason: this.#reason,
    } as const;
  }

  #seconds(field: "maxRestartTime" | "keepaliveTime"): number | undefined {
    const text = this.#resource.spec[field];
    if (!text) return undefined;
    const milliseconds = parseDuration(text);
    if (milliseconds !== undefined && milliseconds >= 0) return Math.round(milliseconds / 1000);
    this.#problem(`spec.${field} ${quoted(text)}: must be a duration such as 90s or 2m30s; it is taken for absent`);
    return undefined;
  }

  #problem(what: string): void {
    this.#problems.add(this.#reason, what);
  }
}

interface Workload {
  readonly addresses: readonly { readonly family: Family; readonly address: string }[];
}

/**
 * The workloads of this node that BGPPeers select; one that several select is the first's, by name, as the policy agent decides it upstream
 * (ActiveBGPPeerCalculator). Its first address of each family is peered with.
 */
function localWorkloads(
  { node, endpoints, profiles }: PeeringInputs,
  asked: readonly Asked[],
  problems: Problems,
): ReadonlyMap<Asked, Workload[]> {
  const found = new Map<Asked, Workload[]>();
  const here = asked.filter(({ isHere, workloadSelector }) => isHere && workloadSelector);
  if (here.length === 0) return found;
  const selectorOf = selectors(problems);
  const wanted = here.flatMap((one) => {
    const selector = selectorOf(one.workloadSelector!, `BGPPeer ${one.name}`, "spec.localWorkloadSelector");
    return selector ? [{ one, selector }] : [];
  });
  const inherited = new Map<string, Readonly<Record<string, string>>>();
  for (const { metadata, spec } of profiles) if (spec.labelsToApply) inherited.set(metadata.name, spec.labelsToApply);
  for (const { metadata, spec } of byName(endpoints)) {
    if (spec.node !== node) continue;
    const labels: Record<string, string> = {};
    for (const profile of [...(spec.profiles ?? [])].reverse()) Object.assign(labels, inherited.get(profile));
    Object.assign(labels, metadata.labels);
    const taken = wanted.find(({ selector }) => selector.matches(labels))?.one;
    if (!taken) continue;
    const addresses = FAMILIES.flatMap((family) => {
      const first = (spec.ipNetworks ?? []).map(networkAddress).find((address) => address?.family === family);
      return first ? [first] : [];
    });
    const there = found.get(taken);
    if (there) there.push({ addresses });
    else found.set(taken, [{ addresses }]);
  }
  return found;
}

function networkAddress(text: string): { family: Family; address: string } | undefined {
  const slash = text.indexOf("/");
  if (slash >= 0 && !tryParseCidr(text)) return undefined;
  const address = tryParseAddress(slash < 0 ? text : text.slice(0, slash));
  return address && { family: address.version, address: formatAddress(address) };
}

/** BGPPeers in the order in which they count. */
export const inOrder = (peers: Iterable<BGPPeer> | undefined): BGPPeer[] =>
  [...(peers ?? [])].sort((a, b) => byText(a.metadata.name, b.metadata.name));
