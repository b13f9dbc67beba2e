import { expect, test } from "vitest";
import { chooseProgram } from "./choose.ts";

const cases: [string, string[], Record<string, string>, string, string[]][] = [
  ["calico", [], { CNI_COMMAND: "ADD" }, "calico-cni", []],
  ["calico", [], {}, "calico", []],
  ["calico", ["-v"], {}, "calico-cni", ["-v"]],
  ["calico", ["-t"], {}, "calico-cni", ["-t"]],
  ["calico", ["ctl", "get", "ippool"], {}, "calicoctl", ["get", "ippool"]],
  ["calico", ["ctl", "get"], { CNI_COMMAND: "ADD" }, "calicoctl", ["get"]],
  ["calico", ["ipam", "show"], {}, "calico-ipam", ["show"]],
  ["calico", ["component", "cni", "plugin"], { CNI_COMMAND: "ADD" }, "calico-cni", []],
  ["calico", ["component", "cni", "ipam"], { CNI_COMMAND: "DEL" }, "calico-ipam-plugin", []],
  ["calico", ["component", "cni", "install"], {}, "calico", ["install", "--stay"]],
  ["calico", ["install", "--only=executables"], {}, "calico", ["install", "--only=executables"]],
  ["calico", ["--help"], {}, "calico", ["--help"]],
  ["calico", ["version"], {}, "calico", ["version"]],
  ["calico-cni", [], { CNI_COMMAND: "ADD" }, "calico-cni", []],
  ["calico-ipam", [], { CNI_COMMAND: "ADD" }, "calico-ipam-plugin", []],
  ["calico-ipam", ["show"], {}, "calico-ipam", ["show"]],
  ["calico-ipam", ["show"], { CNI_COMMAND: "" }, "calico-ipam", ["show"]],
  ["calicoctl", ["get", "pools"], { CNI_COMMAND: "ADD" }, "calicoctl", ["get", "pools"]],
  ["calico-node", ["felix"], { CNI_COMMAND: "ADD" }, "calico-node", ["felix"]],
  ["calico", ["component", "node", "health", "--felix-live"], {}, "calico-node", ["health", "--felix-live"]],
  ["calico", ["component", "felix"], {}, "calico-node", ["felix"]],
  ["calico", ["component", "confd", "--run-once"], {}, "calico-node", ["confd", "--run-once"]],
  ["calico-kube-controllers", ["check-status", "-r"], {}, "calico-kube-controllers", ["check-status", "-r"]],
  [
    "calico",
    ["component", "kube-controllers", "kube-controllers-health", "-l"],
    {},
    "calico-kube-controllers",
    ["kube-controllers-health", "-l"],
  ],
  ["some-other-name", [], { CNI_COMMAND: "VERSION" }, "calico-cni", []],
];

test.each(cases)("%s %j with %j is %s", (name, args, env, program, rest) => {
  expect(chooseProgram(name, args, env)).toEqual({ program, args: rest });
});
