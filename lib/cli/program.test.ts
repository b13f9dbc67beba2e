import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { CliError } from "./errors.ts";
import { type Call, type Program, runProgram } from "./program.ts";
import { nearest } from "./suggest.ts";
import { memoryIo } from "./testing.ts";

let seen: Call | undefined;
const remember = (call: Call) => {
  seen = call;
  return undefined;
};

const program: Program = {
  name: "ctl",
  summary: "Manage things.",
  options: { "log-level": { type: "text", short: "l", value: "LEVEL", summary: "How much to log.", default: "panic" } },
  commands: [
    {
      name: "get",
      summary: "Show resources.",
      usage: "[KIND [NAME...]]",
      positionals: [
        { name: "kind", type: "text" },
        { name: "names", type: "list" },
      ],
      options: {
        output: { type: "text", short: "o", value: "FORMAT", summary: "How to print.", default: "ps" },
        filename: { type: "text", short: "f", value: "FILE", summary: "Read names from a file." },
        recursive: { type: "boolean", short: "R", summary: "And the folders in it." },
        report: { type: "list", value: "FILE", summary: "May be given several times." },
        into: { type: "list", short: "i", value: "FOLDER", summary: "Where to.", notEmpty: true, hidden: true },
        secret: { type: "boolean", short: "a", summary: "Not shown.", hidden: true },
      },
      examples: [{ comment: "All pools.", line: "get ippool -o yaml" }],
      run: remember,
    },
    {
      name: "ipam",
      summary: "Addresses.",
      commands: [
        { name: "show", summary: "Show usage.", run: remember },
        {
          name: "split",
          summary: "Split.",
          run: () => {
            throw new CliError("NOPE", "it cannot be split: it is too small");
          },
        },
        {
          name: "crash",
          summary: "A defect.",
          run: () => {
            throw new TypeError("undefined is not a function");
          },
        },
      ],
    },
  ],
};

async function run(...argv: string[]) {
  seen = undefined;
  const io = memoryIo();
  const status = await runProgram(program, argv, {}, io);
  return { status, out: io.out(), err: io.err() };
}

describe("arguments", () => {
  test("are taken in every form that Go's tools take", async () => {
    for (const argv of [
      ["get", "pool", "a", "b", "-o", "yaml"],
      ["get", "pool", "-oyaml", "a", "b"],
      ["get", "-o=yaml", "pool", "a", "b"],
      ["--log-level", "info", "get", "--output=yaml", "pool", "a", "b"],
      ["get", "--output", "yaml", "--", "pool", "a", "b"],
      ["-linfo", "get", "pool", "a", "b", "-o", "ps", "-o", "yaml"],
    ]) {
      expect(await run(...argv)).toEqual({ status: 0, out: "", err: "" });
      expect(seen?.args.text("output")).toBe("yaml");
      expect(seen?.args.text("kind")).toBe("pool");
      expect(seen?.args.list("names")).toEqual(["a", "b"]);
    }
    await run("get", "-Rf", "-", "--report", "x", "--report=y");
    expect(seen?.args.flag("recursive")).toBe(true);
    expect(seen?.args.text("filename")).toBe("-");
    expect(seen?.args.list("report")).toEqual(["x", "y"]);
    await run("get", "--recursive=false", "0123", "1e3", "-f", "-x");
    expect(seen?.args.flag("recursive")).toBe(false);
    expect(seen?.args.text("kind")).toBe("0123");
    expect(seen?.args.list("names")).toEqual(["1e3"]);
    expect(seen?.args.text("filename")).toBe("-x");
    expect(seen?.args.text("log-level")).toBe("panic");
    await run("get", "pool", "");
    expect(seen?.args.list("names")).toEqual([""]);
  });

  test.each([["--into", ""], ["--into="], ["-i", ""], ["-i="]])(
    "an empty value of an option that needs one: %j %j",
    async (...args) => {
      const { status, err } = await run("get", ...args.filter((argument) => argument !== undefined));
      expect(err).toMatch(/^(-i, )?--into: FOLDER must not be empty\nRun 'ctl get --help'/);
      expect(status).toBe(1);
      expect((await run("get", "--filename", "")).status).toBe(0);
    },
  );

  test("that are wrong are named, with what was probably meant", async () => {
    const message = async (...argv: string[]) => {
      const { status, out, err } = await run(...argv);
      expect(status).toBe(1);
      expect(out).toBe("");
      return err;
    };
    expect(await message("gte", "pool")).toBe(
      'unknown command "gte" for "ctl"; did you mean "get"?\nRun \'ctl --help\' for usage.\n',
    );
    expect(await message("frobnicate")).toContain('unknown command "frobnicate" for "ctl"; there is get, ipam\n');
    expect(await message("ipam", "shwo")).toBe(
      'unknown command "shwo" for "ctl ipam"; did you mean "show"?\nRun \'ctl ipam --help\' for usage.\n',
    );
    expect(await message("ipam", "show", "extra")).toContain('"ctl ipam show" does not take the argument "extra"\n');
    expect(await message("get", "--outptu=yaml")).toContain('unknown flag: --outptu; did you mean "--output"?\n');
    expect(await message("get", "-x")).toContain("unknown flag: -x\n");
    expect(await message("get", "-o")).toContain("flag needs an argument: -o, --output\n");
    expect(await message("get", "--recursive=perhaps")).toContain(
      'invalid value "perhaps" for --recursive: use true or false\n',
    );
    expect(await message("get", "--__proto__=x")).toContain("unknown flag: --__proto__");
  });

  test("never crash the program, whatever they are", async () => {
    const word = fc.oneof(
      fc.constantFrom("get", "ipam", "show", "-o", "-R", "--", "-", "--output", "--help", "-Rf", "=", "--=", "-="),
      fc.string({ unit: "binary" }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(word, { maxLength: 6 }), async (argv) => {
        const { status, err } = await run(...argv);
        expect(status === 0).toBe(err === "");
        expect(err).not.toContain("internal error");
        expect(err).not.toContain("    at ");
      }),
      { numRuns: 300 },
    );
  });
});

describe("help", () => {
  test("shows what a command is for, how it is written, and examples", async () => {
    expect((await run("get", "--help")).out).toBe(`Show resources.

Usage:
  ctl get [KIND [NAME...]] [flags]

Examples:
  # All pools.
  ctl get ippool -o yaml

Flags:
  -f, --filename FILE  Read names from a file.
  -o, --output FORMAT  How to print. (default ps)
  -R, --recursive      And the folders in it.
      --report FILE    May be given several times.

Global flags:
  -h, --help             Show this help.
  -l, --log-level LEVEL  How much to log. (default panic)
`);
  });

  test("is shown for a bare program name, for help, and wherever --help stands", async () => {
    const { out } = await run();
    expect(out).toContain("Commands:\n  get   Show resources.\n  ipam  Addresses.\n");
    expect((await run("help")).out).toBe(out);
    expect((await run("-h")).out).toBe(out);
    expect((await run("ipam")).out).toContain("Usage:\n  ctl ipam COMMAND [flags]\n");
    expect((await run("help", "ipam", "show")).out).toContain("Usage:\n  ctl ipam show [flags]\n");
    expect((await run("get", "-h")).out).toBe((await run("help", "get")).out);
  });
});

describe("failures", () => {
  test("of the user's making are one message and status 1", async () => {
    expect(await run("ipam", "split")).toEqual({ status: 1, out: "", err: "it cannot be split: it is too small\n" });
  });

  test("of the program's making are called so, and show a stack only on request", async () => {
    const { status, err } = await run("ipam", "crash");
    expect(status).toBe(1);
    expect(err).toBe(
      "internal error: undefined is not a function (run again with --log-level=debug for details, and please report it)\n",
    );
    expect((await run("ipam", "crash", "-ldebug")).err).toContain("\n    at ");
  });
});

test("suggestions are near, nearest first", () => {
  expect(nearest("ipool", ["ippool", "ippools", "node"])).toEqual(["ippool"]);
  expect(nearest("workload", ["workloadendpoint", "node"])).toEqual(["workloadendpoint"]);
  expect(nearest("xyzzy", ["ippool", "node"])).toEqual([]);
});
