/**
 * rtnetlink in TypeScript (RFC 3549; include/uapi/linux/{netlink,rtnetlink,if_link,neighbour,fib_rules}.h).
 *
 * Data flow: a function per message (`linkSet`, `routeAdd`, …) makes a {@link Request}, which is data that says also in words what
 * is attempted → {@link Netlink.execute} sends any number of requests in one system call and collects what went wrong → a
 * {@link NetlinkError} with the errno's name, those words and the kernel's own explanation. Dumps (`links`, `routes`, …) are
 * {@link DumpRequest}s: filtered by the kernel where it can, by us where it cannot, and repeated when the kernel says that its tables
 * changed meanwhile. {@link openMonitor} reports changes as they happen. The codec (`wire.ts`, `message.ts` and one file a
 * message family) knows nothing of sockets.
 *
 * Netfilter's protocol (nftables, conntrack, ipset) shares the codec, the socket and the listener; its door is `netfilter/index.ts`.
 *
 * Known gaps: generic netlink, traffic control beyond dumping qdiscs, and big-endian machines.
 */
export {
  type AddressChange,
  type AddressInfo,
  addressAdd,
  addressDelete,
  addresses,
  decodeAddress,
  IFA_F,
} from "./address.ts";
export { NetlinkError, NetlinkParseError } from "./error.ts";
export {
  decodeLink,
  type InetConf,
  IPV4_DEVCONF,
  type LinkChange,
  type LinkInfo,
  type LinkSelector,
  linkAdd,
  linkDelete,
  linkDeleteGroup,
  linkGet,
  linkInetConf,
  linkSet,
  links,
  type NewLink,
  type NewPair,
  pairAdd,
} from "./link.ts";
export type { Monitor } from "./listener.ts";
export { type DumpRequest, FLAG as NLM_F, type Message, type Request } from "./message.ts";
export { type Change, type MonitorOptions, openMonitor } from "./monitor.ts";
export {
  decodeNeighbour,
  type NeighbourChange,
  type NeighbourInfo,
  NUD,
  neighbourDelete,
  neighbourSet,
  neighbours,
  neighbourTableSet,
} from "./neighbour.ts";
export { netnsId } from "./netns.ts";
export { decodeQdisc, type QdiscInfo, qdiscs } from "./qdisc.ts";
export {
  decodeRoute,
  describeRoute,
  type NextHop,
  type RouteChange,
  type RouteFilter,
  type RouteInfo,
  type RouteMode,
  type RouteType,
  RT_PROTOCOL,
  RT_SCOPE,
  RT_TABLE,
  routeAdd,
  routeDelete,
  routeGet,
  routes,
} from "./route.ts";
export { decodeRule, type RuleAction, type RuleChange, type RuleInfo, ruleAdd, ruleDelete, rules } from "./rule.ts";
export { type BatchResult, type Netlink, openNetlink } from "./socket.ts";
export { Attributes, type Writer } from "./wire.ts";
