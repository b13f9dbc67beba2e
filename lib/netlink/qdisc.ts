/** Queueing disciplines, read only: include/uapi/linux/rtnetlink.h (struct tcmsg). */
import { type DumpRequest, type Message, TYPE } from "./message.ts";
import { Reader } from "./wire.ts";

const TCA_KIND = 1;
const TCMSG = 20;

export interface QdiscInfo {
  readonly index: number;
  /** "fq_codel", "noqueue", "clsact"… */
  readonly kind: string;
  /** Major number in the upper 16 bits, minor in the lower. */
  readonly handle: number;
  readonly parent: number;
}

/** All qdiscs, or those of one link. */
export function qdiscs(filter: { readonly index?: number } = {}): DumpRequest<QdiscInfo> {
  return {
    type: TYPE.GETQDISC,
    attempt: () => "list the qdiscs",
    body: (writer) => {
      writer.zeros(4);
      writer.i32(filter.index ?? 0);
      writer.zeros(TCMSG - 8);
    },
    decode: (message) => {
      if (message.type !== TYPE.NEWQDISC) return undefined;
      const info = decodeQdisc(message);
      return filter.index === undefined || info.index === filter.index ? info : undefined;
    },
  };
}

/** A NEWQDISC or DELQDISC message. */
export function decodeQdisc(message: Message): QdiscInfo {
  const reader = new Reader(message.payload);
  const kind = reader.attributes(TCMSG).string(TCA_KIND) ?? "";
  return { index: reader.i32(4), handle: reader.u32(8), parent: reader.u32(12), kind };
}
