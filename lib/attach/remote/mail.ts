import { closeFd, geteuid } from "../../sys/index.ts";
import { type FdDatagram, receiveFd } from "../../sys/unix.ts";
import { COOKIE_LENGTH } from "./protocol.ts";

/** More than plugins that can be at work on a node: beyond it the oldest is dropped. */
const MOST = 1024;
/** For how long a datagram's request may be on its way, in milliseconds. */
const EXPIRES_MS = 10_000;

/** What came by datagram for one request. Whoever has it closes the descriptor. */
export interface Mail {
  readonly netns: number | undefined;
}

/**
 * Descriptors that have come and wait for their requests. A request comes after its datagram, so all that is needed is there when it
 * is: nothing waits for the socket, which an event loop would read without the descriptors.
 */
export class Mailbox {
  readonly #waiting = new Map<string, Mail & { readonly since: number }>();
  readonly #receive: () => FdDatagram | undefined;
  readonly #now: () => number;
  readonly #owner: number;

  /** `fd` is the datagram socket; what others than `owner` send is dropped. */
  constructor(
    fd: number,
    { owner = geteuid(), now = performance.now.bind(performance) }: { owner?: number; now?: () => number } = {},
  ) {
    this.#receive = () => receiveFd(fd);
    this.#owner = owner;
    this.#now = now;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Takes in what is there, and drops what has waited for too long. */
  drain(): void {
    for (let datagram = this.#receive(); datagram; datagram = this.#receive()) this.#keep(datagram);
    const oldest = this.#now() - EXPIRES_MS;
    for (const [cookie, { since }] of this.#waiting) {
      if (since > oldest) break;
      this.#drop(cookie);
    }
  }

  /** What has come with this cookie; it is the caller's now. */
  take(cookie: string): Mail | undefined {
    this.drain();
    const mail = this.#waiting.get(cookie);
    this.#waiting.delete(cookie);
    return mail;
  }

  close(): void {
    for (const cookie of [...this.#waiting.keys()]) this.#drop(cookie);
  }

  #keep({ bytes, fds, credentials }: FdDatagram): void {
    const [netns, ...more] = fds;
    for (const fd of more) closeFd(fd);
    const cookie = new TextDecoder("latin1").decode(bytes);
    if (credentials?.uid !== this.#owner || cookie.length !== COOKIE_LENGTH || this.#waiting.has(cookie)) {
      if (netns !== undefined) closeFd(netns);
      return;
    }
    if (this.#waiting.size >= MOST) this.#drop(this.#waiting.keys().next().value!);
    this.#waiting.set(cookie, { netns, since: this.#now() });
  }

  #drop(cookie: string): void {
    const netns = this.#waiting.get(cookie)?.netns;
    this.#waiting.delete(cookie);
    if (netns !== undefined) closeFd(netns);
  }
}
