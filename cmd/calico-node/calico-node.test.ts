import { expect, test } from "vitest";
import { probeOf } from "./health.ts";
import { modern } from "./legacy.ts";

const lines: [string, string[]][] = [
  ["", ["run"]],
  ["-felix", ["felix"]],
  ["-felix-live -bird-live", ["health", "--felix-live", "--bird-live"]],
  ["-bird-ready -felix-ready", ["health", "--bird-ready", "--felix-ready"]],
  ["--felix-ready --bird-ready=true", ["health", "--felix-ready", "--bird-ready"]],
  ["-bird-ready -threshold-time=1m", ["health", "--bird-ready", "--threshold-time", "1m"]],
  ["-bird-ready -threshold-time 1m", ["health", "--bird-ready", "--threshold-time", "1m"]],
  ["-init -best-effort", ["init", "--best-effort"]],
  ["-startup -complete-startup", ["startup"]],
  ["-startup", ["startup"]],
  ["-shutdown", ["shutdown"]],
  ["-allocate-tunnel-addrs", ["allocate-tunnel-addrs"]],
  ["-allocate-tunnel-addrs -allocate-tunnel-addrs-run-once", ["allocate-tunnel-addrs", "--run-once"]],
  ["-monitor-addresses", ["monitor-addresses"]],
  ["-status-reporter", ["status-reporter"]],
  ["-complete-startup", ["complete-startup"]],
  ["health --felix-ready", ["health", "--felix-ready"]],
  ["felix --help", ["felix", "--help"]],
  ["-no-such-flag", ["-no-such-flag"]],
];

test.each(lines)("calico-node %s", (line, command) => {
  expect(modern(line === "" ? [] : line.split(" "))).toEqual(command);
});

test.each<[string, ReturnType<typeof probeOf>]>([
  ["--felix-live --bgp-live", { felix: ["liveness"], bgpLive: true, bgpReady: [] }],
  ["--felix-ready --bird6-ready", { felix: ["readiness"], bgpLive: false, bgpReady: [6] }],
  ["--bird-ready --bird-live", { felix: [], bgpLive: true, bgpReady: [4] }],
  ["", undefined],
  ["--felix-live --threshold-time=30s", undefined],
  ["--felix-live=true", undefined],
  ["--help", undefined],
])("the probe %s is read without the command line's parser, or left to it", (line, asked) => {
  expect(probeOf(["health", ...line.split(" ").filter((word) => word !== "")])).toEqual(asked);
});
