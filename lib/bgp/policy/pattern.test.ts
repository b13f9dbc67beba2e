import { describe, expect, it } from "vitest";
import { matchesPattern } from "./pattern.ts";

describe("BIRD's patterns of interfaces", () => {
  it.each([
    ["cali*", "cali12ab", true],
    ["cali*", "cal", false],
    ["*.cali", "wireguard.cali", true],
    ["*.cali", "x.cali.cali", true],
    ["*.cali", "wireguard.calico", false],
    ["bpf*.cali", "bpfin.cali", true],
    ["bpf*.cali", "bpf.cali", true],
    ["eth?", "eth0", true],
    ["eth?", "eth", false],
    ["eth?", "eth10", false],
    ["a*b*c", "axxbyybzzc", true],
    ["a*b*c", "axxbyyb", false],
    ["", "", true],
    ["", "lo", false],
    // No interface is the empty name.
    ["*", "", true],
    ["*", "lo", true],
    ["?", "", false],
    ["e\\*", "e*", true],
    ["e\\*", "eth0", false],
    ["*\\*", "a*", true],
    ["*\\*", "ab", false],
    ["e\\", "e\\", true],
    // What stands behind a star is looked for as it is.
    ["*?", "lo", false],
    ["*?", "l?", true],
    ["**o", "lo", false],
  ])("%j on %j: %s", (pattern, name, expected) => {
    expect(matchesPattern(pattern, name)).toBe(expected);
  });
});
