/** What the dataplane is told: parameters of FelixConfiguration under upstream's names in lower camel case, and the edges of a test. */
import type { Namespace } from "../../sys/index.ts";
import type { Logger } from "../../telemetry/index.ts";
import type { Programs } from "../rules/index.ts";

/** `legacy` programs xtables; `nft` the same rules through nf_tables' compatibility tables. */
export type Backend = "legacy" | "nft";

export interface IptablesOptions {
  /** `v6` absent: ip6tables and IPv6 sets are not touched. */
  readonly programs: Programs;
  readonly backend: Backend;
  /** ChainInsertMode: Calico's first rules before everybody else's in the kernel's chains (default), or after. */
  readonly insertMode?: "insert" | "append";
  /** Seconds to wait for the xtables lock; upstream's 10 when absent. Only `legacy` has the lock. */
  readonly lockTimeout?: number;
  /** IptablesLockProbeIntervalMillis: milliseconds between attempts to get the lock; the tool's own choice when absent. */
  readonly lockProbeInterval?: number;
  /** The file of the lock, which tells of others that use `legacy`; /run/xtables.lock when absent. */
  readonly lockFile?: string;
  /** MaxIpsetSize: members one set may have; 1,048,576 when absent. */
  readonly maxIpsetSize?: number;
  /** Milliseconds between looks at the sizes of the sets, of whose changes the kernel does not tell; 1,500 when absent, 0: never. */
  readonly ipsetCheckInterval?: number;
  /** Milliseconds that one run of a tool may take before it is ended; 60,000 when absent. */
  readonly toolTimeout?: number;
  /** The network namespace to work in; the thread's own when absent. */
  readonly namespace?: Namespace;
  readonly logger?: Logger;
}

/** What {@link IptablesOptions} are when they say nothing. */
export const DEFAULTS = {
  insertMode: "insert",
  lockTimeout: 10,
  lockFile: "/run/xtables.lock",
  maxIpsetSize: 1_048_576,
  ipsetCheckInterval: 1_500,
  toolTimeout: 60_000,
} as const;
