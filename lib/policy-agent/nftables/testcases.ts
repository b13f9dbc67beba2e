/** For tests: a rule for every match and every action, and its text for IPv4 and IPv6. */
import type { Action, IpVersion, Match, Rule } from "../rules/index.ts";

export interface Case {
  readonly rule: Rule;
  readonly text: string;
}

const TCP = { is: "protocol", protocol: 6 } as const;
const TCP_TEXT = "meta l4proto 6";

/** Every match (before `counter accept`), positive and negated. */
function matches(version: IpVersion): [Match[], string][] {
  const ip = version === 4 ? "ip" : "ip6";
  const icmp = version === 4 ? "icmp" : "icmpv6";
  const icmpNumber = version === 4 ? 1 : 58;
  const pick = (four: string, six: string): string => (version === 4 ? four : six);
  const ICMP = { is: "protocol", protocol: icmpNumber } as const;
  const net = (text: string, not = false): Match => ({ is: "net", side: "source", net: text, ...(not && { not }) });
  return [
    [[], ""],
    [[TCP], TCP_TEXT],
    [[{ is: "protocol", protocol: 132, not: true }], "meta l4proto != 132"],
    [[net(pick("10.0.0.1/32", "fd00::1/128"))], `${ip} saddr ${pick("10.0.0.1", "fd00::1")}`],
    [[net(pick("10.0.0.0/8", "fd00::/8"))], `${ip} saddr ${pick("10.0.0.0/8", "fd00::/8")}`],
    [[net(pick("10.64.0.0/10", "fd00:8000::/17"))], `${ip} saddr ${pick("10.64.0.0/10", "fd00:8000::/17")}`],
    [[net(pick("10.1.2.0/25", "fd00::/127"), true)], `${ip} saddr != ${pick("10.1.2.0/25", "fd00::/127")}`],
    [
      [{ is: "net", side: "destination", net: pick("192.168.0.0/16", "2001:db8::/32"), not: true }],
      `${ip} daddr != ${pick("192.168.0.0/16", "2001:db8::/32")}`,
    ],
    [[net(pick("0.0.0.0/0", "::/0"))], ""],
    [[net(pick("0.0.0.0/0", "::/0"), true)], "meta mark & 0x0 != 0x0"],
    [[{ is: "set", side: "source", set: "s:net" }], `${ip} saddr @cali${version}0s-net`],
    [[{ is: "set", side: "destination", set: "s:net", not: true }], `${ip} daddr != @cali${version}0s-net`],
    [
      [{ is: "port-set", side: "destination", set: "n:port" }],
      `${ip} daddr . meta l4proto . th dport @cali${version}0n-port`,
    ],
    [
      [{ is: "port-set", side: "source", set: "n:port", not: true }],
      `${ip} saddr . meta l4proto . th sport != @cali${version}0n-port`,
    ],
    [[TCP, { is: "ports", side: "destination", ports: [{ first: 80, last: 80 }] }], `${TCP_TEXT} th dport 80`],
    [[TCP, { is: "ports", side: "source", ports: [{ first: 1, last: 1024 }] }], `${TCP_TEXT} th sport 1-1024`],
    [
      [
        TCP,
        {
          is: "ports",
          side: "destination",
          ports: [
            { first: 443, last: 443 },
            { first: 80, last: 80 },
            { first: 8000, last: 8010 },
          ],
        },
      ],
      `${TCP_TEXT} th dport @cali${version}p-7s-cw23xLvWrdNUP`,
    ],
    [
      [
        TCP,
        {
          is: "ports",
          side: "destination",
          ports: [
            { first: 80, last: 85 },
            { first: 86, last: 90 },
          ],
        },
      ],
      `${TCP_TEXT} th dport 80-90`,
    ],
    [
      [
        TCP,
        {
          is: "ports",
          side: "destination",
          not: true,
          ports: [
            { first: 22, last: 22 },
            { first: 80, last: 90 },
          ],
        },
      ],
      `${TCP_TEXT} th dport != 22 th dport != 80-90`,
    ],
    [[ICMP, { is: "icmp", type: 8 }], `meta l4proto ${icmpNumber} ${icmp} type 8`],
    [[ICMP, { is: "icmp", type: 8, not: true }], `meta l4proto ${icmpNumber} ${icmp} type != 8`],
    [[ICMP, { is: "icmp", type: 3, code: 4 }], `meta l4proto ${icmpNumber} ${icmp} type 3 ${icmp} code 4`],
    [[ICMP, { is: "icmp", type: 3, code: 4, not: true }], `meta l4proto ${icmpNumber} @th,0,16 != 0x304`],
    [[{ is: "mark", value: 0x10000, mask: 0x30000 }], "meta mark & 0x30000 == 0x10000"],
    [[{ is: "mark", value: 0, mask: 0x80000000, not: true }], "meta mark & 0x80000000 != 0x0"],
    [[{ is: "mark", value: 7, mask: 0xffffffff }], "meta mark 0x7"],
    [[{ is: "interface", direction: "in", name: "cali*" }], 'iifname "cali*"'],
    [[{ is: "interface", direction: "out", name: "cali*", not: true }], 'oifname != "cali*"'],
    [[{ is: "interface", direction: "in", name: "eth0" }], 'iifname "eth0"'],
    [[{ is: "interface", direction: "out", name: "cali12345678901", not: true }], 'oifname != "cali12345678901"'],
    [[{ is: "interface", direction: "in", name: "*" }], ""],
    [[{ is: "interface", direction: "in", name: "*", not: true }], "meta mark & 0x0 != 0x0"],
    [[{ is: "conntrack", states: ["established", "related"] }], "ct state established,related"],
    [[{ is: "conntrack", states: ["invalid"] }], "ct state invalid"],
    [[{ is: "conntrack", states: ["new", "untracked"], not: true }], "ct state & (new|untracked) == 0"],
    [[{ is: "dnatted" }], "ct status dnat"],
    [[{ is: "dnatted", not: true }], "ct status & dnat == 0"],
    [[{ is: "local-address", side: "destination" }], "fib daddr type local"],
    [[{ is: "local-address", side: "source", onOutInterface: true, not: true }], "fib saddr . oif type != local"],
    [[{ is: "limit", rate: "5/second", burst: 7 }], "limit rate 5/second burst 7 packets"],
    [[{ is: "limit", rate: "10/day", burst: 0 }], "limit rate 10/day burst 5 packets"],
  ];
}

/** Every action, and whether it needs TCP before it. */
function actions(version: IpVersion): [Action, string, boolean?][] {
  const icmp = version === 4 ? "icmp" : "icmpv6";
  const address = version === 4 ? "10.0.0.9" : "fd00::9";
  const at = version === 4 ? address : `[${address}]`;
  return [
    [{ do: "accept" }, "accept"],
    [{ do: "drop" }, "drop"],
    [{ do: "return" }, "return"],
    [{ do: "jump", chain: "cali-to" }, "jump filter-cali-to"],
    [{ do: "goto", chain: "cali-to" }, "goto filter-cali-to"],
    [{ do: "reject", with: "tcp-reset" }, "reject with tcp reset", true],
    [{ do: "reject", with: "icmp" }, `reject with ${icmp} port-unreachable`],
    [{ do: "reject", with: "admin" }, `reject with ${icmp} admin-prohibited`],
    [{ do: "notrack" }, "notrack"],
    [{ do: "set-mark", value: 0x10000, mask: 0x10000 }, "meta mark set mark & 0xfffeffff ^ 0x10000"],
    [{ do: "set-mark", value: 0, mask: 0x30000 }, "meta mark set mark & 0xfffcffff ^ 0x0"],
    [{ do: "set-mark", value: 0x20000, mask: 0xf0000 }, "meta mark set mark & 0xfff0ffff ^ 0x20000"],
    [{ do: "set-mark", value: 5, mask: 0xffffffff }, "meta mark set 0x5"],
    [{ do: "save-mark", mask: 0xffff0000 }, "ct mark set mark & 0xffff0000"],
    [{ do: "save-mark", mask: 0xffffffff }, "ct mark set mark"],
    [{ do: "restore-mark", mask: 0xffff0000 }, "meta mark set ct mark & 0xffff0000"],
    [{ do: "restore-mark", mask: 0xffffffff }, "meta mark set ct mark"],
    [{ do: "log", prefix: "calico-packet" }, 'log prefix "calico-packet: " level info'],
    [{ do: "nflog", group: 1, prefix: "API0|np/ns/p" }, 'log prefix "API0|np/ns/p" snaplen 80 group 1'],
    [{ do: "nflog", group: 2, prefix: "x", size: -1 }, 'log prefix "x" group 2'],
    [{ do: "nflog", group: 2, prefix: "x", size: 200 }, 'log prefix "x" snaplen 200 group 2'],
    [{ do: "masquerade" }, "masquerade"],
    [{ do: "masquerade", fullyRandom: true }, "masquerade fully-random"],
    [
      { do: "masquerade", ports: { first: 1024, last: 65535 }, fullyRandom: true },
      "masquerade to :1024-65535 fully-random",
      true,
    ],
    [{ do: "masquerade", ports: { first: 99, last: 99 } }, "masquerade to :99", true],
    [{ do: "snat", address }, `snat to ${address}`],
    [
      { do: "snat", address, ports: { first: 1024, last: 2000 }, fullyRandom: true },
      `snat to ${at}:1024-2000 fully-random`,
      true,
    ],
    [{ do: "dnat", address }, `dnat to ${address}`],
    [{ do: "dnat", address, port: 8080 }, `dnat to ${at}:8080`, true],
    [{ do: "dscp", value: 10 }, `${version === 4 ? "ip" : "ip6"} dscp set 10`],
    [{ do: "dscp", value: 63 }, `${version === 4 ? "ip" : "ip6"} dscp set 63`],
  ];
}

export function cases(version: IpVersion): Case[] {
  return [
    ...matches(version).map(
      ([match, text]): Case => ({
        rule: { match, action: { do: "accept" } },
        text: `${text}${text && " "}counter accept`,
      }),
    ),
    {
      rule: { match: [{ is: "reverse-path-failed" }], action: { do: "drop" } },
      text: "fib saddr . mark . iif oif 0 counter drop",
    },
    ...actions(version).map(
      ([action, text, tcp]): Case => ({
        rule: { match: tcp ? [TCP] : [], action },
        text: `${tcp ? `${TCP_TEXT} ` : ""}counter ${text}`,
      }),
    ),
  ];
}

/** The sets that the rules look into. */
export const CASE_SETS = { net: "s:net", port: "n:port" } as const;
