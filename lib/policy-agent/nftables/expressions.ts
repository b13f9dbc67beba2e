/**
 * Rules as the kernel takes them: a list of expressions over registers (include/uapi/linux/netfilter/nf_tables.h), the same that nft makes of the text.
 * Matches load something into register 1 and compare it; a rule ends where a comparison fails.
 */
import { addressBytes } from "../../ip/index.ts";
import type { Writer } from "../../netlink/netfilter/index.ts";
import type { Action, IpVersion, Match, Rule, Side } from "../rules/index.ts";
import { nameIn, portSet, setName } from "./names.ts";
import {
  ALL_BITS,
  addressOf,
  CT_DNAT,
  CT_STATES,
  interfaceOf,
  joinRanges,
  limitOf,
  logPrefixOf,
  markChange,
  NFLOG_SIZE,
  netOf,
  nflogPrefixOf,
  UnsayableError,
} from "./normal.ts";
import type { Context } from "./render.ts";

const LIST_ELEMENT = 1;
const EXPRESSION = { NAME: 1, DATA: 2 } as const;
const DATA = { VALUE: 1, VERDICT: 2 } as const;
export const VERDICT = { CODE: 1, CHAIN: 2 } as const;
export const VERDICT_CODE = { drop: 0, accept: 1, jump: -3, goto: -4, return: -5 } as const;
const REGISTER = { VERDICT: 0, R1: 1, R2: 2, R3: 3 } as const;
/** Registers of four bytes are counted from 8, the first of them being the beginning of R1. */
const SMALL_REGISTER = 8;
const BASE = { NETWORK: 1, TRANSPORT: 2 } as const;
const CMP = { EQ: 0, NEQ: 1, LTE: 3, GTE: 5 } as const;
const META = { MARK: 3, IIFNAME: 6, OIFNAME: 7, L4PROTO: 16 } as const;
const CT = { STATE: 0, STATUS: 2, MARK: 3 } as const;
const FIB = { OIF: 1, ADDRTYPE: 3, SADDR: 1, DADDR: 2, WITH_MARK: 4, WITH_IIF: 8, WITH_OIF: 16 } as const;
const RTN_LOCAL = 2;
const LOG_LEVEL_INFO = 6;
const REJECT = { ICMP: 0, TCP_RESET: 1 } as const;
/** ICMP codes of "destination unreachable": port, administratively. */
const UNREACHABLE = { 4: { icmp: 3, admin: 13 }, 6: { icmp: 4, admin: 1 } } as const;
/** NF_NAT_RANGE_PROTO_SPECIFIED, NF_NAT_RANGE_PROTO_RANDOM_FULLY */
const NAT_PORTS = 2;
const NAT_FULLY_RANDOM = 16;
const NFPROTO = { 4: 2, 6: 10 } as const;
const INTERFACE_NAME_SIZE = 16;
const CHECKSUM_INET = 1;
const IPV4_CHECKSUM_OFFSET = 10;

const bytes16 = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value & 0xff);
/** In the machine's order, as the kernel keeps marks and states in registers. */
const word = (value: number): Uint8Array =>
  Uint8Array.of(value & 0xff, (value >>> 8) & 0xff, (value >>> 16) & 0xff, value >>> 24);

/** Writes the expressions of a rule, each as an element of a list. */
export function writeRule(writer: Writer, rule: Rule, context: Context): void {
  const out = new Expressions(writer);
  for (const match of rule.match) writeMatch(out, match, context.version);
  out.counter();
  writeAction(out, rule.action, context);
}

/** The rule of a dispatch: the interface's name is looked up, and the verdict found with it is the packet's. */
export function writeDispatchRule(writer: Writer, direction: "in" | "out", map: string): void {
  const out = new Expressions(writer);
  out.meta(direction === "in" ? META.IIFNAME : META.OIFNAME);
  out.lookup(map, false, REGISTER.VERDICT);
}

class Expressions {
  readonly #writer: Writer;
  constructor(writer: Writer) {
    this.#writer = writer;
  }

  add(name: string, data?: (writer: Writer) => void): void {
    const writer = this.#writer;
    writer.nested(LIST_ELEMENT, () => {
      writer.attributeString(EXPRESSION.NAME, name);
      if (data) writer.nested(EXPRESSION.DATA, () => data(writer));
    });
  }

  value(attribute: number, bytes: Uint8Array): void {
    this.#writer.nested(attribute, () => this.#writer.attribute(DATA.VALUE, bytes));
  }

  payload(base: number, offset: number, length: number, register: number = REGISTER.R1): void {
    this.add("payload", (writer) => {
      writer.attributeU32be(1, register);
      writer.attributeU32be(2, base);
      writer.attributeU32be(3, offset);
      writer.attributeU32be(4, length);
    });
  }

  meta(key: number, register: number = REGISTER.R1): void {
    this.add("meta", (writer) => {
      writer.attributeU32be(2, key);
      writer.attributeU32be(1, register);
    });
  }

  setMark(): void {
    this.add("meta", (writer) => {
      writer.attributeU32be(2, META.MARK);
      writer.attributeU32be(3, REGISTER.R1);
    });
  }

  ct(key: number): void {
    this.add("ct", (writer) => {
      writer.attributeU32be(2, key);
      writer.attributeU32be(1, REGISTER.R1);
    });
  }

  setCtMark(): void {
    this.add("ct", (writer) => {
      writer.attributeU32be(2, CT.MARK);
      writer.attributeU32be(4, REGISTER.R1);
    });
  }

  fib(flags: number, result: number): void {
    this.add("fib", (writer) => {
      writer.attributeU32be(3, flags);
      writer.attributeU32be(2, result);
      writer.attributeU32be(1, REGISTER.R1);
    });
  }

  compare(operator: number, value: Uint8Array): void {
    this.add("cmp", (writer) => {
      writer.attributeU32be(1, REGISTER.R1);
      writer.attributeU32be(2, operator);
      this.value(3, value);
    });
  }

  notInRange(from: Uint8Array, to: Uint8Array): void {
    this.add("range", (writer) => {
      writer.attributeU32be(1, REGISTER.R1);
      writer.attributeU32be(2, CMP.NEQ);
      this.value(3, from);
      this.value(4, to);
    });
  }

  bitwise(mask: Uint8Array, xor: Uint8Array = new Uint8Array(mask.length)): void {
    this.add("bitwise", (writer) => {
      writer.attributeU32be(1, REGISTER.R1);
      writer.attributeU32be(2, REGISTER.R1);
      writer.attributeU32be(3, mask.length);
      this.value(4, mask);
      this.value(5, xor);
    });
  }

  lookup(set: string, not: boolean, destination?: number): void {
    this.add("lookup", (writer) => {
      writer.attributeU32be(2, REGISTER.R1);
      if (destination !== undefined) writer.attributeU32be(3, destination);
      writer.attributeString(1, set);
      if (not) writer.attributeU32be(5, 1);
    });
  }

  immediate(register: number, value: Uint8Array): void {
    this.add("immediate", (writer) => {
      writer.attributeU32be(1, register);
      this.value(2, value);
    });
  }

  verdict(code: number, chain?: string): void {
    this.add("immediate", (writer) => {
      writer.attributeU32be(1, REGISTER.VERDICT);
      writer.nested(2, () => writeVerdict(writer, code, chain));
    });
  }

  counter(): void {
    this.add("counter", (writer) => {
      writer.attributeU64be(1, 0);
      writer.attributeU64be(2, 0);
    });
  }

  /** Matches no packet: what is left of a mark under no mask is zero. */
  never(): void {
    this.meta(META.MARK);
    this.bitwise(word(0));
    this.compare(CMP.NEQ, word(0));
  }
}

export function writeVerdict(writer: Writer, code: number, chain?: string): void {
  writer.nested(DATA.VERDICT, () => {
    writer.attributeU32be(VERDICT.CODE, code >>> 0);
    if (chain !== undefined) writer.attributeString(VERDICT.CHAIN, chain);
  });
}

const addressOffset = (side: Side, version: IpVersion): number =>
  version === 4 ? (side === "source" ? 12 : 16) : side === "source" ? 8 : 24;
const addressLength = (version: IpVersion): number => (version === 4 ? 4 : 16);
const portOffset = (side: Side): number => (side === "source" ? 0 : 2);

function writeMatch(out: Expressions, match: Match, version: IpVersion): void {
  const not = "not" in match && match.not === true;
  const equal = not ? CMP.NEQ : CMP.EQ;
  switch (match.is) {
    case "protocol":
      out.meta(META.L4PROTO);
      out.compare(equal, Uint8Array.of(match.protocol));
      return;
    case "net": {
      const net = netOf(match.net, version);
      if (net.length === 0) {
        if (not) out.never();
        return;
      }
      const whole = Math.ceil(net.length / 8);
      const aligned = net.length % 8 === 0;
      // Of a prefix of whole bytes, only those are looked at.
      const bytes = addressBytes(net.address).slice(0, aligned ? whole : addressLength(version));
      out.payload(BASE.NETWORK, addressOffset(match.side, version), bytes.length);
      if (!aligned)
        out.bitwise(bytes.map((_, i) => (0xff << (8 - Math.min(8, Math.max(0, net.length - i * 8)))) & 0xff));
      out.compare(equal, bytes);
      return;
    }
    case "set":
      out.payload(BASE.NETWORK, addressOffset(match.side, version), addressLength(version));
      out.lookup(setName(version, match.set), not);
      return;
    case "port-set": {
      const words = addressLength(version) / 4;
      out.payload(BASE.NETWORK, addressOffset(match.side, version), addressLength(version));
      out.meta(META.L4PROTO, SMALL_REGISTER + words);
      out.payload(BASE.TRANSPORT, portOffset(match.side), 2, SMALL_REGISTER + words + 1);
      out.lookup(setName(version, match.set), not);
      return;
    }
    case "ports": {
      const load = (): void => out.payload(BASE.TRANSPORT, portOffset(match.side), 2);
      const ranges = joinRanges(match.ports);
      if (!not && ranges.length > 1) {
        load();
        out.lookup(portSet(version, ranges).name, false);
        return;
      }
      for (const { first, last } of ranges) {
        load();
        if (first === last) out.compare(equal, bytes16(first));
        else if (not) out.notInRange(bytes16(first), bytes16(last));
        else {
          out.compare(CMP.GTE, bytes16(first));
          out.compare(CMP.LTE, bytes16(last));
        }
      }
      return;
    }
    case "icmp":
      out.payload(BASE.TRANSPORT, 0, match.code === undefined ? 1 : 2);
      out.compare(equal, Uint8Array.of(match.type, ...(match.code === undefined ? [] : [match.code])));
      return;
    case "mark":
      out.meta(META.MARK);
      if (match.mask !== ALL_BITS) out.bitwise(word(match.mask));
      out.compare(equal, word(match.value));
      return;
    case "interface": {
      const { prefix, name, any } = interfaceOf(match.name);
      if (any) {
        if (not) out.never();
        return;
      }
      const text = new TextEncoder().encode(name);
      const bytes = new Uint8Array(prefix ? text.length : INTERFACE_NAME_SIZE);
      bytes.set(text);
      out.meta(match.direction === "in" ? META.IIFNAME : META.OIFNAME);
      out.compare(equal, bytes);
      return;
    }
    case "conntrack": {
      let bits = 0;
      for (const state of match.states) bits |= CT_STATES[state];
      writeFlags(out, CT.STATE, bits, not);
      return;
    }
    case "dnatted":
      writeFlags(out, CT.STATUS, CT_DNAT, not);
      return;
    case "local-address": {
      const side = match.side === "source" ? FIB.SADDR : FIB.DADDR;
      out.fib(side | (match.onOutInterface ? FIB.WITH_OIF : 0), FIB.ADDRTYPE);
      out.compare(equal, word(RTN_LOCAL));
      return;
    }
    case "reverse-path-failed":
      out.fib(FIB.SADDR | FIB.WITH_MARK | FIB.WITH_IIF, FIB.OIF);
      out.compare(CMP.EQ, word(0));
      return;
    case "ipvs":
      throw new UnsayableError("nftables knows nothing of IPVS");
    case "limit": {
      const { rate, seconds, burst } = limitOf(match);
      out.add("limit", (writer) => {
        writer.attributeU64be(1, rate);
        writer.attributeU64be(2, seconds);
        writer.attributeU32be(3, burst);
        writer.attributeU32be(4, 0);
        writer.attributeU32be(5, 0);
      });
      return;
    }
  }
}

/** Whether any of the bits is set; `not`: none. */
function writeFlags(out: Expressions, key: number, bits: number, not: boolean): void {
  out.ct(key);
  out.bitwise(word(bits));
  out.compare(not ? CMP.EQ : CMP.NEQ, word(0));
}

function writeAction(out: Expressions, action: Action, { version, table }: Context): void {
  switch (action.do) {
    case "accept":
    case "drop":
    case "return":
      out.verdict(VERDICT_CODE[action.do]);
      return;
    case "notrack":
      out.add("notrack");
      return;
    case "reject":
      out.add("reject", (writer) => {
        writer.attributeU32be(1, action.with === "tcp-reset" ? REJECT.TCP_RESET : REJECT.ICMP);
        writer.attributeU8(2, action.with === "tcp-reset" ? 0 : UNREACHABLE[version][action.with]);
      });
      return;
    case "jump":
    case "goto":
      out.verdict(VERDICT_CODE[action.do], nameIn(table, action.chain));
      return;
    case "set-mark": {
      const { keep, set } = markChange(action);
      if (keep === 0) out.immediate(REGISTER.R1, word(set));
      else {
        out.meta(META.MARK);
        out.bitwise(word(keep), word(set));
      }
      out.setMark();
      return;
    }
    case "save-mark":
      out.meta(META.MARK);
      if (action.mask !== ALL_BITS) out.bitwise(word(action.mask));
      out.setCtMark();
      return;
    case "restore-mark":
      out.ct(CT.MARK);
      if (action.mask !== ALL_BITS) out.bitwise(word(action.mask));
      out.setMark();
      return;
    case "log":
      out.add("log", (writer) => {
        writer.attributeString(2, logPrefixOf(action.prefix));
        writer.attributeU32be(5, LOG_LEVEL_INFO);
      });
      return;
    case "nflog": {
      const size = action.size ?? NFLOG_SIZE;
      out.add("log", (writer) => {
        writer.attributeString(2, nflogPrefixOf(action.prefix));
        writer.attributeU16be(1, action.group);
        if (size >= 0) writer.attributeU32be(3, size);
      });
      return;
    }
    case "masquerade": {
      const { ports, fullyRandom } = action;
      if (ports) {
        out.immediate(REGISTER.R1, bytes16(ports.first));
        if (ports.last !== ports.first) out.immediate(REGISTER.R2, bytes16(ports.last));
      }
      const flags = (ports ? NAT_PORTS : 0) | (fullyRandom ? NAT_FULLY_RANDOM : 0);
      out.add("masq", (writer) => {
        if (ports) writer.attributeU32be(2, REGISTER.R1);
        if (ports && ports.last !== ports.first) writer.attributeU32be(3, REGISTER.R2);
        if (flags) writer.attributeU32be(1, flags);
      });
      return;
    }
    case "snat":
      writeNat(out, 0, action.address, action.ports, action.fullyRandom === true, version);
      return;
    case "dnat": {
      const ports = action.port === undefined ? undefined : { first: action.port, last: action.port };
      writeNat(out, 1, action.address, ports, false, version);
      return;
    }
    case "dscp": {
      // Six bits across the first two bytes: after version, length (IPv4) or version (IPv6).
      const [mask, shift] = version === 4 ? [0xff03, 2] : [0xf03f, 6];
      out.payload(BASE.NETWORK, 0, 2);
      out.bitwise(bytes16(mask), bytes16((action.value << shift) & 0xffff));
      out.add("payload", (writer) => {
        writer.attributeU32be(5, REGISTER.R1);
        writer.attributeU32be(2, BASE.NETWORK);
        writer.attributeU32be(3, 0);
        writer.attributeU32be(4, 2);
        writer.attributeU32be(6, version === 4 ? CHECKSUM_INET : 0);
        writer.attributeU32be(7, version === 4 ? IPV4_CHECKSUM_OFFSET : 0);
      });
      return;
    }
  }
}

function writeNat(
  out: Expressions,
  type: 0 | 1,
  address: string,
  ports: { readonly first: number; readonly last: number } | undefined,
  fullyRandom: boolean,
  version: IpVersion,
): void {
  out.immediate(REGISTER.R1, addressBytes(addressOf(address, version)));
  const isRange = ports !== undefined && ports.first !== ports.last;
  if (ports) out.immediate(REGISTER.R2, bytes16(ports.first));
  if (isRange) out.immediate(REGISTER.R3, bytes16(ports.last));
  const flags = (ports ? NAT_PORTS : 0) | (fullyRandom ? NAT_FULLY_RANDOM : 0);
  out.add("nat", (writer) => {
    writer.attributeU32be(1, type);
    writer.attributeU32be(2, NFPROTO[version]);
    writer.attributeU32be(3, REGISTER.R1);
    if (ports) writer.attributeU32be(5, REGISTER.R2);
    if (isRange) writer.attributeU32be(6, REGISTER.R3);
    if (flags) writer.attributeU32be(7, flags);
  });
}
