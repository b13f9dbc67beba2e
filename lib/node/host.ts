/** What the kernel says of this machine. */
import { lookup } from "node:dns/promises";
import { hostname } from "node:os";
import { type Address, parseAddress } from "../ip/index.ts";
import { addresses, links, NetlinkError, openNetlink, routeGet } from "../netlink/index.ts";
import { type Namespace, pathExists } from "../sys/index.ts";
import { ownerByArp } from "./probe.ts";
import type { HostAddress, HostFacts, HostInterface } from "./types.ts";

/** Of the namespace that the process is in, or of another. Every question opens a socket of its own: they are rare. */
export function hostFacts(namespace?: Namespace): HostFacts {
  return {
    interfaces: () => readInterfaces(namespace),
    sourceTowards: (destination) => {
      using netlink = openNetlink(namespace);
      try {
        return netlink.request(routeGet(destination)).source;
      } catch (error) {
        if (error instanceof NetlinkError) return undefined;
        throw error;
      }
    },
    resolve: async (name, version) => {
      const found = await lookup(name, { all: true, family: version });
      return found.map(({ address }) => parseAddress(address.replace(/%.*/, "")));
    },
    ownerOf: (address, interfaceName) => ownerByArp(address, interfaceName, namespace),
    ipv6: pathExists("/proc/sys/net/ipv6"),
    hostname: hostname(),
  };
}

function readInterfaces(namespace: Namespace | undefined): HostInterface[] {
  using netlink = openNetlink(namespace);
  const byIndex = new Map<number, HostAddress[]>();
  for (const { index, address, length, flags } of netlink.dump(addresses())) {
    const list = byIndex.get(index) ?? [];
    list.push({ address, length, flags });
    byIndex.set(index, list);
  }
  return netlink.dump(links()).map(({ index, name, kind, up }) => ({
    index,
    name,
    up,
    addresses: byIndex.get(index) ?? [],
    ...(kind !== undefined && { kind }),
  }));
}

/** As Go's net.IP.IsGlobalUnicast, by which upstream asks: neither loopback, link-local, multicast, broadcast nor unspecified. */
export function isGlobalUnicast({ version, value }: Address): boolean {
  if (version === 4) {
    const first = value >> 24n;
    const multicast = first >> 4n === 0xen;
    return value !== 0n && value !== 0xffff_ffffn && first !== 127n && !multicast && value >> 16n !== 0xa9fen;
  }
  return value > 1n && value >> 120n !== 0xffn && value >> 118n !== 0xfe80n >> 6n;
}
