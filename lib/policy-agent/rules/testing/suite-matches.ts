/** The part of the dataplanes' suite that sends packets through every match of the rule program. */
import { expect, it } from "vitest";
import { ICMP, ICMPV6, icmpOf, type Packet, SCTP, TCP, UDP } from "../interpret-packet.ts";
import type { Match, Rule } from "../ir.ts";
import type { SuiteSubject } from "./testbed.ts";
import { addressOf, echo, fateOf, netOf, packet, REMOTE, sctp, tcp, udp, VERSIONS } from "./traffic.ts";
import { drop, port, useTraffic } from "./traffic-bench.ts";

export function describeMatches(subject: SuiteSubject): void {
  const traffic = useTraffic(subject);
  const { fate, only, program } = traffic;

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
      expect(fateOf(traffic.bed, "cali1", about)).toBe("out0");
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
          "mangle PREROUTING": [{ match: [{ is: "local-address", side: "destination", not }], action: { do: "drop" } }],
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
}
