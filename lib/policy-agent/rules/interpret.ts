/**
 * Says what a kernel that holds a rule program does with a packet, without a kernel: the packet is walked through the hooks in netfilter's
 * order (include/uapi/linux/netfilter_ipv4.h: raw -300, conntrack -200, mangle -150, destination NAT -100, filter 0, source NAT 100).
 *
 *     PREROUTING: raw, conntrack, mangle, nat → routing → INPUT: mangle, filter, nat
 *                                                       → FORWARD: mangle, filter → POSTROUTING: mangle, nat
 *     OUTPUT: raw, conntrack, mangle, nat, filter → POSTROUTING
 *
 * Gaps: no fragments, no IPVS, no routing by mark; masquerading and source NAT keep the port where they may.
 */
import { containsAddress, parseAddress, parseCidr } from "../../ip/index.ts";
import { type Connection, ConntrackTable, type Tracked, turned } from "./interpret-conntrack.ts";
import { hasPorts, icmpOf, type Packet, SCTP, TCP, UDP } from "./interpret-packet.ts";
import type { Action, Hook, IpVersion, Match, Rule, Side, Table } from "./ir.ts";
import type { Program } from "./program.ts";

/** What of a program the interpreter reads. */
export type Rules = Pick<Program, "ipVersion" | "chains" | "dispatches" | "hooks" | "sets">;

/** The host round the rules. */
export interface Surroundings {
  /** The interface by which the packet comes; absent: the host itself sends it. */
  readonly inInterface?: string;
  /** Where the host routes an address to: an interface, `local` for its own, undefined for nowhere. */
  route(address: string): string | undefined;
  /** Addresses of the host, without prefix length, by interface. */
  readonly addresses: Readonly<Record<string, readonly string[]>>;
  /** Connections so far; the packet's is added. Absent: there were none. */
  readonly conntrack?: ConntrackTable;
  /** What `limit` matches have let through so far; absent: nothing. */
  readonly limits?: LimitTable;
}

/** One rule that matched. */
export interface Step {
  readonly table: Table;
  readonly hook: Hook;
  /** `first` and `last`: the rules at the hook itself; `otherwise` of a dispatch counts as the dispatch's own. */
  readonly chain: string;
  /** Position in the chain; of a dispatch's entry -1. */
  readonly index: number;
  readonly action: Action;
}

/** What became of a packet, and by which rules. */
export interface Trace {
  /** `unroutable`: no rule's doing. */
  readonly verdict: "accept" | "drop" | "reject" | "unroutable";
  readonly rejectWith?: "tcp-reset" | "icmp" | "admin";
  readonly path: readonly Step[];
  /** The packet as it was in the end. */
  readonly packet: Packet;
  readonly mark: number;
  /** By which it left; absent when it was delivered to the host, or nowhere. */
  readonly outInterface?: string;
  readonly logged: readonly { readonly prefix: string; readonly group?: number }[];
  readonly state: Tracked["state"];
}

/** Token buckets of `limit` matches: no time passes in them. */
export type LimitTable = Map<string, number>;

/** See the top of the file. */
export function interpret(rules: Rules, packet: Packet, surroundings: Surroundings): Trace {
  return new Walk(rules, packet, surroundings).run();
}

type Verdict = "accept" | "drop" | { readonly reject: "tcp-reset" | "icmp" | "admin" };
/** How a chain ended: without a verdict the caller goes on. */
type End = Verdict | "return" | undefined;

class Walk {
  readonly #rules: Rules;
  readonly #host: Surroundings;
  readonly #conntrack: ConntrackTable;
  readonly #limits: LimitTable;
  #packet: Packet;
  #mark = 0;
  #untracked = false;
  #tracked: Tracked = { state: "untracked", isReply: false };
  #outInterface: string | undefined;
  #table: Table = "raw";
  #hook: Hook = "PREROUTING";
  /** A rule of this table and hook has translated the packet. */
  #translated = false;
  readonly #path: Step[] = [];
  readonly #logged: { prefix: string; group?: number }[] = [];

  constructor(rules: Rules, packet: Packet, surroundings: Surroundings) {
    this.#rules = rules;
    this.#packet = packet;
    this.#host = surroundings;
    this.#conntrack = surroundings.conntrack ?? new ConntrackTable();
    this.#limits = surroundings.limits ?? new Map();
  }

  run(): Trace {
    const { inInterface } = this.#host;
    const entry: Hook = inInterface === undefined ? "OUTPUT" : "PREROUTING";
    if (inInterface === undefined) this.#outInterface = this.#route();
    const ended = this.#at("raw", entry) ?? this.#enterConntrack(entry);
    if (ended !== undefined) return this.#trace(ended);
    if (inInterface === undefined) {
      // A translated destination is routed anew.
      this.#outInterface = this.#route();
      if (this.#outInterface === undefined) return this.#trace("unroutable");
      return this.#trace(this.#at("filter", "OUTPUT") ?? this.#leave());
    }
    const route = this.#route();
    if (route === undefined) return this.#trace("unroutable");
    if (route === "local") {
      return this.#trace(
        this.#at("mangle", "INPUT") ?? this.#at("filter", "INPUT") ?? this.#translate("INPUT") ?? this.#confirm(),
      );
    }
    this.#outInterface = route;
    return this.#trace(this.#at("mangle", "FORWARD") ?? this.#at("filter", "FORWARD") ?? this.#leave());
  }

  #route(): string | undefined {
    return this.#host.route(this.#packet.destination);
  }

  #enterConntrack(entry: Hook): Verdict | undefined {
    this.#tracked = this.#untracked ? { state: "untracked", isReply: false } : this.#conntrack.track(this.#packet);
    return this.#at("mangle", entry) ?? this.#translate(entry);
  }

  #leave(): Verdict {
    return this.#at("mangle", "POSTROUTING") ?? this.#translate("POSTROUTING") ?? this.#confirm();
  }

  #confirm(): Verdict {
    const { connection, state } = this.#tracked;
    if (connection !== undefined && state === "new") this.#conntrack.confirm(connection);
    return "accept";
  }

  /** The nat table sees only the first packet of a connection; what it decided holds for all the others. */
  #translate(hook: Hook): Verdict | undefined {
    const { connection, state } = this.#tracked;
    if (connection === undefined || state === "untracked" || state === "invalid") return undefined;
    this.#translated = false;
    if (state === "new" && !this.#tracked.isReply) {
      const ended = this.#at("nat", hook);
      if (ended !== undefined) return ended;
    }
    if (!this.#translated) this.#translateAsBefore(connection, hook);
    return undefined;
  }

  #translateAsBefore(connection: Connection, hook: Hook): void {
    const atDestination = hook === "PREROUTING" || hook === "OUTPUT";
    const wire = this.#tracked.isReply ? turned(connection.original) : turned(connection.reply);
    // Towards the far end the destination is translated on the way in and the source on the way out, in both directions.
    const translated = this.#tracked.isReply
      ? { source: connection.destinationTranslated, destination: connection.sourceTranslated }
      : { source: connection.sourceTranslated, destination: connection.destinationTranslated };
    const ports = hasPorts(this.#packet.protocol);
    if (atDestination && translated.destination) {
      this.#packet = {
        ...this.#packet,
        destination: wire.destination,
        ...(ports ? { destinationPort: wire.destinationPort } : {}),
      };
    }
    if (!atDestination && translated.source) {
      this.#packet = { ...this.#packet, source: wire.source, ...(ports ? { sourcePort: wire.sourcePort } : {}) };
    }
  }

  /** The rules of one table at one hook. Undefined: the packet goes on. */
  #at(table: Table, hook: Hook): Verdict | undefined {
    this.#table = table;
    this.#hook = hook;
    const at = this.#rules.hooks(table).get(hook);
    if (at === undefined) return undefined;
    const end = this.#list("first", at.first) ?? this.#list("last", at.last);
    return end === "accept" || end === "return" ? undefined : end;
  }

  #list(chain: string, rules: readonly Rule[]): End {
    for (const [index, rule] of rules.entries()) {
      if (!rule.match.every((match) => this.#matches(match, rule))) continue;
      this.#path.push({ table: this.#table, hook: this.#hook, chain, index, action: rule.action });
      const { action } = rule;
      if (action.do === "goto") return this.#enter(action.chain) ?? "return";
      if (action.do === "jump") {
        const end = this.#enter(action.chain);
        if (end !== undefined && end !== "return") return end;
        continue;
      }
      const end = this.#act(action);
      if (end !== undefined) return end;
    }
    return undefined;
  }

  #enter(name: string): End {
    const dispatch = this.#rules.dispatches(this.#table).get(name);
    if (dispatch !== undefined) {
      const on = dispatch.direction === "in" ? this.#host.inInterface : this.#outInterface;
      const entry = on === undefined ? undefined : dispatch.entries.get(on);
      if (entry === undefined) return this.#list(name, dispatch.otherwise);
      this.#path.push({
        table: this.#table,
        hook: this.#hook,
        chain: name,
        index: -1,
        action: { do: "goto", chain: entry },
      });
      return this.#enter(entry);
    }
    const chain = this.#rules.chains(this.#table).get(name);
    if (chain === undefined)
      throw new RangeError(`a rule goes to the chain ${this.#table} ${name}, which is not there`);
    return this.#list(name, chain.rules);
  }

  #act(action: Action): End {
    switch (action.do) {
      case "jump":
      case "goto":
        return undefined;
      case "accept":
      case "drop":
      case "return":
        return action.do;
      case "reject":
        // Neither nftables nor iptables resets what is no TCP: they go on.
        return action.with === "tcp-reset" && this.#packet.protocol !== TCP ? undefined : { reject: action.with };
      case "notrack":
        this.#untracked = true;
        return undefined;
      case "set-mark":
        this.#mark = ((this.#mark & ~action.mask) | action.value) >>> 0;
        return undefined;
      case "save-mark": {
        const { connection } = this.#tracked;
        if (connection) connection.mark = ((connection.mark & ~action.mask) | (this.#mark & action.mask)) >>> 0;
        return undefined;
      }
      case "restore-mark": {
        const saved = this.#tracked.connection?.mark ?? 0;
        this.#mark = ((this.#mark & ~action.mask) | (saved & action.mask)) >>> 0;
        return undefined;
      }
      case "log":
        this.#logged.push({ prefix: action.prefix });
        return undefined;
      case "nflog":
        this.#logged.push({ prefix: action.prefix, group: action.group });
        return undefined;
      case "dscp": {
        const { dscp: _, ...rest } = this.#packet;
        this.#packet = action.value === 0 ? rest : { ...rest, dscp: action.value };
        return undefined;
      }
      case "dnat":
        return this.#setDestination(action.address, action.port);
      case "snat":
        return this.#setSource(action.address, action.ports?.first);
      case "masquerade": {
        const own = this.#host.addresses[this.#outInterface ?? ""]?.find(
          (address) => versionOf(address) === this.#packet.version,
        );
        // The kernel drops what it cannot masquerade: an interface without an address.
        return own === undefined ? "drop" : this.#setSource(own, action.ports?.first);
      }
    }
  }

  #setDestination(address: string, port: number | undefined): End {
    const { connection } = this.#tracked;
    if (connection === undefined) return "accept";
    this.#packet = {
      ...this.#packet,
      destination: address,
      ...(port === undefined || !hasPorts(this.#packet.protocol) ? {} : { destinationPort: port }),
    };
    const ported = port !== undefined && hasPorts(this.#packet.protocol);
    connection.reply = { ...connection.reply, source: address, ...(ported ? { sourcePort: port } : {}) };
    connection.destinationTranslated = true;
    this.#translated = true;
    return "accept";
  }

  #setSource(address: string, port: number | undefined): End {
    const { connection } = this.#tracked;
    if (connection === undefined) return "accept";
    const ported = port !== undefined && hasPorts(this.#packet.protocol);
    this.#packet = { ...this.#packet, source: address, ...(ported ? { sourcePort: port } : {}) };
    connection.reply = { ...connection.reply, destination: address, ...(ported ? { destinationPort: port } : {}) };
    connection.sourceTranslated = true;
    this.#translated = true;
    return "accept";
  }

  #matches(match: Match, rule: Rule): boolean {
    if (match.is === "reverse-path-failed") return this.#reversePathFailed();
    if (match.is === "limit") return this.#withinLimit(match.burst, rule);
    if (match.is === "ports" && !hasPorts(this.#packet.protocol)) return false;
    if (match.is === "icmp" && this.#packet.protocol !== icmpOf(this.#packet.version)) return false;
    return this.#holds(match) !== (match.not === true);
  }

  #holds(match: Exclude<Match, { is: "reverse-path-failed" | "limit" }>): boolean {
    const packet = this.#packet;
    switch (match.is) {
      case "protocol":
        return packet.protocol === match.protocol;
      case "net":
        return inNet(this.#address(match.side), match.net);
      case "set":
        return this.#inNetSet(match.set, this.#address(match.side));
      case "port-set":
        return this.#inPortSet(match.set, match.side);
      case "ports": {
        const port = this.#port(match.side);
        return match.ports.some(({ first, last }) => port >= first && port <= last);
      }
      case "icmp": {
        const icmp = packet.icmp ?? { type: packet.version === 4 ? 8 : 128, code: 0 };
        return icmp.type === match.type && (match.code === undefined || icmp.code === match.code);
      }
      case "mark":
        return (this.#mark & match.mask) >>> 0 === match.value >>> 0;
      case "interface":
        return matchesInterface(match.direction === "in" ? this.#host.inInterface : this.#outInterface, match.name);
      case "conntrack":
        return match.states.includes(this.#tracked.state);
      case "dnatted":
        return this.#tracked.connection?.destinationTranslated === true;
      case "local-address": {
        const address = this.#address(match.side);
        const { addresses } = this.#host;
        if (match.onOutInterface) return (addresses[this.#outInterface ?? ""] ?? []).includes(address);
        return Object.values(addresses).some((own) => own.includes(address));
      }
      case "ipvs":
        return false;
    }
  }

  #address(side: Side): string {
    return side === "source" ? this.#packet.source : this.#packet.destination;
  }

  #port(side: Side): number {
    return side === "source" ? (this.#packet.sourcePort ?? 40_000) : (this.#packet.destinationPort ?? 0);
  }

  #inNetSet(id: string, address: string): boolean {
    for (const member of this.#set(id)) if (inNet(address, member)) return true;
    return false;
  }

  #inPortSet(id: string, side: Side): boolean {
    const protocol = { [TCP]: "tcp", [UDP]: "udp", [SCTP]: "sctp" }[this.#packet.protocol];
    return protocol !== undefined && this.#set(id).has(`${this.#address(side)},${protocol}:${this.#port(side)}`);
  }

  #set(id: string): ReadonlySet<string> {
    const set = this.#rules.sets.get(id);
    if (set === undefined) throw new RangeError(`a rule asks for the set ${id}, which is not there`);
    return set.members;
  }

  #reversePathFailed(): boolean {
    const { inInterface } = this.#host;
    return inInterface !== undefined && inInterface !== "lo" && this.#host.route(this.#packet.source) !== inInterface;
  }

  #withinLimit(burst: number, rule: Rule): boolean {
    const key = JSON.stringify([this.#table, this.#hook, rule]);
    const used = this.#limits.get(key) ?? 0;
    this.#limits.set(key, used + 1);
    return used < burst;
  }

  #trace(ended: Verdict | "unroutable"): Trace {
    const rejected = typeof ended === "object" ? ended.reject : undefined;
    const left = ended === "accept" && this.#outInterface !== undefined && this.#outInterface !== "local";
    return {
      verdict: typeof ended === "object" ? "reject" : ended,
      ...(rejected === undefined ? {} : { rejectWith: rejected }),
      path: this.#path,
      packet: this.#packet,
      mark: this.#mark,
      ...(left && this.#outInterface !== undefined ? { outInterface: this.#outInterface } : {}),
      logged: this.#logged,
      state: this.#tracked.state,
    };
  }
}

function inNet(address: string, net: string): boolean {
  return containsAddress(parseCidr(net), parseAddress(address));
}

function versionOf(address: string): IpVersion {
  return address.includes(":") ? 6 : 4;
}

/** Whether an interface is one of a name that may end in `*`. */
export function matchesInterface(name: string | undefined, pattern: string): boolean {
  if (name === undefined) return false;
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}
