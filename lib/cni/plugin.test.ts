import { expect, test } from "vitest";
import { CniError } from "./errors.ts";
import { type Plugin, runPlugin } from "./plugin.ts";
import { NO_DNS, type Result } from "./result.ts";
import { SUPPORTED_VERSIONS } from "./version.ts";

const RESULT: Result = { interfaces: [], ips: [{ address: "10.0.0.1/32" }], routes: [], dns: NO_DNS };
const NETWORK = { cniVersion: "1.1.0", name: "net", type: "calico", ipam: { type: "calico-ipam" } };

interface Outcome {
  readonly status: number;
  readonly printed: string;
  readonly json: Record<string, unknown> | undefined;
  readonly called: string[];
}

async function call(command: string, stdin: string | object, plugin: Partial<Plugin> = {}): Promise<Outcome> {
  const called: string[] = [];
  let printed = "";
  const nothing = (verb: string) => async () => {
    called.push(verb);
  };
  const whole: Plugin = {
    add: async () => {
      called.push("add");
      return RESULT;
    },
    del: nothing("del"),
    check: nothing("check"),
    gc: nothing("gc"),
    status: nothing("status"),
    ...plugin,
  };
  const status = await runPlugin(whole, {
    env: { CNI_COMMAND: command, CNI_CONTAINERID: "abc", CNI_NETNS: "/run/netns/a", CNI_IFNAME: "eth0" },
    readStdin: () => (typeof stdin === "string" ? stdin : JSON.stringify(stdin)),
    stdout: (text) => {
      printed += text;
    },
  });
  return { status, printed, called, json: printed === "" ? undefined : JSON.parse(printed) };
}

test("ADD prints the result, indented by four as upstream's", async () => {
  const { status, printed } = await call("ADD", { ...NETWORK, cniVersion: "0.4.0" });
  expect(status).toBe(0);
  expect(printed).toBe(`{
    "cniVersion": "0.4.0",
    "ips": [
        {
            "version": "4",
            "address": "10.0.0.1/32"
        }
    ],
    "dns": {}
}
`);
});

test.each(["DEL", "CHECK", "GC", "STATUS"])("%s that succeeds prints nothing", async (command) => {
  expect(await call(command, NETWORK)).toMatchObject({ status: 0, printed: "", called: [command.toLowerCase()] });
});

test("VERSION answers with the version that was asked with and with all that are supported", async () => {
  const { status, json } = await call("VERSION", '{"cniVersion":"0.4.0"}');
  expect(status).toBe(0);
  expect(json).toEqual({ cniVersion: "0.4.0", supportedVersions: [...SUPPORTED_VERSIONS] });
});

test.each(["", "not json", "[]"])("VERSION with %j on stdin answers all the same", async (stdin) => {
  expect((await call("VERSION", stdin)).json).toHaveProperty("supportedVersions");
});

test.each([
  ["CHECK", "0.3.1"],
  ["GC", "1.0.0"],
  ["STATUS", "1.0.0"],
])("%s of a configuration of %s is error 1", async (command, cniVersion) => {
  const { status, json, called } = await call(command, { ...NETWORK, cniVersion });
  expect(status).toBe(1);
  expect(json).toMatchObject({ cniVersion, code: 1 });
  expect(called).toEqual([]);
});

test("an error object carries the version of the configuration, the code and the details", async () => {
  const add = async () => {
    throw new CniError(11, "try later", "because");
  };
  const { status, json } = await call("ADD", { ...NETWORK, cniVersion: "0.3.1" }, { add });
  expect(status).toBe(1);
  expect(json).toEqual({ cniVersion: "0.3.1", code: 11, msg: "try later", details: "because" });
});

test("anything unexpected is error 999 without a stack", async () => {
  const add = async () => {
    throw new TypeError("x is not a function\nat somewhere");
  };
  const { status, json, printed } = await call("ADD", NETWORK, { add });
  expect(status).toBe(1);
  expect(json).toMatchObject({ code: 999, msg: "unexpected error: x is not a function" });
  expect(printed).not.toContain("somewhere");
  expect(printed).not.toContain("plugin.test.ts");
});

test.each<[string, unknown]>([
  ["undefined", undefined],
  ["text", "oops"],
  ["null", null],
])("%s that is thrown is error 999 too", async (_name, thrown) => {
  const add = () => Promise.reject(thrown);
  expect((await call("ADD", NETWORK, { add })).json).toMatchObject({ code: 999 });
});

test("stdin that cannot be read is error 5", async () => {
  let printed = "";
  const status = await runPlugin({} as Plugin, {
    env: { CNI_COMMAND: "GC" },
    readStdin: () => Promise.reject(new Error("EBADF")),
    stdout: (text) => {
      printed += text;
    },
  });
  expect(status).toBe(1);
  expect(JSON.parse(printed)).toMatchObject({ code: 5 });
});

test("a verb hears of the environment, the configuration and its text", async () => {
  const text = JSON.stringify(NETWORK);
  let seen: unknown;
  await call("DEL", text, {
    del: async (invocation) => {
      seen = [invocation.environment.containerId, invocation.config.name, invocation.stdin, invocation.env.CNI_IFNAME];
    },
  });
  expect(seen).toEqual(["abc", "net", text, "eth0"]);
});
