import { formatAddress } from "../ip/index.ts";
import {
  type AddressInfo,
  addresses,
  type Change,
  type LinkInfo,
  links,
  type Monitor,
  NetlinkError,
  openMonitor,
  openNetlink,
} from "../netlink/index.ts";
import type { Namespace } from "../sys/index.ts";

/** Until a listing is tried again that failed because everything was changing, in milliseconds; and how often at the start. */
const RETRY = 20;
const FIRST_ATTEMPTS = 50;

/** An interface of the node. */
export interface HostInterface {
  readonly name: string;
  readonly index: number;
  /** Administratively up. The kernel keeps no routes by an interface that is not. */
  readonly enabled: boolean;
  /** Enabled, with its carrier there: a veth whose other end is up as well. */
  readonly up: boolean;
  /** In bytes. */
  readonly mtu: number;
  /** Its addresses without prefix length, IPv4 and IPv6, link-local ones included; no order. */
  readonly addresses: ReadonlySet<string>;
}

export type InterfaceChange =
  | { readonly event: "new" | "changed" | "removed"; readonly interface: HostInterface }
  /** Changes were lost, and what they led to has been told of; in between anything may have happened. */
  | { readonly event: "resync" };

/** The interfaces of a network namespace, kept up to date by the kernel's events. */
export interface Interfaces extends Disposable {
  readonly all: Iterable<HostInterface>;
  byName(name: string): HostInterface | undefined;
  byIndex(index: number): HostInterface | undefined;
  /**
   * Calls back for each change from now on, after `byName` and the others say so; what answers takes the callback back. An interface that
   * is renamed is removed under its old name and new under the other. Callbacks must not throw.
   */
  onChange(callback: (change: InterfaceChange) => void): () => void;
  close(): void;
}

export interface InterfacesOptions {
  /** The process's own when absent. */
  readonly namespace?: Namespace;
  /** The events have stopped for good: what is known ages from now on. */
  readonly onError: (error: Error) => void;
  /** Bytes of events that the kernel may queue; 4 MiB when absent. */
  readonly receiveBuffer?: number;
}

/** Lists the interfaces and goes on listening. Needs no privileges. Throws NetlinkError or SysError when the kernel does not answer. */
export function openInterfaces(options: InterfacesOptions): Interfaces {
  return new InterfaceTable(options);
}

interface Entry {
  link: LinkInfo;
  /** With their prefix lengths: an address may be there twice, with two. */
  readonly addresses: Map<string, string>;
  shown: HostInterface;
}

class InterfaceTable implements Interfaces {
  readonly #options: InterfacesOptions;
  readonly #monitor: Monitor;
  readonly #entries = new Map<number, Entry>();
  readonly #indexes = new Map<string, number>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #callbacks = new Set<(change: InterfaceChange) => void>();

  constructor(options: InterfacesOptions) {
    this.#options = options;
    this.#monitor = openMonitor({
      watch: ["links", "addresses"],
      onChange: (change) => this.#take(change),
      onError: options.onError,
      ...(options.namespace && { namespace: options.namespace }),
      ...(options.receiveBuffer !== undefined && { receiveBuffer: options.receiveBuffer }),
    });
    try {
      for (let attempt = 1; !this.#list(attempt < FIRST_ATTEMPTS); attempt++) Bun.sleepSync(RETRY);
    } catch (error) {
      this.#monitor.close();
      throw error;
    }
  }

  get all(): Iterable<HostInterface> {
    return this.#entries.values().map(({ shown }) => shown);
  }

  byName(name: string): HostInterface | undefined {
    const index = this.#indexes.get(name);
    return index === undefined ? undefined : this.byIndex(index);
  }

  byIndex(index: number): HostInterface | undefined {
    return this.#entries.get(index)?.shown;
  }

  onChange(callback: (change: InterfaceChange) => void): () => void {
    this.#callbacks.add(callback);
    return () => this.#callbacks.delete(callback);
  }

  /** Reads everything, and tells of what is not as it was. False: not now, as it changes all the time, which `patient` is to pass over. */
  #list(patient: boolean): boolean {
    let found: LinkInfo[];
    let infos: AddressInfo[];
    try {
      using netlink = openNetlink(this.#options.namespace);
      found = netlink.dump(links());
      infos = netlink.dump(addresses());
    } catch (error) {
      if (patient && error instanceof NetlinkError && error.code === "EINTR") return false;
      throw error;
    }
    const byIndex = new Map<number, Map<string, string>>();
    for (const info of infos) {
      const before = byIndex.get(info.index);
      if (before) before.set(keyOf(info), formatAddress(info.address));
      else byIndex.set(info.index, new Map([[keyOf(info), formatAddress(info.address)]]));
    }
    const there = new Set(found.map(({ index }) => index));
    for (const index of [...this.#entries.keys()]) if (!there.has(index)) this.#remove(index);
    for (const link of found) this.#set(link, byIndex.get(link.index) ?? new Map());
    return true;
  }

  #listAgain(): void {
    clearTimeout(this.#timer);
    try {
      if (this.#list(true)) this.#tell({ event: "resync" });
      else this.#timer = setTimeout(() => this.#listAgain(), RETRY);
    } catch (error) {
      this.close();
      this.#options.onError(error as Error);
    }
  }

  #take(change: Change): void {
    if (change.kind === "link") {
      const { link } = change;
      if (change.event === "deleted") this.#remove(link.index);
      else this.#set(link, this.#entries.get(link.index)?.addresses ?? new Map());
    } else if (change.kind === "address") {
      const { address: info } = change;
      const entry = this.#entries.get(info.index);
      if (!entry) return; // of an interface that is gone by now
      if (change.event === "new") entry.addresses.set(keyOf(info), formatAddress(info.address));
      else entry.addresses.delete(keyOf(info));
      this.#set(entry.link, entry.addresses);
    } else if (change.kind === "resync") {
      this.#listAgain();
    }
  }

  #set(link: LinkInfo, known: Map<string, string>): void {
    let before = this.#entries.get(link.index)?.shown;
    const shown: HostInterface = {
      name: link.name,
      index: link.index,
      enabled: link.up,
      up: link.up && link.running,
      mtu: link.mtu,
      addresses: new Set(known.values()),
    };
    if (before && before.name !== link.name) {
      this.#remove(link.index);
      before = undefined;
    }
    // An interface of this name and another index was removed, and the event of that is yet to come or was lost.
    const namesake = this.#indexes.get(link.name);
    if (namesake !== undefined && namesake !== link.index) this.#remove(namesake);
    this.#entries.set(link.index, { link, addresses: known, shown: before && same(before, shown) ? before : shown });
    this.#indexes.set(link.name, link.index);
    if (!before) this.#tell({ event: "new", interface: shown });
    else if (!same(before, shown)) this.#tell({ event: "changed", interface: shown });
  }

  #remove(index: number): void {
    const entry = this.#entries.get(index);
    if (!entry) return;
    this.#entries.delete(index);
    if (this.#indexes.get(entry.shown.name) === index) this.#indexes.delete(entry.shown.name);
    this.#tell({ event: "removed", interface: entry.shown });
  }

  #tell(change: InterfaceChange): void {
    for (const callback of [...this.#callbacks]) callback(change);
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#monitor.close();
    this.#callbacks.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

function keyOf({ address, length }: AddressInfo): string {
  return `${address.value}/${length}/${address.version}`;
}

function same(a: HostInterface, b: HostInterface): boolean {
  return (
    a.name === b.name &&
    a.enabled === b.enabled &&
    a.up === b.up &&
    a.mtu === b.mtu &&
    a.addresses.symmetricDifference(b.addresses).size === 0
  );
}
