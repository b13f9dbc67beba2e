import { lstatSync } from "node:fs";
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type EndpointStatus, endpointStatusFileName } from "../api/endpointstatus.ts";
import type { LocalWorkload } from "./calc/index.ts";

/**
 * One file for each local workload whose policy is in force, `<EndpointStatusPathPrefix>/endpoint-status/<name>`: the plugin's ADD may wait for it.
 * A file that says what it should is not written again; the folder may hold files of a process before this one.
 */
export interface StatusFiles {
  /**
   * Files for exactly these workloads; the first call also takes stock of the folder. Throws what could not be done after
   * everything else was.
   */
  write(inForce: Iterable<LocalWorkload>): Promise<void>;
  /**
   * Addresses that the files of an agent before this one give to endpoints that do not have them now: their connections are not their next owners'.
   * To be asked before the first write.
   */
  lost(workloads: Iterable<LocalWorkload>): Promise<readonly string[]>;
  /** The next write looks into the folder again. */
  recheck(): void;
}

interface StatusFile {
  readonly name: string;
  readonly content: string;
}

/** A file of the folder. */
interface KnownFile {
  readonly content: string;
  /** Which file that was read, and when it was last touched; undefined: not known. */
  readonly version?: string;
}

/** How many files are written at one moment. */
const AT_ONCE = 16;

export function openStatusFiles(folder: string): StatusFiles {
  /** By name; undefined: the folder has not been read. */
  let there: Map<string, KnownFile> | undefined;
  let isStale = false;
  let isMade = false;
  const look = async (): Promise<Map<string, KnownFile>> => {
    if (!there || isStale) there = await stock(folder, there);
    isStale = false;
    return there;
  };
  /** What was made of a workload; one that changes is another object. Every round asks for all of them. */
  const made = new WeakMap<LocalWorkload, StatusFile>();
  const fileOf = (workload: LocalWorkload): StatusFile => {
    let file = made.get(workload);
    if (!file) {
      file = { name: endpointStatusFileName(workload.id), content: contentOf(workload) };
      made.set(workload, file);
    }
    return file;
  };
  return {
    async write(inForce) {
      // Not before: that it is there tells the plugin that policy has been in force since the node started.
      if (!isMade || isStale) await mkdir(folder, { recursive: true, mode: 0o755 });
      isMade = true;
      const known = await look();
      const wanted = new Map<string, string>();
      for (const workload of inForce) {
        const { name, content } = fileOf(workload);
        wanted.set(name, content);
      }
      const work: (() => Promise<void>)[] = [];
      for (const [name, content] of wanted) {
        if (known.get(name)?.content === content) continue;
        work.push(async () => {
          await replaceFile(folder, name, content);
          known.set(name, { content });
        });
      }
      for (const name of known.keys()) {
        if (wanted.has(name)) continue;
        work.push(async () => {
          await rm(join(folder, name), { force: true });
          known.delete(name);
        });
      }
      const failed: Error[] = [];
      for (let at = 0; at < work.length; at += AT_ONCE) {
        const results = await Promise.allSettled(work.slice(at, at + AT_ONCE).map((step) => step()));
        for (const result of results) if (result.status === "rejected") failed.push(result.reason as Error);
      }
      if (failed.length === 0) return;
      const more = failed.length > 1 ? ` (and ${failed.length - 1} more)` : "";
      throw new AggregateError(failed, `endpoints' status files: ${failed[0]!.message}${more}`);
    },
    async lost(workloads) {
      const known = await look();
      const kept = new Map<string, readonly string[]>();
      for (const { id, ipv4Nets, ipv6Nets } of workloads)
        kept.set(endpointStatusFileName(id), [...ipv4Nets, ...ipv6Nets]);
      return [...known].flatMap(([name, { content }]) =>
        netsOf(content)
          .filter((net) => !kept.get(name)?.includes(net))
          .map((net) => net.split("/", 1)[0]!),
      );
    },
    recheck() {
      isStale = true;
    },
  };
}

function contentOf({ interfaceName, mac, ipv4Nets, ipv6Nets }: LocalWorkload): string {
  const status: EndpointStatus = {
    ...(interfaceName ? { ifaceName: interfaceName } : {}),
    ...(mac ? { mac } : {}),
    ...(ipv4Nets.length > 0 ? { ipv4Nets } : {}),
    ...(ipv6Nets.length > 0 ? { ipv6Nets } : {}),
  };
  return JSON.stringify(status);
}

/** Of a file that anybody may have written: none where it cannot be understood. */
function netsOf(content: string): string[] {
  let status: unknown;
  try {
    status = JSON.parse(content);
  } catch {
    return [];
  }
  const { ipv4Nets, ipv6Nets } = (status ?? {}) as { readonly [Field in keyof EndpointStatus]?: unknown };
  return [ipv4Nets, ipv6Nets]
    .flatMap((nets) => (Array.isArray(nets) ? nets : []))
    .filter((net) => typeof net === "string");
}

/** A reader sees the whole file or none. The name begins with a dot meanwhile, which no status file's does. */
async function replaceFile(folder: string, name: string, content: string): Promise<void> {
  const unfinished = join(folder, `.${name}`);
  await writeFile(unfinished, content, { mode: 0o644 });
  await rename(unfinished, join(folder, name));
}

/** Reads what has been touched since `known`: mostly nothing, and this is done every few seconds. */
async function stock(
  folder: string,
  known: ReadonlyMap<string, KnownFile> | undefined,
): Promise<Map<string, KnownFile>> {
  const files = new Map<string, KnownFile>();
  for (const entry of await readdir(folder, { withFileTypes: true }).catch(noneIfAbsent)) {
    if (!entry.isFile()) continue;
    const path = join(folder, entry.name);
    const version = versionOf(path);
    const before = known?.get(entry.name);
    const content =
      before?.version !== undefined && before.version === version
        ? before.content
        : await readFile(path, "utf8").catch(() => "");
    files.set(entry.name, { content, ...(version === undefined ? {} : { version }) });
  }
  return files;
}

/** Another one after every change of the file. Undefined: it is gone. */
function versionOf(path: string): string | undefined {
  const status = lstatSync(path, { bigint: true, throwIfNoEntry: false });
  return status && `${status.ino} ${status.size} ${status.ctimeNs}`;
}

function noneIfAbsent(error: NodeJS.ErrnoException): [] {
  if (error.code !== "ENOENT") throw error;
  return [];
}
