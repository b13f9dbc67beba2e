/**
 * Netfilter's netlink (include/uapi/linux/netfilter/nfnetlink.h), a door of its own beside the folder's, because the plugin
 * needs none of it. One protocol whose message types are a subsystem and a number within it; attributes in network order.
 *
 * Data flow: who speaks to a subsystem makes requests with {@link nfRequest} and {@link nfDump}, writing attributes with {@link Writer}
 * (`attributeU32be`…) and reading them with {@link Attributes} (`u32be`…) → {@link openNetfilter} sends them like rtnetlink's. nftables
 * takes changes only as a transaction, in one datagram between a begin and an end (net/netfilter/nfnetlink.c,
 * nfnetlink_rcv_batch): {@link Netfilter.transaction}. {@link openNetfilterMonitor} reports what others do. Of the subsystems only
 * conntrack's messages are made here (`conntrack.ts`).
 */
export {
  Attributes,
  type DumpRequest,
  type Message,
  type Monitor,
  NetlinkError,
  NetlinkParseError,
  NLM_F,
  type Request,
  type Writer,
} from "../index.ts";
export {
  CT_STATUS,
  conntrackDelete,
  conntrackFlows,
  ENDPOINT_FIELDS,
  type Flow,
  type FlowField,
  type FlowFilter,
  type FlowTuple,
  fieldOf,
  flushConntrack,
} from "./conntrack.ts";
export {
  decodeNetfilter,
  type NetfilterDump,
  type NetfilterMessage,
  type NetfilterRequest,
  NF_FAMILY,
  NF_GROUP,
  NF_SUBSYSTEM,
  nfDump,
  nfRequest,
} from "./message.ts";
export { type NetfilterMonitorOptions, openNetfilterMonitor } from "./monitor.ts";
export { type Netfilter, openNetfilter, type Transaction } from "./socket.ts";
