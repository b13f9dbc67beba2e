import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import type { HostInterface, Interfaces } from "../routes/index.ts";
import type { Logger } from "../telemetry/index.ts";

/** Where the CNI plugin, ours and upstream's, looks for the MTU of pods. */
export const MTU_FILE = "/var/lib/calico/mtu";
/** Where no interface is one to go by: the smallest of the common clouds, as upstream. */
const UNKNOWN_MTU = 1460;

/** The MTU of pods: the smallest of the interfaces by which the node reaches others, those that are up and have a name of the pattern. */
export function podMtu(interfaces: Iterable<HostInterface>, pattern: RegExp | undefined): number {
  let smallest: number | undefined;
  for (const { name, up, mtu } of interfaces) {
    if (up && pattern?.test(name) && (smallest === undefined || mtu < smallest)) smallest = mtu;
  }
  return smallest ?? UNKNOWN_MTU;
}

/** Keeps the file as the interfaces say, for pods that are attached from then on. Resolves with whether it says so now. */
export async function keepMtuFile(options: {
  readonly interfaces: Pick<Interfaces, "all" | "onChange">;
  readonly pattern: RegExp | undefined;
  readonly log: Logger;
  readonly file?: string;
}): Promise<boolean> {
  const { interfaces, pattern, log, file = MTU_FILE } = options;
  let written: number | undefined;
  const write = async (): Promise<boolean> => {
    const mtu = podMtu(interfaces.all, pattern);
    if (mtu === written) return true;
    try {
      if ((await readFile(file, "utf8").catch(() => "")).trim() !== String(mtu)) {
        await mkdir(dirname(file), { recursive: true });
        const unfinished = `${file}.new`;
        await writeFile(unfinished, String(mtu), { mode: 0o644 });
        await rename(unfinished, file);
      }
    } catch (error) {
      log.error("cannot tell the CNI plugin the MTU", { file, error: (error as Error).message });
      return false;
    }
    written = mtu;
    log.info("pods that come have an MTU of", { mtu, file });
    return true;
  };
  let last = write();
  interfaces.onChange((change) => {
    if (change.event === "resync" || pattern?.test(change.interface.name)) last = last.then(write);
  });
  return await last;
}
