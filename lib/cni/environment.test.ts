import fc from "fast-check";
import { expect, test } from "vitest";
import { parseArgs, parseEnvironment } from "./environment.ts";
import { CniError } from "./errors.ts";

const ADD = {
  CNI_COMMAND: "ADD",
  CNI_CONTAINERID: "abc",
  CNI_NETNS: "/run/netns/a",
  CNI_IFNAME: "eth0",
  CNI_PATH: "/opt/cni/bin::/usr/lib/cni",
};

function failure(action: () => unknown): CniError {
  try {
    action();
  } catch (error) {
    if (error instanceof CniError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

test("the variables of an ADD come back, CNI_PATH as folders", () => {
  expect(parseEnvironment(ADD)).toEqual({
    command: "ADD",
    containerId: "abc",
    netns: "/run/netns/a",
    ifName: "eth0",
    args: "",
    path: ["/opt/cni/bin", "/usr/lib/cni"],
    netnsOverride: false,
  });
});

test.each([
  ["ADD", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]],
  ["CHECK", ["CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME"]],
  ["DEL", ["CNI_CONTAINERID", "CNI_IFNAME"]],
])("%s without its variables names every one that is missing", (command, names) => {
  const error = failure(() => parseEnvironment({ CNI_COMMAND: command }));
  expect(error.code).toBe(4);
  expect(error.message).toBe(`missing environment variables: ${names.join(", ")}`);
});

test.each(["GC", "STATUS", "VERSION"])("%s needs no variable but CNI_COMMAND", (command) => {
  expect(parseEnvironment({ CNI_COMMAND: command }).command).toBe(command);
});

test("DEL needs no namespace", () => {
  expect(parseEnvironment({ ...ADD, CNI_COMMAND: "DEL", CNI_NETNS: "" }).netns).toBe("");
});

test.each([undefined, "", "add", "UPDATE"])("CNI_COMMAND %j is refused", (command) => {
  const error = failure(() => parseEnvironment({ ...ADD, CNI_COMMAND: command }));
  expect(error.code).toBe(4);
  expect(error.message).toContain("CNI_COMMAND");
});

test.each(["-a", "a/b", "a b", "ä", "a\n", "x".repeat(201)])("the container ID %j is refused", (id) => {
  const error = failure(() => parseEnvironment({ ...ADD, CNI_CONTAINERID: id }));
  expect(error.code).toBe(4);
  expect(error.message).toContain("CNI_CONTAINERID");
});

test.each([".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-bytes-xx", "éééééééé"])(
  "the interface name %j is refused",
  (name) => {
    const error = failure(() => parseEnvironment({ ...ADD, CNI_IFNAME: name }));
    expect(error.code).toBe(4);
    expect(error.message).toContain("CNI_IFNAME");
  },
);

test("fifteen bytes are the longest interface name", () => {
  expect(parseEnvironment({ ...ADD, CNI_IFNAME: "exactly-15-byte" }).ifName).toBe("exactly-15-byte");
});

test.each(["1", "true", "TRUE"])("CNI_NETNS_OVERRIDE=%s is understood", (value) => {
  expect(parseEnvironment({ ...ADD, CNI_NETNS_OVERRIDE: value }).netnsOverride).toBe(true);
});

test("CNI_ARGS are pairs", () => {
  expect({ ...parseArgs("A=1;K8S_POD_NAME=web;EMPTY=") }).toEqual({ A: "1", K8S_POD_NAME: "web", EMPTY: "" });
  expect({ ...parseArgs("") }).toEqual({});
});

test.each(["A", "A=1;", "A=1=2", "=1"])("CNI_ARGS %j has an invalid pair", (text) => {
  expect(failure(() => parseArgs(text)).code).toBe(4);
});

test("unknown CNI_ARGS are refused unless IgnoreUnknown says otherwise", () => {
  expect(failure(() => parseArgs("A=1;B=2", ["A"])).message).toContain("B");
  expect(parseArgs("IgnoreUnknown=1;A=1;B=2", ["A"]).B).toBe("2");
  expect(parseArgs("IgnoreUnknown=True;B=2", ["A"]).B).toBe("2");
  expect(failure(() => parseArgs("IgnoreUnknown=perhaps")).message).toContain("IgnoreUnknown");
});

test("names of objects' own properties are no arguments", () => {
  expect(parseArgs("A=1").constructor).toBeUndefined();
  expect({ ...parseArgs("__proto__=1", ["__proto__"]) }).toEqual(JSON.parse('{"__proto__":"1"}'));
});

test("whatever the variables hold, reading them ends well or in a CniError", () => {
  const text = fc.option(fc.oneof(fc.string({ unit: "binary" }), fc.constantFrom("ADD", "DEL", "GC", "eth0", "abc")), {
    nil: undefined,
  });
  const env = fc.record({
    CNI_COMMAND: fc.oneof(text, fc.constant("ADD")),
    CNI_CONTAINERID: text,
    CNI_NETNS: text,
    CNI_IFNAME: text,
    CNI_ARGS: text,
    CNI_PATH: text,
  });
  fc.assert(
    fc.property(env, (variables) => {
      try {
        parseArgs(parseEnvironment(variables).args);
      } catch (error) {
        expect(error).toBeInstanceOf(CniError);
      }
    }),
    { numRuns: 2000 },
  );
});
