import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { describeDocument, readDocuments } from "./documents.ts";
import { toJson, toYaml } from "./output.ts";
import { collectSources } from "./sources.ts";
import { memoryIo } from "./testing.ts";

const positions = async (text: string) => (await readDocuments(text, "pool.yaml")).map(describeDocument);
const failure = async (text: string) => {
  const error = await readDocuments(text, "pool.yaml").then(
    () => undefined,
    (error: unknown) => error,
  );
  return (error as Error | undefined)?.message;
};

describe("documents", () => {
  test("say where they came from", async () => {
    const text = "# pools\n---\nkind: IPPool\nmetadata: {name: a}\n---\nkind: IPPool\nmetadata:\n  name: b\n";
    expect(await positions(text)).toEqual(['pool.yaml: document 1 (IPPool "a")', 'pool.yaml: document 2 (IPPool "b")']);
    expect((await readDocuments(text, "pool.yaml")).map((document) => document.line)).toEqual([3, 6]);
  });

  test("may be lists, whose items are of the list's kind", async () => {
    const text =
      "apiVersion: projectcalico.org/v3\nkind: IPPoolList\nitems:\n- metadata: {name: a}\n- kind: Tier\n  metadata: {name: t}\n";
    expect(await positions(text)).toEqual([
      'pool.yaml: document 1, item 1 (IPPool "a")',
      'pool.yaml: document 1, item 2 (Tier "t")',
    ]);
    expect((await readDocuments(text, "pool.yaml"))[0]?.value.apiVersion).toBe("projectcalico.org/v3");
    expect(await positions('[{"kind":"A"},{"kind":"B"}]')).toEqual([
      "pool.yaml: document 1, item 1 (A)",
      "pool.yaml: document 1, item 2 (B)",
    ]);
  });

  test("that are empty are skipped", async () => {
    for (const text of ["", "\n", "---\n", "# nothing\n", "kind: IPPoolList\nitems: []\n", "[]"]) {
      expect(await positions(text)).toEqual([]);
    }
  });

  test("may be JSON with tabs", async () => {
    expect(await positions('\n{\n\t"kind": "IPPool",\n\t"metadata": {"name": "a"}\n}\n')).toEqual([
      'pool.yaml: document 1 (IPPool "a")',
    ]);
  });

  test("have labels and annotations that are text, however they are written", async () => {
    const [node] = await readDocuments(
      'metadata:\n  labels: {rack: 1, rr: true, v: 1.5, text: "1", list: [1]}\n  annotations: {big: 1732290000123456789}\nspec: {rack: 1}\n',
      "x",
    );
    expect(node?.value).toEqual({
      metadata: {
        labels: { rack: "1", rr: "true", v: "1.5", text: "1", list: [1] },
        annotations: { big: "1732290000123456789" },
      },
      spec: { rack: 1 },
    });
  });

  test("keep integers that a double cannot hold", async () => {
    const [yaml] = await readDocuments("spec:\n  sequenceNumber: 1732290000123456789\n  small: 7\n", "x");
    const [json] = await readDocuments('{"spec":{"sequenceNumber":1732290000123456789,"small":7}}', "x");
    expect(yaml?.value.spec).toEqual({ sequenceNumber: 1732290000123456789n, small: 7 });
    expect(json?.value.spec).toEqual(yaml?.value.spec);
  });

  test("that are wrong are reported with their position", async () => {
    expect(await failure("kind: A\n---\nkind: B\n  spec: x\n")).toMatch(
      /^pool\.yaml: document 2: line 3, column \d+: /,
    );
    expect(await failure("a: 1\na: 2\n")).toMatch(/^pool\.yaml: document 1: line 2, column 1: .*unique/);
    expect(await failure("just text\n")).toBe(
      'pool.yaml: document 1: must be an object with apiVersion, kind and metadata, not the string "just text"',
    );
    expect(await failure("kind: IPPoolList\nitems: 7\n")).toBe(
      "pool.yaml: document 1 (IPPoolList): items: must be a sequence of objects",
    );
    expect(await failure('{"kind": "IPPool"')).toMatch(/^pool\.yaml: document 1: line 1/);
  });

  test("never fail in another way, whatever the text", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.oneof(fc.string({ unit: "binary" }), fc.json(), fc.stringMatching(/^[-:{}[\]&*!|>'"%@` \na#]{0,40}$/)),
        async (text) => {
          const message = await failure(text);
          if (message !== undefined) expect(message).toMatch(/^pool\.yaml: document \d+/);
        },
      ),
      { numRuns: 300 },
    );
  });

  test("come back as they were printed, as JSON and as YAML", async () => {
    const object = fc.dictionary(
      fc.stringMatching(/^[a-z]{1,8}$/).filter((key) => key !== "kind"),
      fc.oneof(
        fc.string(),
        fc.boolean(),
        fc.maxSafeInteger(),
        fc.bigInt({ min: 2n ** 53n, max: 2n ** 64n }),
        fc.array(fc.string()),
      ),
    );
    await fc.assert(
      fc.asyncProperty(object, async (value) => {
        const kind = { kind: "IPPool", spec: value };
        expect((await readDocuments(toJson(kind), "x"))[0]?.value).toEqual(kind);
        expect((await readDocuments(await toYaml(kind), "x"))[0]?.value).toEqual(kind);
      }),
      { numRuns: 200 },
    );
  });
});

test("YAML is printed as Kubernetes' tools do", async () => {
  const value = { kind: "IPPool", apiVersion: "projectcalico.org/v3", spec: { uses: ["b", "a"], cidr: "10.0.0.0/8" } };
  expect(await toYaml(value)).toBe(
    "apiVersion: projectcalico.org/v3\nkind: IPPool\nspec:\n  cidr: 10.0.0.0/8\n  uses:\n  - b\n  - a\n",
  );
});

describe("what -f names", () => {
  const folder = mkdtempSync(join(tmpdir(), "cli-sources-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, "deeper"));
  for (const name of ["b.yaml", "a.JSON", "c.yml", "README.md", "deeper/d.yaml"])
    writeFileSync(join(folder, name), name);
  const names = async (path: string, recursive: boolean) =>
    (await collectSources(path, memoryIo({ stdin: "in" }), { recursive })).sources.map((source) => source.name);

  test("is a file, a folder or standard input", async () => {
    expect(await names(join(folder, "README.md"), false)).toEqual([join(folder, "README.md")]);
    expect(await names(folder, false)).toEqual(["a.JSON", "b.yaml", "c.yml"].map((name) => join(folder, name)));
    expect(await names(folder, true)).toEqual(
      ["a.JSON", "b.yaml", "c.yml", "deeper/d.yaml"].map((name) => join(folder, name)),
    );
    expect((await collectSources("-", memoryIo({ stdin: "in" }), { recursive: false })).sources).toEqual([
      { name: "standard input", text: "in" },
    ]);
  });

  test("must exist", async () => {
    await expect(names(join(folder, "nowhere.yaml"), false)).rejects.toThrow(
      `cannot read ${join(folder, "nowhere.yaml")}: no such file`,
    );
  });
});
