/**
 * A program: asks all addresses of its arguments (of IPv4, single ones or networks) for an echo, all the time, from the network namespace that it
 * is started in. What gets as far as a pod's kernel is answered, be there a program in the pod yet or not. Says on standard output which address
 * has answered, when it does for the first time, and at the end how it went: "end ROUNDS LONGEST-PAUSE". It ends when its input does.
 */
import { addressAt, addressBytes, addressFromBytes, cidrSize, formatAddress, parseCidr } from "../../lib/ip/index.ts";
import { allocate, closeFd, openRawSocket, receiveRaw, SysError, sendRaw } from "../../lib/sys/index.ts";

const PERIOD_MS = 10;
/** ICMP (RFC 792). */
const PROTOCOL = 1;
const ECHO = 8;
const ECHO_REPLY = 0;
const IDENTIFIER = process.pid & 0xffff;

function request(sequence: number): Uint8Array<ArrayBuffer> {
  const packet = allocate(8);
  const view = new DataView(packet.buffer, packet.byteOffset);
  view.setUint8(0, ECHO);
  view.setUint16(4, IDENTIFIER);
  view.setUint16(6, sequence);
  const sum = (ECHO << 8) + IDENTIFIER + sequence;
  view.setUint16(2, ~((sum & 0xffff) + (sum >>> 16)) & 0xffff);
  return packet;
}

const targets = process.argv.slice(2).flatMap((text) => {
  const cidr = parseCidr(text);
  const first = { version: cidr.version, value: cidr.base };
  return Array.from({ length: Number(cidrSize(cidr)) }, (_, index) => addressBytes(addressAt(first, index)));
});
const socket = openRawSocket(4, PROTOCOL);
const buffer = allocate(2048);
const answered = new Set<string>();
let ended = false;
process.stdin.on("end", () => {
  ended = true;
});
process.stdin.resume();

function hear(): void {
  for (;;) {
    const packet = receiveRaw(socket, buffer, () => "hear an echo");
    if (packet === undefined) return;
    const icmp = packet.bytes.subarray((packet.bytes[0]! & 0x0f) * 4);
    if (icmp[0] !== ECHO_REPLY || ((icmp[4]! << 8) | icmp[5]!) !== IDENTIFIER) continue;
    const from = formatAddress(addressFromBytes(packet.from));
    if (!answered.has(from)) process.stdout.write(`${from}\n`);
    answered.add(from);
  }
}

let rounds = 0;
let longest = 0;
let last = performance.now();
for (let due = last; !ended; rounds++) {
  const packet = request(rounds & 0xffff);
  for (const target of targets) {
    try {
      sendRaw(socket, packet, target, () => "ask for an echo");
    } catch (error) {
      if (!(error instanceof SysError)) throw error; // no way there, for now
    }
  }
  hear();
  const now = performance.now();
  longest = Math.max(longest, now - last);
  last = now;
  // What it comes too late for, it leaves out.
  due = Math.max(due + PERIOD_MS, now);
  await Bun.sleep(due - now);
}
hear();
closeFd(socket);
process.stdout.write(`end ${rounds} ${Math.round(longest)}\n`);
