/** What iptables-save says, as far as it is needed to know what of Calico's is there. */
import type { Hook, Table } from "../rules/index.ts";
import { TABLES } from "../rules/index.ts";
import { isOurChain, isUntaggedOurs, KERNEL_CHAINS, TAG } from "./names.ts";

/** A rule in one of the kernel's chains. */
export interface KernelRule {
  /** As iptables-save prints it, without `-A` and the chain. */
  readonly text: string;
  /** Of Calico's tag. */
  readonly hash?: string;
  /** It is Calico's: tagged, or left by a version that had no tags. */
  readonly ours: boolean;
}

/** A table in the kernel. */
export interface KernelTable {
  /** Calico's chains, with the hash of each rule; "" for a rule that has none. */
  readonly chains: Map<string, readonly string[]>;
  readonly hooks: Map<Hook, readonly KernelRule[]>;
}

export const emptyTable = (): KernelTable => ({ chains: new Map(), hooks: new Map() });

const COMMENT = new RegExp(`--comment "?${TAG}([a-zA-Z0-9_-]+)"?(?: |$)`);
const hashOf = (rule: string): string | undefined => COMMENT.exec(rule)?.[1];

/** Parses the output of iptables-save, of any number of tables. Tables and chains that it does not know are passed over. */
export function parseSave(output: string): Map<Table, KernelTable> {
  const tables = new Map<Table, KernelTable>();
  let table: KernelTable | undefined;
  let hooks: readonly string[] = [];
  const chains = new Map<string, string[]>();
  const finish = (): void => {
    if (table) for (const [name, hashes] of chains) table.chains.set(name, hashes);
    chains.clear();
  };
  const kernelRules = new Map<string, KernelRule[]>();
  for (const line of output.split("\n")) {
    if (line.startsWith("-A ")) {
      if (table === undefined) continue;
      const end = line.indexOf(" ", 3);
      const chain = end < 0 ? line.slice(3) : line.slice(3, end);
      const mine = chains.get(chain);
      if (mine !== undefined) mine.push(hashOf(line) ?? "");
      else if (hooks.includes(chain)) {
        const hash = hashOf(line);
        const rule = { text: end < 0 ? "" : line.slice(end + 1), ours: hash !== undefined || isUntaggedOurs(line) };
        kernelRules.get(chain)?.push(hash === undefined ? rule : { ...rule, hash });
      }
    } else if (line.startsWith(":")) {
      const name = line.slice(1, line.indexOf(" "));
      if (isOurChain(name)) chains.set(name, []);
    } else if (line.startsWith("*")) {
      finish();
      const name = TABLES.find((known) => known === line.slice(1).trim());
      table = name && emptyTable();
      hooks = name ? KERNEL_CHAINS[name] : [];
      kernelRules.clear();
      if (!name || !table) continue;
      for (const hook of KERNEL_CHAINS[name]) {
        const rules: KernelRule[] = [];
        table.hooks.set(hook, rules);
        kernelRules.set(hook, rules);
      }
      tables.set(name, table);
    }
  }
  finish();
  return tables;
}
