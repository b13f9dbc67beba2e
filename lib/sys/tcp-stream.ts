/** TCP descriptors in Bun's event loop: what comes in, when there is room again, and the end, as calls. */
import type { Socket, SocketHandler, TCPSocketConnectOptions, TCPSocketListenOptions } from "bun";
import { SysError } from "./errno.ts";
import { closeFd } from "./libc.ts";
import { waitReadable } from "./socket.ts";
import { remoteEnd, takeSocketError } from "./tcp-socket.ts";

/** None is called from within a call to the stream. */
export interface StreamEvents {
  /** What was read. The bytes are the receiver's. */
  data(bytes: Uint8Array): void;
  /** The kernel has room again after a `write` that was not taken whole. It may be called without one. */
  writable(): void;
  /** The other end closed, or with an error whose errno's name is given. Called once, and nothing after it. */
  lost(errno: string | undefined): void;
}

type Phase = "connecting" | "open" | "gone";
type Code = Error & { readonly code?: string };

/** An open connection. Nothing here throws. */
export class TcpStream {
  #socket: Socket<TcpStream> | undefined;
  #phase: Phase;
  #events: StreamEvents | undefined;
  /** What came before anybody listened. */
  #early: Uint8Array[] = [];
  #lost: { readonly errno: string | undefined } | undefined;
  #paused = false;
  #adopted = false;
  #connected: ((stream: TcpStream) => void) | undefined;
  #failed: ((errno: string) => void) | undefined;

  /** By the functions of this file. */
  constructor(connect?: { connected: (stream: TcpStream) => void; failed: (errno: string) => void }) {
    this.#phase = connect ? "connecting" : "open";
    this.#connected = connect?.connected;
    this.#failed = connect?.failed;
  }

  /** The event loop has it, and closes the descriptor. */
  get adopted(): boolean {
    return this.#adopted;
  }

  /** Valid until the connection is closed or lost: then -1. */
  get fd(): number {
    return this.#phase === "gone" || !this.#socket ? -1 : (this.#socket as unknown as { readonly fd: number }).fd;
  }

  /** Who is told. Until this is called nothing is read, and nothing is lost. */
  listen(events: StreamEvents): void {
    this.#events = events;
    queueMicrotask(() => {
      for (const bytes of this.#early.splice(0)) this.#events?.data(bytes);
      if (this.#lost) this.#tellLost();
      else if (this.#phase === "open" && !this.#paused) this.#socket?.resume();
    });
  }

  /** Gives the kernel what it has room for; how many bytes that were. */
  write(bytes: Uint8Array): number {
    if (this.#phase !== "open" || !this.#socket || bytes.length === 0) return 0;
    return Math.max(0, this.#socket.write(bytes as Uint8Array<ArrayBuffer>));
  }

  /** Nothing is read until `resume`. */
  pause(): void {
    this.#paused = true;
    if (this.#phase === "open") this.#socket?.pause();
  }

  resume(): void {
    this.#paused = false;
    if (this.#phase === "open" && this.#events) this.#socket?.resume();
  }

  /** Whether something has come that was not read yet, be it the end. */
  readable(): boolean {
    if (this.#early.length > 0) return true;
    const { fd } = this;
    return fd >= 0 && waitReadable(fd, 0);
  }

  /** Writes nothing more: the other reads to the end. */
  finish(): void {
    if (this.#phase === "open") this.#socket?.shutdown();
  }

  /** Gone at once, with FIN, or RST where something was not read. No event comes after. */
  close(): void {
    if (this.#phase === "gone") return;
    const connecting = this.#phase === "connecting";
    this.#phase = "gone";
    this.#early = [];
    if (connecting) this.#socket?.terminate();
    else this.#socket?.end();
  }

  static readonly handlers: SocketHandler<TcpStream> = {
    open(socket) {
      const stream = socket.data;
      stream.#adopted = true;
      stream.#socket = socket;
      if (stream.#phase === "gone") socket.terminate();
    },
    drain(socket) {
      const stream = socket.data;
      if (stream.#phase === "connecting") stream.#decide(socket);
      else if (stream.#phase === "open") stream.#events?.writable();
    },
    data(socket, bytes) {
      const stream = socket.data;
      // A server's first words may come in the very turn in which the connection is made.
      if (stream.#phase === "connecting") stream.#decide(socket);
      if (stream.#phase !== "open") return;
      if (stream.#events && stream.#early.length === 0) stream.#events.data(bytes);
      else stream.#early.push(bytes);
    },
    close(socket, error) {
      socket.data.#end((error as Code | undefined)?.code);
    },
    error(socket, error) {
      const stream = socket.data;
      stream.#end((error as Code).code ?? "EIO");
      socket.terminate();
    },
  };

  /** An adopted descriptor is writable once it is connected, and also when that has failed. */
  #decide(socket: Socket<TcpStream>): void {
    const { fd } = socket as unknown as { readonly fd: number };
    const errno = takeSocketError(fd);
    if (errno !== undefined) {
      this.#end(errno);
      socket.terminate();
      return;
    }
    if (!remoteEnd(fd)) return; // not yet
    this.#phase = "open";
    socket.pause();
    const connected = this.#connected;
    this.#connected = undefined;
    this.#failed = undefined;
    connected?.(this);
  }

  #end(errno: string | undefined): void {
    const phase = this.#phase;
    this.#phase = "gone";
    this.#socket = undefined;
    if (phase === "connecting") {
      const failed = this.#failed;
      this.#failed = undefined;
      failed?.(errno ?? "ECONNABORTED");
    } else if (phase === "open") {
      this.#lost = { errno };
      if (this.#events && this.#early.length === 0) this.#tellLost();
    }
  }

  #tellLost(): void {
    const lost = this.#lost;
    const events = this.#events;
    if (!lost || !events) return;
    this.#events = undefined;
    events.lost(lost.errno);
  }
}

/**
 * Takes over a descriptor that is connecting (`beginConnect`): one of the two is called, once, unless it is cancelled. The stream is
 * paused until somebody listens.
 */
export function connectStream(
  fd: number,
  connected: (stream: TcpStream) => void,
  failed: (errno: string) => void,
): { cancel(): void } {
  const stream = new TcpStream({ connected, failed });
  adopt(fd, stream, failed);
  return { cancel: () => stream.close() };
}

function adopt(fd: number, stream: TcpStream, failed: (errno: string) => void): void {
  // @types/bun know `fd` of unix sockets alone; Bun takes any.
  const options = { fd, data: stream, socket: TcpStream.handlers } as unknown as TCPSocketConnectOptions<TcpStream>;
  Bun.connect(options).catch((error: Code) => {
    // Once it has been opened Bun closes it, and the number may be somebody else's by now.
    if (stream.adopted) return;
    closeFd(fd);
    failed(error.code ?? "EIO");
  });
}

/** A listening descriptor in the event loop. */
export interface TcpListener {
  /** Valid until it is closed: then -1. */
  readonly fd: number;
  /** Accepts no more; what was accepted stays. */
  close(): void;
}

/** Takes over a descriptor that listens. Streams come paused, until somebody listens to them. */
export function adoptListener(fd: number, accepted: (stream: TcpStream) => void): TcpListener {
  const options = {
    fd,
    socket: {
      ...TcpStream.handlers,
      open(socket: Socket<TcpStream>) {
        socket.data = new TcpStream();
        TcpStream.handlers.open?.(socket);
        socket.pause();
        accepted(socket.data);
      },
    },
  } as unknown as TCPSocketListenOptions<TcpStream>;
  let listener: { stop(force?: boolean): void } | undefined;
  try {
    listener = Bun.listen(options);
  } catch (error) {
    closeFd(fd);
    throw new SysError("listen", 22, "adopt a listening socket", { cause: error });
  }
  return {
    get fd() {
      return listener ? fd : -1;
    },
    close() {
      listener?.stop(false);
      listener = undefined;
    },
  };
}
