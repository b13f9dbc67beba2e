/** A dataplane of the real kernel as a subject of the suite. */
import { spawnSync } from "node:child_process";
import { isRoot } from "../../../sys/index.ts";
import type { Dataplane } from "../dataplane.ts";
import { openKernelTestbed } from "./kernel-testbed.ts";
import type { SuiteSubject } from "./testbed.ts";

export interface KernelSubjectOptions {
  readonly name: Exclude<Dataplane["name"], "fake">;
  /** URL or path of the file that exports `open` ({@link OpenDataplane}); it may not import vitest. */
  readonly module: string;
  /** Passed to `open`, as JSON. */
  readonly options?: unknown;
  /** Groups of the suite (their names) that this one skips, each with its reason. */
  readonly without?: Readonly<Record<string, string>>;
}

const TOOLS: Readonly<Record<KernelSubjectOptions["name"], readonly string[]>> = {
  nftables: ["nft"],
  "iptables-nft": ["iptables-nft-restore", "ip6tables-nft-restore", "ipset"],
  "iptables-legacy": ["iptables-legacy-restore", "ip6tables-legacy-restore", "ipset"],
};

/** Runs `open` of the module in processes inside a router's network namespace, a new one for each test. */
export function kernelSubject(options: KernelSubjectOptions): SuiteSubject {
  return {
    name: options.name,
    missing: missing(options.name),
    ...(options.without === undefined ? {} : { without: options.without }),
    open: () => openKernelTestbed(options.name, options.module, options.options),
  };
}

function missing(name: KernelSubjectOptions["name"]): string | undefined {
  if (!isRoot()) return "needs root";
  const absent = ["ip", "nsenter", ...TOOLS[name]].find((tool) => spawnSync("which", [tool]).status !== 0);
  return absent === undefined ? undefined : `needs ${absent}`;
}
