import { accessSync, constants, existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** The checkout these files are in. */
export const CHECKOUT = resolve(fileURLToPath(new URL("../..", import.meta.url)));

/** Where `node build.mjs` puts the executables. */
export const DIST = join(CHECKOUT, "dist");

/** Why there can be no lab here, or undefined when there can. */
export function missingForLab(): string | undefined {
  if (process.getuid?.() !== 0) return "needs root, for namespaces";
  for (const tool of ["ip", "unshare", "nsenter", "mount"]) {
    const missing = missingTool(tool);
    if (missing) return missing;
  }
  return undefined;
}

/** Why the built executables cannot be driven, or undefined when they can. */
export function missingBuild(): string | undefined {
  return existsSync(join(DIST, "calico")) ? undefined : "needs the built executables: node build.mjs";
}

/** Why a tool of this name cannot be used, or undefined when it can. */
export function missingTool(name: string): string | undefined {
  const folders = [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/sbin", join(CHECKOUT, ".cache/bin")];
  const found = folders.some((folder) => {
    try {
      accessSync(join(folder, name), constants.X_OK);
      return folder !== "";
    } catch {
      return false;
    }
  });
  return found ? undefined : `needs ${name}: scripts/setup installs it`;
}
