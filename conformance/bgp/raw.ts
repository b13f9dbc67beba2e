/** A peer that says whatever bytes it is told to: for what no daemon says, and to play hundreds of peers in one process. */

import {
  type Capabilities,
  countPrefixes,
  decodeNotification,
  decodeOpen,
  decodeUpdate,
  eachPrefix,
  encodeAttributes,
  encodeKeepalive,
  encodeOpen,
  encodeUpdates,
  HEADER_LENGTH,
  MESSAGE,
  MessageReader,
  type Negotiated,
  type Notification,
  type Open,
  type PathAttributes,
  PrefixWriter,
} from "../../lib/bgp/wire/index.ts";
import { addressBytes, parseAddress } from "../../lib/ip/index.ts";
import { inNamespace, openNamespace } from "../../lib/sys/index.ts";
import { beginConnect, bindTcp, connectStream, openTcpSocket, type TcpStream } from "../../lib/sys/tcp.ts";

export interface RawPeerOptions {
  /** Path of the network namespace that it speaks from. */
  readonly namespace: string;
  readonly local: string;
  readonly remote: string;
  /** Default 179. */
  readonly port?: number;
  readonly asn: number;
  /** Default: as the local address, of IPv4. */
  readonly routerId?: number;
  readonly capabilities?: Partial<Capabilities>;
  /** Prefixes are counted and not kept: of hundreds of peers they are too many. */
  readonly counts?: boolean;
  /** Each message that comes, before it is looked at here. The bytes are valid during the call. */
  readonly onMessage?: (type: number, body: Uint8Array) => void;
}

export const CAPABILITIES: Capabilities = {
  families: [4],
  routeRefresh: true,
  enhancedRouteRefresh: false,
  extendedMessages: false,
  fourOctetAsn: true,
  addPath: [],
  extendedNextHop: false,
  others: [],
};

/** What its UPDATEs are written and read by. */
export const NEGOTIATED: Negotiated = {
  fourOctetAsn: true,
  extendedMessages: false,
  families: [4],
  addPathReceive: [],
  addPathSend: [],
  extendedNextHop: false,
};

const HOLD_TIME = 90;
const CONNECT_TIMEOUT = 10_000;

export class RawPeer {
  readonly options: RawPeerOptions;
  readonly #stream: TcpStream;
  readonly #reader = new MessageReader();
  #queue: Uint8Array[] = [];
  #open: Open | undefined;
  #established = false;
  #ended = false;
  /** What the other said at the end. */
  notification: Notification | undefined;
  /** What it told so far, and has not withdrawn: text of prefixes, `10.0.0.0/26`. Only IPv4. */
  readonly learned = new Set<string>();
  /** How many prefixes it told, less those that it withdrew. */
  told = 0;
  #changed: (() => void)[] = [];

  private constructor(options: RawPeerOptions, stream: TcpStream) {
    this.options = options;
    this.#stream = stream;
    stream.listen({
      data: (bytes) => this.#read(bytes),
      writable: () => this.#flush(),
      lost: () => {
        this.#ended = true;
        this.#tell();
      },
    });
  }

  /** Connects, and begins with OPEN; tries again while it is refused. */
  static async connect(options: RawPeerOptions): Promise<RawPeer> {
    for (const deadline = performance.now() + CONNECT_TIMEOUT; ; await Bun.sleep(50)) {
      try {
        const peer = new RawPeer(options, await dial(options));
        peer.send(peer.openMessage());
        return peer;
      } catch (error) {
        if (performance.now() > deadline) throw error;
      }
    }
  }

  /** The same, and waits until it is Established; tries again when the other ends it before. */
  static async establish(options: RawPeerOptions): Promise<RawPeer> {
    for (const deadline = performance.now() + 3 * CONNECT_TIMEOUT; ; await Bun.sleep(100)) {
      const peer = await RawPeer.connect(options);
      await peer.until(() => peer.established || peer.ended);
      if (peer.established) return peer;
      if (performance.now() > deadline)
        throw new Error(`never Established: ${JSON.stringify(peer.notification ?? "the connection was closed")}`);
    }
  }

  get established(): boolean {
    return this.#established && !this.#ended;
  }
  get ended(): boolean {
    return this.#ended;
  }
  get peerOpen(): Open | undefined {
    return this.#open;
  }

  openMessage(): Uint8Array {
    const { asn, local, routerId = Number(parseAddress(local).value & 0xffff_ffffn), capabilities } = this.options;
    return encodeOpen({ asn, holdTime: HOLD_TIME, routerId, capabilities: { ...CAPABILITIES, ...capabilities } });
  }

  send(...messages: readonly Uint8Array[]): void {
    this.#queue.push(...messages);
    this.#flush();
  }

  /** Announces prefixes with itself as their next hop. */
  announce(prefixes: readonly string[], attributes: Partial<PathAttributes> = {}): void {
    for (const message of announcement(prefixes, this.options, attributes)) this.send(message);
  }

  /** Waits; throws after some seconds. */
  async until(what: () => boolean, timeout = CONNECT_TIMEOUT): Promise<void> {
    const deadline = performance.now() + timeout;
    while (!what()) {
      const left = deadline - performance.now();
      if (left <= 0) throw new Error(`${this.options.local}: waited in vain for ${what}`);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#changed.push(resolve);
      await Promise.race([promise, Bun.sleep(Math.min(left, 200))]);
    }
  }

  /** Leaves without a word. */
  close(): void {
    this.#ended = true;
    this.#stream.close();
  }

  #flush(): void {
    while (this.#queue.length > 0 && !this.#ended) {
      const head = this.#queue[0]!;
      const written = this.#stream.write(head);
      if (written < head.length) {
        this.#queue[0] = head.subarray(written);
        return;
      }
      this.#queue.shift();
    }
  }

  #read(bytes: Uint8Array): void {
    this.#reader.push(bytes);
    for (let message = this.#reader.next(); message; message = this.#reader.next()) {
      const { type, body } = message;
      this.options.onMessage?.(type, body);
      if (type === MESSAGE.OPEN) {
        this.#open = decodeOpen(body);
        this.send(encodeKeepalive());
      } else if (type === MESSAGE.KEEPALIVE) {
        if (this.#established) this.send(encodeKeepalive());
        this.#established = true;
      } else if (type === MESSAGE.NOTIFICATION) this.notification = decodeNotification(body);
      else if (type === MESSAGE.UPDATE) this.#update(body);
    }
    this.#tell();
  }

  #update(body: Uint8Array): void {
    for (const update of decodeUpdate(body, NEGOTIATED, { peer: "ibgp" })) {
      for (const nlri of update.withdrawn) this.told -= countPrefixes(nlri);
      for (const nlri of update.reached) this.told += countPrefixes(nlri);
      if (this.options.counts) continue;
      for (const nlri of update.withdrawn) eachPrefix(nlri, (length, w0) => void this.learned.delete(text(length, w0)));
      for (const nlri of update.reached) eachPrefix(nlri, (length, w0) => void this.learned.add(text(length, w0)));
    }
  }

  #tell(): void {
    for (const resolve of this.#changed.splice(0)) resolve();
  }
}

const text = (length: number, word: number): string =>
  `${[24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join(".")}/${length}`;

/** UPDATEs that announce these IPv4 prefixes from that peer. */
export function announcement(
  prefixes: readonly string[],
  { local, asn }: Pick<RawPeerOptions, "local" | "asn">,
  attributes: Partial<PathAttributes> = {},
): Uint8Array[] {
  const writer = new PrefixWriter(4, false);
  for (const prefix of prefixes) {
    const [address, length] = prefix.split("/");
    writer.add(Number(length), Number(parseAddress(address!).value) | 0, 0, 0, 0);
  }
  const all: PathAttributes = {
    origin: 0,
    asPath: [{ type: "sequence", asns: [asn] }],
    nextHop: parseAddress(local),
    atomicAggregate: false,
    communities: [],
    largeCommunities: [],
    extendedCommunities: [],
    clusterList: [],
    unknown: [],
    ...attributes,
  };
  return encodeUpdates(
    { attributes: encodeAttributes(all, NEGOTIATED, { family: 4 }), reached: writer.nlri },
    NEGOTIATED,
  );
}

/** A whole message of that type around a body, its length as it is. */
export function frame(type: number, body: Uint8Array): Uint8Array {
  const message = new Uint8Array(HEADER_LENGTH + body.length).fill(0xff, 0, 16);
  message.set([message.length >>> 8, message.length, type], 16);
  message.set(body, HEADER_LENGTH);
  return message;
}

function dial({ namespace, local, remote, port = 179 }: RawPeerOptions): Promise<TcpStream> {
  const [from, to] = [parseAddress(local), parseAddress(remote)];
  using place = openNamespace(namespace);
  const fd = inNamespace(place, () => {
    const socket = openTcpSocket(from.version);
    bindTcp(socket, { bytes: addressBytes(from), port: 0 }, `speak from ${local}`);
    beginConnect(socket, { bytes: addressBytes(to), port }, `connect to ${remote}`);
    return socket;
  });
  return new Promise((resolve, reject) => {
    connectStream(fd, resolve, (errno) => reject(new Error(`${local} to ${remote}: ${errno}`)));
  });
}
