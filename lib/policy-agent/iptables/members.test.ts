import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { kernelMembers, parseIpsetSave } from "./members.ts";

describe("members in the kernel's spelling", () => {
  it.each([
    ["10.0.0.1/32", 4, ["10.0.0.1"]],
    ["10.0.0.1", 4, ["10.0.0.1"]],
    ["10.1.0.0/16", 4, ["10.1.0.0/16"]],
    ["10.1.2.3/16", 4, ["10.1.0.0/16"]],
    ["0.0.0.0/0", 4, ["0.0.0.0/1", "128.0.0.0/1"]],
    ["::/0", 6, ["::/1", "8000::/1"]],
    ["FD00:0::1/128", 6, ["fd00::1"]],
    ["fd00::/64", 6, ["fd00::/64"]],
    ["fd00::1", 6, ["fd00::1"]],
    ["fd00::1", 4, []],
    ["10.0.0.1/32", 6, []],
    ["example.org", 4, []],
    ["10.0.0.256", 4, []],
    ["10.0.0.1/33", 4, []],
    ["10.0.0.1\nflush", 4, []],
    ["", 4, []],
  ] as const)("says the net %j of IPv%i", (member, version, expected) => {
    expect(kernelMembers(member, "net", version)).toEqual(expected);
  });

  it.each([
    ["10.0.0.1,tcp:80", 4, ["10.0.0.1,tcp:80"]],
    ["10.0.0.1,sctp:080", 4, ["10.0.0.1,sctp:80"]],
    ["FD00::1,udp:53", 6, ["fd00::1,udp:53"]],
    ["10.0.0.1,tcp:65536", 4, []],
    ["10.0.0.1,icmp:8", 4, []],
    ["10.0.0.1", 4, []],
    ["10.0.0.1,tcp:80", 6, []],
    ["tcp:80", 4, []],
  ] as const)("says the port %j of IPv%i", (member, version, expected) => {
    expect(kernelMembers(member, "port", version)).toEqual(expected);
  });

  it("says nothing but addresses, nets and ports, whatever it is given", () => {
    fc.assert(
      fc.property(fc.string(), fc.constantFrom("net", "port"), fc.constantFrom(4, 6), (member, type, version) => {
        for (const spelled of kernelMembers(member, type, version))
          expect(spelled).toMatch(/^[0-9a-f:.]+(\/\d+|,[a-z]+:\d+)?$/);
      }),
    );
  });
});

describe("reading ipset save", () => {
  it("finds sets of any type, and their members", () => {
    const saved = parseIpsetSave(
      [
        "create cali40s:a hash:net family inet hashsize 1024 maxelem 1048576 bucketsize 12 initval 0xa7eb821e",
        "add cali40s:a 1.2.3.4",
        'add cali40s:a 10.0.0.0/8 comment "x y"',
        "create theirs bitmap:port range 0-100",
        "add theirs 80",
        "create cali60n:b hash:ip,port family inet6 hashsize 64 maxelem 5",
        "add cali60n:b fd00::1,sctp:80",
        "add cali60n:b ::10.1.2.3,tcp:1",
      ].join("\n"),
    );
    expect(saved).toEqual([
      { name: "cali40s:a", type: "hash:net", family: "inet", maxelem: 1_048_576, members: ["1.2.3.4", "10.0.0.0/8"] },
      { name: "theirs", type: "bitmap:port", family: "", maxelem: 0, members: ["80"] },
      {
        name: "cali60n:b",
        type: "hash:ip,port",
        family: "inet6",
        maxelem: 5,
        members: ["fd00::1,sctp:80", "::a01:203,tcp:1"],
      },
    ]);
    expect(parseIpsetSave("")).toEqual([]);
  });
});
