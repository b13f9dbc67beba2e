/** What a node's kernel enforces, as text that is the same whenever the same is enforced; and how to spoil it. */
import type { Node } from "../../lab/index.ts";
import type { DataplaneName } from "../world.ts";

/** All that Calico has in the kernel, without counters, handles and the order in which things came. */
export async function enforced(node: Node, dataplane: DataplaneName): Promise<string> {
  if (dataplane === "nftables") return nftables(await node.run(["nft", "-j", "list", "ruleset"]));
  const backend = dataplane.slice("iptables-".length);
  const texts = await Promise.all([
    node.run([`iptables-${backend}-save`]),
    node.run([`ip6tables-${backend}-save`]),
    node.run(["ipset", "save"]),
  ]);
  const [v4, v6, sets] = texts as [string, string, string];
  const members = sets.replaceAll(/ initval \S+/g, "").split("\n");
  return [iptables(v4), iptables(v6), members.sort().join("\n")].join("\n");
}

/** Numbers that are new when a rule is new: two texts are the same when nothing was made anew in between. */
export async function identities(node: Node): Promise<string> {
  const objects = JSON.parse(await node.run(["nft", "-j", "list", "ruleset"])) as { nftables: NftObject[] };
  const texts = objects.nftables.flatMap((object) =>
    Object.entries(object).flatMap(([kind, { table, chain, name, handle }]) =>
      handle === undefined ? [] : [[kind, table, chain, name, handle].join(" ")],
    ),
  );
  return texts.sort().join("\n");
}

/** The packets that each rule has seen: of a rule that is replaced they begin anew. */
export async function packets(node: Node, dataplane: "iptables-nft" | "iptables-legacy"): Promise<Map<string, number>> {
  const text = await node.run([`${dataplane}-save`, "--counters"]);
  const counted = new Map<string, number>();
  let table = "";
  for (const line of text.split("\n")) {
    if (line.startsWith("*")) table = line;
    const found = /^\[(\d+):\d+\] (-A .*)$/.exec(line);
    if (found) counted.set(`${table} ${found[2]}`, Number(found[1]));
  }
  return counted;
}

/** Nothing of anybody's is left. */
export async function wipe(node: Node, dataplane: DataplaneName): Promise<void> {
  if (dataplane === "nftables") {
    await node.run(["nft", "flush", "ruleset"]);
    return;
  }
  const backend = dataplane.slice("iptables-".length);
  const script = `
    for tool in iptables-${backend} ip6tables-${backend}; do
      for table in filter nat mangle raw; do $tool -w -t $table -F && $tool -w -t $table -X || exit; done
    done
    ipset destroy`;
  await node.run(["sh", "-c", script]);
}

/** Names of Calico's sets that have members. */
export async function ipsets(node: Node): Promise<Map<string, string[]>> {
  const sets = new Map<string, string[]>();
  for (const line of (await node.run(["ipset", "save"])).split("\n")) {
    const [verb, name = "", member = ""] = line.split(" ");
    if (verb === "add") sets.set(name, [...(sets.get(name) ?? []), member]);
  }
  return sets;
}

export interface NftObject {
  readonly [kind: string]: {
    readonly family: string;
    readonly table?: string;
    readonly chain?: string;
    readonly name?: string;
    readonly handle?: number;
    readonly elem?: readonly unknown[];
  };
}

export async function nftObjects(node: Node): Promise<NftObject[]> {
  return (JSON.parse(await node.run(["nft", "-j", "list", "ruleset"])) as { nftables: NftObject[] }).nftables;
}

function nftables(text: string): string {
  const { nftables: objects } = JSON.parse(text) as { nftables: NftObject[] };
  const groups = new Map<string, string[]>();
  for (const object of objects) {
    const [[kind, value]] = Object.entries(object) as [[string, NftObject[string]]];
    if (kind === "metainfo") continue;
    const { handle: _, elem, ...rest } = value;
    const elements = elem?.map((one) => JSON.stringify(one)).sort();
    const group = `${value.family} ${value.table ?? value.name} ${value.chain ?? `${kind} ${value.name}`}`;
    const line = JSON.stringify({ [kind]: rest, elements }).replaceAll(/"(packets|bytes)":\d+/g, '"$1":0');
    groups.set(group, [...(groups.get(group) ?? []), line]);
  }
  // The order of chains says nothing, that of a chain's rules does.
  return [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([, lines]) => lines)
    .join("\n");
}

function iptables(text: string): string {
  return text
    .split(/^COMMIT$/m)
    .map((table) => {
      const lines = table.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
      const rules = lines.filter((line) => line.startsWith("-A"));
      const others = lines.filter((line) => !line.startsWith("-A")).map((line) => line.replace(/ \[\d+:\d+\]$/, ""));
      const chains = [...new Set(rules.map((rule) => rule.split(" ")[1]!))].sort();
      const grouped = chains.flatMap((chain) => rules.filter((rule) => rule.split(" ")[1] === chain));
      return [...others.sort(), ...grouped].join("\n");
    })
    .sort()
    .join("\n");
}
