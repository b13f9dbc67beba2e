/** The part of the dataplanes' suite that sends packets through every action of the rule program. */
import { expect, it } from "vitest";
import { type Packet, TCP, UDP } from "../interpret-packet.ts";
import type { Action, Match, Rule } from "../ir.ts";
import { HOST, type SuiteSubject } from "./testbed.ts";
import { addressOf, cameOut, echo, packet, REMOTE, tcp, udp, VERSIONS } from "./traffic.ts";
import { drop, port, useTraffic } from "./traffic-bench.ts";

export function describeActions(subject: SuiteSubject): void {
  const traffic = useTraffic(subject);
  const { fate, nextPort, program } = traffic;

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
        "filter FORWARD": [{ match: [], action: { do: "jump", chain: "cali-outer" } }, go(83, { do: "accept" }), drop],
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
        const mine = nextPort();
        expect(fate(version, "cali1", "out0", tcp(number, { sourcePort: mine }))).toBe("out0");
        expect(fate(version, "out0", "cali1", { sourcePort: number, destinationPort: mine, flags: "syn-ack" })).toBe(
          expected,
        );
      }
    }
  });

  it("log and nflog do not end the walk", async () => {
    traffic.bed.nflogged(1);
    traffic.bed.nflogged(2);
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
      expect(traffic.bed.nflogged(1)).toEqual([`API0|default.one ${version}`]);
      expect(traffic.bed.nflogged(2)).toEqual(["DPE1|gnp/two"]);
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
        const mine = nextPort();
        const seen = cameOut(traffic.bed, "cali1", packet(version, "cali1", "out0", { sourcePort: mine }));
        expect(seen.source).toBe(HOST[version]);
        if (ports !== undefined) expect(seen.sourcePort).toBeGreaterThanOrEqual(ports.first);
        if (ports !== undefined) expect(seen.sourcePort).toBeLessThanOrEqual(ports.last);
        const answer = packet(version, "out0", "host", {
          sourcePort: 80,
          destinationPort: seen.sourcePort ?? 0,
          flags: "syn-ack",
        });
        const back = cameOut(traffic.bed, "out0", answer);
        expect(back).toMatchObject({ destination: addressOf("cali1", version), destinationPort: mine });
        expect(cameOut(traffic.bed, "cali1", packet(version, "cali1", "out0", echo(version))).source).toBe(
          HOST[version],
        );
        expect(cameOut(traffic.bed, "cali1", packet(version, "cali1", "cali2", { sourcePort: mine })).source).toBe(
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
        const mine = nextPort();
        const seen = cameOut(traffic.bed, "cali1", packet(version, "cali1", "out0", { sourcePort: mine }));
        expect(seen).toMatchObject({ source: to[version], sourcePort: ports?.first ?? mine });
        expect(cameOut(traffic.bed, "cali1", packet(version, "cali1", "out0", tcp(81))).source).toBe(
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
        const mine = nextPort();
        const seen = cameOut(traffic.bed, "cali1", packet(version, "cali1", "out0", { sourcePort: mine }));
        expect(seen).toMatchObject({ destination: addressOf("cali2", version), destinationPort: number ?? 80 });
        const answer = packet(version, "cali2", "cali1", {
          sourcePort: number ?? 80,
          destinationPort: mine,
          flags: "syn-ack",
        });
        expect(cameOut(traffic.bed, "cali2", answer)).toMatchObject({ source: REMOTE[version], sourcePort: 80 });
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
          cameOut(traffic.bed, "cali1", packet(version, "cali1", "out0", tcp(number, { dscp: 10 }))).dscp ?? 0;
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
      const mine = nextPort();
      const answer: Partial<Packet> = { sourcePort: 80, destinationPort: mine, flags: "ack" };
      expect(fate(version, "cali1", "out0", { sourcePort: mine })).toBe("out0");
      expect(fate(version, "out0", "cali1", answer)).toBe("cali1");
    }
  });
}
