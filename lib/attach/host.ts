import type { Client, DatastoreConfig } from "../datastore/index.ts";
import { openClient } from "../datastore/index.ts";
import { type Namespace, readSysctl } from "../sys/index.ts";
import type { Logger } from "../telemetry/index.ts";

/** The machine as attachments see it: its fixed files, its name, its way to the datastore. */
export interface Host {
  /** The plugin's environment: upstream's ETCD_… and DATASTORE_… variables, FELIX_INTERFACEPREFIX. */
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly log: Logger;
  readonly files: {
    /** What calico-node found to be the MTU of pods. */
    readonly mtu: string;
    /** What calico-node calls this node; `nodename_file` replaces it. */
    readonly nodename: string;
    /** `ipam_lock_file` replaces it. */
    readonly ipamLock: string;
    /** Locked while interfaces are deleted, so that deletions share the kernel's grace periods. */
    readonly deleteLock: string;
    /** `endpoint_status_dir` replaces it. */
    readonly endpointStatus: string;
  };
  /** The namespace of the host's ends of interfaces; the plugin's own when absent. */
  readonly hostNetns?: Namespace;
  hostname(): string;
  openClient(config: DatastoreConfig): Promise<Client>;
  /** Milliseconds since 1970. */
  now(): number;
}

/** This machine. */
export function localHost(env: Host["env"], log: Logger): Host {
  return {
    env,
    log,
    files: {
      mtu: "/var/lib/calico/mtu",
      nodename: "/var/lib/calico/nodename",
      ipamLock: "/var/run/calico/ipam.lock",
      deleteLock: "/var/run/calico/cni-delete.lock",
      endpointStatus: "/var/run/calico/endpoint-status",
    },
    // Upstream's names.Hostname: lower case, without surrounding space.
    hostname: () => (readSysctl("kernel/hostname") ?? "").trim().toLowerCase(),
    // The process ends right after its one call.
    openClient: (config) => openClient(config.type === "sqlite" ? { ...config, brief: true } : config),
    now: Date.now,
  };
}
