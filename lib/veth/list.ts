import { type LinkInfo, links, openNetlink } from "../netlink/index.ts";
import type { Namespace } from "../sys/index.ts";
import { CONDEMNED, findLink, ownerOf, UNFINISHED } from "./ownership.ts";
import type { ListedPodInterface } from "./plan.ts";

/**
 * All host interfaces that carry an owner's mark, or were left before they got one, in `hostNetns` or the namespace that the thread is in: what garbage
 * collection compares with the attachments that are still valid. Throws NetlinkError or SysError.
 */
export function listPodInterfaces(hostNetns?: Namespace): ListedPodInterface[] {
  using host = openNetlink(hostNetns);
  return host.dump(links()).flatMap((link) => {
    const found = describe(link);
    return found.owner === undefined ? [] : [{ ...found, owner: found.owner }];
  });
}

/** The host interface of that name, whoever made it: without `owner` it carries no mark. Undefined when there is none. */
export function findPodInterface(
  name: string,
  hostNetns?: Namespace,
): (Omit<ListedPodInterface, "owner"> & { readonly owner?: string }) | undefined {
  using host = openNetlink(hostNetns);
  const link = findLink(host, { name });
  return link && describe(link);
}

function describe(link: LinkInfo): Omit<ListedPodInterface, "owner"> & { readonly owner?: string } {
  const owner = ownerOf(link) ?? (link.group === UNFINISHED ? "" : undefined);
  const { name, index, up, group } = link;
  return { name, index, up, condemned: group === CONDEMNED, ...(owner === undefined ? {} : { owner }) };
}
