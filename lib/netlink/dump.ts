/** The answer to a dump: many datagrams up to a DONE message (Documentation/userspace-api/netlink/intro.rst, "Dumps"). */
import { type DumpRequest, FLAG, type Message, parseDone, parseError, TYPE } from "./message.ts";

const EINTR = 4;

/**
 * Reads datagrams with `receive` until the dump `sequence` ends. Undefined when the kernel says that the table changed
 * meanwhile: it must be asked again, and all of this answer has been read. Messages of other exchanges are passed over.
 *
 * Throws the error that the kernel ended the dump with.
 */
export function collectDump<Item>(
  receive: () => readonly Message[],
  sequence: number,
  request: DumpRequest<Item>,
): Item[] | undefined {
  const items: Item[] = [];
  let consistent = true;
  for (;;) {
    for (const message of receive()) {
      if (message.sequence !== sequence) continue;
      if (message.flags & FLAG.DUMP_INTR) consistent = false;
      if (message.type === TYPE.DONE || message.type === TYPE.ERROR) {
        const parse = message.type === TYPE.DONE ? parseDone : parseError;
        const error = parse(message, request.attempt);
        if (error?.errno === EINTR) return undefined;
        if (error) throw error;
        return consistent ? items : undefined;
      }
      const item = request.decode(message);
      if (item !== undefined) items.push(item);
    }
  }
}
