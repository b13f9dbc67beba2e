/** Links: include/uapi/linux/if_link.h, net/core/rtnetlink.c. */
import { formatMac } from "../ip/index.ts";
import { NetlinkParseError } from "./error.ts";
import { AF, type DumpRequest, FLAG, type Message, type Request, TYPE } from "./message.ts";
import { Attributes, NESTED, Reader, TYPE_MASK, textOf, truncated, type Writer } from "./wire.ts";

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  OPERSTATE: 16,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  GROUP: 27,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  NUM_TX_QUEUES: 31,
  NUM_RX_QUEUES: 32,
  LINK_NETNSID: 37,
} as const;
const INFO = { KIND: 1, DATA: 2 } as const;
const VETH_PEER = 1;
const NETKIT = { PEER: 1, POLICY: 3, PEER_POLICY: 4, MODE: 5 } as const;
const NETKIT_L2 = 0;
const NETKIT_PASS = 0;
const INET_CONF = 1; // IFLA_INET_CONF within IFLA_AF_SPEC / AF_INET
const INET6_ADDR_GEN_MODE = 8;
/** Leaves interface statistics out of answers: they are most of a link's message. */
const SKIP_STATISTICS = 1 << 3;

const IFF_UP = 0x1;
const IFF_LOWER_UP = 0x10000;
const IFINFO = 16;

/** Per-interface IPv4 settings that netlink can set at once (include/uapi/linux/ip.h). */
export const IPV4_DEVCONF = {
  forwarding: 1,
  proxy_arp: 3,
  rp_filter: 8,
  accept_local: 23,
  route_localnet: 26,
} as const;

/** Values of net/ipv4/conf/<interface>/… by name. */
export type InetConf = { readonly [Name in keyof typeof IPV4_DEVCONF]?: number };

/** One link by its index or name. */
export type LinkSelector = { readonly index: number } | { readonly name: string };

/** A link as the kernel describes it. */
export interface LinkInfo {
  readonly index: number;
  readonly name: string;
  /** "veth", "bridge", …; absent for hardware and loopback. */
  readonly kind?: string;
  /** Administratively up. */
  readonly up: boolean;
  /** The carrier is there as well. */
  readonly running: boolean;
  readonly mtu: number;
  /** "aa:bb:…"; absent for links without an Ethernet address. */
  readonly mac?: string;
  readonly group: number;
  readonly alias?: string;
  readonly master?: number;
  /** The index of the veth peer or lower link, in its own namespace. */
  readonly peerIndex?: number;
  /** Set when the peer is in another namespace; the kernel's number for that. */
  readonly peerNetnsId?: number;
  readonly txQueues: number;
  readonly rxQueues: number;
}

/** A pair of interfaces, veth or netkit (layer 2, passing everything), in one message. */
export interface NewPair {
  readonly kind: "veth" | "netkit";
  readonly name: string;
  readonly peerName: string;
  /** Descriptor of the namespace that the peer is created in; the socket's own when absent. */
  readonly peerNetnsFd?: number;
  readonly mac?: Uint8Array;
  readonly peerMac?: Uint8Array;
  readonly mtu?: number;
  /** Of each end. A netkit has one queue, whatever is asked. */
  readonly queues?: number;
  readonly group?: number;
}

/** A link of any kind. */
export interface NewLink {
  readonly kind: string;
  readonly name: string;
  readonly mac?: Uint8Array;
  readonly mtu?: number;
  readonly master?: number;
  readonly group?: number;
  readonly up?: boolean;
  /** Writes the attributes within IFLA_INFO_DATA. */
  readonly data?: (writer: Writer) => void;
}

/** What to change of a link; what is absent stays. */
export interface LinkChange {
  readonly up?: boolean;
  readonly name?: string;
  readonly mtu?: number;
  readonly mac?: Uint8Array;
  /** At most 255 bytes; "" removes it. */
  readonly alias?: string;
  readonly group?: number;
  /** Index of a bridge or VRF; 0 leaves it. */
  readonly master?: number;
  /** Descriptor of the namespace to move it to. */
  readonly netnsFd?: number;
  readonly inetConf?: InetConf;
  /** How IPv6 makes the link-local address: 0 from the MAC, 1 not at all. */
  readonly addrGenMode?: number;
}

const describe = (link: LinkSelector): string => ("name" in link ? link.name : `with index ${link.index}`);

/** struct ifinfomsg, and the name of a link that is meant by it. */
function header(writer: Writer, link?: LinkSelector, flags = 0, change = 0): void {
  const named = link !== undefined && "name" in link;
  writer.words4(AF.UNSPEC, named || !link ? 0 : link.index, flags, change);
  if (named) writer.attributeString(IFLA.IFNAME, link.name);
}

/** Creates a pair; EEXIST when either name is taken in its namespace. */
export function pairAdd(pair: NewPair): Request {
  return {
    type: TYPE.NEWLINK,
    flags: FLAG.CREATE | FLAG.EXCLUSIVE,
    attempt: () => `create the ${pair.kind} pair ${pair.name} and ${pair.peerName}`,
    body: (writer) => {
      const { kind } = pair;
      pairEnd(writer, pair, pair.name, pair.mac);
      if (pair.group !== undefined) writer.attributeU32(IFLA.GROUP, pair.group);
      const info = writer.begin(IFLA.LINKINFO | NESTED);
      writer.attributeString(INFO.KIND, kind);
      const data = writer.begin(INFO.DATA | NESTED);
      if (kind === "netkit") {
        writer.attributeU32(NETKIT.MODE, NETKIT_L2);
        writer.attributeU32(NETKIT.POLICY, NETKIT_PASS);
        writer.attributeU32(NETKIT.PEER_POLICY, NETKIT_PASS);
      }
      const peer = writer.begin((kind === "veth" ? VETH_PEER : NETKIT.PEER) | NESTED);
      pairEnd(writer, pair, pair.peerName, pair.peerMac);
      if (pair.peerNetnsFd !== undefined) writer.attributeU32(IFLA.NET_NS_FD, pair.peerNetnsFd);
      writer.end(peer);
      writer.end(data);
      writer.end(info);
    },
  };
}

/** What both ends of a pair are told. */
function pairEnd(writer: Writer, pair: NewPair, name: string, mac: Uint8Array | undefined): void {
  header(writer);
  writer.attributeString(IFLA.IFNAME, name);
  if (mac) writer.attribute(IFLA.ADDRESS, mac);
  if (pair.mtu !== undefined) writer.attributeU32(IFLA.MTU, pair.mtu);
  if (pair.queues !== undefined && pair.kind === "veth") {
    writer.attributeU32(IFLA.NUM_TX_QUEUES, pair.queues);
    writer.attributeU32(IFLA.NUM_RX_QUEUES, pair.queues);
  }
}

/** Creates a link; EEXIST when the name is taken, EOPNOTSUPP when the kernel has no such kind. */
export function linkAdd(link: NewLink): Request {
  return {
    type: TYPE.NEWLINK,
    flags: FLAG.CREATE | FLAG.EXCLUSIVE,
    attempt: () => `create the ${link.kind} link ${link.name}`,
    body: (writer) => {
      header(writer, undefined, link.up ? IFF_UP : 0, link.up ? IFF_UP : 0);
      writer.attributeString(IFLA.IFNAME, link.name);
      if (link.mac) writer.attribute(IFLA.ADDRESS, link.mac);
      if (link.mtu !== undefined) writer.attributeU32(IFLA.MTU, link.mtu);
      if (link.master !== undefined) writer.attributeU32(IFLA.MASTER, link.master);
      if (link.group !== undefined) writer.attributeU32(IFLA.GROUP, link.group);
      const { data } = link;
      writer.nested(IFLA.LINKINFO, () => {
        writer.attributeString(INFO.KIND, link.kind);
        if (data) writer.nested(INFO.DATA, () => data(writer));
      });
    },
  };
}

/**
 * Changes a link. The kernel works through one message in this order: namespace, MAC, MTU, group, name, alias, up or
 * down, master, per-family settings; so what must precede `up` and is a per-family setting needs a message of its own.
 */
export function linkSet(link: LinkSelector, change: LinkChange): Request {
  if ("name" in link && change.name !== undefined)
    throw new RangeError(`rename ${link.name} by its index, not its name`);
  const { inetConf, addrGenMode } = change;
  return {
    type: TYPE.SETLINK,
    flags: 0,
    attempt: () => `change the link ${describe(link)} (${Object.keys(change).join(", ")})`,
    body: (writer) => {
      header(writer, link, change.up ? IFF_UP : 0, change.up === undefined ? 0 : IFF_UP);
      if (change.name !== undefined) writer.attributeString(IFLA.IFNAME, change.name);
      if (change.mtu !== undefined) writer.attributeU32(IFLA.MTU, change.mtu);
      if (change.mac) writer.attribute(IFLA.ADDRESS, change.mac);
      if (change.alias !== undefined) writer.attribute(IFLA.IFALIAS, new TextEncoder().encode(change.alias));
      if (change.group !== undefined) writer.attributeU32(IFLA.GROUP, change.group);
      if (change.master !== undefined) writer.attributeU32(IFLA.MASTER, change.master);
      if (change.netnsFd !== undefined) writer.attributeU32(IFLA.NET_NS_FD, change.netnsFd);
      if (!inetConf && addrGenMode === undefined) return;
      const families = writer.begin(IFLA.AF_SPEC | NESTED);
      if (inetConf) {
        const ipv4 = writer.begin(AF.INET | NESTED);
        const settings = writer.begin(INET_CONF | NESTED);
        for (const name in inetConf) {
          const value = inetConf[name as keyof InetConf];
          if (value !== undefined) writer.attributeU32(IPV4_DEVCONF[name as keyof InetConf], value);
        }
        writer.end(settings);
        writer.end(ipv4);
      }
      if (addrGenMode !== undefined) {
        const ipv6 = writer.begin(AF.INET6 | NESTED);
        writer.attributeU8(INET6_ADDR_GEN_MODE, addrGenMode);
        writer.end(ipv6);
      }
      writer.end(families);
    },
  };
}

/** Deletes a link, and with a veth its peer; ENODEV when there is none. */
export function linkDelete(link: LinkSelector): Request {
  return {
    type: TYPE.DELLINK,
    flags: 0,
    attempt: () => `delete the link ${describe(link)}`,
    body: (writer) => header(writer, link),
  };
}

/** Deletes all links of a group at the cost of one; ENODEV or ESRCH when there is none. */
export function linkDeleteGroup(group: number): Request {
  return {
    type: TYPE.DELLINK,
    flags: 0,
    attempt: () => `delete the links of group ${group}`,
    body: (writer) => {
      header(writer);
      writer.attributeU32(IFLA.GROUP, group);
    },
  };
}

/** One link; ENODEV when there is none. */
export function linkGet(link: LinkSelector): Request<LinkInfo> {
  return {
    type: TYPE.GETLINK,
    flags: 0,
    attempt: () => `read the link ${describe(link)}`,
    body: (writer) => {
      header(writer, link);
      writer.attributeU32(IFLA.EXT_MASK, SKIP_STATISTICS);
    },
    decode: decodeLink,
  };
}

/** All links, or those of one kind or of one master. */
export function links(filter: { readonly kind?: string; readonly master?: number } = {}): DumpRequest<LinkInfo> {
  const { kind, master } = filter;
  return {
    type: TYPE.GETLINK,
    attempt: () => "list the links",
    body: (writer) => {
      header(writer);
      writer.attributeU32(IFLA.EXT_MASK, SKIP_STATISTICS);
      if (master !== undefined) writer.attributeU32(IFLA.MASTER, master);
      if (kind !== undefined) writer.nested(IFLA.LINKINFO, () => writer.attributeString(INFO.KIND, kind));
    },
    decode: (message) => {
      if (message.type !== TYPE.NEWLINK) return undefined;
      const link = decodeLink(message);
      const wanted = (kind === undefined || link.kind === kind) && (master === undefined || link.master === master);
      return wanted ? link : undefined;
    },
  };
}

/**
 * A NEWLINK or DELLINK message. One loop over its sixty attributes, of which a dozen matter, rather than a function for each:
 * each ADD decodes three links in a new process.
 */
export function decodeLink(message: Message): LinkInfo {
  const { payload } = message;
  if (payload.length < IFINFO) throw truncated(IFINFO, payload.length);
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const flags = view.getUint32(8, true);
  const link: { -readonly [Key in keyof LinkInfo]: LinkInfo[Key] } = {
    index: view.getInt32(4, true),
    name: "",
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_LOWER_UP) !== 0,
    mtu: 0,
    group: 0,
    txQueues: 1,
    rxQueues: 1,
  };
  for (let at = IFINFO, next = 0; at + 4 <= payload.length; at = next) {
    const length = view.getUint16(at, true);
    const value = at + 4;
    next = at + length;
    if (length < 4 || next > payload.length) {
      throw new NetlinkParseError(`attribute of ${length} bytes where ${payload.length - at} are left`);
    }
    const type = view.getUint16(at + 2, true) & TYPE_MASK;
    switch (type) {
      case IFLA.IFNAME:
        link.name = textOf(payload.subarray(value, next));
        break;
      case IFLA.IFALIAS: {
        const alias = textOf(payload.subarray(value, next));
        if (alias !== "") link.alias = alias;
        break;
      }
      case IFLA.ADDRESS:
        if (length === 10) link.mac = formatMac(payload.subarray(value, next));
        break;
      case IFLA.LINKINFO: {
        const kind = Attributes.parse(payload.subarray(value, next)).string(INFO.KIND);
        if (kind !== undefined) link.kind = kind;
        break;
      }
      case IFLA.MTU:
      case IFLA.LINK:
      case IFLA.MASTER:
      case IFLA.GROUP:
      case IFLA.NUM_TX_QUEUES:
      case IFLA.NUM_RX_QUEUES:
      case IFLA.LINK_NETNSID: {
        if (length < 8) throw new NetlinkParseError(`attribute ${type} has ${length - 4} bytes, 4 are needed`);
        const number = view.getUint32(value, true);
        if (type === IFLA.MTU) link.mtu = number;
        else if (type === IFLA.LINK) link.peerIndex = number;
        else if (type === IFLA.MASTER) link.master = number;
        else if (type === IFLA.GROUP) link.group = number;
        else if (type === IFLA.NUM_TX_QUEUES) link.txQueues = number;
        else if (type === IFLA.NUM_RX_QUEUES) link.rxQueues = number;
        else link.peerNetnsId = number | 0;
      }
    }
    next = (next + 3) & ~3;
  }
  return link;
}

/** A link's IPv4 settings; ENODEV when there is no such link. */
export function linkInetConf(link: LinkSelector): Request<Required<InetConf> | undefined> {
  return {
    ...linkGet(link),
    attempt: () => `read the IPv4 settings of the link ${describe(link)}`,
    decode: decodeInetConf,
  };
}

/** The kernel reports the settings as an array that begins with number 1, and takes them as attributes by number. */
function decodeInetConf(message: Message): Required<InetConf> | undefined {
  const families = new Reader(message.payload).attributes(IFINFO).nested(IFLA.AF_SPEC);
  const values = families?.nested(AF.INET)?.get(INET_CONF);
  if (!values || values.length < IPV4_DEVCONF.route_localnet * 4) return undefined;
  const reader = new Reader(values);
  const value = (number: number): number => reader.i32((number - 1) * 4);
  return {
    forwarding: value(IPV4_DEVCONF.forwarding),
    proxy_arp: value(IPV4_DEVCONF.proxy_arp),
    rp_filter: value(IPV4_DEVCONF.rp_filter),
    accept_local: value(IPV4_DEVCONF.accept_local),
    route_localnet: value(IPV4_DEVCONF.route_localnet),
  };
}
