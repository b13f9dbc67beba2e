import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { Args, Call } from "../../lib/cli/index.ts";
import { memoryIo } from "../../lib/cli/testing.ts";
import { createCalc } from "../../lib/policy-agent/calc/index.ts";
import { createProgrammer, MAX_CHAIN_NAME, Program, RULES_DEFAULTS } from "../../lib/policy-agent/rules/index.ts";
import { main } from "./main.ts";
import { inputsOfFiles } from "./policy-inputs.ts";

/**
 * docs/policy.md says what calicoctl says: the page is put together anew from its own prose, the files of docs/examples/policy and the output of its
 * command lines, and must be the same. `npx bun --bun vitest run --project unit cmd/calicoctl/policy-docs.test.ts -u` writes it anew.
 */
const docs = join(import.meta.dirname, "../../docs");
const examples = join(docs, "examples/policy");
const page = readFileSync(join(docs, "policy.md"), "utf8");

const EXPLAIN = "$ calicoctl explain ";
const TITLE = /^# (\S+\.yaml)\n/;

interface Block {
  readonly language: string;
  readonly body: string;
}
const fences = (): RegExp => /^```(\w+)\n(.*?)^```$/gms;
const blocks: readonly Block[] = [...page.matchAll(fences())].map(([, language = "", body = ""]) => ({
  language,
  body,
}));
const firstLine = (body: string): string => body.slice(0, body.indexOf("\n"));
/** Command lines that files are enough for. */
const offline = blocks.map(({ body }) => firstLine(body)).filter((line) => line.startsWith(EXPLAIN) && isOffline(line));

function isOffline(line: string): boolean {
  return line.includes(" -f ");
}

/** What a command line of the page prints when it is typed in the folder of the examples. */
async function answer(line: string): Promise<string> {
  const words = line.slice("$ calicoctl ".length).split(" ");
  const argv = words.map((word, i) => (words[i - 1] === "-f" ? join(examples, word) : word));
  const io = memoryIo();
  const status = await main(argv, {}, io);
  expect([line, status, io.err()]).toEqual([line, 0, ""]);
  return io.out().replaceAll(`${examples}/`, "");
}

describe("docs/policy.md", () => {
  const answers = new Map<string, string>();
  beforeAll(async () => {
    for (const line of offline) answers.set(line, await answer(line));
  });

  test("the examples are those of the files, and the answers those of calicoctl", async () => {
    const written = page.replace(fences(), (block: string, language: string, body: string) => {
      const [, file] = TITLE.exec(body) ?? [];
      if (language === "yaml" && file !== undefined) {
        return `\`\`\`yaml\n# ${file}\n${readFileSync(join(examples, file), "utf8")}\`\`\``;
      }
      const said = answers.get(firstLine(body));
      return language === "console" && said !== undefined ? `\`\`\`console\n${firstLine(body)}\n${said}\`\`\`` : block;
    });
    await expect(written).toMatchFileSnapshot(join(docs, "policy.md"));
  });

  test("every file is on the page, and every explanation is of files, or of a live node", () => {
    const shown = blocks.map(({ body }) => TITLE.exec(body)?.[1]).filter((file) => file !== undefined);
    expect(shown.toSorted()).toEqual(readdirSync(examples).toSorted());
    const others = blocks
      .map(({ body }) => firstLine(body))
      .filter((line) => line.startsWith(EXPLAIN) && !isOffline(line));
    for (const line of others) expect(line).toContain(" --verify");
    expect(offline.length).toBeGreaterThan(20);
  });

  test("links lead somewhere", () => {
    const headings = [...page.matchAll(/^#+ (.*)$/gm)].map(([, text = ""]) => text);
    const anchors = new Set(
      headings.map((text) =>
        text
          .toLowerCase()
          .replace(/[^\w -]/g, "")
          .replaceAll(" ", "-"),
      ),
    );
    const links = [...page.matchAll(/\]\(([^)]+)\)/g)].map(([, link = ""]) => link);
    const broken = links.filter((link) =>
      link.startsWith("#") ? !anchors.has(link.slice(1)) : !existsSync(join(docs, link.split("#")[0]!)),
    );
    expect(broken).toEqual([]);
  });

  test("the chains of the page are those of the rule program", async () => {
    const named = new Set(
      blocks.filter(({ body }) => /^\$ (nft|iptables)/.test(body)).flatMap(({ body }) => body.match(CHAIN) ?? []),
    );
    expect([...named].filter((name) => !chains.has(name))).toEqual([]);
    expect(named.size).toBeGreaterThan(2);
  });
});

/** Chains of one endpoint, policy or profile. */
const CHAIN = /\bcali-(?:[tf][wh]|[tf]hfw|p[io]|pr[io]|g[io])-[\w./-]+/g;

/** Of the files that the page's kernel holds, on either dataplane. */
const chains = await (async () => {
  const call = {
    program: "calicoctl",
    args: { text: () => undefined, flag: () => false } as unknown as Args,
    env: {},
    io: memoryIo(),
  } satisfies Call;
  const files = ["cast", "tiers", "by-label"].map((name) => join(examples, `${name}.yaml`));
  const { inputs } = await inputsOfFiles(call, files);
  const found = new Set<string>();
  for (const nodeName of ["node-a", "node-b"]) {
    for (const maxChainNameLength of Object.values(MAX_CHAIN_NAME)) {
      const program = new Program(4);
      const programmer = createProgrammer({ ...RULES_DEFAULTS, maxChainNameLength }, { v4: program });
      const calc = createCalc({ nodeName });
      for (const input of inputs) calc.update(input);
      calc.inSync();
      calc.flush((message) => programmer.onMessage(message));
      programmer.complete();
      for (const name of program.chains("filter").keys()) found.add(name);
    }
  }
  return found;
})();
