import { expect, test } from "vitest";
import { modern } from "./main.ts";

const lines: [string, string[]][] = [
  ["", ["run"]],
  ["-felix", ["felix"]],
  ["-felix-live -bird-live", ["health", "--felix-live", "--bird-live"]],
  ["-bird-ready -felix-ready", ["health", "--bird-ready", "--felix-ready"]],
  ["health --felix-ready", ["health", "--felix-ready"]],
  ["felix --help", ["felix", "--help"]],
  ["-no-such-flag", ["-no-such-flag"]],
];

test.each(lines)("calico-node %s", (line, command) => {
  expect(modern(line === "" ? [] : line.split(" "))).toEqual(command);
});
