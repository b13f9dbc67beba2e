/** Who changes our tables: the kernel tells each change with the port of the socket that made it, and at the end the process. */

import {
  type Monitor,
  type NetfilterMessage,
  NF_GROUP,
  NF_SUBSYSTEM,
  openNetfilterMonitor,
} from "../../netlink/netfilter/index.ts";
import type { Namespace } from "../../sys/index.ts";
import type { IpVersion } from "../rules/index.ts";
import { familyOf } from "./kernel.ts";

/** What a message number is about, and which attribute names the object (include/uapi/linux/netfilter/nf_tables.h). */
const ABOUT: Readonly<Record<number, { readonly what: string; readonly name: number; readonly event: string }>> = {
  0: { event: "changed", what: "table", name: 1 },
  2: { event: "deleted", what: "table", name: 1 },
  3: { event: "changed", what: "chain", name: 3 },
  5: { event: "deleted", what: "chain", name: 3 },
  6: { event: "added a rule to", what: "chain", name: 2 },
  8: { event: "deleted a rule of", what: "chain", name: 2 },
  9: { event: "changed", what: "set", name: 2 },
  11: { event: "deleted", what: "set", name: 2 },
  12: { event: "added elements to", what: "set", name: 2 },
  14: { event: "deleted elements of", what: "set", name: 2 },
};
const NEWGEN = 15;
const GEN = { PROCESS: 2, NAME: 3 } as const;
const TABLE_NAME = 1;

export interface WatchOptions {
  readonly table: string;
  readonly versions: readonly IpVersion[];
  /** Port of the socket whose changes are our own. */
  readonly port: number;
  readonly namespace?: Namespace;
  /** Somebody else changed a table of ours. */
  readonly onChange: (what: string) => void;
  /** Events were lost. */
  readonly onLoss: () => void;
  /** There will be no more. */
  readonly onEnd: (error: Error) => void;
}

export function watchTables(options: WatchOptions): Monitor {
  const { table, versions, port, namespace } = options;
  const families = new Set(versions.map(familyOf));
  let seen: string | undefined;
  let more = 0;
  return openNetfilterMonitor({
    groups: [NF_GROUP.NFTABLES],
    ...(namespace && { namespace }),
    onResync: options.onLoss,
    onError: options.onEnd,
    onMessage: (message) => {
      if (message.subsystem !== NF_SUBSYSTEM.NFTABLES || message.port === port) return;
      if (message.type === NEWGEN) {
        if (seen === undefined) return;
        const what = `${authorOf(message)} ${seen}${more > 0 ? ` and ${more} more` : ""}`;
        seen = undefined;
        more = 0;
        options.onChange(what);
        return;
      }
      const about = ABOUT[message.type];
      if (!about || !families.has(message.family)) return;
      const attributes = message.attributes();
      if (attributes.string(TABLE_NAME) !== table) return;
      if (seen === undefined) seen = `${about.event} the ${about.what} ${attributes.string(about.name) ?? ""}`;
      else more++;
    },
  });
}

function authorOf(message: NetfilterMessage): string {
  const attributes = message.attributes();
  return `${attributes.string(GEN.NAME) || "somebody"} (process ${attributes.u32be(GEN.PROCESS) ?? "unknown"})`;
}
