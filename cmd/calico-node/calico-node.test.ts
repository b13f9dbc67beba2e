import { expect, test } from "vitest";
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
