import type { Namespace } from "../sys/index.ts";
import { type AddressInfo, decodeAddress } from "./address.ts";
import { decodeLink, type LinkInfo } from "./link.ts";
import { Listener, type Monitor } from "./listener.ts";
import { FLAG, type Message, parseMessages, TYPE } from "./message.ts";
import { decodeNeighbour, type NeighbourInfo } from "./neighbour.ts";
import { decodeRoute, type RouteInfo } from "./route.ts";
import { decodeRule, type RuleInfo } from "./rule.ts";

const NETLINK_ROUTE = 0;

/** Multicast groups (RTNLGRP_…) by what they tell of. */
const GROUPS = {
  links: [1],
  neighbours: [3],
  addresses: [5, 9],
  routes: [7, 11],
  rules: [8, 19],
} as const;

/** What happened. `new` covers changed: the kernel does not tell the two apart. */
export type Change =
  | { readonly kind: "link"; readonly event: "new" | "deleted"; readonly link: LinkInfo }
  | { readonly kind: "address"; readonly event: "new" | "deleted"; readonly address: AddressInfo }
  | {
      readonly kind: "route";
      readonly event: "new" | "deleted";
      readonly route: RouteInfo;
      /** It took the place of another of that destination and metric. */
      readonly replaces?: boolean;
    }
  | { readonly kind: "neighbour"; readonly event: "new" | "deleted"; readonly neighbour: NeighbourInfo }
  | { readonly kind: "rule"; readonly event: "new" | "deleted"; readonly rule: RuleInfo }
  /** Changes may have been missed, because they came faster than they were read: list again, then go on with what follows. */
  | { readonly kind: "resync" };

export interface MonitorOptions {
  readonly watch: readonly (keyof typeof GROUPS)[];
  readonly onChange: (change: Change) => void;
  /** The monitor has stopped for good: it could not be opened again after an overrun. */
  readonly onError: (error: Error) => void;
  readonly namespace?: Namespace;
  /** Bytes that the kernel may queue; 4 MiB when absent. */
  readonly receiveBuffer?: number;
  /** {@link Netlink.port} of a socket whose own doings are not reported: who programs many routes need not hear of each again. */
  readonly exceptPort?: number;
}

/**
 * Reports changes to links, addresses, routes, neighbours and rules. It listens when this returns, so that listing a table
 * afterwards misses nothing. Changes arrive in the kernel's order, each about 0.2 ms after it happened.
 */
export function openMonitor(options: MonitorOptions): Monitor {
  const { watch, onChange, onError, namespace, receiveBuffer, exceptPort } = options;
  const listener = new Listener({
    protocol: NETLINK_ROUTE,
    groups: watch.flatMap((name) => GROUPS[name]),
    onDatagram: (datagram) => {
      for (const change of decodeChanges(datagram)) if (!listener.closed) onChange(change);
    },
    onOverrun: () => onChange({ kind: "resync" }),
    onError,
    ...(namespace && { namespace }),
    ...(receiveBuffer !== undefined && { receiveBuffer }),
    ...(exceptPort !== undefined && { exceptPort }),
  });
  return listener;
}

function decodeChanges(datagram: Uint8Array): Change[] {
  try {
    return parseMessages(datagram).flatMap((message) => decodeChange(message) ?? []);
  } catch {
    // A datagram that cannot be read may have told of anything.
    return [{ kind: "resync" }];
  }
}

/** What a multicast message tells; undefined for what nobody asked for. */
export function decodeChange(message: Message): Change | undefined {
  switch (message.type) {
    case TYPE.NEWLINK:
    case TYPE.DELLINK:
      // Bridges report their ports' settings in link messages of their own family: the link itself did not change.
      if (message.payload[0] !== 0) return undefined;
      return { kind: "link", event: message.type === TYPE.NEWLINK ? "new" : "deleted", link: decodeLink(message) };
    case TYPE.NEWADDR:
    case TYPE.DELADDR: {
      const address = decodeAddress(message);
      return address && { kind: "address", event: message.type === TYPE.NEWADDR ? "new" : "deleted", address };
    }
    case TYPE.NEWROUTE:
    case TYPE.DELROUTE: {
      const route = decodeRoute(message);
      if (!route) return undefined;
      if (message.type === TYPE.DELROUTE) return { kind: "route", event: "deleted", route };
      const replaces = (message.flags & FLAG.REPLACE) !== 0;
      return { kind: "route", event: "new", route, ...(replaces && { replaces }) };
    }
    case TYPE.NEWNEIGH:
    case TYPE.DELNEIGH: {
      const event = message.type === TYPE.NEWNEIGH ? "new" : "deleted";
      return { kind: "neighbour", event, neighbour: decodeNeighbour(message) };
    }
    case TYPE.NEWRULE:
    case TYPE.DELRULE: {
      const rule = decodeRule(message);
      return rule && { kind: "rule", event: message.type === TYPE.NEWRULE ? "new" : "deleted", rule };
    }
    default:
      return undefined;
  }
}
