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
  /** The next write looks into the folder again. */
  recheck(): void;
}

/** How many files are written at one moment. */
const AT_ONCE = 16;

export function openStatusFiles(folder: string): StatusFiles {
  /** Content by name; undefined: the folder has not been read. */
  let there: Map<string, string> | undefined;
  return {
    async write(inForce) {
      there ??= await stock(folder);
      const wanted = new Map<string, string>();
      for (const workload of inForce) wanted.set(endpointStatusFileName(workload.id), contentOf(workload));
      const known = there;
      const work: (() => Promise<void>)[] = [];
      for (const [name, content] of wanted) {
        if (known.get(name) === content) continue;
        work.push(async () => {
          await replaceFile(folder, name, content);
          known.set(name, content);
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
    recheck() {
      there = undefined;
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

/** A reader sees the whole file or none. The name begins with a dot meanwhile, which no status file's does. */
async function replaceFile(folder: string, name: string, content: string): Promise<void> {
  const unfinished = join(folder, `.${name}`);
  await writeFile(unfinished, content, { mode: 0o644 });
  await rename(unfinished, join(folder, name));
}

async function stock(folder: string): Promise<Map<string, string>> {
  await mkdir(folder, { recursive: true, mode: 0o755 });
  const files = new Map<string, string>();
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const content = await readFile(join(folder, entry.name), "utf8").catch(() => "");
    files.set(entry.name, content);
  }
  return files;
}
