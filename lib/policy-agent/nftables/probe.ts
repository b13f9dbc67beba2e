import { NF_SUBSYSTEM, nfDump, openNetfilter } from "../../netlink/netfilter/index.ts";
import type { Namespace } from "../../sys/index.ts";
import { familyOf } from "./kernel.ts";

const GETTABLE = 1;
const GETCHAIN = 4;
const NAME = 1;
const CHAIN = { TABLE: 1, NAME: 3 } as const;

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

/** Which chains of these names there are in the families ip and ip6, whoever made them: `4 nat KUBE-SERVICES`. No rule is read. */
export function findChains(names: ReadonlySet<string>, namespace?: Namespace): string[] {
  using netfilter = openNetfilter(namespace);
  return ([4, 6] as const).flatMap((version) =>
    netfilter.dump(
      nfDump({
        subsystem: NF_SUBSYSTEM.NFTABLES,
        type: GETCHAIN,
        family: familyOf(version),
        attempt: () => "list the chains of nftables",
        decode: (message) => {
          const attributes = message.attributes();
          const name = attributes.string(CHAIN.NAME) ?? "";
          return names.has(name) ? `${version} ${attributes.string(CHAIN.TABLE) ?? ""} ${name}` : undefined;
        },
      }),
    ),
  );
}
