import {
  allocate,
  closeFd,
  inNamespace,
  type Namespace,
  openNetlinkSocket,
  type Received,
  receive,
  SysError,
  send,
  setSocketOption,
} from "../sys/index.ts";
import { collectDump, collectPiece, type DumpState } from "./dump.ts";
import { NetlinkError, NetlinkParseError } from "./error.ts";
import {
  type DumpRequest,
  encodeMessage,
  FLAG,
  type Message,
  parseError,
  parseMessages,
  type Request,
  TYPE,
} from "./message.ts";
import { Writer } from "./wire.ts";

const NETLINK_ROUTE = 0;
export const SOL_NETLINK = 270;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const EINTR = 4;
const EIO = 5;

/** rtnetlink answers within the system call that asks; this is only for a kernel that does not. */
const ANSWER_TIMEOUT = 10_000;
/** The kernel fills at most 32 KiB a dump message, and a link with many virtual functions may need more. */
const RECEIVE_BUFFER = 64 * 1024;
/** How many requests and bytes one datagram carries: their answers must fit the socket's buffer even if all are refused. */
const BATCH_REQUESTS = 100;
const BATCH_BYTES = 32 * 1024;
/** How often a dump is repeated that the kernel calls inconsistent. */
const DUMP_ATTEMPTS = 10;

/** What came of one request of a batch. */
export interface BatchResult<Reply = unknown> {
  readonly error?: NetlinkError;
  /** Decoded answer of a request that has one. */
  readonly reply?: Reply;
}

/** A socket to rtnetlink in one namespace. Every call is synchronous. */
export interface Netlink extends Disposable {
  /** One request; its answer. Throws {@link NetlinkError} when the kernel refuses. */
  request<Reply>(request: Request<Reply>): Reply;
  /**
   * Sends requests together, in one system call, and tells what came of each. The kernel works through them in order and
   * does **not** stop at one that fails.
   */
  batch(requests: readonly Request<unknown>[]): BatchResult[];
  /** Like `batch`, but throws the first error, after all have been worked through. */
  execute(requests: readonly Request<unknown>[]): void;
  /** A table, complete and of one moment. Throws {@link NetlinkError} with code EINTR when it keeps changing. */
  dump<Item>(request: DumpRequest<Item>): Item[];
  /**
   * A large table datagram by datagram, so that other work gets its turn between them; false at the end when it changed meanwhile. Nothing
   * else may be asked of this socket before the end.
   */
  pieces<Item>(request: DumpRequest<Item>): Generator<Item[], boolean>;
  /** The kernel's name for the socket, which the notifications of what it caused carry; 0 before the first answer. */
  readonly port: number;
  close(): void;
}

/** Opens a socket in `namespace`, or in the namespace that the thread is in. It stays there, wherever the thread goes. */
export function openNetlink(namespace?: Namespace): Netlink {
  return new KernelSocket(
    namespace ? inNamespace(namespace, () => openNetlinkSocket(NETLINK_ROUTE)) : openNetlinkSocket(NETLINK_ROUTE),
  );
}

/** What sockets to rtnetlink and netfilter have in common. */
export class KernelSocket implements Netlink {
  protected readonly fd: number;
  protected sequence = 0;
  #strict = false;
  #closed = false;
  #port = 0;
  #buffer: Uint8Array<ArrayBuffer> | undefined;

  get port(): number {
    return this.#port;
  }

  constructor(fd: number) {
    this.fd = fd;
    try {
      setSocketOption(fd, SOL_NETLINK, NETLINK_EXT_ACK, 1, "ask netlink for explanations");
    } catch (error) {
      ignoreLacking(error);
    }
  }

  request<Reply>(request: Request<Reply>): Reply {
    const result = this.batch([request])[0]!;
    if (result.error) throw result.error;
    return result.reply as Reply;
  }

  execute(requests: readonly Request<unknown>[]): void {
    for (const { error } of this.batch(requests)) if (error) throw error;
  }

  batch(requests: readonly Request<unknown>[]): BatchResult[] {
    const results: BatchResult[] = [];
    for (const _ of requests) results.push({});
    for (let from = 0; from < requests.length; ) from = this.#exchange(requests, from, results);
    return results;
  }

  /** Sends as many requests as fit one datagram, from `from` on, and collects what the kernel says; returns the next. */
  #exchange(requests: readonly Request<unknown>[], from: number, results: BatchResult[]): number {
    const writer = new Writer(1024);
    const first = this.sequence + 1;
    let next = from;
    let written = 0;
    while (next < requests.length && next - from < BATCH_REQUESTS && written < BATCH_BYTES) {
      const request = requests[next]!;
      // Success needs no acknowledgement but the last's: what fails is reported in any case, in order.
      const last = next + 1 === requests.length || next + 1 - from === BATCH_REQUESTS;
      const flags = FLAG.REQUEST | request.flags | (last && !request.decode ? FLAG.ACK : 0);
      const start = written;
      written = encodeMessage(writer, request.type, flags, ++this.sequence, request.body);
      next++;
      // Whether it was the last is known only now when the bytes are what limits.
      if (!request.decode && written >= BATCH_BYTES) writer.patchU16(start + 6, flags | FLAG.ACK);
    }
    const attempt = requests[from]!.attempt;
    send(this.fd, writer.finish(), attempt);
    const awaited = this.sequence;
    for (let done = false; !done; ) {
      for (const message of this.receive(attempt)) {
        const position = message.sequence - first;
        if (position < 0 || message.sequence > awaited) continue; // left over of an exchange that was cut short
        const request = requests[from + position]!;
        if (message.type === TYPE.ERROR) {
          const error = parseError(message, request.attempt);
          if (error) results[from + position] = { error };
        } else if (request.decode) {
          results[from + position] = { reply: request.decode(message) };
        }
        if (message.sequence === awaited) done = true;
      }
    }
    return next;
  }

  dump<Item>(request: DumpRequest<Item>): Item[] {
    this.#filterDumps();
    for (let attempt = 0; attempt < DUMP_ATTEMPTS; attempt++) {
      const items = this.#dumpOnce(request);
      if (items) return items;
    }
    throw new NetlinkError(EINTR, request.attempt(), `changed during each of ${DUMP_ATTEMPTS} attempts`);
  }

  *pieces<Item>(request: DumpRequest<Item>): Generator<Item[], boolean> {
    this.#filterDumps();
    const sequence = this.#ask(request);
    const state: DumpState = { consistent: true, done: false };
    while (!state.done) yield collectPiece(this.receive(request.attempt), sequence, request, state);
    return state.consistent;
  }

  #filterDumps(): void {
    if (!this.#strict) {
      // Kernels before 4.20 lack it, and then send more than was asked: `decode` filters.
      try {
        setSocketOption(this.fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, 1, "ask netlink to filter dumps");
      } catch (error) {
        ignoreLacking(error);
      }
      this.#strict = true;
    }
  }

  #ask<Item>(request: DumpRequest<Item>): number {
    const writer = new Writer(64);
    encodeMessage(writer, request.type, FLAG.REQUEST | FLAG.DUMP, ++this.sequence, request.body);
    send(this.fd, writer.finish(), request.attempt);
    return this.sequence;
  }

  /** Undefined when the table changed meanwhile. */
  #dumpOnce<Item>(request: DumpRequest<Item>): Item[] | undefined {
    return collectDump(() => this.receive(request.attempt), this.#ask(request), request);
  }

  /** The messages of the next datagram; they are views of a buffer that the next call overwrites. */
  protected receive(attempt: () => string): Message[] {
    this.#buffer ??= allocate(RECEIVE_BUFFER);
    const received: Received | undefined = receive(this.fd, this.#buffer, ANSWER_TIMEOUT, attempt);
    if (!received) throw new NetlinkError(EIO, attempt(), `no answer within ${ANSWER_TIMEOUT} ms`);
    if (received.length > received.bytes.length) {
      throw new NetlinkParseError(`${attempt()}: an answer of ${received.length} bytes does not fit ${RECEIVE_BUFFER}`);
    }
    const messages = parseMessages(received.bytes);
    this.#port = messages[0]?.port ?? this.#port; // what answers carries the asker's own
    return messages;
  }

  close(): void {
    if (!this.#closed) closeFd(this.fd);
    this.#closed = true;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** For what the kernel may lack: explanations and filters are not worth failing for. */
export function ignoreLacking(error: unknown): void {
  if (!(error instanceof SysError && error.code === "ENOPROTOOPT")) throw error;
}
