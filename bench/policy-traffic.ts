/**
 * Traffic of bench:policy, from one pod to another through the node. Both ends of what is sent as single packets are sockets of this process (a
 * socket stays in the namespace it was opened in), so one clock tells when a packet was sent and when it arrived. TCP runs between
 * two processes in the pods.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { addressBytes, parseAddress } from "../lib/ip/index.ts";
import { encodePacket, UDP } from "../lib/policy-agent/rules/testing/index.ts";
import { allocate, closeFd, inNamespace, openNamespace, openRawSocket, receiveRaw, sendRaw } from "../lib/sys/index.ts";
import { RECEIVER_ADDRESS, RECEIVER_INTERFACE, RECEIVER_NETNS, SENDER_ADDRESS, SENDER_NETNS } from "./policy-node.ts";

/** Destination ports of probes, all of which a rule of the bench names: FIRST_PORT up to, not including, LAST_PORT + 1. */
export const FIRST_PORT = 7000;
export const LAST_PORT = 7255;
const SOURCE_PORTS = 50_000;
const FIRST_SOURCE = 10_000;
/** Between two probes, in milliseconds. */
const PACE = 0.3;
/** So many probes in a row that do not arrive are no accident. */
const MISSING = 5;

/** Sends packets that are each the first of a flow, and watches whether they arrive. */
export class Probe {
  readonly #sender: number;
  readonly #receiver: number;
  /** The receiver's, to answer by. */
  readonly #answerer: number;
  readonly #packet: Uint8Array<ArrayBuffer>;
  readonly #view: DataView;
  readonly #to = addressBytes(parseAddress(RECEIVER_ADDRESS));
  readonly #buffer = allocate(2048);
  #next = 0;

  constructor() {
    this.#sender = openIn(SENDER_NETNS, 255);
    this.#receiver = openIn(RECEIVER_NETNS, UDP);
    this.#answerer = openIn(RECEIVER_NETNS, 255);
    this.#packet = datagram(SENDER_ADDRESS, RECEIVER_ADDRESS, FIRST_SOURCE, FIRST_PORT);
    this.#view = new DataView(this.#packet.buffer);
  }

  /** Whether the next packet of a new flow arrives within about a millisecond. */
  #try(): boolean {
    const number = this.#send();
    if (this.#arrived(number)) return true;
    Bun.sleepSync(PACE);
    return this.#arrived(number);
  }

  /**
   * Probes until packets pass, or are dropped, as they should; answers when, by `performance.now()`: the arrival of the first that passed, or the
   * sending of the first that did not.
   */
  until(pass: boolean, timeout = 120_000): number {
    let firstMissing = 0;
    let missing = 0;
    for (const deadline = performance.now() + timeout; ; ) {
      const sent = performance.now();
      const arrived = this.#try();
      const now = performance.now();
      if (arrived && pass) return now;
      if (arrived) missing = 0;
      else if (!pass) {
        if (missing === 0) firstMissing = sent;
        if (++missing === MISSING) return firstMissing;
      }
      if (now > deadline) throw new Error(`packets still ${pass ? "do not pass" : "pass"} after ${timeout} ms`);
      if (arrived) Bun.sleepSync(PACE);
    }
  }

  /** Packets a second of one established flow, as fast as one process can send them; those that the receiver's interface got. */
  flood(milliseconds: number): number {
    this.#drain();
    this.#send();
    const answer = datagram(RECEIVER_ADDRESS, SENDER_ADDRESS, this.#view.getUint16(22), this.#view.getUint16(20));
    sendRaw(this.#answerer, answer, addressBytes(parseAddress(SENDER_ADDRESS)), purpose);
    for (let i = 0; i < 5000; i++) sendRaw(this.#sender, this.#packet, this.#to, purpose); // so that the code is warm
    const before = received();
    const began = performance.now();
    const end = began + milliseconds;
    do {
      for (let i = 0; i < 64; i++) sendRaw(this.#sender, this.#packet, this.#to, purpose);
    } while (performance.now() < end);
    const elapsed = performance.now() - began;
    return ((received() - before) * 1000) / elapsed;
  }

  /** New flows a second, a packet each. */
  flows(count: number): number {
    this.#drain();
    const before = received();
    const began = performance.now();
    for (let i = 0; i < count; i++) this.#send();
    const elapsed = performance.now() - began;
    return ((received() - before) * 1000) / elapsed;
  }

  close(): void {
    closeFd(this.#sender);
    closeFd(this.#receiver);
    closeFd(this.#answerer);
  }

  /** Answers its number, by which it is known again. */
  #send(): number {
    const number = this.#next++;
    const ports = LAST_PORT - FIRST_PORT + 1;
    this.#view.setUint16(20, FIRST_SOURCE + (number % SOURCE_PORTS));
    this.#view.setUint16(22, FIRST_PORT + (Math.floor(number / SOURCE_PORTS) % ports));
    sendRaw(this.#sender, this.#packet, this.#to, purpose);
    return this.#view.getUint32(20);
  }

  #arrived(number: number): boolean {
    for (;;) {
      const packet = receiveRaw(this.#receiver, this.#buffer, purpose);
      if (packet === undefined) return false;
      const { bytes } = packet;
      if (new DataView(bytes.buffer, bytes.byteOffset).getUint32(20) === number) return true;
    }
  }

  #drain(): void {
    while (receiveRaw(this.#receiver, this.#buffer, purpose) !== undefined);
  }
}

/** Without a checksum (RFC 768): the ports change. */
function datagram(source: string, destination: string, sourcePort: number, destinationPort: number) {
  const bytes = encodePacket({ version: 4, protocol: UDP, source, destination, sourcePort, destinationPort });
  const packet = allocate(bytes.length);
  packet.set(bytes);
  new DataView(packet.buffer).setUint16(26, 0);
  return packet;
}

const purpose = (): string => "bench";

function openIn(netns: string, protocol: number): number {
  const namespace = openNamespace(netns);
  try {
    return inNamespace(namespace, () => openRawSocket(4, protocol));
  } finally {
    namespace.close();
  }
}

/** Packets that the node has sent to the receiver. */
function received(): number {
  const line = readFileSync("/proc/self/net/dev", "utf8")
    .split("\n")
    .find((one) => one.trim().startsWith(`${RECEIVER_INTERFACE}:`));
  return Number(line?.split(":")[1]?.trim().split(/\s+/)[9]);
}

export interface TcpRates {
  /** One byte there and one back, on one connection, a second. */
  readonly transactions: number;
  /** Connections a second, each with one such transaction. */
  readonly connections: number;
}

/** TCP between two processes in the pods, each for so long. */
export async function tcpRates(milliseconds: number): Promise<TcpRates> {
  const script = join(import.meta.dirname, "policy-tcp.ts");
  const start = (netns: string, ...args: string[]) =>
    Bun.spawn(["nsenter", `--net=${netns}`, process.execPath, script, ...args], {
      stdin: "pipe",
      stdout: "pipe",
      stderr: "inherit",
    });
  const server = start(RECEIVER_NETNS, "serve", RECEIVER_ADDRESS);
  try {
    const reader = server.stdout.getReader();
    await reader.read();
    const client = start(SENDER_NETNS, "ask", RECEIVER_ADDRESS, String(milliseconds));
    const said = await new Response(client.stdout).text();
    if ((await client.exited) !== 0) throw new Error("the TCP client failed");
    return JSON.parse(said) as TcpRates;
  } finally {
    server.kill("SIGKILL");
    await server.exited;
  }
}
