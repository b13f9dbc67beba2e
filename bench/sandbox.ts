/**
 * Benches that make interfaces run in network and mount namespaces of their own, with their own state folders on the
 * same disk, so that nothing of the machine is touched and every contestant pays the same file system.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";

const MARK = "BENCH_SANDBOX";

/** Runs `script` again inside the sandbox and exits with its status; returns the sandbox's folder once inside. */
export function enterSandbox(script: string, root: string): string {
  const inside = process.env[MARK];
  if (inside) {
    for (const [own, place] of [
      ["cni", "/var/lib/cni"],
      ["calico", "/var/lib/calico"],
      ["log", "/var/log/calico"],
      ["run", "/var/run/calico"],
      ["netns", "/run/netns"],
    ] as const) {
      mkdirSync(join(inside, own), { recursive: true });
      mkdirSync(place, { recursive: true });
      must("mount", "--bind", join(inside, own), place);
    }
    must("mount", "--make-private", "/run/netns");
    must("ip", "link", "set", "lo", "up");
    return inside;
  }
  if (process.geteuid?.() !== 0) {
    process.stderr.write("this bench makes network namespaces and interfaces: run it as root\n");
    process.exit(1);
  }
  mkdirSync(join(root, ".cache"), { recursive: true });
  const folder = mkdtempSync(join(root, ".cache", "bench-"));
  try {
    const run = spawnSync(
      "unshare",
      ["--net", "--mount", "--propagation", "private", process.execPath, script, ...process.argv.slice(2)],
      { stdio: "inherit", env: { ...process.env, [MARK]: folder } },
    );
    process.exitCode = run.status ?? 1;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  process.exit();
}

/** Runs a command that has to succeed. */
export function must(command: string, ...args: string[]): string {
  const run = spawnSync(command, args, { encoding: "utf8" });
  if (run.status !== 0) throw new Error(`${command} ${args.join(" ")}: ${run.stderr || run.error?.message}`);
  return run.stdout;
}
