/**
 * The lint rule of the house: who may import whom (docs/architecture.md). Reads every TypeScript file's imports and
 * fails on one that is not in the table, goes past another folder's door, or reaches bun:ffi outside lib/sys.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

/** Folder (longest match wins) → the folders it may import. `sys`, `ip`, `telemetry` and `wait` are open to everybody above. */
export const ALLOWED: Readonly<Record<string, readonly string[]>> = {
  "lib/sys": [],
  "lib/ip": [],
  "lib/wait": [],
  // docs/decisions/0003-log-lines-by-system-calls.md
  "lib/telemetry": ["lib/sys"],
  "lib/selector": [],
  "lib/cni": [],
  "lib/cli": [],
  "lib/netlink": [],
  "lib/api": ["lib/selector"],
  "lib/kubernetes": ["lib/api"],
  "lib/datastore": ["lib/api", "lib/kubernetes"],
  "lib/veth": ["lib/netlink"],
  "lib/ipam": ["lib/datastore", "lib/api"],
  // api: docs/decisions/0002-attach-imports-api.md; kubernetes: 0005-attach-imports-conversions.md
  "lib/attach": ["lib/ipam", "lib/veth", "lib/cni", "lib/datastore", "lib/api", "lib/kubernetes"],
  "lib/policy-agent/calc": ["lib/api", "lib/selector"],
  // Of calc only what its inputs and policies are called.
  "lib/policy-agent/naive": ["lib/api", "lib/selector", "lib/policy-agent/calc"],
  "lib/policy-agent/config": ["lib/api"],
  "lib/policy-agent/intake": ["lib/policy-agent/calc", "lib/api", "lib/datastore", "lib/kubernetes"],
  "lib/policy-agent/rules": ["lib/policy-agent/calc"],
  "lib/policy-agent/nftables": ["lib/policy-agent/rules", "lib/policy-agent/calc", "lib/netlink"],
  "lib/policy-agent/iptables": ["lib/policy-agent/rules", "lib/policy-agent/calc", "lib/netlink"],
  "lib/routes": ["lib/netlink"],
  // What BGP shall be on a node.
  "lib/bgp/model": [],
  "lib/bgp/control": ["lib/bgp/model"],
  "lib/bgp/wire": [],
  "lib/bgp/bfd": [],
  "lib/bgp/rib": ["lib/bgp/wire"],
  "lib/bgp/session": ["lib/bgp/wire"],
  "lib/bgp/policy": ["lib/bgp/wire", "lib/bgp/rib", "lib/bgp/model"],
  "lib/bgp/kernel": ["lib/netlink"],
  "lib/bgp/config": ["lib/bgp/model", "lib/api", "lib/selector", "lib/datastore", "lib/kubernetes"],
  "lib/bgp/bird": ["lib/bgp/model"],
  "lib/bgp": ["lib/bgp", "lib/datastore", "lib/api", "lib/netlink"],
  "lib/node": ["lib/datastore", "lib/api", "lib/netlink", "lib/ipam"],
  "lib/controllers": ["lib/datastore", "lib/api", "lib/ipam", "lib/kubernetes", "lib/selector"],
  // How the plugin is let into an API server.
  "lib/install": ["lib/kubernetes"],
  "lib/explain": ["lib/policy-agent/calc", "lib/api", "lib/selector"],
  "lib/policy-agent": ["lib/policy-agent", "lib/routes", "lib/datastore", "lib/api", "lib/netlink"],
  cmd: ["lib", "cmd"],
  conformance: ["lib", "conformance"],
  // Test beds and drivers of real peers.
  bench: ["lib", "conformance"],
  // cmd: what each program may ask of an API server stands beside it, and the manifest is made of that.
  scripts: ["lib", "scripts", "cmd"],
};

const GROUND = ["lib/sys", "lib/ip", "lib/telemetry", "lib/wait"];

/** Folders with several doors: any file directly in them, so that a plugin loads one kind and not all of them. */
const MANY_DOORS = ["lib/api"];
/** A test may look at, and spoil, what the kernel and an API server have, and ask what a selector means, whatever floor it stands on. */
const OPEN_TO_TESTS = ["lib/netlink", "lib/kubernetes", "lib/selector", "lib/policy-agent/naive"];

const TESTS = /\.(test|suite)\.ts$|\/suite\.ts$|\/testing\.ts$|^conformance\/|^bench\/|\/testing\//;
/** A second door for tests, never imported by the product. */
const TEST_DOORS = ["testing.ts", "testing/index.ts"];
/** Doors beside index.ts, of parts that few load. */
const SIDE_DOORS: Readonly<Record<string, readonly string[]>> = {
  "lib/attach": ["remote/client.ts", "remote/server.ts"],
  "lib/api": ["crd/index.ts", "kubernetes/index.ts", "kubernetes/namespace.ts", "kubernetes/pod.ts"],
  "lib/ipam": ["node/index.ts"],
  "lib/install": ["image.ts"],
  "lib/kubernetes": ["conversion/index.ts"],
  "lib/node": ["environment.ts", "supervise.ts", "time.ts"],
  "lib/netlink": ["netfilter/index.ts"],
  "lib/sys": ["inotify.ts", "resident.ts", "tcp.ts", "udp.ts", "unix.ts"],
  "lib/telemetry": ["daemon.ts", "exit.ts"],
  "lib/wait": ["duration.ts", "turns.ts"],
};

export interface Violation {
  readonly file: string;
  readonly line: number;
  readonly message: string;
}

/** Paths are relative to the root of the checkout, with forward slashes. */
export function checkFile(file: string, text: string): Violation[] {
  const violations: Violation[] = [];
  const home = folderOf(file);
  if (!home) return violations;
  for (const { specifier, line } of importsOf(text)) {
    const complain = (message: string) => violations.push({ file, line, message });
    if (specifier === "bun:ffi" && home !== "lib/sys") complain("only lib/sys may import bun:ffi");
    if (!specifier.startsWith(".")) continue;
    if (!/\.(ts|json|js|css|txt)$/.test(specifier)) complain(`import "${specifier}" needs its file extension`);
    const target = relative(".", resolve(dirname(file), specifier));
    const other = folderOf(target);
    if (!other || other === home) continue;
    const allowed = [
      ...(ALLOWED[home] ?? []),
      ...(GROUND.includes(home) ? [] : GROUND),
      ...(file.endsWith(".test.ts") ? OPEN_TO_TESTS : []),
    ];
    if (!allowed.some((prefix) => other === prefix || other.startsWith(`${prefix}/`))) {
      complain(`${home} may not import ${other}: it stands on a lower or the same floor`);
    } else if (other.startsWith("lib/") && !isDoor(other, target, file)) {
      complain(`${target} is behind the door of ${other}; import ${other}/index.ts`);
    }
  }
  return violations;
}

function isDoor(folder: string, target: string, importer: string): boolean {
  const inside = target.slice(folder.length + 1);
  if (TEST_DOORS.includes(inside)) return TESTS.test(importer);
  if (SIDE_DOORS[folder]?.includes(inside)) return true;
  if (MANY_DOORS.includes(folder)) return !inside.includes("/");
  return inside === "index.ts";
}

function folderOf(file: string): string | undefined {
  const parts = file.split("/");
  const top = parts[0] ?? "";
  const nested = parts.slice(0, 3).join("/");
  if (parts.length > 3 && nested in ALLOWED) return nested;
  if (top === "lib" && parts.length > 2) return `lib/${parts[1]}`;
  return parts.length > 1 && top in ALLOWED ? top : undefined;
}

/** Static, side-effect and dynamic imports, `import type` included: a type is a dependency of the reader, too. */
export function importsOf(text: string): { specifier: string; line: number }[] {
  const found: { specifier: string; line: number }[] = [];
  const pattern =
    /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s*"([^"]+)"|(?:^|\n)\s*import\s*"([^"]+)"|\bimport\(\s*"([^"]+)"\s*\)/g;
  for (const match of text.matchAll(pattern)) {
    const end = match.index + match[0].length;
    found.push({ specifier: match[1] ?? match[2] ?? match[3] ?? "", line: text.slice(0, end).split("\n").length });
  }
  return found;
}

function sources(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sources(path);
    return entry.name.endsWith(".ts") ? [path] : [];
  });
}

if (import.meta.main) {
  process.chdir(join(import.meta.dirname, ".."));
  const files = ["lib", "cmd", "conformance", "bench", "scripts"].flatMap(sources);
  const violations = files.flatMap((file) => checkFile(file, readFileSync(file, "utf8")));
  for (const { file, line, message } of violations) process.stderr.write(`${file}:${line}: ${message}\n`);
  process.stdout.write(`floors: ${files.length} files, ${violations.length} violations\n`);
  process.exit(violations.length === 0 ? 0 : 1);
}
