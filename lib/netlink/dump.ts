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
  const state: DumpState = { consistent: true, done: false };
  while (!state.done) for (const item of collectPiece(receive(), sequence, request, state)) items.push(item);
  return state.consistent ? items : undefined;
}

/** How far a dump has come. */
export interface DumpState {
  /** Nothing changed so far while it ran. */
  consistent: boolean;
  done: boolean;
}

/** What the messages of one datagram have of the dump. Throws the error that the kernel ended the dump with, unless it is the change. */
export function collectPiece<Item>(
  messages: readonly Message[],
  sequence: number,
  request: DumpRequest<Item>,
  state: DumpState,
): Item[] {
  const items: Item[] = [];
  for (const message of messages) {
    if (message.sequence !== sequence) continue;
    if (message.flags & FLAG.DUMP_INTR) state.consistent = false;
    if (message.type === TYPE.DONE || message.type === TYPE.ERROR) {
      const parse = message.type === TYPE.DONE ? parseDone : parseError;
      const error = parse(message, request.attempt);
      if (error && error.errno !== EINTR) throw error;
      if (error) state.consistent = false;
      state.done = true;
      return items;
    }
    const item = request.decode(message);
    if (item !== undefined) items.push(item);
  }
  return items;
}
