import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { formatAddress, parseAddress } from "../../ip/index.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import { Writer } from "../wire.ts";
import {
  CT_STATUS,
  conntrackDelete,
  conntrackFlows,
  type DumpRequest,
  type Flow,
  flushConntrack,
  type Message,
  type Netfilter,
  NetlinkParseError,
  openNetfilter,
} from "./index.ts";

describe("what the kernel says of a connection", () => {
  const flow = (): Writer => {
    const writer = new Writer();
    writer.u32(2); // struct nfgenmsg: IPv4
    for (const [type, source, destination, ports] of [
      [1, [10, 1, 1, 2], [10, 9, 9, 9], [4000, 53]],
      [2, [10, 1, 2, 2], [10, 1, 1, 2], [53, 4000]],
    ] as const) {
      writer.nested(type, () => {
        writer.nested(1, () => {
          writer.attribute(1, Uint8Array.from(source));
          writer.attribute(2, Uint8Array.from(destination));
        });
        writer.nested(2, () => {
          writer.attributeU8(1, 17);
          writer.attributeU16be(2, ports[0]);
          writer.attributeU16be(3, ports[1]);
        });
      });
    }
    writer.attributeU32be(3, CT_STATUS.CONFIRMED);
    writer.attributeU32be(12, 0xfedcba98);
    return writer;
  };
  const message = (payload: Uint8Array): Message => ({ type: 0x100, flags: 2, sequence: 1, port: 0, payload });

  it("is read in network order", () => {
    const read = conntrackFlows({ version: 4 }).decode(message(flow().finish()));
    expect(read).toMatchObject({
      id: 0xfedcba98,
      status: 8,
      mark: 0,
      zone: 0,
      original: { protocol: 17, sourcePort: 4000, destinationPort: 53 },
    });
    expect(text(read!)).toBe("10.1.1.2>10.9.9.9 10.1.2.2>10.1.1.2");
  });

  it("never leads to another error than the codec's own, however damaged", () => {
    const whole = flow().finish();
    const damaged = fc.tuple(
      fc.nat(whole.length),
      fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 }),
    );
    // What flushing many addresses reads with, without a kernel.
    const one = (decode: DumpRequest<Flow>["decode"], bytes: Uint8Array): boolean => {
      try {
        decode(message(bytes));
        return true;
      } catch (error) {
        return error instanceof NetlinkParseError;
      }
    };
    const decoders: DumpRequest<Flow>["decode"][] = [conntrackFlows({ version: 4 }).decode];
    const fake = {
      dump: (request: DumpRequest<Flow>): Flow[] => {
        decoders.push(request.decode);
        return [];
      },
      batch: () => [],
    };
    flushConntrack(fake as unknown as Netfilter, [parseAddress("10.1.1.2"), parseAddress("10.1.1.3")]);
    expect(decoders).toHaveLength(2);
    fc.assert(
      fc.property(damaged, ([length, changes]) => {
        const bytes = whole.slice(0, length);
        for (const [at, value] of changes) if (at < length) bytes[at] = value;
        return decoders.every((decode) => one(decode, bytes));
      }),
      { numRuns: 1000 },
    );
  });
});

const text = ({ original, reply }: Flow): string =>
  `${formatAddress(original.source)}>${formatAddress(original.destination)} ${formatAddress(reply.source)}>${formatAddress(reply.destination)}`;

/** Two pods and a node between them that tracks, and translates 10.9.9.9 to the second pod. */
describeAsRoot("connection tracking", () => {
  let node: TestNamespace;
  let netfilter: Netfilter;
  const pods: TestNamespace[] = [];
  beforeEach(() => {
    node = makeNamespace("calico-ct");
    for (const i of [1, 2]) {
      const pod = makeNamespace("calico-ct");
      pods.push(pod);
      node.exec("ip", "link", "add", `h${i}`, "type", "veth", "peer", "name", "eth0", "netns", pod.name);
      node.exec("ip", "addr", "add", `10.1.${i}.1/24`, "dev", `h${i}`);
      node.exec("ip", "addr", "add", `fd00:${i}::1/64`, "dev", `h${i}`, "nodad");
      node.exec("ip", "link", "set", `h${i}`, "up");
      pod.exec("ip", "addr", "add", `10.1.${i}.2/24`, "dev", "eth0");
      pod.exec("ip", "addr", "add", `fd00:${i}::2/64`, "dev", "eth0", "nodad");
      pod.exec("ip", "link", "set", "eth0", "up");
      pod.exec("ip", "route", "add", "default", "via", `10.1.${i}.1`);
      pod.exec("ip", "route", "add", "default", "via", `fd00:${i}::1`);
    }
    node.exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
    node.exec(
      "nft",
      "table inet t { chain f { type filter hook forward priority 0; ct state new accept; }; chain p { type nat hook prerouting priority -100; ip daddr 10.9.9.9 dnat ip to 10.1.2.2; }; }",
    );
    netfilter = openNetfilter(node.namespace);
  });
  afterEach(() => {
    netfilter.close();
    for (const each of [...pods.splice(0), node]) each.dispose();
  });

  /** A datagram from a pod. */
  const talk = (pod: 1 | 2, to: string, from = 4000): void => {
    const version = to.includes(":") ? 6 : 4;
    const script = `const s = require("node:dgram").createSocket("udp${version}"); s.bind(${from}, () => s.send("x", 5000, "${to}", () => s.close()));`;
    pods[pod - 1]!.exec(process.execPath, "-e", script);
  };
  const flows = (version: 4 | 6 = 4): string[] =>
    netfilter.dump(conntrackFlows({ version })).filter(udp).map(text).sort();
  const udp = (flow: Flow): boolean => flow.original.protocol === 17;
  const until = async (condition: () => boolean): Promise<void> => {
    for (const deadline = Date.now() + 20_000; !condition(); ) {
      if (Date.now() > deadline) throw new Error(`it did not happen within 20 s: ${flows().join(", ")}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  };

  it("lists what is tracked, translated or not, and finds it by each end of each direction", async () => {
    talk(1, "10.1.2.2");
    talk(1, "10.9.9.9", 4001);
    talk(2, "10.1.1.2");
    await until(() => flows().length === 3);
    expect(flows()).toEqual([
      "10.1.1.2>10.1.2.2 10.1.2.2>10.1.1.2",
      "10.1.1.2>10.9.9.9 10.1.2.2>10.1.1.2",
      "10.1.2.2>10.1.1.2 10.1.1.2>10.1.2.2",
    ]);
    const by = (field: Parameters<typeof conntrackFlows>[0]["field"] & string, address: string): string[] =>
      netfilter
        .dump(conntrackFlows({ version: 4, field, address: parseAddress(address) }))
        .filter(udp)
        .map(text)
        .sort();
    expect(by("originalSource", "10.1.1.2")).toHaveLength(2);
    expect(by("originalDestination", "10.9.9.9")).toEqual(["10.1.1.2>10.9.9.9 10.1.2.2>10.1.1.2"]);
    expect(by("replySource", "10.1.2.2")).toHaveLength(2);
    expect(by("replyDestination", "10.1.2.2")).toEqual(["10.1.2.2>10.1.1.2 10.1.1.2>10.1.2.2"]);
    const translated = netfilter.dump(conntrackFlows({ version: 4 })).find(({ status }) => status & CT_STATUS.DST_NAT);
    expect(translated).toMatchObject({ original: { protocol: 17, sourcePort: 4001, destinationPort: 5000 }, zone: 0 });
  });

  it("forgets what an endpoint called and who called it, also through a translation, and nothing else", async () => {
    talk(1, "10.1.2.2");
    talk(1, "10.9.9.9", 4001);
    talk(2, "10.1.2.1"); // to the node itself
    await until(() => flows().length === 3);
    expect(flushConntrack(netfilter, [parseAddress("10.1.1.77")])).toBe(0);
    expect(flushConntrack(netfilter, [parseAddress("10.1.1.2")])).toBe(2);
    expect(flows()).toEqual(["10.1.2.2>10.1.2.1 10.1.2.1>10.1.2.2"]);
    talk(1, "10.9.9.9", 4001);
    await until(() => flows().length === 2);
    expect(flushConntrack(netfilter, [parseAddress("10.9.9.9")])).toBe(0); // it is nobody's reply source
    expect(flushConntrack(netfilter, [parseAddress("10.9.9.9")], ["originalDestination"])).toBe(1);
    expect(flushConntrack(netfilter, [parseAddress("10.1.2.2"), parseAddress("fd00:2::2")])).toBe(1);
    expect(flows()).toEqual([]);
    expect(flushConntrack(netfilter, [])).toBe(0);
  });

  it("does so for IPv6, and for many addresses with one listing", async () => {
    talk(1, "fd00:2::2");
    await until(() => flows(6).length === 1);
    talk(1, "10.1.2.2");
    await until(() => flows().length === 1);
    const many = Array.from({ length: 50 }, (_, i) => parseAddress(`10.1.2.${i}`));
    expect(flushConntrack(netfilter, many)).toBe(1);
    const more = Array.from({ length: 50 }, (_, i) => parseAddress(`fd00:1::${i}`));
    // Neighbour discovery is tracked as well.
    expect(flushConntrack(netfilter, more)).toBeGreaterThanOrEqual(1);
    expect([...flows(), ...flows(6)]).toEqual([]);
  });

  it("does not forget another connection that has the tuple by now", async () => {
    talk(1, "10.1.2.2");
    await until(() => flows().length === 1);
    const flow = netfilter.dump(conntrackFlows({ version: 4 })).find(udp)!;
    expect(() => netfilter.request(conntrackDelete({ ...flow, id: flow.id ^ 1 }))).toThrow(
      "forget the connection of 10.1.1.2 to 10.1.2.2: ENOENT",
    );
    netfilter.request(conntrackDelete(flow));
    expect(flows()).toEqual([]);
    expect(() => netfilter.request(conntrackDelete(flow))).toThrow("ENOENT");
  });
});
