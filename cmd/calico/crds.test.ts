import { afterEach, expect, test, vi } from "vitest";
import { parseAllDocuments } from "yaml";
import { main } from "./help.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

async function run(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const [out, err] = [process.stdout, process.stderr].map((stream) => {
    const texts: string[] = [];
    vi.spyOn(stream, "write").mockImplementation((text) => texts.push(String(text)) > 0);
    return texts;
  });
  const code = await main(["crds", ...args]);
  vi.restoreAllMocks();
  return { code, out: out!.join(""), err: err!.join("") };
}

const kinds = (text: string) =>
  parseAllDocuments(text).map((document) => (document.toJS() as { kind: string; spec: { group?: string } }).kind);

test("prints the definitions of a group, and the admission policies with v3", async () => {
  const v3 = await run();
  expect(v3).toEqual(await run("--group", "v3"));
  expect(v3).toMatchObject({ code: 0, err: "" });
  expect(v3.out).toContain("name: ippools.projectcalico.org\n");
  const definitions = kinds(v3.out).filter((kind) => kind === "CustomResourceDefinition");
  expect(kinds(v3.out).slice(definitions.length)).toHaveLength(6);
  const alone = await run("--group=v3", "--without-admission");
  expect(kinds(alone.out)).toEqual(definitions);
  const v1 = await run("--group=v1");
  expect(v1.out).toContain("name: ipamconfigs.crd.projectcalico.org\n");
  expect(kinds(v1.out)).toEqual(definitions);
});

test.each([
  [["--group", "v2"], "calico crds: --group must be v1 or v3\n"],
  [["--group"], "calico crds: --group must be v1 or v3\n"],
  [["v3"], 'calico crds: "v3" is not understood\n'],
])("%j is a mistake", async (args, message) => {
  const { code, out, err } = await run(...args);
  expect([code, out]).toEqual([1, ""]);
  expect(err).toMatch(new RegExp(`^${message}usage: calico crds`));
});
