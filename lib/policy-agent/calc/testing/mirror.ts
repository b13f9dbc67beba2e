import { containsAddress, parseAddress, tryParseCidr } from "../../../ip/index.ts";
import {
  type ActivePolicy,
  type ActiveProfile,
  type EndpointTier,
  type LocalHost,
  type LocalWorkload,
  type Message,
  type ParsedRule,
  policyKey,
  type RuleSide,
  type SetType,
  workloadKey,
} from "../messages.ts";

/** The first packet of a connection. */
export interface Packet {
  readonly source: string;
  readonly destination: string;
  readonly protocol: number;
  readonly sourcePort?: number;
  readonly destinationPort?: number;
  readonly icmp?: { readonly type: number; readonly code?: number };
}

export type Verdict = "allow" | "deny" | "continue";
type Direction = "ingress" | "egress";

interface MirroredSet {
  readonly type: SetType;
  readonly members: Set<string>;
}

/**
 * A dataplane of maps: applies messages one by one, throws where one refers to what is not there, takes away what is in use, or says what
 * changes nothing, and knows what the rules it holds do to a packet. Tests compare it with the oracle, and with another one that was
 * told everything at once.
 */
export class Mirror {
  readonly sets = new Map<string, MirroredSet>();
  readonly policies = new Map<string, ActivePolicy>();
  readonly profiles = new Map<string, ActiveProfile>();
  readonly workloads = new Map<string, LocalWorkload>();
  readonly hosts = new Map<string, LocalHost>();
  readonly pools = new Map<string, unknown>();
  readonly nodes = new Map<string, unknown>();
  serviceCidrs: readonly string[] = [];
  isInSync = false;
  /** How many messages of each type came. */
  readonly counts = new Map<string, number>();

  readonly apply = (message: Message): void => {
    this.counts.set(message.type, (this.counts.get(message.type) ?? 0) + 1);
    switch (message.type) {
      case "set":
        check(!this.sets.has(message.id), message, "the set is there already");
        check(new Set(message.members).size === message.members.length, message, "a member comes twice");
        this.sets.set(message.id, { type: message.setType, members: new Set(message.members) });
        break;
      case "set-delta":
        this.#applyDelta(message);
        break;
      case "set-removed":
        check(this.sets.delete(message.id), message, "there is no such set");
        for (const rules of [...this.policies.values(), ...this.profiles.values()]) {
          for (const id of setsOf(rules)) check(id !== message.id, message, "a rule refers to it");
        }
        break;
      case "policy":
        for (const id of setsOf(message.policy)) check(this.sets.has(id), message, `there is no set ${id}`);
        this.policies.set(policyKey(message.policy.id), message.policy);
        break;
      case "policy-removed":
        check(this.policies.delete(policyKey(message.id)), message, "there is no such policy");
        for (const tiers of this.#allTiers()) this.#checkTiers(message, tiers);
        break;
      case "profile":
        for (const id of setsOf(message.profile)) check(this.sets.has(id), message, `there is no set ${id}`);
        this.profiles.set(message.profile.name, message.profile);
        break;
      case "profile-removed":
        check(this.profiles.delete(message.name), message, "there is no such profile");
        break;
      case "workload":
        this.#checkTiers(message, message.workload.tiers);
        this.workloads.set(workloadKey(message.workload.id), message.workload);
        break;
      case "workload-removed":
        check(this.workloads.delete(workloadKey(message.id)), message, "there is no such workload");
        break;
      case "host":
        for (const tiers of tiersOfHost(message.host)) this.#checkTiers(message, tiers);
        this.hosts.set(message.host.name, message.host);
        break;
      case "host-removed":
        check(this.hosts.delete(message.name), message, "there is no such host endpoint");
        break;
      case "pool":
        this.pools.set(message.pool.cidr, message.pool);
        break;
      case "pool-removed":
        check(this.pools.delete(message.cidr), message, "there is no such pool");
        break;
      case "node":
        this.nodes.set(message.name, message);
        break;
      case "node-removed":
        check(this.nodes.delete(message.name), message, "there is no such node");
        break;
      case "service-cidrs":
        this.serviceCidrs = message.cidrs;
        break;
      case "in-sync":
        check(!this.isInSync, message, "it was said before");
        this.isInSync = true;
        break;
    }
  };

  /** Everything that is held, comparable with toEqual. */
  snapshot(): unknown {
    const sorted = (map: ReadonlyMap<string, unknown>) => [...map].sort(([a], [b]) => (a < b ? -1 : 1));
    return {
      sets: sorted(this.sets).map(([id, set]) => [id, (set as MirroredSet).type, members(set as MirroredSet)]),
      policies: sorted(this.policies),
      profiles: sorted(this.profiles),
      workloads: sorted(this.workloads),
      hosts: sorted(this.hosts),
      pools: sorted(this.pools),
      nodes: sorted(this.nodes),
      serviceCidrs: this.serviceCidrs,
    };
  }

  /** Throws unless no member of a set of networks lies in another. */
  checkOverlaps(): void {
    for (const [id, { type, members }] of this.sets) {
      if (type !== "net") continue;
      const cidrs = [...members].map((text) => {
        const cidr = tryParseCidr(text);
        if (cidr === undefined || cidr.length === 0) throw new Error(`${id} has the member ${text}`);
        return cidr;
      });
      for (const outer of cidrs) {
        for (const inner of cidrs) {
          if (inner.length <= outer.length) continue;
          const address = { version: inner.version, value: inner.base };
          if (containsAddress(outer, address)) throw new Error(`${id} has members that overlap`);
        }
      }
    }
  }

  /** What tiers, and for normal traffic profiles, say of a packet. */
  verdict(
    tiers: readonly EndpointTier[],
    profiles: readonly string[],
    direction: Direction,
    traffic: "normal" | "forward" | "untracked" | "preDNAT",
    packet: Packet,
  ): Verdict {
    const isLast = traffic === "normal" || traffic === "forward";
    for (const tier of tiers) {
      const enforced = tier[direction].filter(({ kind }) => !kind.startsWith("Staged"));
      if (enforced.length === 0) continue;
      let decision: ParsedRule["action"] | undefined;
      for (const id of enforced) {
        decision = this.#decide(this.policies.get(policyKey(id))![direction] ?? [], packet);
        if (decision !== undefined) break;
      }
      if (decision === "Allow") return "allow";
      if (decision === "Deny") return "deny";
      if (decision === undefined && isLast && tier.defaultAction === "Deny") return "deny";
    }
    if (traffic === "forward") return "allow";
    if (traffic !== "normal") return "continue";
    for (const name of profiles) {
      const profile = this.profiles.get(name);
      if (profile === undefined) return "deny";
      const decision = this.#decide(profile[direction], packet);
      if (decision === "Allow") return "allow";
      if (decision === "Deny") return "deny";
    }
    return "deny";
  }

  #decide(rules: readonly ParsedRule[], packet: Packet): ParsedRule["action"] | undefined {
    return rules.find((rule) => rule.action !== "Log" && this.#matches(rule, packet))?.action;
  }

  #matches(rule: ParsedRule, packet: Packet): boolean {
    const { version } = parseAddress(packet.source);
    if (rule.ipVersion !== undefined && rule.ipVersion !== version) return false;
    if (rule.protocol !== undefined && rule.protocol !== packet.protocol) return false;
    if (rule.notProtocol === packet.protocol) return false;
    const isIcmp = packet.protocol === (version === 4 ? 1 : 58);
    const is = (wanted: { type: number; code?: number }) =>
      isIcmp && packet.icmp?.type === wanted.type && (wanted.code === undefined || packet.icmp.code === wanted.code);
    if (rule.icmp !== undefined && !is(rule.icmp)) return false;
    if (rule.notIcmp !== undefined && (!isIcmp || is(rule.notIcmp))) return false;
    return (
      this.#sideMatches(rule.source, packet.source, packet.sourcePort, packet.protocol) &&
      this.#sideMatches(rule.destination, packet.destination, packet.destinationPort, packet.protocol)
    );
  }

  #sideMatches(side: RuleSide, address: string, port: number | undefined, protocol: number): boolean {
    const { version } = parseAddress(address);
    const notNets = side.notNets ?? [];
    if (side.nets !== undefined && !side.nets.some((net) => isIn(net, address))) return false;
    if (notNets.some((net) => isIn(net, address))) return false;
    // A rule whose notNets are all of the other IP version is about that version.
    if (notNets.length > 0 && notNets.every((net) => tryParseCidr(net)?.version !== version)) return false;
    if (!(side.sets ?? []).every((id) => this.#setHas(id, address))) return false;
    if ((side.notSets ?? []).some((id) => this.#setHas(id, address))) return false;
    const name = protocol === 17 ? "udp" : protocol === 132 ? "sctp" : "tcp";
    const hasPorts = port !== undefined && (protocol === 6 || protocol === 17 || protocol === 132);
    const portSetHas = (id: string) => hasPorts && this.sets.get(id)!.members.has(`${address},${name}:${port}`);
    const inRange = ({ first, last }: { first: number; last: number }) =>
      port !== undefined && first <= port && port <= last;
    if (side.ports !== undefined || side.namedPorts !== undefined) {
      if (!(side.ports ?? []).some(inRange) && !(side.namedPorts ?? []).some(portSetHas)) return false;
    }
    if ((side.notPorts ?? []).some(inRange) || (side.notNamedPorts ?? []).some(portSetHas)) return false;
    return (side.portSets ?? []).every(portSetHas);
  }

  #setHas(id: string, address: string): boolean {
    return [...this.sets.get(id)!.members].some((member) => isIn(member, address));
  }

  #applyDelta(message: Extract<Message, { type: "set-delta" }>): void {
    const set = this.sets.get(message.id);
    if (set === undefined) throw new Error(`${JSON.stringify(message)}: there is no such set`);
    check(message.added.length + message.removed.length > 0, message, "it changes nothing");
    for (const member of message.removed) check(set.members.delete(member), message, `${member} is not in it`);
    for (const member of message.added) {
      check(!message.removed.includes(member), message, `${member} is in both lists`);
      check(!set.members.has(member), message, `${member} is in it already`);
      set.members.add(member);
    }
  }

  #checkTiers(message: Message, tiers: readonly EndpointTier[]): void {
    for (const tier of tiers) {
      check(tier.ingress.length + tier.egress.length > 0, message, `the tier ${tier.name} is empty`);
      for (const id of [...tier.ingress, ...tier.egress]) {
        check(this.policies.has(policyKey(id)), message, `there is no policy ${policyKey(id)}`);
      }
    }
  }

  *#allTiers(): Generator<readonly EndpointTier[]> {
    for (const { tiers } of this.workloads.values()) yield tiers;
    for (const host of this.hosts.values()) yield* tiersOfHost(host);
  }
}

const check = (holds: boolean, message: Message, what: string): void => {
  if (!holds) throw new Error(`${JSON.stringify(message)}: ${what}`);
};

const members = (set: MirroredSet): string[] => [...set.members].sort();

const tiersOfHost = (host: LocalHost) => [host.tiers, host.forwardTiers, host.untrackedTiers, host.preDnatTiers];

function* setsOf(rules: { ingress?: readonly ParsedRule[]; egress?: readonly ParsedRule[] }): Generator<string> {
  for (const { source, destination } of [...(rules.ingress ?? []), ...(rules.egress ?? [])]) {
    for (const side of [source, destination]) {
      for (const list of [side.sets, side.notSets, side.namedPorts, side.notNamedPorts, side.portSets]) {
        yield* list ?? [];
      }
    }
  }
}

function isIn(net: string, address: string): boolean {
  const cidr = tryParseCidr(net);
  return cidr !== undefined && containsAddress(cidr, parseAddress(address));
}
