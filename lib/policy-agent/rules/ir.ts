/**
 * The rule program, before it is nftables' or iptables': chains of rules in four tables, the places where the kernel enters them, dispatch by
 * interface, and IP sets. It says everything both can say and nothing that only one can; a dataplane lowers it to its own text.
 * Names of chains and marks are upstream's (felix/rules/rule_defs.go).
 */
import type { PortRange, SetId } from "../calc/index.ts";

export type IpVersion = 4 | 6;
export type Table = "raw" | "mangle" | "nat" | "filter";
export const TABLES: readonly Table[] = ["raw", "mangle", "nat", "filter"];
/** Where the kernel hands packets over. raw: PREROUTING and OUTPUT; nat: all but FORWARD; filter: INPUT, FORWARD, OUTPUT; mangle: all. */
export type Hook = "PREROUTING" | "INPUT" | "FORWARD" | "OUTPUT" | "POSTROUTING";
export type Side = "source" | "destination";
export type ConntrackState = "new" | "established" | "related" | "invalid" | "untracked";

/** One thing a packet must be; all of a rule's must hold. `not` turns it round. */
export type Match =
  | { readonly is: "protocol"; readonly protocol: number; readonly not?: boolean }
  /** CIDR of the program's IP version. */
  | { readonly is: "net"; readonly side: Side; readonly net: string; readonly not?: boolean }
  /** A set of type `net`. */
  | { readonly is: "set"; readonly side: Side; readonly set: SetId; readonly not?: boolean }
  /** A set of type `port`: address, protocol and port of the side. */
  | { readonly is: "port-set"; readonly side: Side; readonly set: SetId; readonly not?: boolean }
  /** Any of these; the rule also matches a protocol that has ports. At most 15 numbers, where a range counts as two. */
  | { readonly is: "ports"; readonly side: Side; readonly ports: readonly PortRange[]; readonly not?: boolean }
  /** The rule also matches ICMP (IPv4) or ICMPv6 (IPv6). */
  | { readonly is: "icmp"; readonly type: number; readonly code?: number; readonly not?: boolean }
  /** `mark & mask == value`. */
  | { readonly is: "mark"; readonly value: number; readonly mask: number; readonly not?: boolean }
  /** Name of an interface; a trailing `*` stands for any rest. */
  | { readonly is: "interface"; readonly direction: "in" | "out"; readonly name: string; readonly not?: boolean }
  | { readonly is: "conntrack"; readonly states: readonly ConntrackState[]; readonly not?: boolean }
  /** The connection's destination was translated. */
  | { readonly is: "dnatted"; readonly not?: boolean }
  /** The address belongs to the host; `onOutInterface`: to the interface by which the packet leaves. */
  | {
      readonly is: "local-address";
      readonly side: Side;
      readonly onOutInterface?: boolean;
      readonly not?: boolean;
    }
  /** The way back to the source is not the interface by which the packet came (strict; looks at the packet's mark). */
  | { readonly is: "reverse-path-failed" }
  /** Belongs to a connection of IPVS. iptables only. */
  | { readonly is: "ipvs"; readonly not?: boolean }
  /** At most `rate` (`5/second`) on average, `burst` at once. Last of a rule's matches. */
  | { readonly is: "limit"; readonly rate: string; readonly burst: number };

export type Action =
  | { readonly do: "accept" | "drop" | "return" | "notrack" }
  /** TCP is reset, everything else gets an ICMP error: `icmp`, port unreachable; `admin`, administratively prohibited. */
  | { readonly do: "reject"; readonly with: "tcp-reset" | "icmp" | "admin" }
  | { readonly do: "jump" | "goto"; readonly chain: string }
  /** `mark = mark & ~mask | value`. */
  | { readonly do: "set-mark"; readonly value: number; readonly mask: number }
  | { readonly do: "save-mark" | "restore-mark"; readonly mask: number }
  | { readonly do: "log"; readonly prefix: string }
  | { readonly do: "nflog"; readonly group: number; readonly prefix: string; readonly size?: number }
  /** To the address of the interface by which the packet leaves. */
  | { readonly do: "masquerade"; readonly ports?: PortRange; readonly fullyRandom?: boolean }
  | { readonly do: "snat"; readonly address: string; readonly ports?: PortRange; readonly fullyRandom?: boolean }
  | { readonly do: "dnat"; readonly address: string; readonly port?: number }
  | { readonly do: "dscp"; readonly value: number };

export interface Rule {
  /** None: every packet. */
  readonly match: readonly Match[];
  readonly action: Action;
  /** For people who read the kernel's listing. */
  readonly comment?: string;
}

export interface Chain {
  /** Without the table: `cali-FORWARD`, `cali-tw-cali1234`. */
  readonly name: string;
  readonly rules: readonly Rule[];
}

/**
 * A chain that sends packets on by interface: with nftables a verdict map, with iptables a tree of prefixes. Rules jump
 * or go to it by its name like to any chain. An interface that is no entry meets `otherwise`.
 */
export interface Dispatch {
  readonly name: string;
  readonly direction: "in" | "out";
  /** Interface → name of the chain to go to. */
  readonly entries: ReadonlyMap<string, string>;
  readonly otherwise: readonly Rule[];
}

/** A set as the dataplane makes it. */
export interface IpSetSpec {
  readonly id: SetId;
  readonly type: "net" | "port";
}
