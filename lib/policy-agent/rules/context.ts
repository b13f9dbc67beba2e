/** What every renderer needs: the configuration, the marks, and the few matches and actions that are said over and over. */
import type { Action, IpVersion, Match, Rule, Table } from "./ir.ts";
import { allocateMarks, type Marks } from "./marks.ts";
import { limitedName } from "./names.ts";
import type { RulesConfig } from "./options.ts";

export const PROTOCOL = { icmp: 1, ipip: 4, tcp: 6, udp: 17, icmp6: 58, sctp: 132, udplite: 136 } as const;

/** Protocols whose packets have ports that can be matched. */
export const PROTOCOLS_WITH_PORTS: readonly number[] = [PROTOCOL.tcp, PROTOCOL.udp, PROTOCOL.sctp, PROTOCOL.udplite];

/** Whether the text, an address or CIDR, is of the IP version. */
export const isVersion = (text: string, version: IpVersion): boolean => text.includes(":") === (version === 6);

export class RenderContext {
  readonly config: RulesConfig;
  readonly marks: Marks;

  /** @throws RulesError when the mark mask has too few bits. */
  constructor(config: RulesConfig) {
    this.config = config;
    this.marks = allocateMarks(config.markMask, {
      wireguard: config.wireguardPort !== undefined || config.wireguardPortV6 !== undefined,
      ipvs: config.kubeIPVSSupportEnabled,
    });
  }

  /** What becomes of a packet that policy denies. REJECT exists in the filter table only; elsewhere it is DROP. */
  deny(table: Table): Action {
    return table === "filter" && this.config.filterDenyAction === "REJECT"
      ? { do: "reject", with: "icmp" }
      : { do: "drop" };
  }

  /** What becomes of one that all policy allows. */
  get allow(): Action {
    return { do: this.config.filterAllowAction === "RETURN" ? "return" : "accept" };
  }

  get mangleAllow(): Action {
    return { do: this.config.mangleAllowAction === "RETURN" ? "return" : "accept" };
  }

  /** Word for comments. */
  denyWord(table: Table): string {
    return this.deny(table).do === "reject" ? "Reject" : "Drop";
  }

  /** All bits that a chain's verdict or work may have left in the mark. */
  get ownBits(): number {
    const { accept, pass, scratch0, scratch1 } = this.marks;
    return (accept | pass | scratch0 | scratch1) >>> 0;
  }

  endpointChain(prefix: string, interfaceName: string): string {
    return limitedName(prefix, interfaceName, this.config.maxChainNameLength);
  }

  isWorkloadInterface(name: string): boolean {
    return this.config.interfacePrefixes.some((prefix) => name.startsWith(prefix));
  }

  /** One that is the host's own: neither a workload's nor excluded. */
  isHostInterface(name: string): boolean {
    return !this.isWorkloadInterface(name) && !this.config.interfaceExclude.some((pattern) => pattern.test(name));
  }
}

export const rule = (match: readonly Match[], action: Action, comment?: string): Rule =>
  comment === undefined ? { match, action } : { match, action, comment };
export const always = (action: Action, comment?: string): Rule => rule([], action, comment);
export const jump = (chain: string): Action => ({ do: "jump", chain });
export const goto = (chain: string): Action => ({ do: "goto", chain });
export const ACCEPT: Action = { do: "accept" };
export const DROP: Action = { do: "drop" };
export const RETURN: Action = { do: "return" };

export const setMark = (bits: number): Action => ({ do: "set-mark", value: bits, mask: bits });
export const clearMark = (bits: number): Action => ({ do: "set-mark", value: 0, mask: bits });
/** All of the bits. */
export const marked = (bits: number): Match => ({ is: "mark", value: bits, mask: bits });
/** None of the bits. */
export const unmarked = (bits: number): Match => ({ is: "mark", value: 0, mask: bits });
/** At least one of the bits. */
export const someMarked = (bits: number): Match => ({ is: "mark", value: 0, mask: bits, not: true });
export const protocol = (number: number): Match => ({ is: "protocol", protocol: number });
export const ESTABLISHED: Match = { is: "conntrack", states: ["related", "established"] };
export const INVALID: Match = { is: "conntrack", states: ["invalid"] };
