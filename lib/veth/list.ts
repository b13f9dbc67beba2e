import { links, openNetlink } from "../netlink/index.ts";
import type { Namespace } from "../sys/index.ts";
import { CONDEMNED, ownerOf, UNFINISHED } from "./ownership.ts";
import type { ListedPodInterface } from "./plan.ts";

/**
 * All host interfaces that carry an owner's mark, or were left before they got one, in `hostNetns` or the namespace that the thread is in: what garbage
 * collection compares with the attachments that are still valid. Throws NetlinkError or SysError.
 */
export function listPodInterfaces(hostNetns?: Namespace): ListedPodInterface[] {
  using host = openNetlink(hostNetns);
  return host.dump(links()).flatMap((link) => {
    const owner = ownerOf(link) ?? (link.group === UNFINISHED ? "" : undefined);
    if (owner === undefined) return [];
    return { name: link.name, index: link.index, owner, up: link.up, condemned: link.group === CONDEMNED };
  });
}
