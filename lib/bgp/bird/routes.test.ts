import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LineParser } from "./control.ts";
import { type BirdRoute, communitiesOf, RouteParser } from "./routes.ts";

/** BIRD 2.0.12's own, with a route that the kernel refused, a stale one, and more communities than a line takes. */
const SAID = `1007-Table master4:
 10.78.0.0/24         unicast [kernel4 05:03:36.177] * (10)
 	via 10.9.0.2 on e1 weight 1
 	via 10.9.0.3 on e1 weight 1
1008-	Type: inherit univ
1012-	Kernel.source: 3
 	Kernel.metric: 0
1007-10.70.0.0/26         unicast [Mesh_10_9_0_2 2026-11-22 from 10.9.0.9] * (100s/10) [AS65050e]
 	via 10.9.0.2 on e1
1008-	Type: BGP univ
1012-	BGP.origin: EGP
 	BGP.as_path: 65001 65050
 	BGP.next_hop: 10.9.0.2
 	BGP.local_pref: 100
 	BGP.community: (65001,7)
 		(65001,8)
 	BGP.large_community: (65001, 1, 2)
1007-10.65.1.0/26         blackhole [static4 05:03:36.172] * (200)
1008-	Type: static univ
1007-10.77.0.0/24         unicast [Mesh_10_9_0_2 05:03:37.060] ! (100) [AS65001i]
 	via 10.9.0.2 on e1
1008-	Type: BGP univ
1012-	BGP.as_path: 65001
1007-                     unreachable [Mesh_10_9_0_3 05:03:36.177] (100/?) [i]
1008-	Type: BGP univ
1012-	BGP.as_path: 
 	BGP.next_hop: 10.9.0.3
1007-
 Table master6:
 fd70::/122           unicast [Mesh_fd00_9__2 05:03:37.144] * (100) [i]
 	via fd00:9::2 on e1
1008-	Type: BGP univ
1012-	BGP.next_hop: fd00:9::2 fe80::2
0000 
`;

function parsed(pieces: readonly Uint8Array[]): BirdRoute[] {
  const lines = new LineParser();
  const parser = new RouteParser();
  const routes = pieces.flatMap((piece) => lines.push(piece)).flatMap((line) => parser.push(line) ?? []);
  return [...routes, ...[parser.end()].flatMap((last) => last ?? [])];
}

describe("show route all", () => {
  const bytes = new TextEncoder().encode(SAID);

  it("of BIRD 2", () => {
    const routes = parsed([bytes]);
    expect(routes.map(({ prefix, kind, protocol, source, via }) => [prefix, kind, protocol, source, via])).toEqual([
      ["10.78.0.0/24", "unicast", "kernel4", "inherit", "10.9.0.2"],
      ["10.70.0.0/26", "unicast", "Mesh_10_9_0_2", "BGP", "10.9.0.2"],
      ["10.65.1.0/26", "blackhole", "static4", "static", undefined],
      ["10.77.0.0/24", "unicast", "Mesh_10_9_0_2", "BGP", "10.9.0.2"],
      ["10.77.0.0/24", "unreachable", "Mesh_10_9_0_3", "BGP", undefined],
      ["fd70::/122", "unicast", "Mesh_fd00_9__2", "BGP", "fd00:9::2"],
    ]);
    expect(routes.map(({ isBest }) => isBest)).toEqual([true, true, true, true, false, true]);
    expect(routes.filter(({ isRefused }) => isRefused)).toMatchObject([{ prefix: "10.77.0.0/24", isBest: true }]);
    expect(routes.filter(({ isStale }) => isStale)).toMatchObject([{ prefix: "10.70.0.0/26" }]);
    expect(Object.fromEntries(routes[1]!.bgp)).toEqual({
      origin: "EGP",
      as_path: "65001 65050",
      next_hop: "10.9.0.2",
      local_pref: "100",
      community: "(65001,7) (65001,8)",
      large_community: "(65001, 1, 2)",
    });
    expect(communitiesOf("(65001,7) (65001,8)")).toEqual(["65001:7", "65001:8"]);
    expect(communitiesOf("(65001, 1, 2)")).toEqual(["65001:1:2"]);
  });

  it("is the same in whatever pieces it comes", () => {
    const whole = parsed([bytes]);
    fc.assert(
      fc.property(fc.array(fc.nat(bytes.length), { maxLength: 20 }), (cuts) => {
        const ends = [...cuts, bytes.length].toSorted((a, b) => a - b);
        expect(parsed(ends.map((end, i) => bytes.slice(ends[i - 1] ?? 0, end)))).toEqual(whole);
      }),
    );
  });

  it("of nobody", () => {
    const line = fc.oneof(fc.string(), fc.constantFrom(...SAID.split("\n")));
    fc.assert(
      fc.property(fc.array(line), (lines) => {
        for (const { prefix, bgp } of parsed([new TextEncoder().encode(lines.join("\n"))])) {
          expect(typeof prefix).toBe("string");
          for (const text of bgp.values()) communitiesOf(text);
        }
      }),
    );
  });

  it("a line without an end is refused", () => {
    const parser = new LineParser();
    const chunk = new TextEncoder().encode("x".repeat(600_000));
    parser.push(chunk);
    expect(() => parser.push(chunk)).toThrow("BIRD_CONTROL: BIRD sent a line without an end");
  });
});
