/** The servers' programs: built by scripts/setup-kubernetes into .cache/bin. */
import { accessSync, constants } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Where scripts/setup-kubernetes puts what it builds. */
export const CACHED_BIN = resolve(fileURLToPath(new URL("../../../.cache/bin", import.meta.url)));

/** Names are not "etcd" alone: Debian's older one is a peer of other tests and must not be found by accident. */
export const KUBE_APISERVER = join(CACHED_BIN, "kube-apiserver");
export const ETCD = join(CACHED_BIN, "kube-etcd");
const KUBE_PROXY = join(CACHED_BIN, "kube-proxy");
const KUBECTL = join(CACHED_BIN, "kubectl");

/** Why there can be no API server here, or undefined when there can. */
export function apiServerMissing(): string | undefined {
  for (const program of [KUBE_APISERVER, ETCD])
    if (!executable(program)) return `no ${program.split("/").pop()}: scripts/setup-kubernetes builds it`;
  for (const tool of ["openssl", "setpriv"])
    if (!(process.env.PATH ?? "/usr/bin:/bin").split(":").some((folder) => executable(join(folder, tool))))
      return `no ${tool}: scripts/setup installs it`;
  return undefined;
}

/** The path of a kubectl of the server's version, or undefined where it was not built. */
export function kubectl(): string | undefined {
  return executable(KUBECTL) ? KUBECTL : undefined;
}

/** The path of a kube-proxy of the server's version, or undefined where it was not built. */
export function kubeProxy(): string | undefined {
  return executable(KUBE_PROXY) ? KUBE_PROXY : undefined;
}

function executable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
