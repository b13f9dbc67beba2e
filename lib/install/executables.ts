/** Which executables go where. */
import { lstatSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../sys/index.ts";
import type { Env } from "./conflist.ts";
import { InstallError } from "./errors.ts";
import { inFolder, isWritable, placeExecutable, type Step, translated } from "./files.ts";

/** The names under which a runtime calls the one executable. */
export const PLUGIN_NAMES = ["calico", "calico-ipam"] as const;

/** Where upstream's images mount the node's folders of executables. */
export const binFolders = (host = "/host"): readonly string[] => [`${host}/opt/cni/bin`, `${host}/secondary-bin-dir`];

export interface ExecutablesOptions {
  /** The executable. */
  readonly source: string;
  /** Those that cannot be written are passed over, as long as there is one that can. */
  readonly folders: readonly string[];
  /** Makes those that are not there, rather than passing them over. */
  readonly makesFolders?: boolean;
  /** The image's own folder of further plugins, which are installed as well; one that is absent has none. */
  readonly further?: string;
  readonly dryRun?: boolean;
  readonly warn: (message: string) => void;
}

/**
 * UPDATE_CNI_BINARIES=false leaves what is there as it is, also where nothing can be written as long as both names exist; SKIP_CNI_BINARIES
 * names further plugins that are not installed. FILES when there is no folder for the executables.
 */
export function installExecutables(env: Env, options: ExecutablesOptions): Step[] {
  const { source, folders, further, makesFolders = false, dryRun = false, warn } = options;
  const updates = isTrue(env, "UPDATE_CNI_BINARIES", true);
  const skipped = new Set((env.SKIP_CNI_BINARIES ?? "").split(",").map((name) => name.trim()));
  const others = (further === undefined ? [] : namesIn(further)).filter(
    (name) => name !== "install" && !(PLUGIN_NAMES as readonly string[]).includes(name) && !skipped.has(name),
  );
  if (makesFolders && !dryRun)
    for (const folder of folders) translated(`make the folder ${folder}`, () => makeFolder(folder));
  const writable = folders.filter((folder) => isWritable(folder) || (makesFolders && !exists(folder)));
  if (writable.length === 0) {
    const has = (folder: string): boolean => PLUGIN_NAMES.every((name) => exists(join(folder, name)));
    const brought = updates ? undefined : folders.find(has);
    if (brought !== undefined)
      return PLUGIN_NAMES.map((name) => ({
        path: join(brought, name),
        action: "left alone",
        why: "nothing can be written there",
      }));
    throw new InstallError(
      "FILES",
      `no folder for executables: none of ${folders.join(", ")} is there and can be written; mount the node's folder of CNI ` +
        "plugins, or set UPDATE_CNI_BINARIES=false where the node brings calico and calico-ipam",
    );
  }
  return writable.flatMap((folder) => {
    const wanted = (name: string): boolean => updates || !exists(join(folder, name));
    const left = [...PLUGIN_NAMES, ...others].filter((name) => !wanted(name));
    for (const name of left) warn(`${join(folder, name)} is left as it is: UPDATE_CNI_BINARIES=false`);
    const place = (): Step[] => [
      ...placeExecutable(source, folder, PLUGIN_NAMES.filter(wanted), dryRun),
      ...others.filter(wanted).flatMap((name) => placeExecutable(join(further!, name), folder, [name], dryRun)),
      ...left.map(
        (name): Step => ({ path: join(folder, name), action: "left alone", why: "UPDATE_CNI_BINARIES=false" }),
      ),
    ];
    return translated(`install into ${folder}`, () => (dryRun ? place() : inFolder(folder, place)));
  });
}

const exists = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder, { withFileTypes: true })
      .filter((entry) => entry.isFile() && !entry.name.startsWith("."))
      .map(({ name }) => name);
  } catch {
    return [];
  }
}

const TRUE = ["1", "t", "true"];
const FALSE = ["0", "f", "false"];

/** As Go's strconv.ParseBool, in any case. SETTINGS when it is neither. */
export function isTrue(env: Env, name: string, otherwise: boolean): boolean {
  const text = env[name]?.toLowerCase();
  if (!text) return otherwise;
  if (TRUE.includes(text)) return true;
  if (FALSE.includes(text)) return false;
  throw new InstallError("SETTINGS", `${name}=${env[name]}: must be true or false`);
}
