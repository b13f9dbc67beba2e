/** What the engine needs of the network; `udp.ts` is the kernel's, tests have their own. */
import type { Address } from "../../ip/index.ts";

/** Where packets for a set of sessions arrive. */
export interface Place {
  readonly local: Address;
  readonly multihop: boolean;
  /** Only of a link-local address. */
  readonly device?: string;
}

/** `from` is asked for only by those who need it. */
export type Arrival = (bytes: Uint8Array, from: () => Address) => void;

export interface Receiver {
  /** Hands over at once what has arrived and was not handed over yet. */
  drain(): void;
  close(): void;
}

export interface Sender {
  /** Throws when it cannot be sent. */
  send(bytes: Uint8Array<ArrayBuffer>): void;
  close(): void;
}

export interface Transport {
  /** Throws when it cannot be listened there. */
  listen(place: Place, arrival: Arrival): Receiver;
  /** With a source port of its own (RFC 5881 4). Throws when there is no such device. */
  sender(place: Place, remote: Address, device: string | undefined): Sender;
}
