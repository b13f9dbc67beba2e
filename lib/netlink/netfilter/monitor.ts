import type { Namespace } from "../../sys/index.ts";
import { Listener, type Monitor } from "../listener.ts";
import { parseMessages } from "../message.ts";
import { decodeNetfilter, type NetfilterMessage } from "./message.ts";
import { NETLINK_NETFILTER } from "./socket.ts";

export interface NetfilterMonitorOptions {
  /** NF_GROUP */
  readonly groups: readonly number[];
  /** In the kernel's order. nftables tells of a transaction change by change, and of its end with NFT_MSG_NEWGEN. */
  readonly onMessage: (message: NetfilterMessage) => void;
  /** Messages may have been missed: list again, then go on with what follows. */
  readonly onResync: () => void;
  /** The monitor has stopped for good: it could not be opened again after an overrun. */
  readonly onError: (error: Error) => void;
  readonly namespace?: Namespace;
  /** Bytes that the kernel may queue; 4 MiB when absent. */
  readonly receiveBuffer?: number;
}

/** Listens when this returns, so that listing afterwards misses nothing. */
export function openNetfilterMonitor(options: NetfilterMonitorOptions): Monitor {
  const { groups, onMessage, onResync, onError, namespace, receiveBuffer } = options;
  const listener = new Listener({
    protocol: NETLINK_NETFILTER,
    groups,
    onDatagram: (datagram) => {
      let messages: NetfilterMessage[];
      try {
        messages = parseMessages(datagram).flatMap((message) => (message.type < 0x100 ? [] : decodeNetfilter(message)));
      } catch {
        onResync();
        return;
      }
      for (const message of messages) if (!listener.closed) onMessage(message);
    },
    onOverrun: onResync,
    onError,
    ...(namespace && { namespace }),
    ...(receiveBuffer !== undefined && { receiveBuffer }),
  });
  return listener;
}
