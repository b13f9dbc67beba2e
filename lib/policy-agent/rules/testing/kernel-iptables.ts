/** Hands and eyes on an iptables kernel, of either back end, and its IP sets. */
import { type IpVersion, TABLES, type Table } from "../ir.ts";
import type { Exec } from "./kernel-testbed.ts";
import type { Look, Tamper } from "./testbed.ts";

export function iptablesHands(
  exec: Exec,
  backend: "iptables-nft" | "iptables-legacy",
): { readonly tamper: Tamper; readonly look: Look } {
  const back = backend.replace("iptables-", "");
  const tool = (version: IpVersion, suffix = ""): string =>
    `${version === 4 ? "iptables" : "ip6tables"}-${back}${suffix}`;
  const iptables = (version: IpVersion, table: Table, ...args: readonly string[]): string =>
    exec([tool(version), "-w", "10", "-t", table, ...args]);
  const save = (version: IpVersion, ...args: readonly string[]): string => exec([tool(version, "-save"), ...args]);
  const sets = (): string[] =>
    exec(["ipset", "list", "-name"])
      .split("\n")
      .filter((name) => name !== "");
  const setName = (version: IpVersion, id: string): string => {
    const name = sets().find((one) => one.startsWith(`cali${version}0`) && one.endsWith(id));
    if (name === undefined) throw new Error(`no set of ${id} among ${sets().join(", ")}`);
    return name;
  };
  const inet = (version: IpVersion): string => (version === 4 ? "inet" : "inet6");
  const isOurs = (line: string): boolean => /cali[-:]|cali[46]0/.test(line);
  const rules = (version: IpVersion): string[] =>
    save(version)
      .split("\n")
      // Comments, and the tables' own chains, which are there as soon as anybody looks.
      .filter((line) => /^-A|^:(?!PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING)/.test(line))
      .map((line) => line.replace(/ ?\[\d+:\d+\]$/, ""));
  const setTexts = (version: IpVersion): string[] =>
    sets()
      .map((name) => exec(["ipset", "save", name]))
      .filter((text) => text.includes("family inet6") === (version === 6))
      .map((text) =>
        text
          .replaceAll(/ (hashsize|bucketsize|initval) \S+/g, "")
          .split("\n")
          .sort()
          .join("\n"),
      );
  // Chains stand in the order of their making; rules of one chain keep theirs.
  const byChain = (lines: readonly string[]): string[] => {
    const chain = (line: string): string => line.split(" ")[1] ?? line;
    return lines.toSorted((a, b) => (chain(a) < chain(b) ? -1 : chain(a) > chain(b) ? 1 : 0));
  };
  const tamper: Tamper = {
    deleteRule: (version, table, chain) => void iptables(version, table, "-D", chain, "1"),
    insertRule: (version, table, chain) => void iptables(version, table, "-I", chain, "-j", "ACCEPT"),
    flushChain: (version, table, chain) => void iptables(version, table, "-F", chain),
    unhook(version, table, hook) {
      const lines = iptables(version, table, "-S", hook)
        .split("\n")
        .filter((line) => line.startsWith("-A"));
      const ours = lines.flatMap((line, index) => (isOurs(line) ? [index + 1] : []));
      if (ours.length === 0) throw new Error(`nothing of ours is in ${table} ${hook}`);
      for (const number of ours.reverse()) iptables(version, table, "-D", hook, String(number));
    },
    flushEverything(version) {
      for (const table of TABLES) {
        iptables(version, table, "-F");
        iptables(version, table, "-X");
      }
    },
    flushSet: (version, set) => void exec(["ipset", "flush", setName(version, set)]),
    addMember: (version, set, member) => void exec(["ipset", "add", setName(version, set), member]),
    deleteMember: (version, set, member) => void exec(["ipset", "del", setName(version, set), member]),
    plantLeftovers(version) {
      const set = `cali${version}0s:gone`;
      exec(["ipset", "create", set, "hash:net", "family", inet(version)]);
      iptables(version, "filter", "-N", "cali-tw-gone");
      iptables(version, "filter", "-A", "cali-tw-gone", "-m", "set", "--match-set", set, "src", "-j", "DROP");
    },
    plantForeign(version) {
      exec(["ipset", "create", `theirs${version}`, "hash:ip", "family", inet(version)]);
      exec(["ipset", "add", `theirs${version}`, version === 4 ? "198.51.100.1" : "2001:db8:9::1"]);
      iptables(version, "filter", "-N", "SOMEBODY");
      iptables(version, "filter", "-A", "SOMEBODY", "-m", "comment", "--comment", "of somebody");
      iptables(version, "filter", "-A", "FORWARD", "-j", "SOMEBODY");
      iptables(version, "nat", "-A", "POSTROUTING", "-o", "nowhere", "-j", "MASQUERADE");
    },
  };
  const look: Look = {
    ours: (version) => [...byChain(rules(version).filter(isOurs)), ...setTexts(version).filter(isOurs)].join("\n"),
    foreign: (version) =>
      [...rules(version).filter((line) => !isOurs(line)), ...setTexts(version).filter((text) => !isOurs(text))].join(
        "\n",
      ),
    identity: (version, table, chain) =>
      save(version, "-c", "-t", table)
        .split("\n")
        .filter((line) => line.includes(` -A ${chain} `) || line.startsWith(`-A ${chain} `))
        .join("\n"),
    members: (version, set) =>
      [...exec(["ipset", "save", setName(version, set)]).matchAll(/^add \S+ (\S+)/gm)]
        .map((found) => found[1] ?? "")
        .sort(),
  };
  return { tamper, look };
}
