/** Numbers that the kernel gives to namespaces as seen from one another: include/uapi/linux/net_namespace.h. */
import { AF, type Request, TYPE } from "./message.ts";
import { Reader } from "./wire.ts";

const NETNSA = { NSID: 1, FD: 3 } as const;
const NOT_ASSIGNED = -1;
const RTGENMSG = 4;

/**
 * The number by which links in the socket's namespace refer to the namespace behind `fd` ({@link LinkInfo.peerNetnsId}); undefined when none
 * was given yet, and then no link of the socket's namespace leads there.
 */
export function netnsId(fd: number): Request<number | undefined> {
  return {
    type: TYPE.GETNSID,
    flags: 0,
    attempt: () => "look up the number of a network namespace",
    body: (writer) => {
      writer.u8(AF.UNSPEC);
      writer.zeros(RTGENMSG - 1);
      writer.attributeU32(NETNSA.FD, fd);
    },
    decode: (message) => {
      const id = new Reader(message.payload).attributes(RTGENMSG).i32(NETNSA.NSID);
      return id === NOT_ASSIGNED ? undefined : id;
    },
  };
}
