import type { ClusterInformation } from "../api/clusterinformation.ts";
import type { Namespace } from "../api/kubernetes/namespace.ts";
import type { Pod } from "../api/kubernetes/pod.ts";
import type { Invocation } from "../cni/index.ts";
import type { Client, DatastoreConfig } from "../datastore/index.ts";
import { openClient } from "../datastore/index.ts";
import { createIpam, type Ipam } from "../ipam/index.ts";
import { type Namespace as NetworkNamespace, readSysctl } from "../sys/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { DeleteOutcome, DeletePlan } from "../veth/index.ts";
import type { AwaitedEndpoint } from "./wait.ts";

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
  readonly hostNetns?: NetworkNamespace;
  hostname(): string;
  openClient(config: DatastoreConfig): Promise<Client>;
  /** Milliseconds since 1970. */
  now(): number;
  /** What the node's agent does otherwise than the plugin; see remote/. Absent in the plugin. */
  readonly agent?: AgentSide;
}

/** An attachment by the process that stays: with what it keeps between one pod and the next, on behalf of a plugin that waits. */
export interface AgentSide {
  /** The path by which this process reaches the pod's namespace, which by that of CNI_NETNS it may not; "": there is none any more. */
  readonly netns: string;
  /** Open, and stays so. */
  readonly client: Client;
  /** The one allocator of a process that stays. It needs no lock file: all it writes, it compares and swaps. */
  readonly allocator: Ipam;
  /** What it knows already of what would be read; see remote/warm.ts. Absent where reading costs nothing. */
  readonly warm?: WarmObjects | undefined;
  /** Resolves when the endpoint's policy is in the kernel; rejects when it takes longer than `milliseconds`. */
  readonly policyInForce: (endpoint: AwaitedEndpoint, milliseconds: number) => Promise<void>;
  /** Rejects when the plugin has gone: the runtime has given the call up, and its DEL may be over. */
  readonly stillWanted: () => Promise<void>;
  /** Resolves when everything else that waits has had its turn: to be waited for before work that keeps the process to itself. */
  readonly turn: () => Promise<void>;
  /** Removes an interface where it keeps nobody waiting: the kernel takes 30 ms for it. */
  readonly removeInterface: (plan: DeletePlan) => Promise<DeleteOutcome>;
}

/** Objects that need not be read. Undefined: not known, so it is to be read. What is answered is not to be changed. */
export interface WarmObjects {
  /** The pod of this uid, if nothing was attached to it yet. */
  pod(namespace: string, name: string, uid: string): Pod | undefined;
  namespace(name: string): Namespace | undefined;
  information(): ClusterInformation | undefined;
}

/** Where this process finds the pod's namespace. */
export function netnsOf(call: Pick<Invocation, "environment">, host: Host): string {
  return host.agent?.netns ?? call.environment.netns;
}

/** The allocator for one call. */
export function ipamOf(client: Client, host: Host): Ipam {
  return host.agent?.allocator ?? createIpam(client, { clock: host.now, log: host.log });
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
