import type { Address } from "../../ip/index.ts";

/** Time as a session sees it; tests have one of their own. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls back once, after so many milliseconds. */
  after(milliseconds: number, callback: () => void): Timer;
}

export interface Timer {
  /** Again, or after it went off, does nothing. */
  cancel(): void;
}

/** A stream of bytes to a peer and back, which is open. Nothing here throws. */
export interface Connection {
  readonly local: Address;
  readonly remote: Address;
  /** Takes what the kernel has room for and says how many bytes that were; fewer than given: `writable` is called when there is room again. */
  write(bytes: Uint8Array): number;
  /** Reads nothing until `resume`: the other's packets fill the kernel's buffer, and then it has to wait. */
  pause(): void;
  resume(): void;
  /** Whether bytes have come that were not read yet. */
  readable(): boolean;
  /** No more will be written: FIN. What is read goes on. */
  finish(): void;
  /** Gone at once; nothing is called any more. */
  close(): void;
  /** Who is told of what happens. Until it is set nothing is read. */
  listen(events: ConnectionEvents): void;
}

export interface ConnectionEvents {
  /** The bytes belong to the one who is called. */
  data(bytes: Uint8Array): void;
  writable(): void;
  /** By the other, or by an error, whose errno's name is given. Called once; afterwards the connection is closed. */
  lost(errno: string | undefined): void;
}

/** Where to connect to, and how. */
export interface Target {
  readonly address: Address;
  readonly port: number;
  /** Of a link-local address. */
  readonly interface?: string;
  readonly sourceAddress?: Address;
  readonly password?: string;
  /** GTSM (RFC 5082): hops at most. */
  readonly ttlSecurity?: number;
}

/** Why there is no connection: the errno's name (ECONNREFUSED), and of which call. */
export interface ConnectFailure {
  readonly errno: string;
  readonly call: string;
}

/** How connections are made. */
export interface Transport {
  /** One of the two is called, once and not from within this call, unless it is cancelled. Never throws. */
  connect(
    target: Target,
    connected: (connection: Connection) => void,
    failed: (failure: ConnectFailure) => void,
  ): { cancel(): void };
  /**
   * Segments that the kernel has dropped so far, for want of a right signature or of enough TTL. Of the whole namespace, not of one
   * peer: that they grow during an attempt makes a cause likely, and proves nothing. Undefined where the kernel does not count.
   */
  drops?(): Drops | undefined;
}

export interface Drops {
  /** With a wrong signature, without one where one is due, or with one where none is; and of those the last. */
  readonly md5: number;
  readonly unexpectedMd5: number;
  readonly ttl: number;
}

/** What sessions of one family and port share. */
export interface Listener {
  /** The port that is listened on: of interest where 0 was asked for. */
  readonly port: number;
  /** Connections that come from this address go to `accept`, and TCP-MD5 is asked of them from now on. Throws a SysError where the kernel refuses the key. */
  register(peer: ListenerPeer): { close(): void };
  /** Ends listening; connections that were accepted stay. */
  close(): void;
}

export interface ListenerPeer {
  readonly address: Address;
  readonly interface?: string;
  readonly password?: string;
  readonly ttlSecurity?: number;
  accept(connection: Connection): void;
}

/** What a session lives in. Everything but `listener` has a default that is the real thing. */
export interface Environment {
  readonly clock?: Clock;
  /** From 0 up to, but without, 1. */
  readonly random?: () => number;
  readonly transport?: Transport;
  /** Absent: nobody connects to this session. */
  readonly listener?: Listener;
}
