import { readdirSync } from "node:fs";
import type { Io } from "../../lib/cli/index.ts";
import { tryParseAddress } from "../../lib/ip/index.ts";

/** Where the host-local plugin keeps a file for each address, for the network name of Calico's manifests. */
const HOST_LOCAL = "/var/lib/cni/networks/k8s-pod-network";

/**
 * `calico-ipam -upgrade`: upstream's manifests run it on every node before anything else, to import what the host-local
 * plugin assigned there. Nearly always there is nothing, and it succeeds; what there is cannot be imported yet.
 */
export function upgrade(io: Io, folder = HOST_LOCAL): number {
  const addresses = assignedIn(folder);
  if (addresses.length === 0) {
    io.stdout.write(`no addresses of the host-local plugin in ${folder}: there is nothing to import\n`);
    return 0;
  }
  io.stderr.write(
    `the host-local plugin has assigned ${addresses.length} addresses on this node (${folder}), and this version cannot import them.\n` +
      "Drain the node, so that its pods are made anew with addresses of Calico's pools, and remove the folder. Nothing was changed.\n",
  );
  return 1;
}

function assignedIn(folder: string): string[] {
  try {
    return readdirSync(folder).filter((name) => tryParseAddress(name) !== undefined);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}
