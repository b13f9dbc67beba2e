import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cidrContains, formatCidr, parseCidr, tryParseAddress, tryParseCidr } from "../../ip/index.ts";
import { Members } from "./members.ts";
import { halves, hostKey, lengthOf, netKey, netText, subnets, widened } from "./nets.ts";

const NETS = [
  "10.0.0.0/30",
  "10.0.0.0/31",
  "10.0.0.1/32",
  "10.0.0.2/32",
  "10.0.0.0/8",
  "128.0.0.0/1",
  "200.1.2.3/32",
].concat(["fd00::/16", "fd00::/64", "fd00::1/128", "fd00:0:0:1::/64"]);

/** What is to be seen of a set that holds these: what lies in no other. */
const visible = (nets: Iterable<string>): string[] => {
  const all = [...new Set(nets)].map(parseCidr);
  const shown = all.filter((net) => !all.some((outer) => outer.length < net.length && cidrContains(outer, net)));
  return shown.map(formatCidr).sort();
};

describe("members of a set of networks", () => {
  test("deltas lead from what was to be seen to what is; nothing overlaps, nothing is said in vain", () => {
    const rounds = fc.array(
      fc.array(fc.record({ net: fc.constantFrom(...NETS), adds: fc.boolean() }), { maxLength: 12 }),
    );
    fc.assert(
      fc.property(rounds, (rounds) => {
        const members = new Members("net");
        const held = new Map<string, number>();
        const seen = new Set(members.takeAll());
        for (const round of rounds) {
          for (const { net, adds } of round) {
            const count = held.get(net) ?? 0;
            if (!adds && count === 0) continue;
            held.set(net, count + (adds ? 1 : -1));
            if (adds) members.add(netKey(net)!);
            else members.remove(netKey(net)!);
          }
          const { added, removed } = members.takeDelta();
          for (const one of removed) expect(seen.delete(one)).toBe(true);
          for (const one of added) {
            expect(seen.has(one)).toBe(false);
            seen.add(one);
          }
          expect([...seen].sort()).toEqual(visible([...held].filter(([, count]) => count > 0).map(([net]) => net)));
          expect(members.hasChanged).toBe(false);
        }
        expect([...members.takeAll()].sort()).toEqual([...seen].sort());
      }),
      { numRuns: 500 },
    );
  });

  test("a wide network over many single addresses hides and shows them", () => {
    const members = new Members("net");
    const hosts = Array.from({ length: 300 }, (_, i) => `10.1.${i >> 8}.${i & 255}/32`);
    for (const host of hosts) members.add(hostKey(host)!);
    expect(members.takeAll()).toHaveLength(300);
    members.add(netKey("10.1.1.0/24")!);
    expect(members.takeDelta()).toEqual({ added: ["10.1.1.0/24"], removed: hosts.slice(256) });
    members.add(netKey("10.0.0.0/8")!);
    const { added, removed } = members.takeDelta();
    expect(added).toEqual(["10.0.0.0/8"]);
    expect(removed.toSorted()).toEqual([...hosts.slice(0, 256), "10.1.1.0/24"].toSorted());
    members.remove(netKey("10.0.0.0/8")!);
    members.remove(netKey("10.1.1.0/24")!);
    expect(members.takeDelta().added.toSorted()).toEqual(hosts.toSorted());
  });

  test("one address of two endpoints stays until both are gone", () => {
    const members = new Members("net");
    members.takeAll();
    members.add(hostKey("10.0.0.1")!);
    members.add(hostKey("10.0.0.1")!);
    expect(members.takeDelta().added).toEqual(["10.0.0.1/32"]);
    members.remove(hostKey("10.0.0.1")!);
    expect(members.hasChanged).toBe(false);
    members.remove(hostKey("10.0.0.1")!);
    expect(members.takeDelta().removed).toEqual(["10.0.0.1/32"]);
  });
});

describe("networks as keys", () => {
  const v4 = fc
    .tuple(fc.nat(0xffffffff), fc.nat(32))
    .map(([value, length]) => `${value >>> 24}.${(value >> 16) & 255}.${(value >> 8) & 255}.${value & 255}/${length}`);
  const texts = fc.oneof(
    v4,
    fc.tuple(fc.ipV6(), fc.nat(128)).map(([address, length]) => `${address}/${length}`),
    fc.ipV4(),
    fc.ipV6(),
    fc.string({ maxLength: 8 }),
    fc.constantFrom(
      "10.0.0.1/33",
      "10.0.0.1/",
      "10.0.0.01",
      "10.0.0.1/08",
      "1.2.3/8",
      "::ffff:10.0.0.1",
      "::ffff:10.0.0.1/96",
      "300.1.1.1",
    ),
  );

  test("agree with lib/ip about what a network is", () => {
    fc.assert(
      fc.property(texts, (text) => {
        const address = tryParseAddress(text);
        const cidr = address
          ? { version: address.version, base: address.value, length: address.version === 4 ? 32 : 128 }
          : tryParseCidr(text);
        const key = netKey(text);
        expect(key === undefined ? undefined : netText(key)).toBe(cidr && formatCidr(cidr));
        if (key !== undefined) expect(lengthOf(key)).toBe(cidr!.length);
      }),
      { numRuns: 3000 },
    );
  });

  test.each([
    ["10.1.2.3/24", "10.1.2.3/32"],
    ["fd00::1/64", "fd00::1/128"],
    ["10.1.2.3", "10.1.2.3/32"],
    ["10.1.2.3/33", undefined],
    ["fd00::1/x", undefined],
    ["", undefined],
  ])("the host of %s is %s", (text, host) => {
    const key = hostKey(text);
    expect(key === undefined ? undefined : netText(key)).toBe(host);
  });

  test("widened, split and halved", () => {
    expect(netText(widened(netKey("10.1.2.3")!, 8))).toBe("10.0.0.0/8");
    expect(netText(widened(netKey("255.255.255.255")!, 0))).toBe("0.0.0.0/0");
    expect(netText(widened(netKey("fd00:1::1")!, 16))).toBe("fd00::/16");
    expect([...subnets(netKey("255.255.255.252/30") as number, 31)].map(netText)).toEqual([
      "255.255.255.252/31",
      "255.255.255.254/31",
    ]);
    expect(halves(netKey("0.0.0.0/0")!).map(netText)).toEqual(["0.0.0.0/1", "128.0.0.0/1"]);
    expect(halves(netKey("::/0")!).map(netText)).toEqual(["::/1", "8000::/1"]);
    expect(halves(netKey("10.0.0.0/8")!).map(netText)).toEqual(["10.0.0.0/8"]);
  });
});
