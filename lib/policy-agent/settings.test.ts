import { expect, test } from "vitest";
import { resolveConfig } from "./config/index.ts";
import { rulesConfig, unenforced } from "./settings.ts";

const { config } = resolveConfig({});

test("kube-proxy's IPVS changes the rules of either dataplane", () => {
  for (const mode of ["nftables", "iptables-nft", "iptables-legacy"] as const) {
    expect(rulesConfig(config, mode, true).kubeIPVSSupportEnabled).toBe(true);
    expect(rulesConfig(config, mode, false).kubeIPVSSupportEnabled).toBe(false);
  }
});

test("interfaces that InterfaceExclude names are not the host's: those of Services, unless it says otherwise", () => {
  const [pattern] = rulesConfig(config, "nftables", false).interfaceExclude;
  expect(["kube-ipvs0", "kube-ipvs01", "eth0"].map((name) => pattern!.test(name))).toEqual([true, false, false]);
});

test("a workload with IPv6 addresses is told of, where IPv6 is left alone: no policy holds for it", () => {
  const { config: without } = resolveConfig({ environment: { FELIX_IPV6SUPPORT: "false" } });
  const ipv6Nets = ["fd00::1/128"];
  expect(unenforced({ ipv6Nets }, without)).toMatch(/no policy holds for fd00::1\/128.*FELIX_IPV6SUPPORT/);
  expect(unenforced({ ipv6Nets: [] }, without)).toBeUndefined();
  expect(unenforced({ ipv6Nets }, config)).toBeUndefined();
});
