import { describe, expect, it } from "vitest";
import type { Action, Match } from "./ir.ts";
import { printProgram, printRule } from "./print.ts";
import { Program } from "./program.ts";

const matches: readonly [Match, string][] = [
  [{ is: "protocol", protocol: 6 }, "proto=6"],
  [{ is: "net", side: "source", net: "10.0.0.0/8", not: true }, "!src=10.0.0.0/8"],
  [{ is: "set", side: "destination", set: "s:a" }, "dst@s:a"],
  [{ is: "port-set", side: "source", set: "n:a", not: true }, "!src-port@n:a"],
  [
    {
      is: "ports",
      side: "destination",
      ports: [
        { first: 1, last: 1 },
        { first: 2, last: 9 },
      ],
    },
    "dst-port=1,2-9",
  ],
  [{ is: "icmp", type: 8, code: 0 }, "icmp=8/0"],
  [{ is: "mark", value: 0x80000000, mask: 0x80000000 }, "mark=0x80000000/0x80000000"],
  [{ is: "interface", direction: "out", name: "cali*" }, "out=cali*"],
  [{ is: "conntrack", states: ["new", "untracked"], not: true }, "!ct=new,untracked"],
  [{ is: "dnatted", not: true }, "!dnatted"],
  [{ is: "local-address", side: "source", onOutInterface: true, not: true }, "!src-local-on-out"],
  [{ is: "reverse-path-failed" }, "rpf-failed"],
  [{ is: "ipvs" }, "ipvs"],
  [{ is: "limit", rate: "5/second", burst: 3 }, "limit=5/second,3"],
];

const actions: readonly [Action, string][] = [
  ...(["accept", "drop", "return", "notrack"] as const).map((word): [Action, string] => [{ do: word }, word]),
  [{ do: "reject", with: "tcp-reset" }, "reject tcp-reset"],
  [{ do: "jump", chain: "c" }, "jump c"],
  [{ do: "goto", chain: "c" }, "goto c"],
  [{ do: "set-mark", value: 1, mask: 3 }, "set-mark 0x1/0x3"],
  [{ do: "save-mark", mask: 3 }, "save-mark 0x3"],
  [{ do: "restore-mark", mask: 3 }, "restore-mark 0x3"],
  [{ do: "log", prefix: "p" }, 'log "p"'],
  [{ do: "nflog", group: 1, prefix: "p", size: 80 }, 'nflog 1 "p" size 80'],
  [{ do: "masquerade", ports: { first: 1, last: 2 }, fullyRandom: true }, "masquerade ports 1-2 random"],
  [{ do: "snat", address: "192.0.2.1" }, "snat 192.0.2.1"],
  [{ do: "dnat", address: "10.0.0.1", port: 80 }, "dnat 10.0.0.1 port 80"],
  [{ do: "dscp", value: 46 }, "dscp 46"],
];

describe("the printer", () => {
  it.each(matches)("says %j as %s", (match, text) => {
    expect(printRule({ match: [match], action: { do: "drop" } })).toBe(`${text} -> drop`);
  });
  it.each(actions)("says %j as %s", (action, text) => {
    expect(printRule({ match: [], action, comment: "why" })).toBe(`-> ${text}  # why`);
  });
  it("prints a program in a fixed order", () => {
    const program = new Program(4);
    program.setSet("b", "port", ["10.0.0.2,tcp:1", "10.0.0.1,tcp:1"]);
    program.setSet("a", "net", []);
    program.setChain("nat", { name: "z", rules: [] });
    program.setChain("nat", { name: "y", rules: [{ match: [], action: { do: "return" } }] });
    program.setDispatch("filter", {
      name: "d",
      direction: "out",
      entries: new Map([["cali1", "c1"]]),
      otherwise: [{ match: [], action: { do: "drop" } }],
    });
    program.setHook("filter", "INPUT", { first: [{ match: [], action: { do: "jump", chain: "d" } }], last: [] });
    expect(printProgram(program)).toBe(`== raw
== mangle
== nat
y:
  -> return
z:
== filter
INPUT:
  -> jump d
d by out:
  cali1 -> goto c1
  * -> drop
set a net: 
set b port: 10.0.0.1,tcp:1 10.0.0.2,tcp:1`);
  });
});
