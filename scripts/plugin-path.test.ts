import { existsSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

/** What an ordinary ADD or DEL loads: these, and all that they import statically. docs/decisions/0003 says why it matters. */
const ROOTS = [
  "cmd/calico/main.ts",
  "cmd/calico-cni/main.ts",
  "cmd/calico-cni/verbs.ts",
  "lib/datastore/sqlite/store.ts",
  "lib/datastore/etcd/store.ts",
];
const root = join(import.meta.dirname, "..");

/** Static imports and re-exports that leave something to load at run time; `import type` does not. */
function loads(file: string): string[] {
  const pattern = /^(?:import|export)(?! type\b)[^;]*?from\s*"([^"]+)"|^import\s*"([^"]+)"/gm;
  return [...readFileSync(join(root, file), "utf8").matchAll(pattern)].map((match) => match[1] ?? match[2] ?? "");
}

test("the plugin's ADD and DEL load no node: module", () => {
  const seen = new Set<string>();
  const found: string[] = [];
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const specifier of loads(file)) {
      if (specifier.startsWith("node:")) found.push(`${file}: ${specifier}`);
      if (specifier.startsWith(".")) visit(relative(root, resolve(root, file, "..", specifier)));
    }
  };
  for (const file of ROOTS) {
    expect(existsSync(join(root, file)), file).toBe(true);
    visit(file);
  }
  expect(seen.size, "the walk reaches the libraries").toBeGreaterThan(60);
  expect(found).toEqual([]);
});
