import type { NetConnectOpts, Socket } from "node:net";
import {
  bindNetlinkSocket,
  closeFd,
  inNamespace,
  joinNetlinkGroup,
  type Namespace,
  openNetlinkSocket,
  SysError,
  setSocketOption,
} from "../sys/index.ts";
import { type AddressInfo, decodeAddress } from "./address.ts";
import { decodeLink, type LinkInfo } from "./link.ts";
import { type Message, parseMessages, TYPE } from "./message.ts";
import { decodeNeighbour, type NeighbourInfo } from "./neighbour.ts";
import { decodeRoute, type RouteInfo } from "./route.ts";
import { decodeRule, type RuleInfo } from "./rule.ts";

const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_RCVBUF = 8;
const RECEIVE_BUFFER = 4 * 1024 * 1024;

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
  | { readonly kind: "route"; readonly event: "new" | "deleted"; readonly route: RouteInfo }
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
}

export interface Monitor extends Disposable {
  close(): void;
}

/**
 * Reports changes to links, addresses, routes, neighbours and rules. It listens when this returns, so that listing a table
 * afterwards misses nothing. Changes arrive in the kernel's order, each about 0.2 ms after it happened.
 */
export function openMonitor(options: MonitorOptions): Monitor {
  return new RouteMonitor(options);
}

class RouteMonitor implements Monitor {
  readonly #options: MonitorOptions;
  #socket: Socket | undefined;
  #closed = false;

  constructor(options: MonitorOptions) {
    this.#options = options;
    this.#listen();
  }

  #listen(): void {
    const fd = this.#open();
    // Looked up here and not imported, because the plugin loads this file and never listens.
    const { connect } = process.getBuiltinModule("node:net");
    // Bun adopts a connected descriptor and delivers one datagram a `data` event; @types/node knows of no `fd` here.
    const socket = connect({ fd } as unknown as NetConnectOpts);
    this.#socket = socket;
    socket.on("data", (datagram: Buffer) => this.#deliver(datagram));
    // An overrun comes as ENOBUFS, and adoption ends with it: what was queued is lost in any case.
    socket.on("error", () => this.#reopen(socket));
    socket.on("close", () => this.#reopen(socket));
  }

  #open(): number {
    const { namespace, watch, receiveBuffer = RECEIVE_BUFFER } = this.#options;
    const make = (): number => openNetlinkSocket(0, { nonBlocking: true });
    const fd = namespace ? inNamespace(namespace, make) : make();
    try {
      try {
        setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer, "enlarge a netlink receive buffer");
      } catch (error) {
        if (!(error instanceof SysError && error.code === "EPERM")) throw error;
        setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBuffer, "enlarge a netlink receive buffer");
      }
      bindNetlinkSocket(fd); // the kernel leaves sockets without a port id out of what it tells everybody
      for (const name of watch) for (const group of GROUPS[name]) joinNetlinkGroup(fd, group);
      return fd;
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  #reopen(socket: Socket): void {
    if (this.#closed || this.#socket !== socket) return;
    this.#socket = undefined;
    socket.destroy();
    try {
      this.#listen();
    } catch (error) {
      this.#closed = true;
      this.#options.onError(error as Error);
      return;
    }
    this.#options.onChange({ kind: "resync" });
  }

  #deliver(datagram: Uint8Array): void {
    let changes: Change[];
    try {
      changes = parseMessages(datagram).flatMap((message) => decodeChange(message) ?? []);
    } catch {
      // A datagram that cannot be read may have told of anything.
      changes = [{ kind: "resync" }];
    }
    for (const change of changes) if (!this.#closed) this.#options.onChange(change);
  }

  close(): void {
    this.#closed = true;
    this.#socket?.destroy();
    this.#socket = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
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
      return route && { kind: "route", event: message.type === TYPE.NEWROUTE ? "new" : "deleted", route };
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
