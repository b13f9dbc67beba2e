import { describe, expect, it } from "vitest";
import type { Action, IpVersion, Match, Rule } from "../rules/index.ts";
import { setName } from "./names.ts";
import { canMatchInterface, type Dialect, RenderError, renderRule } from "./render.ts";

const dialect = (version: IpVersion): Dialect => ({ version, setName: (id) => setName(version, id) });
const render = (rule: Rule, version: IpVersion): string[] => renderRule(rule, dialect(version)).map(({ text }) => text);
const drop: Action = { do: "drop" };

/** Every match, and every shape of its fields: as it is, and turned round where it can be; IPv4 and IPv6 where they differ. */
const MATCHES: readonly [Match, plain: string, turned?: string, v6?: string][] = [
  [{ is: "protocol", protocol: 6 }, "-p 6", "! -p 6"],
  [{ is: "net", side: "source", net: "10.0.0.0/8" }, "--source 10.0.0.0/8", "! --source 10.0.0.0/8"],
  [{ is: "net", side: "destination", net: "fd00::/64" }, "--destination fd00::/64", "! --destination fd00::/64"],
  [
    { is: "set", side: "source", set: "s:abcdefghijklmnopqrstuvwxyz0123" },
    "-m set --match-set cali40s:abcdefghijklmnopqrstuvw src",
    "-m set ! --match-set cali40s:abcdefghijklmnopqrstuvw src",
    "-m set --match-set cali60s:abcdefghijklmnopqrstuvw src",
  ],
  [
    { is: "set", side: "destination", set: "all-hosts-net" },
    "-m set --match-set cali40all-hosts-net dst",
    "-m set ! --match-set cali40all-hosts-net dst",
    "-m set --match-set cali60all-hosts-net dst",
  ],
  [
    { is: "port-set", side: "destination", set: "n:a" },
    "-m set --match-set cali40n:a dst,dst",
    "-m set ! --match-set cali40n:a dst,dst",
    "-m set --match-set cali60n:a dst,dst",
  ],
  [
    { is: "port-set", side: "source", set: "n:a" },
    "-m set --match-set cali40n:a src,src",
    "-m set ! --match-set cali40n:a src,src",
    "-m set --match-set cali60n:a src,src",
  ],
  [
    {
      is: "ports",
      side: "destination",
      ports: [
        { first: 80, last: 80 },
        { first: 8000, last: 8080 },
      ],
    },
    "-m multiport --destination-ports 80,8000:8080",
    "-m multiport ! --destination-ports 80,8000:8080",
  ],
  [
    { is: "ports", side: "source", ports: [{ first: 0, last: 65535 }] },
    "-m multiport --source-ports 0:65535",
    "-m multiport ! --source-ports 0:65535",
  ],
  [{ is: "icmp", type: 8 }, "-m icmp --icmp-type 8", "-m icmp ! --icmp-type 8", "-m icmp6 --icmpv6-type 8"],
  [
    { is: "icmp", type: 3, code: 0 },
    "-m icmp --icmp-type 3/0",
    "-m icmp ! --icmp-type 3/0",
    "-m icmp6 --icmpv6-type 3/0",
  ],
  [{ is: "mark", value: 0x10000, mask: 0x30000 }, "-m mark --mark 0x10000/0x30000", "-m mark ! --mark 0x10000/0x30000"],
  [{ is: "mark", value: 0, mask: 0x80000000 | 0 }, "-m mark --mark 0x0/0x80000000", "-m mark ! --mark 0x0/0x80000000"],
  [{ is: "interface", direction: "in", name: "cali*" }, "--in-interface cali+", "! --in-interface cali+"],
  [{ is: "interface", direction: "out", name: "eth0" }, "--out-interface eth0", "! --out-interface eth0"],
  [{ is: "interface", direction: "in", name: "*" }, "--in-interface +", "! --in-interface +"],
  [
    { is: "conntrack", states: ["related", "established"] },
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate RELATED,ESTABLISHED",
  ],
  [{ is: "dnatted" }, "-m conntrack --ctstate DNAT", "-m conntrack ! --ctstate DNAT"],
  [{ is: "local-address", side: "destination" }, "-m addrtype --dst-type LOCAL", "-m addrtype ! --dst-type LOCAL"],
  [
    { is: "local-address", side: "source", onOutInterface: true },
    "-m addrtype --src-type LOCAL --limit-iface-out",
    "-m addrtype ! --src-type LOCAL --limit-iface-out",
  ],
  [{ is: "reverse-path-failed" }, "-m rpfilter --invert --validmark"],
  [{ is: "ipvs" }, "-m ipvs --ipvs", "-m ipvs ! --ipvs"],
  [{ is: "limit", rate: "5/second", burst: 10 }, "-m limit --limit 5/second --limit-burst 10"],
];

const ACTIONS: readonly [Action, plain: string, v6?: string][] = [
  [{ do: "accept" }, "--jump ACCEPT"],
  [{ do: "drop" }, "--jump DROP"],
  [{ do: "return" }, "--jump RETURN"],
  [{ do: "notrack" }, "--jump NOTRACK"],
  [
    { do: "reject", with: "icmp" },
    "--jump REJECT --reject-with icmp-port-unreachable",
    "--jump REJECT --reject-with icmp6-port-unreachable",
  ],
  [
    { do: "reject", with: "admin" },
    "--jump REJECT --reject-with icmp-admin-prohibited",
    "--jump REJECT --reject-with icmp6-adm-prohibited",
  ],
  [{ do: "jump", chain: "cali-FORWARD" }, "--jump cali-FORWARD"],
  [{ do: "goto", chain: "cali-tw-cali1" }, "--goto cali-tw-cali1"],
  [{ do: "set-mark", value: 0x10000, mask: 0x30000 }, "--jump MARK --set-mark 0x10000/0x30000"],
  [{ do: "save-mark", mask: 0xf0000 }, "--jump CONNMARK --save-mark --mask 0xf0000"],
  [{ do: "restore-mark", mask: 0xf0000 }, "--jump CONNMARK --restore-mark --mask 0xf0000"],
  [{ do: "log", prefix: "calico-packet" }, '--jump LOG --log-prefix "calico-packet: " --log-level 5'],
  [
    { do: "log", prefix: "a prefix that is longer than the kernel keeps" },
    '--jump LOG --log-prefix "a prefix that is longer tha: " --log-level 5',
  ],
  [{ do: "nflog", group: 1, prefix: "DPI0|default/x" }, '--jump NFLOG --nflog-group 1 --nflog-prefix "DPI0|default/x"'],
  [
    { do: "nflog", group: 2, prefix: "API", size: 80 },
    '--jump NFLOG --nflog-group 2 --nflog-prefix "API" --nflog-size 80',
  ],
  [{ do: "masquerade" }, "--jump MASQUERADE"],
  [
    { do: "masquerade", ports: { first: 99, last: 100 }, fullyRandom: true },
    "--jump MASQUERADE --to-ports 99-100 --random-fully",
  ],
  [{ do: "snat", address: "10.0.0.1" }, "--jump SNAT --to-source 10.0.0.1"],
  [
    { do: "snat", address: "10.0.0.1", ports: { first: 1, last: 2 }, fullyRandom: true },
    "--jump SNAT --to-source 10.0.0.1:1-2 --random-fully",
  ],
  [{ do: "snat", address: "fd00::1", ports: { first: 1, last: 2 } }, "--jump SNAT --to-source [fd00::1]:1-2"],
  [{ do: "dnat", address: "10.0.0.1" }, "--jump DNAT --to-destination 10.0.0.1"],
  [{ do: "dnat", address: "10.0.0.1", port: 80 }, "--jump DNAT --to-destination 10.0.0.1:80"],
  [{ do: "dnat", address: "fd00::1", port: 80 }, "--jump DNAT --to-destination [fd00::1]:80"],
  [{ do: "dscp", value: 46 }, "--jump DSCP --set-dscp 46"],
];

describe("the text of a rule", () => {
  it.each(MATCHES.map(([match, ...texts]) => ({ match, texts })))(
    "says the match $match",
    ({ match, texts: [plain, turned, v6] }) => {
      expect(render({ match: [match], action: drop }, 4)).toEqual([`${plain} --jump DROP`]);
      expect(render({ match: [match], action: drop }, 6)).toEqual([`${v6 ?? plain} --jump DROP`]);
      if (turned === undefined) return;
      expect(render({ match: [{ ...match, not: true } as Match], action: drop }, 4)).toEqual([`${turned} --jump DROP`]);
    },
  );

  it.each(ACTIONS.map(([action, ...texts]) => ({ action, texts })))(
    "says the action $action",
    ({ action, texts: [plain, v6] }) => {
      expect(render({ match: [], action }, 4)).toEqual([plain]);
      expect(render({ match: [], action }, 6)).toEqual([v6 ?? plain]);
    },
  );

  it("puts the comment first and the matches in their order", () => {
    const rule: Rule = {
      match: [
        { is: "protocol", protocol: 17 },
        { is: "ports", side: "destination", ports: [{ first: 53, last: 53 }] },
        { is: "limit", rate: "1/minute", burst: 1 },
      ],
      action: { do: "accept" },
      comment: "Allow DNS",
    };
    expect(render(rule, 4)).toEqual([
      '-m comment --comment "Allow DNS" -p 17 -m multiport --destination-ports 53 -m limit --limit 1/minute --limit-burst 1 --jump ACCEPT',
    ]);
  });

  it("tells what a rule needs", () => {
    const rule: Rule = {
      match: [
        { is: "set", side: "source", set: "s:a" },
        { is: "port-set", side: "destination", set: "n:b" },
      ],
      action: { do: "goto", chain: "cali-x" },
    };
    expect(renderRule(rule, dialect(6))).toMatchObject([{ target: "cali-x", sets: ["cali60s:a", "cali60n:b"] }]);
  });

  it("resets TCP in a rule that is about TCP, and refuses the rest by ICMP", () => {
    const reject: Action = { do: "reject", with: "tcp-reset" };
    const tcp: Match = { is: "protocol", protocol: 6 };
    const udp: Match = { is: "protocol", protocol: 17 };
    const reset = "-p 6 --jump REJECT --reject-with tcp-reset";
    expect(render({ match: [tcp], action: reject }, 4)).toEqual([reset]);
    expect(render({ match: [udp], action: reject }, 4)).toEqual([
      "-p 17 --jump REJECT --reject-with icmp-port-unreachable",
    ]);
    expect(render({ match: [], action: reject }, 6)).toEqual([
      reset,
      "--jump REJECT --reject-with icmp6-port-unreachable",
    ]);
    expect(render({ match: [{ ...udp, not: true }], action: reject }, 4)).toEqual([
      reset,
      "! -p 17 --jump REJECT --reject-with icmp-port-unreachable",
    ]);
    expect(render({ match: [{ ...tcp, not: true }], action: reject }, 4)).toEqual([
      "! -p 6 --jump REJECT --reject-with icmp-port-unreachable",
    ]);
  });

  it("lets nothing break out of a line", () => {
    const said = render(
      { match: [], action: { do: "log", prefix: 'a"b\\c\n-j $(x)' }, comment: 'it\'s "x"\nCOMMIT' },
      4,
    );
    expect(said).toEqual([
      '-m comment --comment "it_s _x__COMMIT" --jump LOG --log-prefix "a_b_c_-j _(x): " --log-level 5',
    ]);
    const refused: readonly Rule[] = [
      { match: [{ is: "net", side: "source", net: "10.0.0.0/8 -j ACCEPT" }], action: drop },
      { match: [{ is: "interface", direction: "in", name: 'x"y' }], action: drop },
      { match: [{ is: "interface", direction: "in", name: "! x" }], action: drop },
      { match: [{ is: "interface", direction: "in", name: "longer-than-a-name" }], action: drop },
      { match: [{ is: "interface", direction: "in", name: "wild+" }], action: drop },
      { match: [{ is: "set", side: "source", set: "s:\nx" }], action: drop },
      { match: [{ is: "limit", rate: "5/second --x", burst: 1 }], action: drop },
      { match: [{ is: "protocol", protocol: 256 }], action: drop },
      { match: [], action: { do: "jump", chain: "-x" } },
      { match: [], action: { do: "dnat", address: "" } },
      { match: [], action: { do: "dscp", value: 64 } },
    ];
    for (const rule of refused) expect(() => render(rule, 4), JSON.stringify(rule)).toThrow(RenderError);
  });

  it("knows which interfaces can be matched", () => {
    expect(["eth0", "cali12345678901", "a:1", "x@y", "ünïx"].map(canMatchInterface)).toEqual([
      true,
      true,
      true,
      true,
      true,
    ]);
    expect(["", "eth0+", "-x", "a b", "ünïxünïxünï"].map(canMatchInterface)).toEqual([
      false,
      false,
      false,
      false,
      false,
    ]);
  });
});
