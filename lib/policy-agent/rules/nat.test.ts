import { describe, expect, it } from "vitest";
import { RenderContext } from "./context.ts";
import { floatingChains, natOutgoingChain, natStaticChains } from "./nat.ts";
import { RULES_DEFAULTS, type RulesConfig } from "./options.ts";
import { printChain, printRule } from "./print.ts";
import { cidrBlockChain } from "./serviceloop.ts";

const context = (config: Partial<RulesConfig> = {}) => new RenderContext({ ...RULES_DEFAULTS, ...config });
const outgoing = (config: Partial<RulesConfig> = {}, version: 4 | 6 = 4) =>
  natOutgoingChain(context(config), version, true).rules.map(printRule);

describe("natOutgoing", () => {
  it("is nothing without a pool that asks for it", () => {
    expect(natOutgoingChain(context(), 4, false)).toEqual({ name: "cali-nat-outgoing", rules: [] });
  });
  it("masquerades what leaves the pools", () => {
    expect(outgoing()).toEqual(["src@masq-ipam-pools !dst@network-ip-pools -> masquerade"]);
  });
  it("has its exclusions, interface, address and ports", () => {
    expect(
      outgoing({
        natOutgoingExclusions: "IPPoolsAndHostIPs",
        natOutgoingInterfaceFilter: "eth*",
        natOutgoingAddress: "192.0.2.1",
        natPortRange: { first: 32768, last: 40000 },
      }),
    ).toEqual([
      ...[6, 17].flatMap((protocol) =>
        ["snat 192.0.2.1 ports 32768-40000", "return"].map(
          (action) =>
            `proto=${protocol} src@masq-ipam-pools !dst@network-ip-pools !dst@all-hosts-net out=eth* -> ${action}`,
        ),
      ),
      "src@masq-ipam-pools !dst@network-ip-pools !dst@all-hosts-net out=eth* -> snat 192.0.2.1",
    ]);
  });
  it("does not translate IPv6 to the IPv4 address", () => {
    expect(outgoing({ natOutgoingAddress: "192.0.2.1" }, 6)).toEqual([
      "src@masq-ipam-pools !dst@network-ip-pools -> masquerade",
    ]);
  });
});

describe("floating addresses", () => {
  it("lead to the workload, from outside and from itself", () => {
    const nats = [
      { internal: "10.0.0.1", external: "192.0.2.2" },
      { internal: "10.0.0.1", external: "192.0.2.1" },
      // Two owners of one: the lower address has it.
      { internal: "10.0.0.3", external: "192.0.2.3" },
      { internal: "10.0.0.2", external: "192.0.2.3" },
    ];
    expect(floatingChains(4, nats).map(printChain)).toEqual([
      `cali-fip-dnat:
  dst=192.0.2.1/32 -> dnat 10.0.0.1
  dst=192.0.2.2/32 -> dnat 10.0.0.1
  dst=192.0.2.3/32 -> dnat 10.0.0.2`,
      `cali-fip-snat:
  src=10.0.0.1/32 dst=10.0.0.1/32 -> snat 192.0.2.1
  src=10.0.0.2/32 dst=10.0.0.2/32 -> snat 192.0.2.3`,
    ]);
    expect(floatingChains(6, [{ internal: "fd00::1", external: "2001:db8::1" }]).map(printChain)).toEqual([
      "cali-fip-dnat:\n  dst=2001:db8::1/128 -> dnat fd00::1",
      "cali-fip-snat:\n  src=fd00::1/128 dst=fd00::1/128 -> snat 2001:db8::1",
    ]);
  });
  it("are asked before pools", () => {
    expect(natStaticChains().map(printChain)).toEqual([
      "cali-PREROUTING:\n  -> jump cali-fip-dnat",
      "cali-OUTPUT:\n  -> jump cali-fip-dnat",
      "cali-POSTROUTING:\n  -> jump cali-fip-snat\n  -> jump cali-nat-outgoing",
    ]);
  });
});

describe("service loops", () => {
  const cidrs = ["10.96.0.0/12", "fd96::/112", "10.96.0.0/12", "10.1.0.0/16"];
  const blocked = (serviceLoopPrevention: RulesConfig["serviceLoopPrevention"], version: 4 | 6 = 4) =>
    cidrBlockChain(context({ serviceLoopPrevention }), version, cidrs).rules.map(printRule);
  it("end here", () => {
    expect(blocked("Drop")).toEqual(["dst=10.1.0.0/16 -> drop", "dst=10.96.0.0/12 -> drop"]);
    expect(blocked("Reject", 6)).toEqual(["dst=fd96::/112 -> reject icmp"]);
    expect(blocked("Disabled")).toEqual([]);
  });
});
