import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatPort, type PortMatch, PortsByProtocol, parsePort, simplifyPorts } from "./ports.ts";

const parse = (text: string): PortMatch[] => (text === "" ? [] : text.split(",").map((port) => parsePort(port)!));
const print = (ports: readonly PortMatch[]): string => ports.map(formatPort).join(",");

// The table of upstream's own test.
test.each([
  ["", ""],
  ["0", "0"],
  ["1", "1"],
  ["65535", "65535"],
  ["0:65535", "0:65535"],
  ["1,2", "1:2"],
  ["2,1", "1:2"],
  ["1,2,4", "1:2,4"],
  ["1,2,3,4,80:81,81:90,9090", "1:4,80:90,9090"],
  ["81:90,4,2,80:81,3,1,9090", "1:4,80:90,9090"],
  ["81:90,4,2,foo,80:81,3,1,9090,http", "foo,http,1:4,80:90,9090"],
  ["foo", "foo"],
])("%j becomes %j", (ports, simple) => expect(print(simplifyPorts(parse(ports)))).toBe(simple));

test("one number keeps its place among names; a number twice does not", () => {
  expect(print(simplifyPorts(parse("80,foo")))).toBe("80,foo");
  expect(print(simplifyPorts(parse("80,foo,80")))).toBe("foo,80");
});

test("ranges are as few as they can be, and hold the same ports", () => {
  const port = fc.tuple(fc.nat(40), fc.nat(5)).map(([min, size]) => ({ min, max: min + size }));
  fc.assert(
    fc.property(fc.array(port), (ports) => {
      const held = (list: readonly PortMatch[]) =>
        new Set(
          list.flatMap((p) => ("name" in p ? [] : Array.from({ length: p.max - p.min + 1 }, (_, i) => p.min + i))),
        );
      const simple = simplifyPorts(ports);
      expect([...held(simple)].sort()).toEqual([...held(ports)].sort());
      for (let i = 1; i < simple.length; i++) {
        const [before, here] = [simple[i - 1]!, simple[i]!];
        if (!("name" in before) && !("name" in here)) expect(here.min).toBeGreaterThan(before.max + 1);
      }
    }),
  );
});

test.each(["", "90:80", "65536", "80:70000", "-50:-1", "a b", "http:90", "x".repeat(129)])("%j is no port", (text) => {
  expect(parsePort(text)).toBeUndefined();
});

describe("PortsByProtocol", () => {
  test("all of a protocol stays all of it, in either order", () => {
    for (const order of [
      [undefined, { min: 80, max: 80 }],
      [{ min: 80, max: 80 }, undefined],
    ]) {
      const ports = new PortsByProtocol();
      for (const port of order) ports.add("TCP", port);
      expect(ports.matches()).toEqual([{ protocol: "TCP" }]);
    }
  });

  test("protocols are sorted, none is any", () => {
    const ports = new PortsByProtocol();
    ports.add("UDP", { min: 53, max: 53 });
    ports.add("SCTP", undefined);
    ports.add("", { name: "http" });
    ports.add("TCP", { min: 53, max: 54 });
    expect(ports.matches()).toEqual([
      { ports: ["http"] },
      { protocol: "SCTP" },
      { protocol: "TCP", ports: ["53:54"] },
      { protocol: "UDP", ports: [53] },
    ]);
    expect(new PortsByProtocol().matches()).toEqual([{}]);
  });
});
