import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Address, type Cidr, cidrFromAddress, formatAddress, formatCidr } from "../ip/index.ts";
import { addressAdd, decodeAddress } from "./address.ts";
import { NetlinkParseError } from "./error.ts";
import { decodeLink, linkAdd, linkGet, linkInetConf, linkSet, pairAdd } from "./link.ts";
import { encodeMessage, type Message, parseDone, parseError, parseMessages, type Request, TYPE } from "./message.ts";
import { decodeChange } from "./monitor.ts";
import { decodeNeighbour, neighbourSet, neighbours } from "./neighbour.ts";
import { decodeQdisc, qdiscs } from "./qdisc.ts";
import { decodeRoute, type NextHop, type RouteChange, type RouteType, routeAdd, routes } from "./route.ts";
import { decodeRule, type RuleAction, type RuleChange, ruleAdd } from "./rule.ts";
import { Attributes, Reader, Writer } from "./wire.ts";

/** Datagrams of a real kernel: see testdata/capture.ts. */
const captured = readFileSync(join(import.meta.dirname, "testdata", "kernel.hex"), "latin1")
  .split("\n")
  .filter((line) => line !== "" && !line.startsWith("#"))
  .map((line) => {
    const [name, hex] = line.split(" ") as [string, string];
    return { name, bytes: new Uint8Array(Buffer.from(hex, "hex")) };
  });
const messagesOf = (name: string): Message[] =>
  captured.filter((each) => each.name === name).flatMap((each) => parseMessages(each.bytes));
const body = (name: string): Message[] => messagesOf(name).filter((message) => message.type !== TYPE.DONE);

describe("messages of a real kernel", () => {
  it("are links", () => {
    expect(body("links").map(decodeLink)).toMatchObject([
      { index: 1, name: "lo", up: true, mtu: 65536 },
      { name: "eth0", kind: "veth", mac: "02:00:00:00:00:01", up: true, group: 0, peerIndex: 3 },
      {
        name: "cali1",
        kind: "veth",
        mac: "ee:ee:ee:ee:ee:ee",
        up: true,
        mtu: 1450,
        group: 77,
        alias: "calico:net1/a/eth0",
        txQueues: 2,
        rxQueues: 2,
      },
      { name: "br0", kind: "bridge", up: true },
    ]);
    expect(body("link").map(decodeLink)).toMatchObject([{ name: "cali1", alias: "calico:net1/a/eth0", peerIndex: 2 }]);
    const conf = linkInetConf({ name: "cali1" }).decode!(body("link")[0]!);
    expect(conf).toMatchObject({ forwarding: 0, proxy_arp: 0, route_localnet: 0 });
  });

  it("are addresses", () => {
    const found = body("addresses").map(decodeAddress);
    expect(
      found.map(
        (info) => `${info!.index} ${formatAddress(info!.address)}/${info!.length} ${info!.scope} ${info!.flags}`,
      ),
    ).toEqual([
      "1 127.0.0.1/8 254 128",
      "3 10.1.2.3/24 0 128",
      "1 ::1/128 254 128",
      "2 fe80::ff:fe00:1/64 253 192",
      "3 fd00:1::3/64 0 130",
      "3 fe80::ecee:eeff:feee:eeee/64 253 192",
      expect.stringMatching(/^4 fe80::.*\/64 253 192$/),
    ]);
  });

  it("are routes", () => {
    const text = (route: RouteChange): string =>
      [
        route.type,
        formatCidr(route.destination),
        route.gateway ? `via ${formatAddress(route.gateway)}` : "",
        ...(route.nextHops ?? []).map(
          (hop) => `[${formatAddress(hop.gateway!)} ${hop.index} ${hop.weight} ${hop.onlink ?? false}]`,
        ),
        `dev ${route.index} table ${route.table} proto ${route.protocol} scope ${route.scope} metric ${route.metric} mtu ${route.mtu}`,
      ].join(" ");
    const found = body("routes").map((message) => text(decodeRoute(message)!));
    expect(found).toEqual(
      expect.arrayContaining([
        "unicast 10.9.0.1/32  dev 3 table 254 proto 3 scope 253 metric 0 mtu undefined",
        "unicast 10.10.0.0/16 via 10.1.2.1 dev 3 table 1000 proto 80 scope 0 metric 512 mtu 1400",
        "unicast 10.11.0.0/16  [10.1.2.1 3 3 false] [10.1.2.2 3 1 true] dev undefined table 254 proto 12 scope 0 metric 0 mtu undefined",
        "blackhole 10.12.0.0/26  dev undefined table 254 proto 80 scope 0 metric 0 mtu undefined",
        "unicast 10.13.0.0/24 via fe80::1 dev 3 table 254 proto 3 scope 0 metric 0 mtu undefined",
        "unicast fd00:2::/64 via fd00:1::1 dev 3 table 254 proto 3 scope 0 metric 1024 mtu undefined",
        "blackhole fd00:3::/122  dev 1 table 254 proto 80 scope 0 metric 1024 mtu undefined",
        "unicast fd00:4::/64  [fd00:1::1 3 1 false] [fd00:1::2 3 1 false] dev undefined table 254 proto 3 scope 0 metric 1024 mtu undefined",
        "local 10.1.2.3/32  dev 3 table 255 proto 2 scope 254 metric 0 mtu undefined",
      ]),
    );
  });

  it("are neighbours, proxies, rules and qdiscs", () => {
    const wanted = neighbours().decode;
    const found = body("neighbours").flatMap((message) => wanted(message) ?? []);
    const permanent = found.filter((each) => each.state === 0x80);
    expect(permanent).toMatchObject([
      { index: 3, mac: "02:00:00:00:00:02", address: { version: 4, value: 0x0a010201n } },
    ]);
    expect(body("proxies").map(decodeNeighbour)).toMatchObject([
      { index: 3, proxy: true, address: { value: 0x0a010209n } },
    ]);
    const policies = body("rules").flatMap((message) => decodeRule(message) ?? []); // also those of other families
    expect(policies.filter((rule) => rule.priority > 0 && rule.priority < 32766)).toMatchObject([
      { version: 4, priority: 99, mark: 0x10, mask: 0x10, table: 99, action: "table", protocol: 80, invert: false },
      {
        version: 4,
        priority: 100,
        action: "prohibit",
        invert: true,
        inputInterface: "cali1",
        from: { length: 8 },
        to: { length: 24 },
      },
      { version: 6, priority: 101, table: 1001, suppressPrefixLength: 0, from: { version: 6, length: 8 } },
    ]);
    expect(body("qdiscs").map(decodeQdisc)).toEqual(
      expect.arrayContaining([expect.objectContaining({ index: 3, kind: expect.any(String) })]),
    );
    expect(qdiscs({ index: 99 }).decode(body("qdiscs")[0]!)).toBeUndefined();
  });

  it("are refusals in words, and acknowledgements", () => {
    const refused = parseError(messagesOf("refused")[0]!, () => "read the link none");
    expect(refused).toMatchObject({ code: "ENODEV", errno: 19, message: "read the link none: ENODEV" });
    const explained = parseError(messagesOf("explained")[0]!, () => "add the route");
    expect(explained!.message).toBe("add the route: EACCES (Nexthop has invalid gateway)"); // a rule of the capture prohibits it
    expect(parseError(messagesOf("acknowledged")[0]!, () => "add the route")).toBeUndefined();
    expect(parseDone(messagesOf("links").at(-1)!, () => "list")).toBeUndefined();
  });

  it("are changes as they happened", () => {
    const kinds = new Set(messagesOf("event").map((message) => decodeChange(message)?.kind));
    expect([...kinds].sort()).toEqual(expect.arrayContaining(["address", "link", "neighbour", "route", "rule"]));
  });

  it("pass the filters that old kernels do not apply", () => {
    const decode = routes({ table: 1000, version: 4, protocol: 80, index: 3, type: "unicast" }).decode;
    expect(body("routes").flatMap((message) => decode(message) ?? [])).toHaveLength(1);
    const multipath = routes({ table: 254, version: 4, protocol: 12, index: 3 }).decode;
    expect(body("routes").flatMap((message) => multipath(message) ?? [])).toHaveLength(1);
  });
});

const encode = (request: Request<unknown>): Message => {
  const writer = new Writer(16);
  encodeMessage(writer, request.type, request.flags, 1, request.body);
  const messages = parseMessages(writer.finish());
  expect(messages).toHaveLength(1);
  return messages[0]!;
};

const arbitraryAddress = (version: 4 | 6): fc.Arbitrary<Address> =>
  fc.bigInt({ min: 0n, max: (1n << (version === 4 ? 32n : 128n)) - 1n }).map((value) => ({ version, value }));
const arbitraryCidr = (version: 4 | 6): fc.Arbitrary<Cidr> =>
  fc
    .tuple(arbitraryAddress(version), fc.integer({ min: 0, max: version === 4 ? 32 : 128 }))
    .map(([address, length]) => cidrFromAddress(address, length));
const u32 = fc.integer({ min: 1, max: 0xffffffff });
const index = fc.integer({ min: 1, max: 0x7fffffff });
const name = fc.string({
  minLength: 1,
  maxLength: 15,
  unit: fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz0123456789.-é"),
});
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 });
/** Leaves absent properties out, as exactOptionalPropertyTypes wants. */
const optional = <T extends object>(model: { [K in keyof T]: fc.Arbitrary<T[K]> }) =>
  fc.record(model, { requiredKeys: [] });
const hop = (version: 4 | 6) =>
  fc.record({ gateway: arbitraryAddress(version), index, weight: fc.integer({ min: 1, max: 256 }) });
const version = fc.constantFrom<4 | 6>(4, 6);

describe("what is encoded is decoded again", () => {
  it("for routes of every shape", () => {
    const types: RouteType[] = ["unicast", "local", "blackhole", "unreachable", "prohibit", "throw"];
    const route = version.chain((v) =>
      fc.tuple(
        arbitraryCidr(v),
        fc.record({
          table: u32,
          protocol: fc.nat(255),
          scope: fc.nat(255),
          type: fc.constantFrom(...types),
          metric: u32,
        }),
        fc.oneof(
          optional<NextHop>({
            gateway: fc.oneof(arbitraryAddress(4), arbitraryAddress(6)),
            index,
            onlink: fc.constant(true),
          }),
          fc.record({ nextHops: fc.array(hop(v), { minLength: 1, maxLength: 20 }) }),
        ),
        optional<{ source: Address; mtu: number; tos: number }>({
          source: arbitraryAddress(v),
          mtu: u32,
          tos: fc.integer({ min: 1, max: 255 }),
        }),
      ),
    );
    fc.assert(
      fc.property(route, ([destination, required, hops, more]) => {
        const change: RouteChange = { destination, ...required, ...hops, ...more };
        const { flags: _, ...decoded } = decodeRoute(encode(routeAdd(change)))!;
        expect(decoded).toEqual(change);
      }),
      { numRuns: 300 },
    );
  });

  it("for addresses", () => {
    const address = version.chain((v) =>
      fc.record({ address: arbitraryAddress(v), length: fc.integer({ min: 0, max: v === 4 ? 32 : 128 }) }),
    );
    fc.assert(
      fc.property(address, index, fc.nat(255), u32, (at, link, scope, flags) => {
        const change = { ...at, index: link, scope, flags };
        expect(decodeAddress(encode(addressAdd(change)))).toEqual(change);
      }),
    );
  });

  it("for neighbours", () => {
    fc.assert(
      fc.property(
        version.chain(arbitraryAddress),
        index,
        mac,
        fc.nat(0xffff),
        fc.boolean(),
        (address, link, bytes, state, proxy) => {
          const decoded = decodeNeighbour(encode(neighbourSet({ address, index: link, mac: bytes, state, proxy })));
          const text = Buffer.from(bytes).toString("hex").match(/../g)!.join(":");
          expect(decoded).toEqual({
            address,
            index: link,
            mac: text,
            state: proxy ? 0 : state,
            proxy,
            forwarding: false,
          });
        },
      ),
    );
  });

  it("for rules", () => {
    const actions: RuleAction[] = ["table", "goto", "blackhole", "prohibit"];
    const rule = version.chain((v) =>
      fc.tuple(
        fc.record({
          version: fc.constant(v),
          priority: u32,
          action: fc.constantFrom(...actions),
          invert: fc.boolean(),
        }),
        optional<Omit<RuleChange, "version" | "priority" | "action" | "invert">>({
          table: u32,
          from: arbitraryCidr(v),
          to: arbitraryCidr(v),
          mark: fc.nat(0xffffffff),
          mask: u32,
          inputInterface: name,
          outputInterface: name,
          goto: u32,
          suppressPrefixLength: fc.nat(128),
          protocol: fc.nat(255),
        }),
      ),
    );
    fc.assert(
      fc.property(rule, ([required, more]) => {
        const change: RuleChange = { ...required, ...more };
        expect(decodeRule(encode(ruleAdd(change)))).toEqual(change);
      }),
      { numRuns: 300 },
    );
  });

  it("for links", () => {
    fc.assert(
      fc.property(index, name, name, mac, u32, u32, fc.boolean(), (at, newName, alias, bytes, mtu, group, up) => {
        const change = { name: newName, alias, mac: bytes, mtu, group, up, inetConf: { proxy_arp: 1 } };
        const decoded = decodeLink(encode(linkSet({ index: at }, change)));
        const text = Buffer.from(bytes).toString("hex").match(/../g)!.join(":");
        expect(decoded).toMatchObject({ index: at, name: newName, alias, mac: text, mtu, group, up });
      }),
    );
  });

  it("for pairs, peer and all", () => {
    const message = encode(
      pairAdd({
        kind: "veth",
        name: "cali1",
        peerName: "eth0",
        peerNetnsFd: 7,
        mtu: 1400,
        queues: 2,
        peerMac: new Uint8Array(6).fill(2),
      }),
    );
    const link = new Reader(message.payload).attributes(16);
    const peer = link.nested(18)!.nested(2)!.get(1)!;
    const attributes = new Reader(peer).attributes(16);
    expect([link.string(3), link.u32(4), link.u32(31), link.u32(32)]).toEqual(["cali1", 1400, 2, 2]);
    expect([attributes.string(3), attributes.u32(4), attributes.u32(28), attributes.get(1)!.length]).toEqual([
      "eth0",
      1400,
      7,
      6,
    ]);
    expect(decodeLink(encode(linkAdd({ kind: "bridge", name: "br0" })))).toMatchObject({ kind: "bridge", name: "br0" });
  });
});

describe("the codec", () => {
  it("writes integers in the machine's order and addresses in the network's", () => {
    const writer = new Writer(1);
    writer.attributeU16(1, 0x0102);
    writer.attributeAddress(2, { version: 4, value: 0x0a000001n });
    writer.attributeString(3, "a");
    writer.nested(4, () => writer.attributeU8(5, 6));
    writer.attributeU64(6, 2n ** 63n);
    writer.u16be(0x0102);
    const hex =
      "0600010002010000 080002000a000001 0600030061000000 0c000480 0500050006000000 0c0006000000000000000080 0102";
    expect(Buffer.from(writer.finish()).toString("hex")).toBe(hex.replaceAll(" ", ""));
  });

  it("takes the last of two attributes of one type, and short padding", () => {
    const writer = new Writer();
    writer.attributeU32(1, 7);
    writer.attributeU32(1, 8);
    writer.u16(0);
    const attributes = Attributes.parse(writer.finish());
    expect([attributes.u32(1), attributes.list().length, attributes.u32(2)]).toEqual([8, 2, undefined]);
  });

  it("refuses a rename by name, and attributes that are too long for their length", () => {
    expect(() => linkSet({ name: "a" }, { name: "b" })).toThrow(RangeError);
    expect(() => new Writer().attribute(1, new Uint8Array(65533))).toThrow(RangeError);
    expect(() =>
      new Writer().nested(1, () => encodeMessage(new Writer(), 1, 1, 1, (w) => w.attribute(1, new Uint8Array(70000)))),
    ).toThrow(RangeError);
    expect(linkGet({ index: 4 }).attempt()).toBe("read the link with index 4");
  });

  it("throws nothing but its own error on mutilated messages, and always ends", () => {
    const decoders: ((message: Message) => unknown)[] = [
      decodeLink,
      decodeAddress,
      decodeRoute,
      decodeNeighbour,
      decodeRule,
      decodeQdisc,
      decodeChange,
      linkInetConf({ index: 1 }).decode!,
      (message) => parseError(message, () => "x"),
      (message) => parseDone(message, () => "x"),
      (message) => new Reader(message.payload).attributes(16).list(),
    ];
    const guarded = (action: () => unknown): void => {
      try {
        action();
      } catch (error) {
        if (!(error instanceof NetlinkParseError)) throw error;
      }
    };
    const mutation = fc.record({
      datagram: fc.constantFrom(...captured.map((each) => each.bytes)),
      changes: fc.array(fc.tuple(fc.nat(4000), fc.nat(255)), { maxLength: 12 }),
      cut: fc.nat(5000),
    });
    fc.assert(
      fc.property(mutation, ({ datagram, changes, cut }) => {
        const bytes = datagram.slice(0, Math.max(1, datagram.length - (cut > 2500 ? 0 : cut)));
        for (const [at, value] of changes) bytes[at % bytes.length] = value;
        guarded(() => {
          for (const message of parseMessages(bytes)) for (const decode of decoders) guarded(() => decode(message));
        });
        // Without a valid frame around it the rest must hold as well.
        const message: Message = {
          type: TYPE.NEWROUTE,
          flags: 0x200,
          sequence: 1,
          port: 0,
          payload: bytes.subarray(Math.min(16, bytes.length)),
        };
        for (const decode of decoders) guarded(() => decode(message));
      }),
      { numRuns: 1500 },
    );
  });
});
