/** What an NFLOG rule says, from the kernel (linux/netfilter/nfnetlink_log.h). */
import { allocate, receive, send } from "../../../sys/index.ts";

const NFNL_SUBSYS_ULOG = 4;
const NFULNL_MSG_PACKET = 0;
const NFULNL_MSG_CONFIG = 1;
const NFULA_CFG_CMD = 1;
const NFULA_CFG_MODE = 2;
const NFULA_CFG_QTHRESH = 5;
const NFULA_PREFIX = 10;

/** Makes the netlink socket get each packet of the group at once. */
export function bindNflog(fd: number, group: number): void {
  const attributes = [
    attribute(NFULA_CFG_CMD, [1]), // NFULNL_CFG_CMD_BIND
    attribute(NFULA_CFG_MODE, [0, 0, 0, 64, 2, 0]), // the first 64 bytes, NFULNL_COPY_PACKET
    attribute(NFULA_CFG_QTHRESH, [0, 0, 0, 1]),
  ];
  // One command a message: the kernel looks for the instance before it makes it.
  for (const [index, one] of attributes.entries()) {
    const message = allocate(20 + one.length);
    const view = new DataView(message.buffer);
    view.setUint32(0, message.length, true);
    view.setUint16(4, (NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_CONFIG, true);
    view.setUint16(6, 5, true); // NLM_F_REQUEST | NLM_F_ACK
    view.setUint32(8, index + 1, true);
    view.setUint16(18, group);
    message.set(one, 20);
    send(fd, message, () => `bind the NFLOG group ${group}`);
    const answer = receive(fd, allocate(4096), 2000, () => "read the answer");
    const errno =
      answer === undefined ? 110 : -new DataView(answer.bytes.buffer, answer.bytes.byteOffset).getInt32(16, true);
    if (errno !== 0) throw new Error(`the kernel refused to bind the NFLOG group ${group}: errno ${errno}`);
  }
}

/** The prefixes of the packets in a datagram. */
export function readNflog(bytes: Uint8Array): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const prefixes: string[] = [];
  for (let at = 0; at + 20 <= bytes.length; ) {
    const length = view.getUint32(at, true);
    if (length < 16) break;
    if (view.getUint16(at + 4, true) === ((NFNL_SUBSYS_ULOG << 8) | NFULNL_MSG_PACKET)) {
      for (let inner = at + 20; inner + 4 <= at + length; ) {
        const size = view.getUint16(inner, true);
        if (size < 4) break;
        if ((view.getUint16(inner + 2, true) & 0x3fff) === NFULA_PREFIX) {
          prefixes.push(new TextDecoder().decode(bytes.subarray(inner + 4, inner + size - 1)));
        }
        inner += (size + 3) & ~3;
      }
    }
    at += (length + 3) & ~3;
  }
  return prefixes;
}

function attribute(type: number, value: readonly number[]): Uint8Array {
  const bytes = new Uint8Array((4 + value.length + 3) & ~3);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 4 + value.length, true);
  view.setUint16(2, type, true);
  bytes.set(value, 4);
  return bytes;
}
