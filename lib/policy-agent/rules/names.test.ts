import { describe, expect, it } from "vitest";
import { groupChain, limitedName, MAX_CHAIN_NAME, policyChain, profileChain } from "./names.ts";
import { gnp, np } from "./testvalues.ts";

const { iptables, nftables } = MAX_CHAIN_NAME;

describe("names of chains", () => {
  it("stay as they are where they fit", () => {
    expect(limitedName("cali-tw-", "cali12345678901", iptables)).toBe("cali-tw-cali12345678901");
    expect(limitedName("cali-tw-", "x".repeat(20), iptables)).toBe(`cali-tw-${"x".repeat(20)}`);
  });
  it("are shortened by upstream's hash where they do not", () => {
    const id = np("production", "default.allow-from-frontend");
    expect(policyChain("ingress", id, iptables)).toBe("cali-pi-_81KlbU48uffwXzlv8tW");
    expect(policyChain("ingress", id, nftables)).toBe("cali-pi-np/production/default.allow-from-frontend");
    expect(policyChain("egress", gnp("a".repeat(300)), nftables)).toMatch(/^cali-po-_[\w-]{43}$/);
  });
  it("cannot be mistaken for a shortened one", () => {
    expect(limitedName("cali-tw-", `_${"x".repeat(19)}`, iptables)).not.toBe(`cali-tw-_${"x".repeat(19)}`);
    expect(limitedName("cali-tw-", `_${"x".repeat(18)}`, iptables)).toBe(`cali-tw-_${"x".repeat(18)}`);
    expect(limitedName("cali-tw-", "", iptables)).toBe("cali-tw-_");
  });
  it("tell kinds, directions and profiles apart", () => {
    expect(policyChain("egress", gnp("p"), iptables)).toBe("cali-po-gnp/p");
    expect(policyChain("ingress", { kind: "KubernetesClusterNetworkPolicy", name: "p" }, iptables)).toBe(
      "cali-pi-kcnp/p",
    );
    expect(profileChain("ingress", "kns.default", iptables)).toBe("cali-pri-kns.default");
    expect(profileChain("egress", "kns.default", iptables)).toBe("cali-pro-kns.default");
  });
  it("of groups depend on selector, direction, policies and their order", () => {
    const [a, b] = [gnp("a"), np("ns", "b")];
    const names = [
      groupChain("ingress", "all()", [a, b]),
      groupChain("egress", "all()", [a, b]),
      groupChain("ingress", "all()", [b, a]),
      groupChain("ingress", "has(x)", [a, b]),
    ];
    expect(new Set(names).size).toBe(4);
    expect(names[0]).toMatch(/^cali-gi-[\w-]{20}$/);
    expect(names[1]).toMatch(/^cali-go-[\w-]{20}$/);
  });
});
