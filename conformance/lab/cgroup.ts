import { existsSync, mkdirSync, readdirSync, rmdirSync } from "node:fs";
import { join } from "node:path";

/** Where the cgroup v2 hierarchy is mounted: alone, or beside v1. Undefined when the machine has none. */
function cgroupRoot(): string | undefined {
  return ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].find((path) => existsSync(join(path, "cgroup.controllers")));
}

/** Makes the cgroup of a lab's node, and returns its directory. */
export function makeCgroup(lab: string, node: string): string | undefined {
  const root = cgroupRoot();
  if (root === undefined) return undefined;
  const path = join(root, lab, node);
  mkdirSync(path, { recursive: true });
  return path;
}

/**
 * Removes the cgroups of a lab, and reports whether all are gone: the kernel refuses as long as a dying process is in one.
 */
export function removeCgroups(lab: string): boolean {
  const root = cgroupRoot();
  return root === undefined || removeTree(join(root, lab));
}

function removeTree(path: string): boolean {
  if (!existsSync(path)) return true;
  const children = readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  if (!children.map((child) => removeTree(join(path, child.name))).every(Boolean)) return false;
  try {
    rmdirSync(path);
    return true;
  } catch {
    return !existsSync(path);
  }
}
