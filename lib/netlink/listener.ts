/** Sockets on which the kernel tells everybody of changes: multicast groups of any netlink protocol. */
import type { NetConnectOpts, Socket } from "node:net";
import {
  attachSocketFilter,
  bindNetlinkSocket,
  closeFd,
  inNamespace,
  joinNetlinkGroup,
  type Namespace,
  openNetlinkSocket,
  type SocketFilter,
  SysError,
  setSocketOption,
} from "../sys/index.ts";

const SOL_SOCKET = 1;
const SO_RCVBUFFORCE = 33;
const SO_RCVBUF = 8;
const RECEIVE_BUFFER = 4 * 1024 * 1024;

export interface ListenerOptions {
  readonly protocol: number;
  readonly groups: readonly number[];
  readonly onDatagram: (datagram: Uint8Array) => void;
  /** Datagrams may have been lost; the listener goes on with what follows. */
  readonly onOverrun: () => void;
  /** It has stopped for good: it could not be opened again after an overrun. */
  readonly onError: (error: Error) => void;
  readonly namespace?: Namespace;
  /** Bytes that the kernel may queue; 4 MiB when absent. */
  readonly receiveBuffer?: number;
  /** What the socket of this port id caused is left out by the kernel. */
  readonly exceptPort?: number;
}

/** Something that calls back until it is closed. */
export interface Monitor extends Disposable {
  close(): void;
}

/** Listens when it is made; each datagram is one call. */
export class Listener implements Monitor {
  readonly #options: ListenerOptions;
  #socket: Socket | undefined;
  #closed = false;

  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#listen();
  }

  get closed(): boolean {
    return this.#closed;
  }

  #listen(): void {
    const fd = this.#open();
    // Looked up here and not imported, because the plugin loads this file and never listens.
    const { connect } = process.getBuiltinModule("node:net");
    // Bun adopts a connected descriptor and delivers one datagram a `data` event; @types/node knows of no `fd` here.
    const socket = connect({ fd } as unknown as NetConnectOpts);
    this.#socket = socket;
    socket.on("data", (datagram: Buffer) => {
      if (!this.#closed) this.#options.onDatagram(datagram);
    });
    // An overrun comes as ENOBUFS, and adoption ends with it: what was queued is lost in any case.
    socket.on("error", () => this.#reopen(socket));
    socket.on("close", () => this.#reopen(socket));
  }

  #open(): number {
    const { protocol, groups, namespace, receiveBuffer = RECEIVE_BUFFER, exceptPort } = this.#options;
    const make = (): number => openNetlinkSocket(protocol, { nonBlocking: true });
    const fd = namespace ? inNamespace(namespace, make) : make();
    try {
      try {
        setSocketOption(fd, SOL_SOCKET, SO_RCVBUFFORCE, receiveBuffer, "enlarge a netlink receive buffer");
      } catch (error) {
        if (!(error instanceof SysError && error.code === "EPERM")) throw error;
        setSocketOption(fd, SOL_SOCKET, SO_RCVBUF, receiveBuffer, "enlarge a netlink receive buffer");
      }
      if (exceptPort) attachSocketFilter(fd, notFrom(exceptPort), "leave out what is known already");
      bindNetlinkSocket(fd); // the kernel leaves sockets without a port id out of what it tells everybody
      for (const group of groups) joinNetlinkGroup(fd, group);
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
    this.#options.onOverrun();
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

/** Takes a datagram unless the port id in its header is this one. Filters load words in network order, and netlink has them in the machine's. */
function notFrom(port: number): SocketFilter {
  const swapped = new DataView(new ArrayBuffer(4));
  swapped.setUint32(0, port, true);
  return [
    { code: 0x20, k: 12 }, // load the word at 12, nlmsg_pid
    { code: 0x15, jumpTrue: 0, jumpFalse: 1, k: swapped.getUint32(0, false) },
    { code: 0x06, k: 0 }, // drop
    { code: 0x06, k: 0xffffffff }, // take all of it
  ];
}
