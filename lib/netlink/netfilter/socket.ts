import {
  allocate,
  closeFd,
  inNamespace,
  type Namespace,
  openNetlinkSocket,
  SysError,
  send,
  setSocketOption,
} from "../../sys/index.ts";
import type { NetlinkError } from "../error.ts";
import { encodeMessage, FLAG, parseError, type Request, TYPE } from "../message.ts";
import { ignoreLacking, KernelSocket, type Netlink, SOL_NETLINK } from "../socket.ts";
import { Writer } from "../wire.ts";
import { decodeNetfilter, type NetfilterMessage, writeNetfilter } from "./message.ts";

export const NETLINK_NETFILTER = 12;
const NETLINK_CAP_ACK = 10;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const BATCH = { BEGIN: 16, END: 17, GENID: 1 } as const;
/** A datagram must be smaller than the send buffer by this much (net/netlink/af_netlink.c, netlink_sendmsg). */
const SEND_RESERVE = 32;
const USUAL_SEND_BUFFER = 128 * 1024;
/** Every refused request of a transaction is an answer of some 100 bytes, which takes the kernel 768 of the buffer. */
const ANSWERS_BUFFER = 8 * 1024 * 1024;

/** What came of a transaction. */
export interface Transaction {
  /** All was done; otherwise nothing was. */
  readonly committed: boolean;
  /** What was refused. `request` counts from 0; undefined when the kernel refused the whole (EPERM, or ERESTART for the generation). */
  readonly errors: readonly { readonly request: number | undefined; readonly error: NetlinkError }[];
  /** The notifications of requests that had {@link NLM_F}.ECHO, in order: they tell the handles that the kernel gave. */
  readonly echoes: readonly NetfilterMessage[];
}

/** A socket to netfilter in one namespace. Every call is synchronous. */
export interface Netfilter extends Netlink {
  /**
   * Does all of the requests or none, in one system call: for the subsystem nftables. The kernel looks at each even after one
   * failed, so that all errors are known. `generation`: refuse (ERESTART) when the ruleset is not of this generation.
   * Throws SysError ENOBUFS when there were more answers than fit: then what came of it is unknown.
   */
  transaction(
    subsystem: number,
    requests: readonly Request<unknown>[],
    options?: { readonly generation?: number },
  ): Transaction;
}

/** Opens a socket in `namespace`, or in the namespace that the thread is in. Needs CAP_NET_ADMIN there for about everything. */
export function openNetfilter(namespace?: Namespace): Netfilter {
  const make = (): number => openNetlinkSocket(NETLINK_NETFILTER);
  const fd = namespace ? inNamespace(namespace, make) : make();
  try {
    return new NetfilterSocket(fd);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
}

class NetfilterSocket extends KernelSocket implements Netfilter {
  #sendBuffer = USUAL_SEND_BUFFER;
  #enlarged = false;

  constructor(fd: number) {
    super(fd);
    try {
      // Errors repeat the header of what was refused, and not all of its elements.
      setSocketOption(fd, SOL_NETLINK, NETLINK_CAP_ACK, 1, "ask netlink for short answers");
    } catch (error) {
      ignoreLacking(error);
    }
  }

  transaction(
    subsystem: number,
    requests: readonly Request<unknown>[],
    { generation }: { readonly generation?: number } = {},
  ): Transaction {
    if (requests.length === 0) return { committed: true, errors: [], echoes: [] };
    const writer = new Writer(4096);
    const begin = ++this.sequence;
    const edge = (type: number, attributes?: (writer: Writer) => void): void => {
      const attempt = (): string => "change netfilter's rules";
      const spec = { subsystem: 0, type, resource: subsystem, attempt, ...(attributes && { attributes }) };
      encodeMessage(writer, type, FLAG.REQUEST, type === BATCH.BEGIN ? begin : ++this.sequence, (inner) =>
        writeNetfilter(inner, spec),
      );
    };
    edge(BATCH.BEGIN, generation === undefined ? undefined : (inner) => inner.attributeU32be(BATCH.GENID, generation));
    requests.forEach((request, position) => {
      // The last is acknowledged in any case: only so is the end of the answers known. Kernels before 6.10 do not for the end.
      const flags = FLAG.REQUEST | request.flags | (position === requests.length - 1 ? FLAG.ACK : 0);
      encodeMessage(writer, request.type, flags, ++this.sequence, request.body);
    });
    const last = this.sequence;
    edge(BATCH.END);
    const attempt = (): string =>
      `change netfilter's rules in ${requests.length} steps, the first: ${requests[0]!.attempt()}`;
    this.#makeRoom(writer.length, requests.length);
    send(this.fd, writer.finish(), attempt);
    return this.#answers(requests, begin, last, attempt);
  }

  #answers(requests: readonly Request<unknown>[], begin: number, last: number, attempt: () => string): Transaction {
    const errors: { request: number | undefined; error: NetlinkError }[] = [];
    const echoes: NetfilterMessage[] = [];
    for (let done = false; !done; ) {
      for (const message of this.receive(attempt)) {
        const position = message.sequence - begin - 1;
        if (position < -1 || message.sequence > last) continue; // left over of an exchange that was cut short
        if (message.type !== TYPE.ERROR) {
          const copy = allocate(message.payload.length);
          copy.set(message.payload);
          echoes.push(decodeNetfilter({ ...message, payload: copy }));
          continue;
        }
        const request = requests[position];
        const error = parseError(message, request?.attempt ?? attempt);
        if (error) errors.push({ request: request && position, error });
        // What is said of the beginning is said of the whole, and ends the answers but for what is no news.
        if (message.sequence === last || (position === -1 && error)) done = true;
      }
    }
    return { committed: errors.length === 0, errors, echoes };
  }

  /** The kernel refuses datagrams that its buffers are too small for (EMSGSIZE), and loses answers that do not fit. */
  #makeRoom(bytes: number, requests: number): void {
    if (bytes + SEND_RESERVE > this.#sendBuffer) {
      this.#sendBuffer = bytes + SEND_RESERVE;
      force(this.fd, SO_SNDBUFFORCE, this.#sendBuffer, "enlarge a netlink send buffer");
    }
    if (requests > 100 && !this.#enlarged) {
      this.#enlarged = true;
      force(this.fd, SO_RCVBUFFORCE, ANSWERS_BUFFER, "enlarge a netlink receive buffer");
    }
  }
}

/** Without CAP_NET_ADMIN in the first user namespace the usual size has to do. */
function force(fd: number, option: number, bytes: number, purpose: string): void {
  try {
    setSocketOption(fd, SOL_SOCKET, option, bytes, purpose);
  } catch (error) {
    if (!(error instanceof SysError && error.code === "EPERM")) throw error;
  }
}
