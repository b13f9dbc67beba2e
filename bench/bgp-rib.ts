/**
 * The BGP tables alone: one peer in, one or more peers out, without sockets.
 *
 *     bun bench/bgp-rib.ts [prefixes] [sets of attributes] [peers out]
 *     bun bench/bgp-rib.ts clients [peers]      a reflector whose clients have 10 blocks each
 *
 * UPDATEs are packed beforehand, in one buffer, and that memory counts as there before.
 */

import { createRib, type Policy, type RibPeer } from "../lib/bgp/rib/index.ts";
import { decodeUpdate, encodeAttributes, HEADER_LENGTH, type Negotiated, UpdateWriter } from "../lib/bgp/wire/index.ts";
import { parseAddress } from "../lib/ip/index.ts";

const prefixes = Number(process.argv[2] ?? 500_000) || 0;
const sets = Number(process.argv[3] ?? 1);
const sinks = Number(process.argv[4] ?? 1);

const negotiated: Negotiated = {
  fourOctetAsn: true,
  extendedMessages: false,
  families: [4],
  addPathReceive: [],
  addPathSend: [],
  extendedNextHop: false,
};
const accept: Policy = { key: "accept", ignoresPrefix: true, decide: ({ attributes }) => ({ attributes }) };
const acceptEach: Policy = { ...accept, key: "accept each", ignoresPrefix: false };

const NO_ATTRIBUTES = {
  origin: 0,
  asPath: [],
  atomicAggregate: false,
  communities: [],
  largeCommunities: [],
  extendedCommunities: [],
  clusterList: [],
  unknown: [],
} as const;

function peer(number: number, send: (message: Uint8Array) => boolean, policy: Policy): RibPeer {
  return {
    name: `peer-${number}`,
    type: "ebgp",
    address: parseAddress(`192.0.2.${number}`),
    routerId: number,
    asn: 65_000 + number,
    localAsn: 64_512,
    localAddress: { 4: parseAddress("192.0.2.254") },
    negotiated,
    nextHop: "auto",
    allowedOwnAsns: 0,
    importPolicy: policy,
    exportPolicy: policy,
    send,
  };
}

/** Lengths of the messages stand before them: an object each would be memory of the source's. */
function packed(): { readonly reach: Uint8Array; readonly withdraw: Uint8Array } {
  const buffer = (fill: (writer: UpdateWriter) => void) => {
    let bytes = new Uint8Array(1 << 20);
    let end = 0;
    const writer = new UpdateWriter(negotiated, (message) => {
      if (end + message.length > bytes.length) bytes = new Uint8Array(bytes.buffer.transfer(bytes.length * 2));
      bytes.set(message, end);
      end += message.length;
    });
    fill(writer);
    writer.flush();
    return bytes.subarray(0, end);
  };
  const add = (writer: UpdateWriter, i: number) => writer.add(24, (0x0100_0000 + i * 256) | 0, 0, 0, 0);
  return {
    reach: buffer((writer) => {
      const each = Math.ceil(prefixes / sets);
      for (let i = 0; i < prefixes; i++) {
        if (i % each === 0) {
          writer.reach(
            encodeAttributes(
              {
                ...NO_ATTRIBUTES,
                asPath: [{ type: "sequence", asns: [65_001, 100 + i] }],
                nextHop: parseAddress("192.0.2.1"),
              },
              negotiated,
              { family: 4 },
            ),
          );
        }
        add(writer, i);
      }
    }),
    withdraw: buffer((writer) => {
      writer.withdraw(4);
      for (let i = 0; i < prefixes; i++) add(writer, i);
    }),
  };
}

const rss = () => {
  Bun.gc(true);
  return process.memoryUsage().rss / 1e6;
};

/** Every client tells its blocks, and hears of all others'. */
async function clients(count: number): Promise<void> {
  const before = rss();
  let messages = 0;
  const send = () => ++messages > 0;
  const rib = createRib({ routerId: 1, asn: 64_512, onBest: () => {} });
  const ids = Array.from({ length: count }, (_, i) =>
    rib.addPeer({
      ...peer(1, send, acceptEach),
      name: `client-${i}`,
      type: "ibgp",
      asn: 64_512,
      routerId: 1000 + i,
      reflectorClient: 9,
    }),
  );
  await rib.settled();
  messages = 0;
  const began = performance.now();
  const cpu = process.cpuUsage();
  for (const [i, id] of ids.entries()) {
    const writer = new UpdateWriter(negotiated, (message) => {
      for (const update of decodeUpdate(message.subarray(HEADER_LENGTH), negotiated, { peer: "ibgp" }))
        rib.update(id, update);
    });
    const nextHop = { version: 4, value: BigInt(0x0a00_0000 + i) } as const;
    writer.reach(encodeAttributes({ ...NO_ATTRIBUTES, nextHop, localPref: 100 }, negotiated, { family: 4 }));
    for (let block = 0; block < 10; block++) writer.add(26, (0x6440_0000 + (i * 10 + block) * 64) | 0, 0, 0, 0);
    writer.flush();
    if (i % 10 === 9) await new Promise((resolve) => setImmediate(resolve));
  }
  await rib.settled();
  const { user, system } = process.cpuUsage(cpu);
  const sent = rib.counts(ids[0]!).sent[4];
  console.log(
    `${count} clients: ${(performance.now() - began).toFixed(0)} ms (CPU ${((user + system) / 1000).toFixed(0)}), ` +
      `each has ${sent}, ${messages} messages; RSS ${before.toFixed(0)} -> ${rss().toFixed(0)} MB`,
  );
  rib.close();
}

if (process.argv[2] === "clients") {
  await clients(Number(process.argv[3] ?? 500));
  process.exit(0);
}

const source = packed();
for (const policy of [accept, acceptEach]) {
  let messages = 0;
  let bytes = 0;
  let told = 0;
  let longest = 0;
  const rib = createRib({ routerId: 1, asn: 64_512, onBest: (changes) => (told += changes.length) });
  const from = rib.addPeer(peer(1, () => true, policy));
  for (let i = 0; i < sinks; i++)
    rib.addPeer(
      peer(
        2 + i,
        (message) => {
          messages++;
          bytes += message.length;
          return true;
        },
        policy,
      ),
    );
  await rib.settled();
  const before = rss();
  let peak = before;
  const feed = async (input: Uint8Array, what: string) => {
    messages = bytes = told = 0;
    const cpu = process.cpuUsage();
    const began = performance.now();
    let at = 0;
    while (at < input.length) {
      // As much as a session reads at once.
      const until = Math.min(input.length, at + 65_536);
      const slice = performance.now();
      while (at < until) {
        const length = (input[at + 16]! << 8) | input[at + 17]!;
        const body = input.subarray(at + HEADER_LENGTH, at + length);
        for (const update of decodeUpdate(body, negotiated, { peer: "ebgp" })) rib.update(from, update);
        at += length;
      }
      longest = Math.max(longest, performance.now() - slice);
      await new Promise((resolve) => setImmediate(resolve));
      peak = Math.max(peak, process.memoryUsage().rss / 1e6);
    }
    await rib.settled();
    peak = Math.max(peak, process.memoryUsage().rss / 1e6);
    const { user, system } = process.cpuUsage(cpu);
    console.log(
      `${policy.key} ${what}: ${(performance.now() - began).toFixed(0)} ms (CPU ${((user + system) / 1000).toFixed(0)}), ` +
        `${messages} messages, ${bytes} bytes, ${told} told; longest read ${longest.toFixed(1)} ms; ` +
        `RSS ${before.toFixed(0)} -> ${rss().toFixed(0)} MB, peak ${peak.toFixed(0)}`,
    );
  };
  await feed(source.reach, "announce");
  await feed(source.withdraw, "withdraw");
  rib.close();
}
