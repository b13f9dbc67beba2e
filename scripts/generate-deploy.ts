/** Writes deploy/calico.yaml, deploy/upgrade-access.yaml and Containerfile from the code's own lists; with --check says whether they are as they should be. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { containerfile } from "./deploy/containerfile.ts";
import { imageOf, manifest, upgradeAccess } from "./deploy/manifest.ts";

const ROOT = join(import.meta.dirname, "..");

/** Path below the root → text. */
export function generated(): Readonly<Record<string, string>> {
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
  return {
    "deploy/calico.yaml": manifest(imageOf(version)),
    "deploy/upgrade-access.yaml": upgradeAccess(),
    Containerfile: containerfile(),
  };
}

/** Those of the files that are not what the code makes. */
export function outOfDate(): string[] {
  const present = (path: string): string | undefined => {
    try {
      return readFileSync(join(ROOT, path), "utf8");
    } catch {
      return undefined;
    }
  };
  return Object.entries(generated())
    .filter(([path, text]) => present(path) !== text)
    .map(([path]) => path);
}

if (import.meta.main) {
  const paths = outOfDate();
  if (process.argv.includes("--check")) {
    for (const path of paths) process.stderr.write(`${path} is out of date: npm run generate:deploy\n`);
    process.exit(paths.length === 0 ? 0 : 1);
  }
  for (const [path, text] of Object.entries(generated())) {
    mkdirSync(dirname(join(ROOT, path)), { recursive: true });
    writeFileSync(join(ROOT, path), text);
  }
  process.stdout.write(paths.length === 0 ? "nothing changed\n" : `written: ${paths.join(", ")}\n`);
}
