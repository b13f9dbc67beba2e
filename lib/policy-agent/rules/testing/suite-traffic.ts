/** The part of the dataplanes' suite that sends a packet through every match and every action of the rule program. */
import { afterAll, beforeAll, expect, it } from "vitest";
import { ICMP, ICMPV6, icmpOf, type Packet, SCTP, TCP, UDP } from "../interpret-packet.ts";
import type { Action, Hook, IpVersion, Match, Rule, Table } from "../ir.ts";
import { type Agent, HOST, type Place, type SuiteSubject, type Testbed } from "./testbed.ts";
import { addressOf, cameOut, echo, fateOf, netOf, packet, REMOTE, sctp, tcp, udp, VERSIONS } from "./traffic.ts";

const drop: Rule = { match: [], action: { do: "drop" } };
const port = (number: number): Match[] => [
  { is: "protocol", protocol: TCP },
  { is: "ports", side: "destination", ports: [{ first: number, last: number }] },
];

/** Rules by where they stand; everything that is not there is empty. */
type Layout = Partial<Record<`${Table} ${Hook}`, readonly Rule[]>>;
interface Setup {
  readonly at: Layout;
  readonly chains?: Readonly<Record<string, readonly Rule[]>>;
}

/** See the top of the file. */
export function describeTraffic(subject: SuiteSubject, group: (title: string, body: () => void) => void): void {
  const use = {} as { bed: Testbed; agent: Agent };
  let before: Layout = {};
  let chainsBefore: string[] = [];
  /** Every conversation has a port of its own, so that none is the continuation of an earlier test's. */
  let lastPort = 20_000;

  /** Makes the kernel hold nothing but this, in both IP versions. */
  const program = async (make: (version: IpVersion) => Setup): Promise<void> => {
    const made = { 4: make(4), 6: make(6) };
    const places = new Set([...Object.keys(before), ...Object.keys(made[4].at), ...Object.keys(made[6].at)]);
    const chains = new Set([...Object.keys(made[4].chains ?? {}), ...Object.keys(made[6].chains ?? {})]);
    await use.agent.edit((v4, v6) => {
      for (const [version, edits] of [
        [4, v4],
        [6, v6],
      ] as const) {
        for (const [name, rules] of Object.entries(made[version].chains ?? {})) {
          edits.setChain("filter", { name, rules });
        }
        for (const place of places) {
          const [table, hook] = place.split(" ") as [Table, Hook];
          edits.setHook(table, hook, { first: made[version].at[place as keyof Layout] ?? [], last: [] });
        }
        for (const name of chainsBefore) if (!chains.has(name)) edits.removeChain("filter", name);
      }
    });
    await use.agent.apply();
    before = made[4].at;
    chainsBefore = [...chains];
  };
  const fate = (version: IpVersion, from: Place, to: Place, fields: Partial<Packet> = {}): string =>
    fateOf(use.bed, from, packet(version, from, to, { sourcePort: ++lastPort, echoId: lastPort, ...fields }));
  /** Only what matches is forwarded. */
  const only = (...match: readonly Match[]): Promise<void> =>
    program(() => ({ at: { "filter FORWARD": [{ match, action: { do: "accept" } }, drop] } }));

  const inGroup = (title: string, body: () => void): void =>
    group(title, () => {
      beforeAll(async () => {
        use.bed = await subject.open();
        use.agent = await use.bed.start();
        before = {};
        chainsBefore = [];
      });
      afterAll(() => use.bed?.dispose());
      body();
    });

  inGroup("matches", () => {
    it("protocol", async () => {
      await only({ is: "protocol", protocol: SCTP });
      for (const version of VERSIONS) {
        expect(fate(version, "cali1", "out0", sctp(9))).toBe("out0");
        expect(fate(version, "cali1", "out0", tcp(9))).toBe("silence");
      }
      await only({ is: "protocol", protocol: UDP, not: true });
      for (const version of VERSIONS) {
        expect(fate(version, "cali1", "out0", udp(9))).toBe("silence");
        expect(fate(version, "cali1", "out0", echo(version))).toBe("out0");
        expect(fate(version, "cali1", "out0", { protocol: 99 })).toBe("out0");
      }
      await only({ is: "protocol", protocol: 99 });
      for (const version of VERSIONS) {
        expect(fate(version, "cali1", "out0", { protocol: 99 })).toBe("out0");
        expect(fate(version, "cali1", "out0", udp(9))).toBe("silence");
      }
      for (const [version, protocol] of [
        [4, ICMP],
        [6, ICMPV6],
      ] as const) {
        await only({ is: "protocol", protocol });
        expect(fate(version, "cali1", "out0", echo(version))).toBe("out0");
        expect(fate(version, "cali1", "out0", tcp(9))).toBe("silence");
      }
    });

    it("net", async () => {
      for (const not of [false, true]) {
        const [member, other] = not ? ["silence", "out0"] : ["out0", "silence"];
        for (const net of [netOf("cali1", 4), "10.65.0.0/31"]) {
          const match: Match = { is: "net", side: "source", net, not };
          await program((version) => ({
            at: { "filter FORWARD": version === 4 ? [{ match: [match], action: { do: "accept" } }, drop] : [] },
          }));
          expect(fate(4, "cali1", "out0")).toBe(member);
          expect(fate(4, "cali2", "out0")).toBe(other);
        }
        await program((version) => ({
          at: {
            "filter FORWARD":
              version === 4
                ? []
                : [
                    {
                      match: [{ is: "net", side: "destination", net: "2001:db8::/32", not }],
                      action: { do: "accept" },
                    },
                    drop,
                  ],
          },
        }));
        expect(fate(6, "cali1", "out0")).toBe(member);
        expect(fate(6, "cali1", "cali2")).toBe(not ? "cali2" : "silence");
      }
      await program((version) => ({
        at: {
          "filter FORWARD": [
            {
              match: [{ is: "net", side: "source", net: version === 4 ? "0.0.0.0/0" : "::/0" }],
              action: { do: "drop" },
            },
          ],
        },
      }));
      for (const version of VERSIONS) expect(fate(version, "cali1", "out0")).toBe("silence");
    });

    it("ports", async () => {
      const ports = [
        { first: 80, last: 80 },
        { first: 1000, last: 2000 },
        { first: 65_535, last: 65_535 },
        { first: 0, last: 1 },
      ];
      for (const [protocol, of] of [
        [TCP, tcp],
        [UDP, udp],
        [SCTP, sctp],
      ] as const) {
        await only({ is: "protocol", protocol }, { is: "ports", side: "destination", ports });
        for (const version of VERSIONS) {
          const open = [0, 1, 2, 79, 80, 81, 999, 1000, 1500, 2000, 2001, 65_534, 65_535].filter(
            (number) => number !== 0 && fate(version, "cali1", "out0", of(number)) === "out0",
          );
          expect(open, `protocol ${protocol}`).toEqual([1, 80, 1000, 1500, 2000, 65_535]);
        }
        await only({ is: "protocol", protocol }, { is: "ports", side: "destination", ports, not: true });
        for (const version of VERSIONS) {
          const open = [79, 80, 1000, 2001].filter((number) => fate(version, "cali1", "out0", of(number)) === "out0");
          expect(open, `not, protocol ${protocol}`).toEqual([79, 2001]);
        }
      }
      await only({ is: "protocol", protocol: TCP }, { is: "ports", side: "source", ports });
      for (const version of VERSIONS) {
        expect(fate(version, "cali1", "out0", tcp(9, { sourcePort: 1234 }))).toBe("out0");
        expect(fate(version, "cali1", "out0", tcp(1234, { sourcePort: 9 }))).toBe("silence");
      }
    });

    it("ports, fifteen at once", async () => {
      const ports = Array.from({ length: 15 }, (_, index) => ({ first: 100 + 2 * index, last: 100 + 2 * index }));
      const ranges = Array.from({ length: 7 }, (_, index) => ({ first: 200 + 10 * index, last: 203 + 10 * index }));
      for (const list of [ports, [...ranges, { first: 9, last: 9 }]]) {
        await only({ is: "protocol", protocol: TCP }, { is: "ports", side: "destination", ports: list });
        for (const version of VERSIONS) {
          for (const { first, last } of list) {
            expect(fate(version, "cali1", "out0", tcp(last))).toBe("out0");
            expect(fate(version, "cali1", "out0", tcp(first - 1))).toBe("silence");
          }
        }
      }
    });

    it("icmp", async () => {
      for (const version of VERSIONS) {
        const [request, unreachable] = version === 4 ? [8, 3] : [128, 1];
        const at = (match: Match): Promise<void> =>
          program((each) => ({
            at: {
              "filter FORWARD":
                each === version
                  ? [{ match: [{ is: "protocol", protocol: icmpOf(version) }, match], action: { do: "accept" } }, drop]
                  : [],
            },
          }));
        const error = (code: number): Partial<Packet> => ({
          protocol: icmpOf(version),
          icmp: { type: unreachable, code },
          about: packet(version, "out0", "cali1"),
        });
        await at({ is: "icmp", type: request });
        expect(fate(version, "cali1", "out0", echo(version))).toBe("out0");
        expect(fate(version, "cali1", "out0", error(1))).toBe("silence");
        expect(fate(version, "cali1", "out0", tcp(80))).toBe("silence");
        await at({ is: "icmp", type: unreachable, code: 1 });
        expect(fate(version, "cali1", "out0", error(1))).toBe("out0");
        expect(fate(version, "cali1", "out0", error(3))).toBe("silence");
        await at({ is: "icmp", type: unreachable, code: 1, not: true });
        expect(fate(version, "cali1", "out0", error(1))).toBe("silence");
        expect(fate(version, "cali1", "out0", error(3))).toBe("out0");
        expect(fate(version, "cali1", "out0", echo(version))).toBe("out0");
        await at({ is: "icmp", type: request, not: true });
        expect(fate(version, "cali1", "out0", echo(version))).toBe("silence");
        expect(fate(version, "cali1", "out0", error(1))).toBe("out0");
      }
    });

    it("mark", async () => {
      const mark = (value: number, number: number): Rule => ({
        match: port(number),
        action: { do: "set-mark", value, mask: 0xffff0000 },
      });
      await program(() => ({
        at: {
          "filter FORWARD": [
            mark(0x80000000, 80),
            mark(0x90000000, 81),
            mark(0x40000000, 82),
            { match: [{ is: "mark", value: 0x80000000, mask: 0xc0000000 }], action: { do: "accept" } },
            {
              match: [{ is: "mark", value: 0x40000000, mask: 0x40000000, not: true }],
              action: { do: "reject", with: "icmp" },
            },
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) {
        const fates = [80, 81, 82, 83].map((number) => fate(version, "cali1", "out0", tcp(number)));
        expect(fates).toEqual(["out0", "out0", "silence", "port-unreachable"]);
      }
    });

    it("interface", async () => {
      const cases: readonly [Match & { is: "interface" }, readonly string[]][] = [
        [{ is: "interface", direction: "in", name: "cali1" }, ["cali1>out0", "cali1>cali2"]],
        [{ is: "interface", direction: "in", name: "cali*" }, ["cali1>out0", "cali1>cali2", "cali2>out0"]],
        [{ is: "interface", direction: "out", name: "cali2" }, ["cali1>cali2"]],
        [{ is: "interface", direction: "out", name: "o*" }, ["cali1>out0", "cali2>out0"]],
      ];
      const ways = [
        ["cali1", "out0"],
        ["cali1", "cali2"],
        ["cali2", "out0"],
        ["out0", "cali1"],
      ] as const;
      for (const [match, expected] of cases) {
        for (const not of [false, true]) {
          await only({ ...match, not });
          for (const version of VERSIONS) {
            const open = ways.filter(([from, to]) => fate(version, from, to) === to).map((way) => way.join(">"));
            const wanted = ways.map((way) => way.join(">")).filter((way) => expected.includes(way) !== not);
            expect(open, JSON.stringify({ ...match, not })).toEqual(wanted);
          }
        }
      }
    });

    it("conntrack: new and established", async () => {
      await program(() => ({
        at: {
          "filter FORWARD": [
            { match: [{ is: "conntrack", states: ["established", "related"] }], action: { do: "accept" } },
            {
              match: [
                { is: "conntrack", states: ["new"] },
                { is: "interface", direction: "in", name: "cali*" },
              ],
              action: { do: "accept" },
            },
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) {
        const answer: Partial<Packet> = { sourcePort: 80, destinationPort: 7000 + version, flags: "syn-ack" };
        expect(fate(version, "out0", "cali1", answer)).toBe("silence");
        expect(fate(version, "cali1", "out0", { sourcePort: 7000 + version })).toBe("out0");
        expect(fate(version, "out0", "cali1", answer)).toBe("cali1");
        expect(fate(version, "cali1", "out0", { sourcePort: 7000 + version, flags: "ack" })).toBe("out0");
        expect(fate(version, "out0", "cali1", tcp(80))).toBe("silence");
        expect(fate(version, "cali1", "out0", udp(53, { sourcePort: 7000 }))).toBe("out0");
        expect(fate(version, "out0", "cali1", udp(7000, { sourcePort: 53 }))).toBe("cali1");
        expect(fate(version, "out0", "cali1", udp(7001, { sourcePort: 53 }))).toBe("silence");
        // SCTP tells by its verification tag: an INIT never answers one; a second conversation is new.
        expect(fate(version, "cali1", "out0", sctp(9))).toBe("out0");
        expect(fate(version, "out0", "cali1", sctp(9))).toBe("silence");
      }
    });

    it("conntrack: related", async () => {
      await program(() => ({
        at: {
          "filter FORWARD": [
            { match: [{ is: "conntrack", states: ["related"] }], action: { do: "accept" } },
            { match: [{ is: "interface", direction: "in", name: "cali*" }], action: { do: "accept" } },
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) {
        const about = packet(version, "cali1", "out0", udp(53, { sourcePort: 7100 }));
        const error: Partial<Packet> = {
          protocol: icmpOf(version),
          icmp: { type: version === 4 ? 3 : 1, code: version === 4 ? 3 : 4 },
          about,
        };
        expect(fate(version, "out0", "cali1", error)).toBe("silence");
        expect(fateOf(use.bed, "cali1", about)).toBe("out0");
        expect(fate(version, "out0", "cali1", error)).toBe("cali1");
      }
    });

    it("conntrack: invalid, and anything but", async () => {
      for (const not of [false, true]) {
        await only({ is: "conntrack", states: ["invalid"], not });
        for (const version of VERSIONS) {
          const [invalid, valid] = not ? ["silence", "out0"] : ["out0", "silence"];
          expect(fate(version, "cali1", "out0", { flags: "null" })).toBe(invalid);
          expect(fate(version, "cali1", "out0", { flags: "syn-ack" })).toBe(invalid);
          expect(fate(version, "cali1", "out0")).toBe(valid);
          expect(fate(version, "cali1", "out0", udp(1))).toBe(valid);
        }
      }
    });

    it("conntrack: untracked", async () => {
      await program(() => ({
        at: {
          "raw PREROUTING": [{ match: port(80), action: { do: "notrack" } }],
          "filter FORWARD": [{ match: [{ is: "conntrack", states: ["untracked"] }], action: { do: "accept" } }, drop],
        },
      }));
      for (const version of VERSIONS) {
        expect(fate(version, "cali1", "out0", tcp(80))).toBe("out0");
        expect(fate(version, "cali1", "out0", tcp(81))).toBe("silence");
      }
    });

    it("dnatted", async () => {
      for (const not of [false, true]) {
        await program((version) => ({
          at: {
            "nat PREROUTING": [
              { match: port(80), action: { do: "dnat", address: addressOf("cali2", version), port: 8080 } },
            ],
            "filter FORWARD": [{ match: [{ is: "dnatted", not }], action: { do: "accept" } }, drop],
          },
        }));
        for (const version of VERSIONS) {
          expect(fate(version, "cali1", "out0", tcp(80))).toBe(not ? "silence" : "cali2");
          expect(fate(version, "cali1", "cali2", tcp(8080))).toBe(not ? "cali2" : "silence");
        }
      }
    });

    it("local-address", async () => {
      for (const not of [false, true]) {
        await program(() => ({
          at: {
            "mangle PREROUTING": [
              { match: [{ is: "local-address", side: "destination", not }], action: { do: "drop" } },
            ],
          },
        }));
        for (const version of VERSIONS) {
          expect(fate(version, "cali1", "host", echo(version))).toBe(not ? "host" : "silence");
          expect(fate(version, "cali1", "out0", echo(version))).toBe(not ? "silence" : "out0");
        }
        await program(() => ({
          at: {
            "mangle POSTROUTING": [{ match: [{ is: "local-address", side: "source", not }], action: { do: "drop" } }],
          },
        }));
        for (const version of VERSIONS) {
          expect(fate(version, "host", "out0", tcp(80))).toBe(not ? "out0" : "silence");
          expect(fate(version, "cali1", "out0", tcp(80))).toBe(not ? "silence" : "out0");
        }
      }
    });

    it("local-address, of the interface that the packet leaves through", async () => {
      for (const not of [false, true]) {
        await program(() => ({
          at: {
            "mangle POSTROUTING": [
              {
                match: [{ is: "local-address", side: "source", onOutInterface: true, not }, ...port(80)],
                action: { do: "drop" },
              },
            ],
          },
        }));
        for (const version of VERSIONS) {
          expect(fate(version, "host", "out0", tcp(80))).toBe(not ? "out0" : "silence");
          // out0's address, through another interface.
          expect(fate(version, "host", "cali1", tcp(80))).toBe(not ? "silence" : "cali1");
          expect(fate(version, "cali1", "out0", tcp(80))).toBe(not ? "silence" : "out0");
        }
      }
    });

    it("reverse-path-failed", async () => {
      await program(() => ({
        at: {
          "raw PREROUTING": [
            {
              match: [{ is: "interface", direction: "in", name: "cali*" }, { is: "reverse-path-failed" }],
              action: { do: "drop" },
            },
          ],
        },
      }));
      for (const version of VERSIONS) {
        expect(fate(version, "cali1", "out0")).toBe("out0");
        expect(fate(version, "cali1", "out0", { source: addressOf("cali2", version) })).toBe("silence");
        expect(fate(version, "cali1", "out0", { source: REMOTE[version] })).toBe("silence");
        expect(fate(version, "out0", "cali1", { source: addressOf("cali2", version) })).toBe("cali1");
      }
    });

    it("limit", async () => {
      await program(() => ({
        at: {
          "filter FORWARD": [
            { match: [...port(80), { is: "limit", rate: "1/hour", burst: 3 }], action: { do: "accept" } },
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) {
        // What does not match the rest uses nothing up.
        expect(fate(version, "cali1", "out0", tcp(81))).toBe("silence");
        const fates = Array.from({ length: 5 }, () => fate(version, "cali1", "out0", tcp(80)));
        expect(fates).toEqual(["out0", "out0", "out0", "silence", "silence"]);
      }
    });

    it("all of a rule's at once", async () => {
      await program((version) => ({
        at: {
          "filter FORWARD": [
            {
              match: [
                { is: "interface", direction: "in", name: "cali*" },
                { is: "protocol", protocol: TCP },
                { is: "net", side: "source", net: netOf("cali1", version) },
                { is: "net", side: "destination", net: netOf("out0", version), not: true },
                { is: "ports", side: "source", ports: [{ first: 1, last: 65_535 }] },
                { is: "ports", side: "destination", ports: [{ first: 80, last: 90 }] },
                { is: "ports", side: "destination", ports: [{ first: 85, last: 85 }], not: true },
                { is: "conntrack", states: ["new", "established"] },
              ],
              action: { do: "accept" },
              comment: 'a comment with "quotes", a \\ and an é',
            },
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) {
        expect(fate(version, "cali1", "cali2", tcp(80))).toBe("cali2");
        expect(fate(version, "cali1", "cali2", tcp(85))).toBe("silence");
        expect(fate(version, "cali1", "cali2", udp(80))).toBe("silence");
        expect(fate(version, "cali1", "out0", tcp(80))).toBe("silence");
        expect(fate(version, "cali3", "cali2", tcp(80))).toBe("silence");
      }
    });
  });

  inGroup("actions", () => {
    it("accept ends the walk, however deep; return goes back; goto does not come back", async () => {
      const go = (number: number, action: Action): Rule => ({ match: port(number), action });
      await program(() => ({
        chains: {
          "cali-inner": [
            go(80, { do: "accept" }),
            go(81, { do: "return" }),
            go(82, { do: "drop" }),
            go(81, { do: "drop" }),
          ],
          "cali-outer": [
            go(80, { do: "jump", chain: "cali-inner" }),
            go(81, { do: "jump", chain: "cali-inner" }),
            go(82, { do: "jump", chain: "cali-inner" }),
            go(83, { do: "goto", chain: "cali-empty" }),
            go(83, { do: "reject", with: "icmp" }),
            go(81, { do: "accept" }),
          ],
          "cali-empty": [],
        },
        at: {
          "filter FORWARD": [
            { match: [], action: { do: "jump", chain: "cali-outer" } },
            go(83, { do: "accept" }),
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) {
        const fates = [80, 81, 82, 83, 84].map((number) => fate(version, "cali1", "out0", tcp(number)));
        expect(fates).toEqual(["out0", "out0", "silence", "out0", "silence"]);
      }
    });

    it("accept of one table is no word of the next one's", async () => {
      await program(() => ({
        at: {
          "mangle FORWARD": [{ match: [], action: { do: "accept" } }],
          "filter FORWARD": [{ match: port(80), action: { do: "drop" } }],
        },
      }));
      for (const version of VERSIONS) expect(fate(version, "cali1", "out0", tcp(80))).toBe("silence");
    });

    it("reject", async () => {
      await program(() => ({
        at: {
          "filter FORWARD": [
            { match: port(80), action: { do: "reject", with: "tcp-reset" } },
            { match: port(81), action: { do: "reject", with: "icmp" } },
            { match: port(82), action: { do: "reject", with: "admin" } },
            { match: [{ is: "protocol", protocol: UDP }], action: { do: "reject", with: "icmp" } },
          ],
          "filter INPUT": [{ match: port(83), action: { do: "reject", with: "admin" } }],
        },
      }));
      for (const version of VERSIONS) {
        const fates = [80, 81, 82].map((number) => fate(version, "cali1", "out0", tcp(number)));
        expect(fates).toEqual(["reset", "port-unreachable", "admin-prohibited"]);
        expect(fate(version, "cali1", "out0", udp(80))).toBe("port-unreachable");
        expect(fate(version, "cali1", "host", tcp(83))).toBe("admin-prohibited");
      }
    });

    it("set-mark changes no more than its mask", async () => {
      await program(() => ({
        at: {
          "filter FORWARD": [
            { match: [], action: { do: "set-mark", value: 0x30000, mask: 0xffffffff } },
            { match: [], action: { do: "set-mark", value: 0x80000000, mask: 0xc0010000 } },
            { match: [{ is: "mark", value: 0x80020000, mask: 0xffffffff }], action: { do: "accept" } },
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) expect(fate(version, "cali1", "out0")).toBe("out0");
    });

    it("save-mark and restore-mark carry a mark to the connection's other packets", async () => {
      await program(() => ({
        at: {
          "mangle PREROUTING": [
            { match: [], action: { do: "restore-mark", mask: 0xf0000 } },
            {
              match: [...port(80), { is: "conntrack", states: ["new"] }],
              action: { do: "set-mark", value: 0x350000, mask: 0xff0000 },
            },
            { match: [{ is: "conntrack", states: ["new"] }], action: { do: "save-mark", mask: 0x70000 } },
          ],
          "filter FORWARD": [
            { match: [{ is: "conntrack", states: ["new"] }], action: { do: "accept" } },
            { match: [{ is: "mark", value: 0x50000, mask: 0xffff0000 }], action: { do: "accept" } },
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) {
        for (const [number, expected] of [
          [80, "cali1"],
          [81, "silence"],
        ] as const) {
          const mine = ++lastPort;
          expect(fate(version, "cali1", "out0", tcp(number, { sourcePort: mine }))).toBe("out0");
          expect(fate(version, "out0", "cali1", { sourcePort: number, destinationPort: mine, flags: "syn-ack" })).toBe(
            expected,
          );
        }
      }
    });

    it("log and nflog do not end the walk", async () => {
      use.bed.nflogged(1);
      use.bed.nflogged(2);
      await program((version) => ({
        at: {
          "filter FORWARD": [
            { match: port(80), action: { do: "log", prefix: "calico-packet: " } },
            { match: port(80), action: { do: "nflog", group: 1, prefix: `API0|default.one ${version}` } },
            { match: port(80), action: { do: "nflog", group: 2, prefix: "DPE1|gnp/two", size: 80 } },
            { match: port(81), action: { do: "nflog", group: 1, prefix: "never" } },
            { match: port(80), action: { do: "accept" } },
            drop,
          ],
        },
      }));
      for (const version of VERSIONS) {
        expect(fate(version, "cali1", "out0", tcp(80))).toBe("out0");
        expect(use.bed.nflogged(1)).toEqual([`API0|default.one ${version}`]);
        expect(use.bed.nflogged(2)).toEqual(["DPE1|gnp/two"]);
      }
    });

    it("masquerade", async () => {
      for (const [ports, fullyRandom] of [
        [undefined, undefined],
        [{ first: 30_000, last: 30_010 }, undefined],
        [{ first: 30_000, last: 30_010 }, true],
        [undefined, true],
      ] as const) {
        const action: Action = {
          do: "masquerade",
          ...(ports === undefined ? {} : { ports }),
          ...(fullyRandom === undefined ? {} : { fullyRandom }),
        };
        const out: Match = { is: "interface", direction: "out", name: "out0" };
        await program(() => ({
          at: {
            "nat POSTROUTING": [
              { match: [out, { is: "protocol", protocol: TCP }], action },
              { match: [out], action: { do: "masquerade" } },
            ],
          },
        }));
        for (const version of VERSIONS) {
          const mine = ++lastPort;
          const seen = cameOut(use.bed, "cali1", packet(version, "cali1", "out0", { sourcePort: mine }));
          expect(seen.source).toBe(HOST[version]);
          if (ports !== undefined) expect(seen.sourcePort).toBeGreaterThanOrEqual(ports.first);
          if (ports !== undefined) expect(seen.sourcePort).toBeLessThanOrEqual(ports.last);
          const answer = packet(version, "out0", "host", {
            sourcePort: 80,
            destinationPort: seen.sourcePort ?? 0,
            flags: "syn-ack",
          });
          const back = cameOut(use.bed, "out0", answer);
          expect(back).toMatchObject({ destination: addressOf("cali1", version), destinationPort: mine });
          expect(cameOut(use.bed, "cali1", packet(version, "cali1", "out0", echo(version))).source).toBe(HOST[version]);
          expect(cameOut(use.bed, "cali1", packet(version, "cali1", "cali2", { sourcePort: mine })).source).toBe(
            addressOf("cali1", version),
          );
        }
      }
    });

    it("snat", async () => {
      const to = { 4: "198.51.100.7", 6: "2001:db8:51::7" };
      for (const ports of [undefined, { first: 31_000, last: 31_000 }]) {
        await program((version) => ({
          at: {
            "nat POSTROUTING": [
              {
                match: port(80),
                action: { do: "snat", address: to[version], ...(ports === undefined ? {} : { ports }) },
              },
            ],
          },
        }));
        for (const version of VERSIONS) {
          const mine = ++lastPort;
          const seen = cameOut(use.bed, "cali1", packet(version, "cali1", "out0", { sourcePort: mine }));
          expect(seen).toMatchObject({ source: to[version], sourcePort: ports?.first ?? mine });
          expect(cameOut(use.bed, "cali1", packet(version, "cali1", "out0", tcp(81))).source).toBe(
            addressOf("cali1", version),
          );
        }
      }
    });

    it("dnat", async () => {
      for (const number of [undefined, 8081]) {
        await program((version) => ({
          at: {
            "nat PREROUTING": [
              {
                match: port(80),
                action: {
                  do: "dnat",
                  address: addressOf("cali2", version),
                  ...(number === undefined ? {} : { port: number }),
                },
              },
            ],
            "nat OUTPUT": [{ match: port(80), action: { do: "dnat", address: addressOf("cali3", version) } }],
          },
        }));
        for (const version of VERSIONS) {
          const mine = ++lastPort;
          const seen = cameOut(use.bed, "cali1", packet(version, "cali1", "out0", { sourcePort: mine }));
          expect(seen).toMatchObject({ destination: addressOf("cali2", version), destinationPort: number ?? 80 });
          const answer = packet(version, "cali2", "cali1", {
            sourcePort: number ?? 80,
            destinationPort: mine,
            flags: "syn-ack",
          });
          expect(cameOut(use.bed, "cali2", answer)).toMatchObject({ source: REMOTE[version], sourcePort: 80 });
          expect(fate(version, "cali1", "out0", tcp(82))).toBe("out0");
          expect(fate(version, "host", "out0", tcp(80))).toBe("cali3");
        }
      }
    });

    it("dscp", async () => {
      for (const value of [46, 0, 63]) {
        await program(() => ({ at: { "mangle POSTROUTING": [{ match: port(80), action: { do: "dscp", value } }] } }));
        for (const version of VERSIONS) {
          const seen = (number: number): number =>
            cameOut(use.bed, "cali1", packet(version, "cali1", "out0", tcp(number, { dscp: 10 }))).dscp ?? 0;
          expect([seen(80), seen(81)]).toEqual([value, 10]);
        }
      }
    });

    it("notrack keeps a packet out of the connections", async () => {
      await program(() => ({
        at: {
          "raw PREROUTING": [{ match: port(80), action: { do: "notrack" } }],
          "filter FORWARD": [{ match: [{ is: "conntrack", states: ["established"] }], action: { do: "drop" } }],
        },
      }));
      for (const version of VERSIONS) {
        const mine = ++lastPort;
        const answer: Partial<Packet> = { sourcePort: 80, destinationPort: mine, flags: "ack" };
        expect(fate(version, "cali1", "out0", { sourcePort: mine })).toBe("out0");
        expect(fate(version, "out0", "cali1", answer)).toBe("cali1");
      }
    });
  });
}
