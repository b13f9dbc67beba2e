import { expect, test } from "vitest";
import { choose } from "./detect.ts";

const table = (...lines: string[]): string => `*filter\n${lines.join("\n")}\nCOMMIT\n`;
const KUBELET = ":KUBE-KUBELET-CANARY - [0:0]";
const PROXY = ":KUBE-SERVICES - [0:0]";
const OTHER = ":KUBE-FORWARD - [0:0]";
const FOREIGN = "-A INPUT -s 10.0.0.1/32 -j DROP";
const own = (count: number): string[] => Array.from({ length: count }, () => "-A cali-FORWARD -j RETURN");
const OWN_JUMP = '-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD';

test("kubelet's chains decide before all else", () => {
  expect(choose({ nft: table(PROXY, FOREIGN), legacy: table(KUBELET) }).backend).toBe("legacy");
  expect(choose({ nft: table(KUBELET), legacy: table(PROXY, FOREIGN) }).backend).toBe("nft");
});

test("where kube-proxy is decides, also when the other back end still has something of Kubernetes", () => {
  expect(choose({ nft: table(OTHER, FOREIGN), legacy: table(PROXY) }).backend).toBe("legacy");
  expect(choose({ nft: table(PROXY), legacy: table(OTHER, FOREIGN) }).backend).toBe("nft");
});

test("Calico's own rules of an earlier choice do not count", () => {
  expect(choose({ nft: table(...own(400), OWN_JUMP), legacy: table(FOREIGN) })).toEqual({
    backend: "legacy",
    reason: "1 rules of legacy, 0 of nft",
  });
  expect(choose({ nft: table(FOREIGN), legacy: table(...own(400), OWN_JUMP) }).backend).toBe("nft");
});
