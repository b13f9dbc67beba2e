// Compiles cmd/calico once and hard-links the other program names to it: one file on disk, one build, and each program
// loads only its own chunks, because `--splitting` keeps every import() in a chunk of its own.
import { spawnSync } from "node:child_process";
import { linkSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";

const root = import.meta.dirname;
const out = join(root, "dist");
const programs = ["calico-cni", "calico-ipam", "calicoctl", "calico-node", "calico-kube-controllers"];
const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));

mkdirSync(out, { recursive: true });
const unfinished = join(out, `.calico-${process.pid}`);
const build = spawnSync(
  join(root, "node_modules/.bin/bun"),
  [
    "build",
    "--compile",
    "--minify",
    "--bytecode",
    "--splitting",
    "--format=esm",
    // A compiled executable would otherwise read .env and bunfig.toml, preloads included, from whatever directory it
    // is started in; these run as root from directories of others.
    "--no-compile-autoload-dotenv",
    "--no-compile-autoload-bunfig",
    `--define=CALICO_VERSION=${JSON.stringify(`v${version}`)}`,
    join(root, "cmd/calico/main.ts"),
    `--outfile=${unfinished}`,
  ],
  { cwd: root, stdio: ["ignore", "pipe", "inherit"] },
);
if (build.status !== 0) {
  process.stderr.write(build.stdout ?? "");
  rmSync(unfinished, { force: true });
  process.exit(1);
}
renameSync(unfinished, join(out, "calico"));
for (const program of programs) {
  // link + rename, so that a program that is being run or installed at this moment is never missing
  linkSync(join(out, "calico"), join(out, `.${program}-${process.pid}`));
  renameSync(join(out, `.${program}-${process.pid}`), join(out, program));
}
process.stdout.write(`built dist/calico ${version}, also as ${programs.join(", ")}\n`);
