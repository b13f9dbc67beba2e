/** Hands and eyes on an nftables kernel. Names are found by their ends, so that nothing depends on how the dataplane shortens them. */
import type { IpVersion, Table } from "../ir.ts";
import type { Exec } from "./kernel-testbed.ts";
import type { Look, Tamper } from "./testbed.ts";

const family = (version: IpVersion): string => (version === 4 ? "ip" : "ip6");

export function nftablesHands(exec: Exec): { readonly tamper: Tamper; readonly look: Look } {
  const nft = (...lines: readonly string[]): string => exec(["nft", "-a", "-f", "-"], `${lines.join("\n")}\n`);
  const table = (version: IpVersion): string => `${family(version)} calico`;
  const tables = (version: IpVersion): string[] =>
    [...exec(["nft", "list", "tables", family(version)]).matchAll(/^table (\S+ \S+)$/gm)].map(
      (found) => found[1] ?? "",
    );
  const isOurs = (name: string): boolean => /^\S+ calico/.test(name);
  const listing = (version: IpVersion): string =>
    tables(version).includes(table(version)) ? exec(["nft", "-a", "list", "table", ...table(version).split(" ")]) : "";
  const named = (version: IpVersion, kind: "chain" | "set", matches: (name: string) => boolean): string => {
    const names = [...listing(version).matchAll(new RegExp(`^\\t${kind} (\\S+) \\{`, "gm"))].map(
      (found) => found[1] ?? "",
    );
    const name = names.find(matches);
    if (name === undefined) throw new Error(`no such ${kind} among ${names.join(", ")}`);
    return name;
  };
  const chainName = (version: IpVersion, layer: Table, chain: string): string =>
    named(version, "chain", (name) => name === `${layer}-${chain}`);
  const setName = (version: IpVersion, id: string): string =>
    named(version, "set", (name) => name.endsWith(id.replaceAll(":", "-")));
  const chainText = (version: IpVersion, name: string): string =>
    exec(["nft", "-a", "list", "chain", ...table(version).split(" "), name]);
  const element = (member: string): string => {
    const [address = "", port] = member.split(",");
    return port === undefined ? address : `${address} . ${port.replace(":", " . ")}`;
  };
  const tamper: Tamper = {
    deleteRule(version, layer, chain) {
      const name = chainName(version, layer, chain);
      const handle = /^\t\t.*# handle (\d+)$/m.exec(chainText(version, name))?.[1];
      if (handle === undefined) throw new Error(`${name} has no rule`);
      nft(`delete rule ${table(version)} ${name} handle ${handle}`);
    },
    insertRule(version, layer, chain) {
      nft(`insert rule ${table(version)} ${chainName(version, layer, chain)} accept`);
    },
    flushChain(version, layer, chain) {
      nft(`flush chain ${table(version)} ${chainName(version, layer, chain)}`);
    },
    unhook(version, layer, hook) {
      const base = [
        ...listing(version).matchAll(/^\tchain (\S+) \{[^\n]*\n\t\ttype (\S+) hook (\S+) priority/gm),
      ].filter((found) => found[1]?.startsWith(layer) && found[3] === hook.toLowerCase());
      if (base.length === 0) throw new Error(`nothing is hooked at ${layer} ${hook}`);
      for (const found of base) nft(`flush chain ${table(version)} ${found[1]}`);
    },
    flushEverything(version) {
      nft(`flush ruleset ${family(version)}`);
    },
    flushSet(version, set) {
      nft(`flush set ${table(version)} ${setName(version, set)}`);
    },
    addMember(version, set, member) {
      nft(`add element ${table(version)} ${setName(version, set)} { ${element(member)} }`);
    },
    deleteMember(version, set, member) {
      nft(`delete element ${table(version)} ${setName(version, set)} { ${element(member)} }`);
    },
    plantLeftovers(version) {
      const type = version === 4 ? "ipv4_addr" : "ipv6_addr";
      nft(
        `add table ${table(version)}`,
        `add set ${table(version)} cali${version}0s-gone { type ${type}; flags interval; }`,
        `add chain ${table(version)} filter-cali-tw-gone`,
        `add rule ${table(version)} filter-cali-tw-gone ${family(version)} saddr @cali${version}0s-gone drop`,
      );
    },
    plantForeign(version) {
      const type = version === 4 ? "ipv4_addr" : "ipv6_addr";
      nft(
        `add table ${family(version)} somebody`,
        `add set ${family(version)} somebody theirs { type ${type}; }`,
        `add element ${family(version)} somebody theirs { ${version === 4 ? "198.51.100.1" : "2001:db8:9::1"} }`,
        `add chain ${family(version)} somebody passing { type filter hook forward priority 10; }`,
        `add rule ${family(version)} somebody passing counter comment "of somebody"`,
      );
    },
  };
  const look: Look = {
    ours: (version) =>
      listing(version)
        .replaceAll(/packets \d+ bytes \d+/g, "packets bytes")
        .replaceAll(/ # handle \d+/g, "")
        .replaceAll(/elements = \{([^}]*)\}/g, (_, elements: string) =>
          elements
            .split(",")
            .map((one) => one.trim())
            .sort()
            .join(", "),
        )
        // Each object a block, in an order of its own: the kernel's is that of their making.
        .split(/\n(?=\t(?:chain|set|map) )|\n\t?\}/)
        .map((block) => block.trim())
        .filter((block) => block !== "")
        .sort()
        .join("\n"),
    foreign: (version) =>
      tables(version)
        .filter((name) => !isOurs(name))
        .map((name) => exec(["nft", "-a", "list", "table", ...name.split(" ")]))
        .join("")
        .replaceAll(/packets \d+ bytes \d+/g, "packets bytes"),
    identity: (version, layer, chain) => chainText(version, chainName(version, layer, chain)),
    members(version, set) {
      const text = exec(["nft", "list", "set", ...table(version).split(" "), setName(version, set)]);
      const elements = /elements = \{([^}]*)\}/.exec(text)?.[1] ?? "";
      return elements
        .split(",")
        .map((one) => one.trim())
        .filter((one) => one !== "")
        .sort();
    },
  };
  return { tamper, look };
}
