/** What happens to packets under the programs, by the interpreter: a router with two workloads and an uplink. */
import { describe, expect, it } from "vitest";
import type { LocalHost, Message } from "../calc/index.ts";
import { interpret, type Trace } from "./interpret.ts";
import { ConntrackTable } from "./interpret-conntrack.ts";
import type { Packet } from "./interpret-packet.ts";
import type { RulesConfig } from "./options.ts";
import { ALLOW, DENY, gnp, host, parsedRule, policy, programmed, tier, workload } from "./testvalues.ts";

const A = "10.0.0.1";
const B = "10.0.0.2";
const OUTSIDE = "198.51.100.9";
const HOST = "192.0.2.1";
const ADDRESSES = { eth0: [HOST], lo: ["127.0.0.1"] };

/** Undefined: by the default route. */
function route(address: string): string | undefined {
  if (address === A || address === "fd00::1" || address.startsWith("8.8.8.")) return "calia";
  if (address === B || address === "fd00::2") return "calib";
  if (address === HOST || address === "fe80::1") return "local";
  if (address === "0.0.0.0") return undefined;
  return "eth0";
}

const profile: Message = { type: "profile", profile: { name: "open", ingress: [ALLOW], egress: [ALLOW] } };
const open = { profiles: ["open"] };

class Router {
  readonly #bench: ReturnType<typeof programmed>;
  readonly #conntrack = new ConntrackTable();

  constructor(messages: readonly Message[], config: Partial<RulesConfig> = {}) {
    this.#bench = programmed(config);
    const { programmer } = this.#bench;
    for (const message of [
      profile,
      { type: "workload", workload: workload("a", open) } as const,
      {
        type: "workload",
        workload: workload("b", { ...open, ipv4Nets: [`${B}/32`], ipv6Nets: ["fd00::2/128"] }),
      } as const,
      ...messages,
    ])
      programmer.onMessage(message);
    programmer.onInterface("eth0", { up: true, addresses: [HOST] });
    programmer.complete();
  }

  send(from: string | undefined, source: string, destination: string, rest: Partial<Packet> = {}): Trace {
    const version = source.includes(":") ? 6 : 4;
    const packet: Packet = {
      version,
      source,
      destination,
      protocol: 6,
      sourcePort: 40000,
      destinationPort: 80,
      ...rest,
    };
    const program = version === 4 ? this.#bench.v4 : this.#bench.v6;
    return interpret(program, packet, {
      ...(from !== undefined && { inInterface: from }),
      route,
      addresses: ADDRESSES,
      conntrack: this.#conntrack,
    });
  }

  verdict(...packet: Parameters<Router["send"]>): Trace["verdict"] {
    return this.send(...packet).verdict;
  }
}

const only = (port: number) =>
  parsedRule("Allow", { protocol: 6, destination: { ports: [{ first: port, last: port }] } });
const answer = { sourcePort: 80, destinationPort: 40000, flags: "syn-ack" } as const;

describe("workloads", () => {
  it("reach each other where both allow, and connections go on when policy changes its mind about new ones", () => {
    const router = new Router([]);
    expect(router.verdict("calia", A, B)).toBe("accept");
    expect(router.verdict("calib", B, A, answer)).toBe("accept");
    expect(router.verdict("calib", B, A, { sourcePort: 81, destinationPort: 1, flags: "syn-ack" })).toBe("drop");
  });

  it("whose endpoint nobody has told of yet are closed", () => {
    const router = new Router([]);
    expect(router.verdict("caliz", A, OUTSIDE)).toBe("drop");
    const gone = new Router([{ type: "workload-removed", id: workload("b").id }]);
    expect(gone.verdict("calia", A, B)).toBe("drop");
    expect(gone.verdict(undefined, HOST, B)).toBe("accept");
  });

  it("cannot send from addresses that are not theirs", () => {
    const router = new Router([]);
    expect(router.verdict("calia", B, OUTSIDE)).toBe("drop");
    expect(router.verdict("calia", OUTSIDE, B)).toBe("drop");
    // Routed to the workload, so that the reverse path is right; and still not its address.
    expect(router.verdict("calia", "8.8.8.8", B)).toBe("drop");
    const spoofer = workload("a", { ...open, allowSpoofedSourcePrefixes: ["203.0.113.0/24", "8.8.8.8/32"] });
    const lenient = new Router([{ type: "workload", workload: spoofer }], { workloadSourceSpoofing: "Any" });
    expect(lenient.verdict("calia", "203.0.113.7", OUTSIDE)).toBe("accept");
    expect(lenient.verdict("calia", "8.8.8.8", OUTSIDE)).toBe("accept");
    expect(lenient.verdict("calia", A, OUTSIDE)).toBe("accept");
    expect(lenient.verdict("calia", "8.8.8.9", OUTSIDE)).toBe("drop");
  });

  it("cannot hide what they send in tunnels", () => {
    const vxlan = { protocol: 17, destinationPort: 4789 };
    expect(new Router([]).verdict("calia", A, OUTSIDE, vxlan)).toBe("drop");
    expect(new Router([]).verdict("calia", A, OUTSIDE, { protocol: 4 })).toBe("drop");
    const config = { allowVXLANPacketsFromWorkloads: true, allowIPIPPacketsFromWorkloads: true };
    expect(new Router([], config).verdict("calia", A, OUTSIDE, vxlan)).toBe("accept");
    expect(new Router([], config).verdict("calia", A, OUTSIDE, { protocol: 4 })).toBe("accept");
  });

  it("reach the host as DefaultEndpointToHostAction says; the host always reaches them", () => {
    expect(new Router([]).verdict("calia", A, HOST)).toBe("drop");
    const config = { defaultEndpointToHostAction: "ACCEPT" } as const;
    expect(new Router([], config).verdict("calia", A, HOST)).toBe("accept");
    const closed: Message = { type: "workload", workload: workload("a") };
    expect(new Router([closed], config).verdict("calia", A, HOST)).toBe("drop");
    const router = new Router([closed]);
    expect(router.verdict(undefined, HOST, A)).toBe("accept");
    expect(router.verdict("calia", A, HOST, answer)).toBe("accept");
  });

  it("find their IPv6 router even when their policy is closed", () => {
    const router = new Router([{ type: "workload", workload: workload("a") }]);
    const icmp = (type: number) => ({ protocol: 58, icmp: { type, code: 0 } });
    // The route back to a link-local address is by the interface that asked.
    expect(router.verdict("calia", "fd00::1", "fe80::1", icmp(135))).toBe("accept");
    expect(router.verdict("calia", "fd00::1", "fe80::1", icmp(128))).toBe("drop");
  });

  it("are denied by REJECT where FilterDenyAction says so", () => {
    const router = new Router([{ type: "workload", workload: workload("a") }], { filterDenyAction: "REJECT" });
    expect(router.send("calia", A, B)).toMatchObject({ verdict: "reject", rejectWith: "icmp" });
  });

  it("may leave the last word to others' rules with FilterAllowAction RETURN", () => {
    const router = new Router([], { filterAllowAction: "RETURN" });
    expect(router.verdict("calia", A, B)).toBe("accept");
    expect(router.verdict("calib", B, A, answer)).toBe("accept");
  });

  it("write to the log by a Log rule, and go on", () => {
    const logs = policy(gnp("p"), { ingress: [parsedRule("Log"), ALLOW], tier: "t" });
    const b = workload("b", { ...open, ipv4Nets: [`${B}/32`], tiers: [tier([gnp("p")], [])] });
    const router = new Router(
      [
        { type: "policy", policy: logs },
        { type: "workload", workload: b },
      ],
      { logPrefix: "%t/%n" },
    );
    expect(router.send("calia", A, B)).toMatchObject({ verdict: "accept", logged: [{ prefix: "t/p" }] });
  });
});

describe("host endpoints", () => {
  const withHost = (rest: Partial<LocalHost>, config: Partial<RulesConfig> = {}, ...policies: Message[]) =>
    new Router([...policies, { type: "host", host: host("h", rest) }], config);
  const says = (name: string, rest: Parameters<typeof policy>[1]): Message => ({
    type: "policy",
    policy: policy(gnp(name), rest),
  });

  it("without policy close the host but for failsafe ports, and do not touch what is forwarded", () => {
    const router = withHost({});
    expect(router.verdict("eth0", OUTSIDE, HOST)).toBe("drop");
    expect(router.verdict("eth0", OUTSIDE, HOST, { destinationPort: 22 })).toBe("accept");
    expect(router.verdict(undefined, HOST, OUTSIDE)).toBe("drop");
    expect(router.verdict(undefined, HOST, OUTSIDE, { protocol: 17, destinationPort: 53 })).toBe("accept");
    expect(router.verdict("calia", A, OUTSIDE)).toBe("accept");
    expect(router.verdict("eth0", OUTSIDE, A)).toBe("accept");
    expect(new Router([]).verdict("eth0", OUTSIDE, HOST)).toBe("accept");
  });

  it("have normal policy towards the host and from it", () => {
    const router = withHost({ tiers: [tier([gnp("n")])] }, {}, says("n", { ingress: [only(80)], egress: [only(443)] }));
    expect(router.verdict("eth0", OUTSIDE, HOST)).toBe("accept");
    expect(router.verdict(undefined, HOST, OUTSIDE, { ...answer })).toBe("accept");
    expect(router.verdict("eth0", OUTSIDE, HOST, { destinationPort: 81 })).toBe("drop");
    expect(router.verdict(undefined, HOST, OUTSIDE, { destinationPort: 443 })).toBe("accept");
    expect(router.verdict(undefined, HOST, OUTSIDE, { destinationPort: 80, sourcePort: 5 })).toBe("drop");
  });

  it("have forward policy of their own, beside that of the workload", () => {
    const router = withHost(
      { forwardTiers: [tier([gnp("f")], [])] },
      {},
      says("f", { ingress: [only(80)], egress: [] }),
    );
    expect(router.verdict("eth0", OUTSIDE, A)).toBe("accept");
    expect(router.verdict("eth0", OUTSIDE, A, { destinationPort: 81 })).toBe("drop");
    // Nothing is said of egress.
    expect(router.verdict("calia", A, OUTSIDE, { destinationPort: 81 })).toBe("accept");
    expect(router.verdict("calia", A, B, { destinationPort: 81 })).toBe("accept");
  });

  it("for * have forward policy for workloads too, and normal egress policy not towards them", () => {
    const router = withHost(
      { interfaceName: "*", profiles: ["open"], forwardTiers: [tier([gnp("f")], [])] },
      {},
      says("f", { ingress: [only(80)], egress: [] }),
    );
    expect(router.verdict("calia", A, B)).toBe("accept");
    expect(router.verdict("calia", A, B, { destinationPort: 81 })).toBe("drop");
    expect(router.verdict(undefined, HOST, A)).toBe("accept");
    expect(router.verdict("eth0", OUTSIDE, HOST)).toBe("accept");
  });

  it("have pre-DNAT policy, which forwarded packets meet too; what it allows is done with the host endpoint", () => {
    const router = withHost(
      { preDnatTiers: [tier([gnp("d")], [])], forwardTiers: [tier([gnp("none")], [])] },
      {},
      says("d", { ingress: [only(80), parsedRule("Deny", { protocol: 17 })] }),
      says("none", { ingress: [DENY] }),
    );
    expect(router.verdict("eth0", OUTSIDE, HOST)).toBe("accept");
    expect(router.verdict("eth0", OUTSIDE, A)).toBe("accept");
    expect(router.verdict("eth0", OUTSIDE, A, { protocol: 17 })).toBe("drop");
    // It says nothing of this: the forward policy does.
    expect(router.verdict("eth0", OUTSIDE, A, { destinationPort: 81 })).toBe("drop");
  });

  it("have untracked policy, each direction by itself", () => {
    const untracked = { untrackedTiers: [tier([gnp("u")])] };
    const router = withHost(untracked, {}, says("u", { ingress: [only(80)], egress: [] }));
    expect(router.send("eth0", OUTSIDE, HOST)).toMatchObject({ verdict: "accept", state: "untracked" });
    // Nobody lets the answer out.
    expect(router.verdict(undefined, HOST, OUTSIDE, answer)).toBe("drop");
    const back = parsedRule("Allow", { protocol: 6, source: { ports: [{ first: 80, last: 80 }] } });
    const both = withHost(untracked, {}, says("u", { ingress: [only(80)], egress: [back] }));
    expect(both.send(undefined, HOST, OUTSIDE, answer)).toMatchObject({ verdict: "accept", state: "untracked" });
  });

  it("whose policy is not there are closed", () => {
    const router = withHost({ profiles: ["open"], tiers: [tier([gnp("late")])] });
    expect(router.verdict("eth0", OUTSIDE, HOST)).toBe("drop");
    expect(router.verdict("eth0", OUTSIDE, HOST, { destinationPort: 22 })).toBe("accept");
    const early = withHost({ profiles: ["open"], untrackedTiers: [tier([gnp("late")])] });
    expect(early.verdict("eth0", OUTSIDE, HOST)).toBe("drop");
  });
});

describe("translation", () => {
  const pool = { cidr: "10.0.0.0/16", natOutgoing: true, ipipMode: "Never", vxlanMode: "Never" } as const;

  it("gives packets that leave the pools the host's address", () => {
    const router = new Router([{ type: "pool", pool }]);
    expect(router.send("calia", A, OUTSIDE).packet.source).toBe(HOST);
    expect(router.send("calia", A, B).packet.source).toBe(A);
    expect(router.send("calia", A, "10.0.9.9").packet.source).toBe(A);
    expect(new Router([]).send("calia", A, OUTSIDE).packet.source).toBe(A);
  });

  it("leaves packets to other nodes alone where those are excluded", () => {
    const node: Message = { type: "node", name: "n2", ipv4: OUTSIDE };
    const messages: Message[] = [{ type: "pool", pool }, node];
    expect(new Router(messages).send("calia", A, OUTSIDE).packet.source).toBe(HOST);
    const config = { natOutgoingExclusions: "IPPoolsAndHostIPs" } as const;
    expect(new Router(messages, config).send("calia", A, OUTSIDE).packet.source).toBe(A);
  });

  it("leads floating addresses to their workload, whose policy decides", () => {
    const nats = { ipv4Nats: [{ internal: A, external: "192.0.2.77" }] };
    const floating = (rest: object) =>
      new Router([{ type: "workload", workload: workload("a", { ...rest, ...nats }) }], { floatingIPs: true });
    expect(floating(open).send("eth0", OUTSIDE, "192.0.2.77")).toMatchObject({
      verdict: "accept",
      outInterface: "calia",
      packet: { destination: A },
    });
    expect(floating({}).verdict("eth0", OUTSIDE, "192.0.2.77")).toBe("drop");
    // To itself by its floating address: the answer must come back by the router.
    expect(floating(open).send("calia", A, "192.0.2.77").packet).toMatchObject({
      source: "192.0.2.77",
      destination: A,
    });
  });

  it("that kube-proxy did not make ends at the router", () => {
    const cidrs: Message = { type: "service-cidrs", cidrs: ["10.96.0.0/12"] };
    expect(new Router([cidrs]).verdict("eth0", OUTSIDE, "10.96.0.1")).toBe("drop");
    expect(new Router([cidrs]).verdict("calia", A, "10.96.0.1")).toBe("drop");
    const off = { serviceLoopPrevention: "Disabled" } as const;
    expect(new Router([cidrs], off).verdict("eth0", OUTSIDE, "10.96.0.1")).toBe("accept");
  });
});

describe("tunnels between hosts", () => {
  it("are for nodes", () => {
    const pool = { cidr: "10.0.0.0/16", natOutgoing: false, ipipMode: "Always", vxlanMode: "Always" } as const;
    const router = new Router([
      { type: "pool", pool },
      { type: "node", name: "n2", ipv4: OUTSIDE },
      { type: "host", host: host("h") },
    ]);
    const vxlan = { protocol: 17, destinationPort: 4789 };
    for (const tunnelled of [{ protocol: 4 }, vxlan]) {
      expect(router.verdict("eth0", OUTSIDE, HOST, tunnelled)).toBe("accept");
      expect(router.verdict("eth0", "203.0.113.1", HOST, tunnelled)).toBe("drop");
      // The host endpoint has no policy: it would close the host.
      expect(router.verdict(undefined, HOST, OUTSIDE, tunnelled)).toBe("accept");
    }
    expect(router.send("eth0", OUTSIDE, HOST, vxlan).state).toBe("untracked");
  });
});
