/**
 * Noticing what others change.
 *
 * `nft`: the kernel tells of every change to nf_tables (NFNLGRP_NFTABLES), by whom and in which chain. `legacy`: the kernel tells nothing, but
 * every iptables-legacy that changes something takes a lock on one file, and closes it afterwards: that is watched, and then the tables
 * are looked at. Sets: neither the kernel nor the tool leaves a trace (no netlink group, no file, no audit record), so their sizes are
 * asked for now and then, without their members.
 */

import {
  Attributes,
  type Monitor,
  type Netfilter,
  type NetfilterMessage,
  NetlinkError,
  NF_FAMILY,
  NF_GROUP,
  NF_SUBSYSTEM,
  nfDump,
  openNetfilter,
  openNetfilterMonitor,
} from "../../netlink/netfilter/index.ts";
import type { Namespace } from "../../sys/index.ts";
import type { FileWatch } from "../../sys/inotify.ts";
import { IN, watchFile } from "../../sys/inotify.ts";
import { type IpVersion, TABLES, type Table } from "../rules/index.ts";

/** Stops watching when it is closed. */
export interface Watch {
  close(): void;
}

/** A change to nf_tables; a chain is absent when a table as a whole went. */
export interface TableEvent {
  readonly version: IpVersion;
  readonly table: Table;
  readonly chain?: string;
}

/** linux/netfilter/nf_tables.h */
const NFT_MSG = { DELTABLE: 2, NEWCHAIN: 3, DELCHAIN: 5, NEWRULE: 6, DELRULE: 8 } as const;
const NFTA = { TABLE_NAME: 1, CHAIN_TABLE: 1, CHAIN_NAME: 3, RULE_TABLE: 1, RULE_CHAIN: 2 } as const;

/** What a message of nf_tables says about a table of iptables; undefined: nothing. */
export function decodeTableEvent(message: NetfilterMessage): TableEvent | undefined {
  if (message.subsystem !== NF_SUBSYSTEM.NFTABLES) return undefined;
  const version = message.family === NF_FAMILY.IPV4 ? 4 : message.family === NF_FAMILY.IPV6 ? 6 : undefined;
  const { type } = message;
  const chainAt =
    type === NFT_MSG.NEWRULE || type === NFT_MSG.DELRULE
      ? NFTA.RULE_CHAIN
      : type === NFT_MSG.NEWCHAIN || type === NFT_MSG.DELCHAIN
        ? NFTA.CHAIN_NAME
        : undefined;
  if (version === undefined || (chainAt === undefined && type !== NFT_MSG.DELTABLE)) return undefined;
  const attributes = message.attributes();
  const table = TABLES.find((known) => known === text(attributes.get(NFTA.TABLE_NAME)));
  if (table === undefined) return undefined;
  return chainAt === undefined ? { version, table } : { version, table, chain: text(attributes.get(chainAt)) };
}

const text = (bytes: Uint8Array | undefined): string =>
  Buffer.from(bytes ?? [])
    .toString()
    .replace(/\0.*$/s, "");

/** Calls back for changes to iptables' tables by sockets of other processes than `pids`. */
export function watchNft(options: {
  readonly namespace?: Namespace;
  readonly pids: ReadonlySet<number>;
  readonly onEvent: (event: TableEvent) => void;
  /** Anything may have changed: notifications were lost. */
  readonly onLost: () => void;
  readonly onError: (error: Error) => void;
}): Monitor {
  const { namespace, pids, onEvent, onLost, onError } = options;
  return openNetfilterMonitor({
    groups: [NF_GROUP.NFTABLES],
    onMessage: (message) => {
      // iptables-nft lets the kernel choose its socket's port id, which is then its process id.
      if (pids.has(message.port)) return;
      const event = decodeTableEvent(message);
      if (event) onEvent(event);
    },
    onResync: onLost,
    onError,
    ...(namespace && { namespace }),
  });
}

/**
 * Milliseconds from somebody else's use of the lock to the look, and the least and most between two looks. `own`: after a use of ours, which could have
 * hidden another's; whoever flushes chains at that moment is noticed no later than others are.
 */
const LOOK = { after: 200, least: 1_500, most: 4_000, own: 2_500 } as const;

/**
 * Calls `look` a moment after others were done with the lock file, and now and then after we were: `isOwn` is asked for each time that
 * the file is opened or closed. Where no file can be watched, or none is given, `look` is called every few seconds.
 */
export function watchLock(options: {
  readonly path?: string;
  readonly isOwn?: () => boolean;
  readonly look: () => Promise<void>;
  readonly onError: (error: Error) => void;
}): Watch {
  const { path, isOwn, look, onError } = options;
  let timer: ReturnType<typeof setTimeout> | undefined;
  /** When the look is due; undefined: it is not, or it is under way. */
  let due: number | undefined;
  let last = Number.NEGATIVE_INFINITY;
  let cost = 0;
  let looking = false;
  let again = false;
  let closed = false;
  let watch: FileWatch | undefined;
  const schedule = (after: number): void => {
    if (closed) return;
    if (looking) {
      again = true;
      return;
    }
    const now = performance.now();
    // Where looking is slow it is done less often.
    const pause = Math.min(LOOK.most, Math.max(LOOK.least, 20 * cost));
    const time = Math.max(now + after, last + pause);
    if (due !== undefined && due <= time) return;
    clearTimeout(timer);
    due = time;
    timer = setTimeout(run, time - now);
    timer.unref();
  };
  const run = async (): Promise<void> => {
    const start = performance.now();
    [due, looking, again] = [undefined, true, false];
    try {
      await look();
    } catch (error) {
      onError(error as Error);
    }
    last = performance.now();
    cost = last - start;
    looking = false;
    if (again || watch === undefined) schedule(LOOK.after);
  };
  try {
    // Opening is watched, too, because two equal events in a row would be told as one.
    const mask = IN.OPEN | IN.CLOSE_WRITE | IN.CLOSE_NOWRITE;
    const onEvent = (): void => schedule(isOwn?.() ? LOOK.own : LOOK.after);
    const gaveUp = (error: Error): void => {
      watch = undefined;
      onError(error);
      schedule(LOOK.after);
    };
    if (path !== undefined) watch = watchFile(path, mask, onEvent, { onError: gaveUp });
  } catch (error) {
    onError(error as Error);
  }
  if (watch === undefined) schedule(LOOK.after);
  return {
    close: () => {
      closed = true;
      clearTimeout(timer);
      watch?.close();
    },
  };
}

/** linux/netfilter/ipset/ip_set.h */
const IPSET_CMD_LIST = 7;
const IPSET_ATTR = { PROTOCOL: 1, SETNAME: 2, FLAGS: 6, DATA: 7, ELEMENTS: 24 } as const;
const IPSET_PROTOCOL = 6;
const IPSET_FLAG_LIST_HEADER = 4;

/** How many members a set has; `undefined` where the kernel does not say (before 4.9), `gone` when there is no such set. */
export function readSetSize(netfilter: Netfilter, name: string): number | "gone" | undefined {
  try {
    const [size] = netfilter.dump(
      nfDump({
        subsystem: NF_SUBSYSTEM.IPSET,
        type: IPSET_CMD_LIST,
        attempt: () => `ask for the size of the set ${name}`,
        attributes: (writer) => {
          writer.attributeU8(IPSET_ATTR.PROTOCOL, IPSET_PROTOCOL);
          writer.attributeString(IPSET_ATTR.SETNAME, name);
          writer.attributeU32be(IPSET_ATTR.FLAGS, IPSET_FLAG_LIST_HEADER);
        },
        decode: (message) => {
          const data = message.attributes().get(IPSET_ATTR.DATA);
          return { elements: data && Attributes.parse(data).u32be(IPSET_ATTR.ELEMENTS) };
        },
      }),
    );
    return size === undefined ? "gone" : size.elements;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === "ENOENT") return "gone";
    throw error;
  }
}

/** Milliseconds of asking at a time, and between, so that nothing else has to wait for thousands of sets. */
const SLICE = { work: 3, pause: 10 } as const;

/** Asks for the sizes of sets, one after the other, and begins anew `interval` milliseconds after the last. */
export function watchSets(options: {
  readonly namespace?: Namespace;
  readonly interval: number;
  readonly names: () => Iterable<string>;
  /** Whether a size means anything now. */
  readonly isQuiet: () => boolean;
  readonly look: (name: string, size: number | "gone" | undefined) => void;
  readonly onError: (error: Error) => void;
}): Watch {
  const { namespace, interval, names, isQuiet, look, onError } = options;
  let netfilter: Netfilter | undefined;
  let queue: string[] = [];
  let timer: ReturnType<typeof setTimeout>;
  const wait = (time: number): void => {
    timer = setTimeout(slice, time);
    timer.unref();
  };
  const slice = (): void => {
    const end = performance.now() + SLICE.work;
    try {
      netfilter ??= openNetfilter(namespace);
      if (queue.length === 0) queue = [...names()];
      while (isQuiet() && performance.now() < end) {
        const name = queue.pop();
        if (name === undefined) break;
        look(name, readSetSize(netfilter, name));
      }
    } catch (error) {
      netfilter?.close();
      netfilter = undefined;
      queue = [];
      onError(error as Error);
    }
    wait(queue.length > 0 ? SLICE.pause : interval);
  };
  wait(interval);
  return {
    close: () => {
      clearTimeout(timer);
      netfilter?.close();
    },
  };
}
