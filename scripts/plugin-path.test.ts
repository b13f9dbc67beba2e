import { existsSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

/** What an ADD or DEL loads that the agent carries out: these, and all that they import statically. docs/decisions/0003 says why it matters. */
const BY_AGENT = ["cmd/calico/main.ts", "cmd/calico-cni/main.ts", "cmd/calico-cni/verbs.ts"];
/** What an ordinary one loads where there is no agent. */
const ROOTS = [...BY_AGENT, "cmd/calico-cni/direct.ts", "lib/datastore/sqlite/store.ts", "lib/datastore/etcd/store.ts"];
/** What it loads besides where the datastore is Kubernetes, or `policy.type` is k8s. */
const KUBERNETES_ROOTS = ["lib/datastore/kubernetes/open.ts", "lib/attach/kubernetes.ts"];
const FOR_KUBERNETES =
  /^lib\/kubernetes\/|^lib\/(api|datastore)\/kubernetes\/|^lib\/attach\/(annotations|exact|kubernetes|pod-cidr)\.ts$/;
const root = join(import.meta.dirname, "..");

/** Static imports and re-exports that leave something to load at run time; `import type` does not. */
function loads(file: string): string[] {
  const pattern = /^(?:import|export)(?! type\b)[^;]*?from\s*"([^"]+)"|^import\s*"([^"]+)"/gm;
  return [...readFileSync(join(root, file), "utf8").matchAll(pattern)].map((match) => match[1] ?? match[2] ?? "");
}

/** The files that are loaded with these, and the node: modules, each with who wants it. */
function walk(roots: readonly string[]): { files: string[]; modules: string[] } {
  const seen = new Set<string>();
  const modules: string[] = [];
  const visit = (file: string): void => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const specifier of loads(file)) {
      if (specifier.startsWith("node:")) modules.push(`${file}: ${specifier}`);
      if (specifier.startsWith(".")) visit(relative(root, resolve(root, file, "..", specifier)));
    }
  };
  for (const file of roots) {
    expect(existsSync(join(root, file)), file).toBe(true);
    visit(file);
  }
  return { files: [...seen], modules };
}

test("the plugin's ADD and DEL load no node: module", () => {
  const { files, modules } = walk([...ROOTS, ...KUBERNETES_ROOTS]);
  expect(files.length, "the walk reaches the libraries").toBeGreaterThan(60);
  expect(modules).toEqual([]);
});

test("where the agent does the work they load nothing that is for doing it", () => {
  const { files } = walk(BY_AGENT);
  expect(files).toContain("lib/attach/remote/client.ts");
  expect(files.filter((file) => /^lib\/(api|datastore|ipam|kubernetes|netlink|veth)\//.test(file))).toEqual([]);
});

test("without Kubernetes they load nothing that is for it", () => {
  expect(walk(ROOTS).files.filter((file) => FOR_KUBERNETES.test(file))).toEqual([]);
});

test("calicoctl loads nothing of BGP and of a node's start before a command asks for it", () => {
  const { files } = walk(["cmd/calicoctl/main.ts"]);
  expect(files.length, "the walk reaches the libraries").toBeGreaterThan(60);
  expect(files.filter((file) => /^lib\/(bgp|node)\//.test(file))).toEqual([]);
});
