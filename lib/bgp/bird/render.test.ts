import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { NodeBgp, Pool } from "../model/index.ts";
import { sampleNode, samplePeer } from "../model/testing.ts";
import { BIRD1_FILES, BirdError, bird2Problems, renderBird1, renderBird2, sayable } from "./index.ts";
import { describeWithBird, exampleNode } from "./testing.ts";

const both = (model: NodeBgp): string =>
  [...Object.values(renderBird1(model)), renderBird2(model)["bird.cfg"]].join("\n");

const withPeer = (some: Parameters<typeof samplePeer>[0]): NodeBgp =>
  sampleNode({ ipv4: { peers: [samplePeer(some)] } });

function refused(model: NodeBgp): string {
  const messages = [renderBird1, renderBird2].map((render) => {
    try {
      render(model);
    } catch (error) {
      if (error instanceof BirdError && error.code === "BIRD_UNSAYABLE") return error.message;
      throw error;
    }
    return "";
  });
  const [older, newer] = messages.map((message) => message.replace("BIRD_UNSAYABLE: ", "").split("; ").toSorted());
  expect(older).toEqual(newer);
  return messages[0] ?? "";
}

describe("a reflector with something of everything", () => {
  it.each(BIRD1_FILES)("in BIRD 1.6: %s", async (name) => {
    await expect(renderBird1(exampleNode)[name]).toMatchFileSnapshot(`testdata/bird1/${name}`);
  });

  it("in BIRD 2", async () => {
    await expect(renderBird2(exampleNode)["bird.cfg"]).toMatchFileSnapshot("testdata/bird2/bird.cfg");
  });
});

describe("what is said only sometimes", () => {
  it("is nothing of sessions where the node has no address of the family", () => {
    const { address: _, ...ipv6 } = sampleNode({
      ipv6: { peers: [samplePeer({ address: "fd00::2", name: "Mesh_fd00__2" })] },
    }).ipv6;
    const model = { ...sampleNode(), ipv6 };
    expect(renderBird1(model)["bird6.cfg"]).not.toContain("bgp_template");
    expect(renderBird2(model)["bird.cfg"]).not.toContain("Mesh_");
  });

  it.each([
    ["none", false, false],
    ["debug", true, false],
    ["info", false, true],
  ] as const)("is debugging, by logSeverityScreen: %s", (log, all, states) => {
    for (const text of [
      renderBird1({ ...withPeer({}), log })["bird.cfg"],
      renderBird2({ ...withPeer({}), log })["bird.cfg"],
    ]) {
      expect(text.includes("debug all;")).toBe(all);
      expect(text.includes("debug { states };")).toBe(states);
      expect(text.includes("debug { states, routes, filters, events };")).toBe(states);
    }
  });

  it("is the tunnel of upstream's fork, where BGP programs routes to IPIP pools", () => {
    const pools: Pool[] = [
      { cidr: "10.1.0.0/16", encapsulation: "ipip", exported: true },
      { cidr: "10.2.0.0/16", encapsulation: "ipip-cross-subnet", exported: true },
    ];
    const model = sampleNode({ ipv4: { pools, programs: { noEncap: false, ipip: true } } });
    const text = renderBird1(model)["bird_ipam.cfg"];
    expect(text).toContain('if (net ~ 10.1.0.0/16) then { krt_tunnel="tunl0"; accept; }');
    expect(text).toContain(
      'if (net ~ 10.2.0.0/16) then { if (defined(bgp_next_hop)&&(bgp_next_hop ~ 10.0.0.0/24)) then krt_tunnel=""; else krt_tunnel="tunl0"; accept; }',
    );
    expect(text).not.toContain('"tunl0")');
    const plain = renderBird2(model)["bird.cfg"];
    expect(plain).not.toContain("krt_tunnel");
    expect(plain).toContain("if (net ~ 10.1.0.0/16) then { if (source = RTS_BGP) then reject; accept; }");
    expect(bird2Problems(model)).toHaveLength(2);
    expect(bird2Problems(exampleNode)).toEqual([]);
  });

  it("is BFD, for the peers that ask for it, and a session of one hop where it is of one hop", () => {
    const bfd = { minReceive: 300, minSend: 200, multiplier: 3, multihop: false };
    expect(both(withPeer({}))).not.toContain("bfd");
    const one = withPeer({ bfd });
    expect(renderBird1(one)["bird.cfg"]).toMatch(/protocol bfd \{[\s\S]*min rx interval 300 ms;[\s\S]*bfd on;/);
    expect(renderBird2(one)["bird.cfg"]).toMatch(
      /protocol bfd \{[\s\S]*direct;[\s\S]*bfd \{\n {4}min rx interval 300 ms;\n {4}min tx interval 200 ms;/,
    );
    expect(both(withPeer({ bfd: { ...bfd, multihop: true } }))).not.toContain("direct;");
  });

  it("is a filter's name in 64 characters, told apart by a hash", () => {
    const rules = [{ action: "reject", operations: [] }] as const;
    const filter = (name: string) => ({ name, importV4: rules, exportV4: [], importV6: [], exportV6: [] });
    const names = ["a".repeat(46), `${"a".repeat(45)}b`, "c".repeat(45)];
    const model = {
      ...withPeer({ filters: names }),
      filters: Object.fromEntries(names.map((name) => [name, filter(name)])),
    };
    const said = [...both(model).matchAll(/^ +'(bgp_[^']*)'\(/gm)].map(([, name]) => name ?? "");
    expect(new Set(said).size).toBe(3);
    expect(said.every((name) => name.length <= 64)).toBe(true);
    expect(said).toContain(`bgp_${"c".repeat(45)}_importFilterV4`);
  });

  it("is a hold time: where the keepalive time would be more than a third of BIRD's own", () => {
    const told = (keepaliveTime: number) =>
      /hold time \d+;/.exec(renderBird2(withPeer({ keepaliveTime }))["bird.cfg"])?.[0];
    expect([10, 80, 81, 60_000].map(told)).toEqual([undefined, undefined, "hold time 243;", "hold time 65535;"]);
  });
});

describe("what cannot be said", () => {
  it("is refused by name, all at once, and a password is not shown", () => {
    const message = refused({
      ...sampleNode({
        ignoredInterfaces: ['eth"; "'],
        ipv4: {
          peers: [
            samplePeer({ password: 'hunter"2', reason: "BGPPeer tor" }),
            samplePeer({ address: "10.0.0.2;", name: "x y", reason: "BGPPeer odd" }),
          ],
          pools: [{ cidr: "10.0.0.0/8) then accept; #", encapsulation: "none", exported: true }],
        },
      }),
    });
    for (const part of [
      "ignoredInterfaces",
      "the password of BGPPeer tor",
      "BGPPeer odd",
      '"10.0.0.2;"',
      '"x y"',
      "IPPool",
    ]) {
      expect(message).toContain(part);
    }
    expect(message).not.toContain("hunter");
  });

  it.each([
    ["an AS number that is none", withPeer({ asn: 2 ** 32 })],
    ["a port", withPeer({ port: 70_000 })],
    ["a keepalive time that is no number", withPeer({ keepaliveTime: Number.NaN })],
    ["hops", withPeer({ ttlSecurity: 0 })],
    ["an empty password", withPeer({ password: "" })],
    ["a password that TCP-MD5 cannot take", withPeer({ password: "é".repeat(41) })],
    ["an address of the other family", withPeer({ address: "fd00::2" })],
    ["a cluster id", withPeer({ reflectorClient: "1.2.3" })],
    ["a router id", sampleNode({ routerId: "hash" })],
    ["a priority of no kernel", sampleNode({ ipv4: { normalPriority: -1 } })],
    ["a community", sampleNode({ ipv4: { communities: [{ prefix: "10.0.0.0/8", communities: [[65_536, 1]] }] } })],
  ])("is %s", (_, model) => {
    expect(refused(model)).toMatch(/^BIRD_UNSAYABLE: /);
  });

  it("of a session leaves that session out, and the others as they are", () => {
    const fine = samplePeer({ address: "10.0.0.3", name: "Mesh_10_0_0_3" });
    const peers = [fine, samplePeer({ password: 'hunter"2', reason: "BGPPeer tor" })];
    const { model, problems } = sayable(sampleNode({ ipv4: { peers } }));
    expect(renderBird2(model)).toEqual(renderBird2(sampleNode({ ipv4: { peers: [fine] } })));
    expect(problems).toEqual([
      expect.stringMatching(/^the password of BGPPeer tor has a quotation mark.*there is no session with 10\.0\.0\.2$/),
    ]);
    expect(sayable(model)).toEqual({ model, problems: [] });
    const { address: _, ...ipv4 } = sampleNode({ ipv4: { peers } }).ipv4;
    expect(sayable({ ...sampleNode(), ipv4 }).problems).toEqual([]);
  });

  it("never gets out of its place: with strings taken away, the text is the same", () => {
    const nasty = fc.string({
      unit: fc.constantFrom('"', "\n", "\r", "\0", "'", ";", "}", "#", "\\", "a", "ü", " "),
      minLength: 1,
      maxLength: 12,
    });
    const skeleton = (text: string) => text.replaceAll(/"[^"\n]*"/g, '""').replaceAll(/^#:.*$/gm, "#:");
    const make = (text: string): NodeBgp => ({
      ...withPeer({ password: text, reason: `BGPPeer ${text}`, filters: ["f"] }),
      node: text,
      ignoredInterfaces: [text],
      filters: {
        f: {
          name: "f",
          importV4: [{ action: "reject", interface: text, operations: [] }],
          exportV4: [],
          importV6: [],
          exportV6: [],
        },
      },
    });
    const plain = skeleton(both(make("a")));
    fc.assert(
      fc.property(nasty, (text) => {
        let said: string;
        try {
          said = both(make(text));
        } catch (error) {
          expect(error).toBeInstanceOf(BirdError);
          expect(/["\n\r\0]/.test(text)).toBe(true);
          return;
        }
        expect(skeleton(said)).toBe(plain);
      }),
    );
  });
});

const bfd = { minReceive: 300, minSend: 300, multiplier: 3, multihop: false };
const models: readonly (readonly [string, NodeBgp])[] = [
  ["a reflector", exampleNode],
  ["a node without anything", sampleNode()],
  ["BFD of one hop", withPeer({ bfd })],
  ["BFD of many", withPeer({ bfd: { ...bfd, multihop: true } })],
  ["odd but sayable strings", { ...withPeer({ password: "it's #; {} \\ ü" }), ignoredInterfaces: ["\\*", "ä b"] }],
  [
    "a next hop that is kept, IPv6",
    sampleNode({ ipv6: { peers: [samplePeer({ address: "fd00::2", name: "Global_fd00__2", nextHop: "keep" })] } }),
  ],
];

function parse(executable: string, files: Readonly<Record<string, string>>, main: string): string {
  const folder = mkdtempSync(join(tmpdir(), "calico-bird-parse-"));
  try {
    for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
    const run = spawnSync(executable, ["-p", "-c", join(folder, main)], { encoding: "utf8" });
    return `${run.status}${run.stdout}${run.stderr}`;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describeWithBird("2", "BIRD 2's own parser", (executable) => {
  it.each(models)("takes %s", (_, model) => {
    expect(parse(executable, renderBird2(model), "bird.cfg")).toBe("0");
  });

  it("takes IPIP pools that are BGP's to program", () => {
    const pools: Pool[] = [
      { cidr: "10.1.0.0/16", encapsulation: "ipip-cross-subnet", exported: true },
      { cidr: "10.2.0.0/16", encapsulation: "ipip", exported: true },
    ];
    const model = sampleNode({ ipv4: { pools, programs: { noEncap: true, ipip: true } } });
    expect(parse(executable, renderBird2(model), "bird.cfg")).toBe("0");
  });
});

// Debian's: what upstream's fork has of its own is not in these models.
describeWithBird("1.6", "BIRD 1.6's own parser", (executable) => {
  it.each(models)("takes %s", (_, model) => {
    expect(parse(executable, renderBird1(model), "bird.cfg")).toBe("0");
  });
});

describeWithBird("1.6 for IPv6", "BIRD 1.6's own parser for IPv6", (executable) => {
  it.each(models)("takes %s", (_, model) => {
    expect(parse(executable, renderBird1(model), "bird6.cfg")).toBe("0");
  });
});
