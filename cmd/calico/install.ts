import { chmodSync, copyFileSync, linkSync, mkdirSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";

const USAGE = "usage: calico install [--bin-dir DIR]   (default /opt/cni/bin)\n";
const NAMES = ["calico", "calico-ipam"];

/**
 * `calico install`: puts this executable into a CNI bin directory under both plugin names. The new file is written
 * beside the old one and renamed over it, so that a kubelet that calls the plugin at any moment finds a whole one.
 */
export function main(args: readonly string[]): number {
  let folder = "/opt/cni/bin";
  for (let index = 0; index < args.length; index++) {
    const [flag, inline] = (args[index] ?? "").split(/=(.*)/s);
    if (flag === "-h" || flag === "--help") {
      process.stdout.write(USAGE);
      return 0;
    }
    const value = inline ?? args[++index];
    if (flag !== "--bin-dir" || !value) {
      process.stderr.write(`calico install: "${args[index] ?? flag}" is not understood\n${USAGE}`);
      return 1;
    }
    folder = value;
  }
  try {
    install(process.execPath, folder);
  } catch (error) {
    process.stderr.write(`calico install: cannot install into ${folder}: ${(error as Error).message}\n`);
    return 1;
  }
  process.stdout.write(`installed ${NAMES.map((name) => join(folder, name)).join(" and ")}\n`);
  return 0;
}

function install(executable: string, folder: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const fresh = join(folder, `.calico-${process.pid}`);
  try {
    copyFileSync(executable, fresh);
    chmodSync(fresh, 0o755);
    for (const name of NAMES) {
      const link = `${fresh}-${name}`;
      rmSync(link, { force: true });
      linkSync(fresh, link); // one file on disk, whatever the number of names
      renameSync(link, join(folder, name));
      // rename() does nothing when both names are already links of one file
      if (statSync(link, { throwIfNoEntry: false })) rmSync(link);
    }
  } finally {
    rmSync(fresh, { force: true });
  }
}
