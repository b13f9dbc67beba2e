import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { containsAddress, parseAddress, parseCidr } from "../../ip/index.ts";
import type { ParsedRule, PortRange, RuleSide } from "../calc/index.ts";
import { RenderContext } from "./context.ts";
import { interpret } from "./interpret.ts";
import type { Packet } from "./interpret-packet.ts";
import type { IpVersion } from "./ir.ts";
import { RULES_DEFAULTS, type RulesConfig } from "./options.ts";
import { chunkPorts, renderRules } from "./policy.ts";
import { printRule } from "./print.ts";
import { Program } from "./program.ts";
import { gnp, parsedRule } from "./testvalues.ts";

const owner = { kind: "policy", id: gnp("p"), tier: "default" } as const;

function render(
  rules: ParsedRule | readonly ParsedRule[],
  options: {
    readonly version?: IpVersion;
    readonly table?: "filter" | "raw" | "mangle";
    readonly config?: Partial<RulesConfig>;
  } = {},
): string[] {
  const context = new RenderContext({ ...RULES_DEFAULTS, ...options.config });
  const place = { ipVersion: options.version ?? 4, table: options.table ?? "filter", direction: "ingress" } as const;
  return renderRules(context, owner, "action" in rules ? [rules] : rules, place)
    .map(printRule)
    .map((text) => text.replace(/ {2}# GlobalNetworkPolicy p ingress(; )?/, (_, more) => (more ? "  # " : "")));
}

/** The first line of a deny rule: its condition, without the action. */
const condition = (rest: Partial<ParsedRule>, version: IpVersion = 4): string[] =>
  render(parsedRule("Deny", rest), { version }).map((line) => line.replace(/ ?-> drop$/, ""));

const port = (first: number, last = first): PortRange => ({ first, last });

describe("what a rule does", () => {
  it("lets through by mark and return, because other policy may be still to come", () => {
    expect(render([parsedRule("Allow", { protocol: 6 }), parsedRule("Deny")])).toEqual([
      "proto=6 -> set-mark 0x10000/0x10000",
      "mark=0x10000/0x10000 -> return",
      "-> drop",
    ]);
  });
  it("passes to the next tier by another mark", () => {
    expect(render([parsedRule("Pass"), parsedRule("Deny")])).toEqual([
      "-> set-mark 0x20000/0x20000",
      "mark=0x20000/0x20000 -> return",
      "-> drop",
    ]);
  });
  it("passes from a profile to the next one without a mark", () => {
    const place = { ipVersion: 4, table: "filter", direction: "egress" } as const;
    const list = [parsedRule("Pass", { protocol: 6 }), parsedRule("Deny")];
    const rules = renderRules(new RenderContext(RULES_DEFAULTS), { kind: "profile", name: "a" }, list, place);
    expect(rules.map(printRule)).toEqual(["proto=6 -> return  # Profile a egress", "-> drop"]);
  });
  it("leaves out a return that ends the chain", () => {
    expect(render(parsedRule("Allow"))).toEqual(["-> set-mark 0x10000/0x10000"]);
  });
  it("rejects where FilterDenyAction says so and the kernel can", () => {
    const config = { filterDenyAction: "REJECT" } as const;
    expect(render(parsedRule("Deny"), { config })).toEqual(["-> reject icmp"]);
    expect(render(parsedRule("Deny"), { config, table: "raw" })).toEqual(["-> drop"]);
    expect(render(parsedRule("Deny"), { config, table: "mangle" })).toEqual(["-> drop"]);
  });
  it("logs with the prefix of the configuration, its tokens filled in, and goes on", () => {
    const config = { logPrefix: "%t %k %n %p %x", logActionRateLimit: "5/minute", logActionRateLimitBurst: 7 };
    expect(render([parsedRule("Log", { protocol: 17 }), parsedRule("Deny")], { config })).toEqual([
      'proto=17 limit=5/minute,7 -> log "default gnp p p %x"',
      "-> drop",
    ]);
    expect(render(parsedRule("Log"), { config: { logPrefix: "" } })).toEqual(['-> log "calico-packet"']);
  });
  it("says in the log of a namespaced policy and of a profile which it was", () => {
    const context = new RenderContext({ ...RULES_DEFAULTS, logPrefix: "%t|%k|%n|%p" });
    const place = { ipVersion: 4, table: "filter", direction: "egress" } as const;
    const id = { kind: "KubernetesNetworkPolicy", namespace: "ns", name: "web" } as const;
    const log = [parsedRule("Log")];
    expect(renderRules(context, { kind: "policy", id, tier: "t" }, log, place).map(printRule)).toEqual([
      '-> log "t|knp|web|ns/web"  # KubernetesNetworkPolicy ns/web egress',
    ]);
    expect(renderRules(context, { kind: "profile", name: "kns.a" }, log, place).map(printRule)).toEqual([
      '-> log "|pro|kns.a|kns.a"  # Profile kns.a egress',
    ]);
  });
  it("shows the rule's annotations as comments, in a fixed order", () => {
    const metadata = { annotations: { b: "2", a: "1" } };
    expect(render([parsedRule("Allow", { metadata }), parsedRule("Deny")])).toEqual([
      "-> set-mark 0x10000/0x10000  # a=1; b=2",
      "mark=0x10000/0x10000 -> return  # a=1; b=2",
      "-> drop",
    ]);
  });
  it("enforces the rest of a rule with an HTTP clause", () => {
    expect(condition({ http: true, protocol: 6 })).toEqual(["proto=6"]);
  });
});

describe("what a rule matches", () => {
  it("has protocols by number, and one that must not be", () => {
    expect(condition({ protocol: 132 })).toEqual(["proto=132"]);
    expect(condition({ notProtocol: 136 })).toEqual(["!proto=136"]);
    expect(condition({ protocol: 6, notProtocol: 17 })).toEqual(["proto=6"]);
    expect(condition({ protocol: 6, notProtocol: 6 })).toEqual([]);
  });
  it("has the ICMP of the IP version", () => {
    expect(condition({ icmp: { type: 8 } })).toEqual(["proto=1 icmp=8"]);
    expect(condition({ protocol: 58, icmp: { type: 128, code: 0 } }, 6)).toEqual(["proto=58 icmp=128/0"]);
    expect(condition({ protocol: 58, icmp: { type: 128 } }, 4)).toEqual([]);
    expect(condition({ protocol: 1, notIcmp: { type: 8, code: 1 } })).toEqual(["proto=1 !icmp=8/1"]);
    expect(condition({ notIcmp: { type: 8 } })).toEqual(["proto=1 !icmp=8"]);
  });
  it("renders nothing for the other IP version", () => {
    expect(condition({ ipVersion: 4 }, 6)).toEqual([]);
    expect(condition({ source: { nets: ["10.0.0.0/8"] } }, 6)).toEqual([]);
    expect(condition({ source: { notNets: ["10.0.0.0/8"] } }, 6)).toEqual([]);
    expect(condition({ source: { nets: ["10.0.0.0/8", "fd00::/8"] } }, 6)).toEqual(["src=fd00::/8"]);
    const mixed = { source: { nets: ["10.0.0.1/32", "fd00::1/128"] }, destination: { nets: ["10.0.0.2/32"] } };
    expect(condition(mixed, 6)).toEqual([]);
    expect(condition(mixed, 4)).toEqual(["src=10.0.0.1/32 dst=10.0.0.2/32"]);
  });
  it("has one net in the rule itself, or one that must not be", () => {
    expect(condition({ destination: { nets: ["10.0.0.0/8"] } })).toEqual(["dst=10.0.0.0/8"]);
    expect(condition({ destination: { notNets: ["10.0.0.0/8"] } })).toEqual(["!dst=10.0.0.0/8"]);
    expect(condition({ source: { nets: ["10.0.0.0/8", "0.0.0.0/0"] } })).toEqual([""]);
    expect(condition({ source: { notNets: ["0.0.0.0/0"] } })).toEqual([]);
  });
  it("has sets, ports and named ports of both sides", () => {
    expect(
      condition({
        protocol: 6,
        source: { sets: ["s:a", "s:b"], notSets: ["s:c"], ports: [port(1, 9)], notNamedPorts: ["n:a", "n:b"] },
        destination: { namedPorts: ["n:c"], portSets: ["svc:a"], notPorts: [port(22), port(80, 90)] },
      }),
    ).toEqual([
      "proto=6 src-port=1-9 src@s:a src@s:b !src@s:c !src-port@n:a !src-port@n:b dst-port@n:c dst-port@svc:a !dst-port=22,80-90",
    ]);
  });
  it("ORs many nets through the mark", () => {
    expect(condition({ source: { nets: ["10.0.0.0/8", "11.0.0.0/8"] } })).toEqual([
      "-> set-mark 0x0/0x180000",
      "src=10.0.0.0/8 -> set-mark 0x80000/0x80000",
      "src=11.0.0.0/8 -> set-mark 0x80000/0x80000",
      "mark=0x80000/0x80000",
    ]);
  });
  it("clears the mark for nets that must not be", () => {
    expect(condition({ source: { nets: ["10.0.0.0/8"], notNets: ["10.1.0.0/16"] } })).toEqual([
      "-> set-mark 0x80000/0x180000",
      "src=10.1.0.0/16 -> set-mark 0x0/0x80000",
      "src=10.0.0.0/8 mark=0x80000/0x80000",
    ]);
    expect(condition({ destination: { notNets: ["10.1.0.0/16", "10.2.0.0/16"] } })).toEqual([
      "-> set-mark 0x80000/0x180000",
      "dst=10.1.0.0/16 -> set-mark 0x0/0x80000",
      "dst=10.2.0.0/16 -> set-mark 0x0/0x80000",
      "mark=0x80000/0x80000",
    ]);
  });
  it("ORs numbers and names of ports", () => {
    expect(condition({ protocol: 17, destination: { ports: [port(53)], namedPorts: ["n:dns"] } })).toEqual([
      "-> set-mark 0x0/0x180000",
      "proto=17 dst-port=53 -> set-mark 0x80000/0x80000",
      "dst-port@n:dns -> set-mark 0x80000/0x80000",
      "proto=17 mark=0x80000/0x80000",
    ]);
  });
  it("starts every block after the second from nothing", () => {
    const nets = ["10.0.0.0/8", "11.0.0.0/8"];
    const ports = { namedPorts: ["n:a", "n:b"] };
    const rules = condition({ source: { nets }, destination: { nets, ...ports } });
    expect(rules).toEqual([
      "-> set-mark 0x0/0x180000",
      "src=10.0.0.0/8 -> set-mark 0x80000/0x80000",
      "src=11.0.0.0/8 -> set-mark 0x80000/0x80000",
      "dst-port@n:a -> set-mark 0x100000/0x100000",
      "dst-port@n:b -> set-mark 0x100000/0x100000",
      "mark=0x0/0x100000 -> set-mark 0x0/0x80000",
      "-> set-mark 0x0/0x100000",
      "dst=10.0.0.0/8 -> set-mark 0x100000/0x100000",
      "dst=11.0.0.0/8 -> set-mark 0x100000/0x100000",
      "mark=0x0/0x100000 -> set-mark 0x0/0x80000",
      "mark=0x80000/0x80000",
    ]);
  });
  it("matches ports without a protocol for every protocol that has ports", () => {
    expect(condition({ source: { ports: [port(7)] } })).toEqual([
      "-> set-mark 0x0/0x180000",
      ...[6, 17, 132, 136].map((number) => `proto=${number} src-port=7 -> set-mark 0x80000/0x80000`),
      "mark=0x80000/0x80000",
    ]);
    expect(condition({ protocol: 47, source: { ports: [port(7)] } })).toEqual([]);
    expect(condition({ protocol: 47, source: { notPorts: [port(7)] } })).toEqual(["proto=47"]);
  });
  it("cuts ports into matches of fifteen numbers, a range counting as two", () => {
    const singles = Array.from({ length: 14 }, (_, i) => port(i + 1));
    expect(chunkPorts([...singles, port(20, 30), port(40)]).map((chunk) => chunk.length)).toEqual([14, 2]);
    expect(chunkPorts([])).toEqual([]);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(65535), fc.boolean())), (list) => {
        const ports = list.map(([first, isRange]) => port(first, isRange ? first + 1 : first));
        const chunks = chunkPorts(ports);
        expect(chunks.flat()).toEqual(ports);
        for (const chunk of chunks) {
          const slots = chunk.reduce((sum, { first, last }) => sum + (first === last ? 1 : 2), 0);
          expect(slots).toBeGreaterThan(0);
          expect(slots).toBeLessThanOrEqual(15);
        }
      }),
    );
  });
});

// The rendered rules against what the rules mean.

const SETS: Record<string, { readonly type: "net" | "port"; readonly members: readonly string[] }> = {
  "s:low": { type: "net", members: ["10.0.0.0/31", "fd00::/127"] },
  "s:odd": { type: "net", members: ["10.0.0.1/32", "10.0.0.3/32", "fd00::1/128", "fd00::3/128"] },
  "n:web": { type: "port", members: ["10.0.0.1,tcp:1", "10.0.0.2,udp:2", "fd00::1,tcp:1"] },
  "n:any": { type: "port", members: [0, 1, 2, 3].flatMap((i) => [`10.0.0.${i},sctp:${i}`, `fd00::${i},tcp:${i}`]) },
};
const NETS = ["10.0.0.0/31", "10.0.0.1/32", "10.0.0.2/31", "0.0.0.0/0", "fd00::/127", "fd00::2/127", "::/0"];

const some = <T>(values: readonly T[]) => fc.option(fc.subarray([...values], { minLength: 1 }), { nil: undefined });
const portRange = fc.tuple(fc.nat(4), fc.nat(2)).map(([first, more]) => port(first, first + more));
const ports = fc.option(fc.array(portRange, { minLength: 1, maxLength: 12 }), { nil: undefined });
const optional = <T>(of: fc.Arbitrary<T>) => fc.option(of, { nil: undefined });

/** Leaves out what is undefined. */
const whole = <T extends object>(value: T): { [K in keyof T]?: NonNullable<T[K]> } =>
  Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as never;

const sparseSide = fc
  .record({
    nets: some(NETS),
    notNets: fc.oneof({ weight: 3, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary: some(NETS) }),
    sets: some(["s:low", "s:odd"]),
    notSets: some(["s:low", "s:odd"]),
    ports,
    notPorts: ports,
    namedPorts: some(["n:web", "n:any"]),
    notNamedPorts: some(["n:web", "n:any"]),
    portSets: some(["n:web", "n:any"]),
  })
  .chain((side) => fc.subarray(Object.keys(side), { maxLength: 3 }).map((keep) => pick(side, keep)))
  .map((side) => whole(side) as RuleSide);

/** Needs a block for its ports and one for its nets. */
const denseSide = fc.record({
  nets: fc.constantFrom(["10.0.0.0/31", "10.0.0.3/32"], ["10.0.0.2/32", "10.0.0.1/32"], ["fd00::/128", "fd00::1/128"]),
  ports: fc.array(portRange, { minLength: 1, maxLength: 3 }),
  namedPorts: fc.constant(["n:web"]),
});
const ruleSide: fc.Arbitrary<RuleSide> = fc.oneof(
  { weight: 3, arbitrary: sparseSide },
  { weight: 1, arbitrary: denseSide },
);

const pick = (value: object, keys: readonly string[]) =>
  Object.fromEntries(Object.entries(value).filter(([key]) => keys.includes(key)));

const PROTOCOLS = [1, 6, 17, 58, 132, 136, 47];
const icmp = fc.record({ type: fc.constantFrom(8, 128, 3), code: optional(fc.nat(1)) }).map(whole);
const anyRule = fc
  .record({
    action: fc.constantFrom<ParsedRule["action"]>("Allow", "Deny", "Pass", "Log"),
    ipVersion: optional(fc.constantFrom<IpVersion>(4, 6)),
    protocol: optional(fc.constantFrom(...PROTOCOLS)),
    notProtocol: optional(fc.constantFrom(...PROTOCOLS)),
    icmp: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, icmp),
    notIcmp: fc.oneof({ weight: 4, arbitrary: fc.constant(undefined) }, icmp),
    source: ruleSide,
    destination: ruleSide,
  })
  .map((rule) => whole(rule) as ParsedRule);

const anyPacket = fc
  .record({
    version: fc.constantFrom<IpVersion>(4, 6),
    from: fc.nat(4),
    to: fc.nat(4),
    protocol: fc.constantFrom(...PROTOCOLS),
    sourcePort: fc.nat(6),
    destinationPort: fc.nat(6),
    type: fc.constantFrom(8, 128, 3),
    code: fc.nat(1),
  })
  .map(({ version, from, to, protocol, sourcePort, destinationPort, type, code }): Packet => {
    const address = (n: number) => (version === 4 ? `10.0.0.${n}` : `fd00::${n}`.replace("::0", "::"));
    const isIcmp = protocol === (version === 4 ? 1 : 58);
    const hasPorts = [6, 17, 132, 136].includes(protocol);
    return {
      version,
      protocol,
      source: address(from),
      destination: address(to),
      ...(hasPorts && { sourcePort, destinationPort }),
      ...(isIcmp && { icmp: { type, code } }),
    };
  });

/** What the rule means, field by field. */
function holds(parsed: ParsedRule, packet: Packet): boolean {
  const { version, protocol, icmp: message } = packet;
  if (parsed.ipVersion !== undefined && parsed.ipVersion !== version) return false;
  if (parsed.protocol !== undefined && parsed.protocol !== protocol) return false;
  if (parsed.notProtocol === protocol) return false;
  const isMessage = (wanted: NonNullable<ParsedRule["icmp"]>) =>
    message?.type === wanted.type && (wanted.code === undefined || wanted.code === message.code);
  if (parsed.icmp && !isMessage(parsed.icmp)) return false;
  if (parsed.notIcmp && (message === undefined || isMessage(parsed.notIcmp))) return false;
  return (
    sideHolds(parsed.source, version, protocol, packet.source, packet.sourcePort) &&
    sideHolds(parsed.destination, version, protocol, packet.destination, packet.destinationPort)
  );
}

function sideHolds(
  side: RuleSide,
  version: IpVersion,
  protocol: number,
  address: string,
  portNumber: number | undefined,
): boolean {
  const inNet = (net: string) => containsAddress(parseCidr(net), parseAddress(address));
  const ofOther = (nets: readonly string[] | undefined) =>
    nets?.every((net) => net.includes(":") !== (version === 6)) ?? false;
  if (ofOther(side.nets) || ofOther(side.notNets)) return false;
  if (side.nets && !side.nets.some(inNet)) return false;
  if (side.notNets?.some(inNet)) return false;
  const inSet = (set: string) => SETS[set]!.members.some((member) => inNet(member));
  if (side.sets && !side.sets.every(inSet)) return false;
  if (side.notSets?.some(inSet)) return false;
  const word = { 6: "tcp", 17: "udp", 132: "sctp" }[protocol];
  const inPortSet = (set: string) => SETS[set]!.members.includes(`${address},${word}:${portNumber}`);
  const inPorts = ({ first, last }: PortRange) => portNumber !== undefined && first <= portNumber && portNumber <= last;
  if ((side.ports || side.namedPorts) && !side.ports?.some(inPorts) && !side.namedPorts?.some(inPortSet)) return false;
  if (side.notPorts?.some(inPorts) || side.notNamedPorts?.some(inPortSet)) return false;
  return !side.portSets || side.portSets.every(inPortSet);
}

function meant(rules: readonly ParsedRule[], packet: Packet): string {
  const decisive = rules.find((parsed) => parsed.action !== "Log" && holds(parsed, packet));
  return decisive?.action ?? "none";
}

function rendered(rules: readonly ParsedRule[], packet: Packet): string {
  const context = new RenderContext(RULES_DEFAULTS);
  const program = new Program(packet.version);
  for (const [id, { type, members }] of Object.entries(SETS)) program.setSet(id, type, members);
  const place = { ipVersion: packet.version, table: "filter", direction: "ingress" } as const;
  program.setChain("filter", { name: "cali-pi-p", rules: renderRules(context, owner, rules, place) });
  const first = [{ match: [], action: { do: "jump", chain: "cali-pi-p" } }] as const;
  program.setHook("filter", "FORWARD", { first, last: [] });
  const { mark, verdict } = interpret(program, packet, { inInterface: "in", route: () => "out", addresses: {} });
  if (verdict === "drop") return "Deny";
  const { accept, pass } = context.marks;
  return mark & accept ? "Allow" : mark & pass ? "Pass" : "none";
}

describe("rendered rules", () => {
  it("decide as the rules mean", () => {
    fc.assert(
      fc.property(
        fc.array(anyRule, { minLength: 1, maxLength: 5 }),
        fc.array(anyPacket, { minLength: 8 }),
        (rules, packets) => {
          for (const packet of packets)
            expect(rendered(rules, packet), JSON.stringify(packet)).toBe(meant(rules, packet));
        },
      ),
      { numRuns: 400 },
    );
  });

  it("hold at most one net and one protocol a side, and fifteen ports a match: what iptables can say", () => {
    fc.assert(
      fc.property(anyRule, fc.constantFrom<IpVersion>(4, 6), (parsed, ipVersion) => {
        const context = new RenderContext(RULES_DEFAULTS);
        const place = { ipVersion, table: "filter", direction: "egress" } as const;
        for (const { match } of renderRules(context, owner, [parsed], place)) {
          expect(match.filter(({ is }) => is === "protocol").length).toBeLessThanOrEqual(1);
          for (const side of ["source", "destination"])
            expect(match.filter((each) => each.is === "net" && each.side === side).length).toBeLessThanOrEqual(1);
          for (const each of match) {
            if (each.is !== "ports" && each.is !== "icmp") continue;
            expect(match.some((other) => other.is === "protocol" && !other.not)).toBe(true);
          }
        }
      }),
    );
  });
});
