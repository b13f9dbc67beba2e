/** etcd's certificates for the plugin, out of a mounted Secret. */
import { readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { makeFolder, pathExists } from "../sys/index.ts";
import { type Env, type Places, TLS_FOLDER } from "./conflist.ts";
import { inFolder, placeText, type Step, translated } from "./files.ts";

const ASSETS = ["etcd-ca", "etcd-cert", "etcd-key"] as const;

export const tlsFolderOf = (env: Env): string => env.TLS_ASSETS_DIR || "/calico-secrets";

/** Copies those that are in the Secret's folder; those that are no longer are removed, as nothing refers to them any more. */
export function installTls(env: Env, places: Places, dryRun = false): Step[] {
  const from = tlsFolderOf(env);
  const folder = join(places.netFolder, TLS_FOLDER);
  const found = ASSETS.filter((name) => pathExists(join(from, name)));
  if (found.length === 0 && !pathExists(folder)) return [];
  return translated(`copy the certificates of ${from}`, () => {
    if (found.length === 0) {
      if (!dryRun) rmSync(folder, { recursive: true, force: true });
      return [{ path: folder, action: "removed", why: `${from} has no certificates` } satisfies Step];
    }
    const place = (): Step[] =>
      found.map((name) => {
        const source = join(from, name);
        return placeText(folder, name, readFileSync(source, "utf8"), statSync(source).mode & 0o777 & ~0o077, dryRun);
      });
    if (dryRun) return place();
    makeFolder(folder, 0o700);
    return inFolder(folder, place);
  });
}

/** Which of them are on the node. */
export const installedTls = (places: Places): ReadonlySet<string> =>
  new Set(ASSETS.filter((name) => pathExists(join(places.netFolder, TLS_FOLDER, name))));
