/** Kernel settings of endpoints' interfaces and of the node (felix/dataplane/linux: endpoint_mgr.go, int_dataplane.go). */
import { inNamespace, type Namespace, readSysctl, SysError, writeSysctl } from "../sys/index.ts";
import type { InterfaceChange, Interfaces } from "./interfaces.ts";

export interface Sysctl {
  /** Path under /proc/sys: `net/ipv4/conf/cali1/proxy_arp`. */
  readonly name: string;
  readonly value: string;
  /** Not worth a failure where the kernel lacks or refuses it. */
  readonly optional?: boolean;
}

export interface WorkloadSysctlChoices {
  /** IPv6 is on: without, only router advertisements are turned off, which is a matter of safety. */
  readonly ipv6: boolean;
  /**
   * Reverse path filter of net/ipv4/conf/<interface>/rp_filter. The kernel applies the greater of this and `all`; it is what new
   * interfaces get on this node, or "0" for a workload that may use others' addresses.
   */
  readonly rpFilter: string;
}

/** What the kernel must do on the node's end of a workload's interface. */
export function workloadSysctls(name: string, { ipv6, rpFilter }: WorkloadSysctlChoices): Sysctl[] {
  const v4 = `net/ipv4/conf/${name}`;
  const v6 = `net/ipv6/conf/${name}`;
  return [
    // A workload must not give the node addresses, routes and gateways.
    { name: `${v6}/accept_ra`, value: "0", optional: !ipv6 },
    // Connections of workloads may be translated to 127.0.0.1.
    { name: `${v4}/route_localnet`, value: "1" },
    // The node answers for 169.254.1.1, and for everything else, at once: nobody else is on the wire.
    { name: `net/ipv4/neigh/${name}/proxy_delay`, value: "0", optional: true },
    { name: `${v4}/proxy_arp`, value: "1" },
    { name: `${v4}/forwarding`, value: "1" },
    { name: `${v4}/rp_filter`, value: rpFilter },
    ...(ipv6
      ? [
          { name: `${v6}/proxy_ndp`, value: "1" },
          { name: `${v6}/forwarding`, value: "1" },
        ]
      : []),
  ];
}

/** What the node itself needs: forwarding (IPForwarding=Enabled), and packet counts of connections. */
export function nodeSysctls(choices: { readonly forwarding: boolean; readonly ipv6: boolean }): Sysctl[] {
  const forwarding = [
    { name: "net/ipv4/ip_forward", value: "1" },
    ...(choices.ipv6 ? [{ name: "net/ipv6/conf/all/forwarding", value: "1" }] : []),
  ];
  return [
    ...(choices.forwarding ? forwarding : []),
    { name: "net/netfilter/nf_conntrack_acct", value: "1", optional: true },
  ];
}

export interface SysctlsApplied {
  /** Names of those that had another value. */
  readonly changed: readonly string[];
  /** What could not be set, the optional ones left out. */
  readonly failed: readonly SysError[];
}

/** Sets what is not so already. Goes on after a failure. */
export function applySysctls(sysctls: readonly Sysctl[], namespace?: Namespace): SysctlsApplied {
  const action = (): SysctlsApplied => {
    const changed: string[] = [];
    const failed: SysError[] = [];
    for (const { name, value, optional } of sysctls) {
      try {
        if (readSysctl(name) === value) continue;
        writeSysctl(name, value);
        changed.push(name);
      } catch (error) {
        if (!(error instanceof SysError)) throw error;
        if (!optional) failed.push(error);
      }
    }
    return { changed, failed };
  };
  return namespace ? inNamespace(namespace, action) : action();
}

export interface WorkloadSysctlsOptions {
  readonly interfaces: Interfaces;
  readonly ipv6: boolean;
  /** What became of an interface's settings, when something did: they were changed, or could not be. */
  readonly onApplied: (name: string, applied: SysctlsApplied) => void;
  readonly namespace?: Namespace;
}

/** Keeps the settings of the workloads' interfaces. */
export interface WorkloadSysctls extends Disposable {
  /** The interface is a workload's: at once if it is up, else when it comes up. */
  set(interfaceName: string, choices?: { readonly spoofing?: boolean }): void;
  /** It is no longer; its settings stay. */
  remove(interfaceName: string): void;
  /** Compares all again: sysctls have no events. About 30 µs an interface. */
  recheck(): void;
  close(): void;
}

/** See {@link WorkloadSysctls}. */
export function openWorkloadSysctls(options: WorkloadSysctlsOptions): WorkloadSysctls {
  const { interfaces, ipv6, onApplied, namespace } = options;
  const spoofing = new Map<string, boolean>();
  const read = (): string | undefined => readSysctl("net/ipv4/conf/default/rp_filter");
  // Strict, should the kernel not tell.
  const usual = (namespace ? inNamespace(namespace, read) : read()) ?? "1";
  const apply = (name: string): void => {
    const mayspoof = spoofing.get(name);
    if (mayspoof === undefined || !interfaces.byName(name)?.up) return;
    const wanted = workloadSysctls(name, { ipv6, rpFilter: mayspoof ? "0" : usual });
    const applied = applySysctls(wanted, namespace);
    // An interface that went meanwhile is told of by its own event.
    const gone = applied.failed.length > 0 && applied.failed.every(({ code }) => code === "ENOENT");
    if (!gone && applied.changed.length + applied.failed.length > 0) onApplied(name, applied);
  };
  const recheck = (): void => {
    for (const name of spoofing.keys()) apply(name);
  };
  const forget = interfaces.onChange((change: InterfaceChange) => {
    if (change.event === "resync") recheck();
    else if (change.event !== "removed") apply(change.interface.name);
  });
  return {
    set: (name, choices = {}) => {
      spoofing.set(name, choices.spoofing ?? false);
      apply(name);
    },
    remove: (name) => void spoofing.delete(name),
    recheck,
    close: forget,
    [Symbol.dispose]: forget,
  };
}
