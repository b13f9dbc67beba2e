import { NetlinkError, openNetlink, RT_TABLE, routes } from "../../netlink/index.ts";
import type { Namespace } from "../../sys/index.ts";

/**
 * Whether the main table has routes of a protocol: those that a process before left. Of the namespace that the thread is in, unless another is named.
 * Throws NetlinkError or SysError when the kernel does not answer.
 */
export function hasRoutesOf(protocol: number, namespace?: Namespace): boolean {
  return ([4, 6] as const).some((version) => {
    using netlink = openNetlink(namespace);
    try {
      // One is enough: the rest of a large table is not read.
      for (const piece of netlink.pieces(routes({ version, protocol, table: RT_TABLE.MAIN }))) {
        if (piece.length > 0) return true;
      }
      return false;
    } catch (error) {
      // A table without routes may not be there at all.
      if (error instanceof NetlinkError && error.code === "ENOENT") return false;
      throw error;
    }
  });
}
