import { NF_SUBSYSTEM, nfDump, openNetfilter } from "../../netlink/netfilter/index.ts";
import type { Namespace } from "../../sys/index.ts";
import { familyOf } from "./kernel.ts";

const GETTABLE = 1;
const NAME = 1;

/** Names of the tables of the families ip and ip6, whoever made them. Throws a NetlinkError where the kernel has no nftables. */
export function listTables(namespace?: Namespace): ReadonlySet<string> {
  using netfilter = openNetfilter(namespace);
  const names = new Set<string>();
  for (const version of [4, 6] as const) {
    const found = netfilter.dump(
      nfDump({
        subsystem: NF_SUBSYSTEM.NFTABLES,
        type: GETTABLE,
        family: familyOf(version),
        attempt: () => "list the tables of nftables",
        decode: (message) => message.attributes().string(NAME),
      }),
    );
    for (const name of found) names.add(name);
  }
  return names;
}
