/** Somebody else changes what is enforced, with the tools that everybody has. No timer looks at anything in these tests. */
import { expect, test } from "vitest";
import { until } from "./agent.ts";
import { type Bed, serverPolicy } from "./bed.ts";
import { ipsets, nftObjects } from "./kernel.ts";

/** The word; what is noticed by an event takes a fraction of it. */
const REPAIRED_WITHIN_MS = 5_000;

/** What is done, as a shell command. */
type Damage = (bed: Bed) => Promise<string> | string;

const NFTABLES: Readonly<Record<string, Damage>> = {
  "nft flush ruleset": () => "nft flush ruleset",
  "nft delete table": () => "nft delete table ip calico; nft delete table ip6 calico",
  "nft delete rule": async (bed) => {
    const rules = (await nftObjects(bed.node)).flatMap(({ rule }) => (rule ? [rule] : []));
    const chosen = rules.filter(({ chain }) => chain?.includes("cali-pi-") || chain?.includes("cali-tw-"));
    expect(chosen.length).toBeGreaterThan(1);
    return chosen
      .map(({ family, table, chain, handle }) => `nft delete rule ${family} ${table} ${chain} handle ${handle}`)
      .join("; ");
  },
  "nft insert rule": async (bed) => {
    const [rule] = (await nftObjects(bed.node)).flatMap(({ rule: one }) =>
      one?.chain?.includes("cali-tw-") ? [one] : [],
    );
    return `nft insert rule ${rule!.family} ${rule!.table} ${rule!.chain} accept`;
  },
  "nft flush chain": async (bed) => {
    const chains = (await nftObjects(bed.node)).flatMap(({ chain }) => (chain ? [chain] : []));
    return chains.map(({ family, table, name }) => `nft flush chain ${family} ${table} ${name}`).join("; ");
  },
  "nft flush set": async (bed) => {
    const sets = (await nftObjects(bed.node)).flatMap(({ set }) => (set?.elem ? [set] : []));
    expect(sets.length).toBeGreaterThan(1);
    return sets.map(({ family, table, name }) => `nft flush set ${family} ${table} ${name}`).join("; ");
  },
  "nft flush map": async (bed) => {
    const maps = (await nftObjects(bed.node)).flatMap(({ map }) => (map?.elem ? [map] : []));
    expect(maps.length).toBeGreaterThan(0);
    return maps.map(({ family, table, name }) => `nft flush map ${family} ${table} ${name}`).join("; ");
  },
  "nft add table with flags dormant": () => "nft add table ip calico '{ flags dormant; }'",
};

const iptables = (backend: "nft" | "legacy"): Readonly<Record<string, Damage>> => {
  const both = (rest: string): string => `iptables-${backend} -w ${rest} && ip6tables-${backend} -w ${rest}`;
  const chainOf = async (bed: Bed, what: string): Promise<string> => {
    const text = await bed.node.run([`iptables-${backend}-save`, "-t", "filter"]);
    const name = new RegExp(`^:(${what}\\S*)`, "m").exec(text)?.[1];
    expect(name, what).toBeDefined();
    return name!;
  };
  return {
    "iptables -F": () => both("-F"),
    "iptables -F of every table": () =>
      ["filter", "nat", "mangle", "raw"].map((table) => both(`-t ${table} -F`)).join("; "),
    "iptables -F of a chain of policy": async (bed) => `iptables-${backend} -w -F ${await chainOf(bed, "cali-pi-")}`,
    "iptables -D of the jump to Calico's chains": () => both("-D FORWARD 1"),
    "iptables -D of a rule": async (bed) => `iptables-${backend} -w -D ${await chainOf(bed, "cali-tw-")} 1`,
    "iptables -I before Calico's": () => both("-I FORWARD -m comment --comment before -j ACCEPT"),
    "iptables -F and -X": () => both("-F; true") + `; iptables-${backend} -w -X; true`,
    ...(backend === "nft" ? { "nft flush ruleset": () => "nft flush ruleset" } : {}),
    "ipset flush": () => "ipset flush",
    "ipset del": async (bed) => {
      const [[name, members]] = [...(await ipsets(bed.node))].filter(([, all]) => all.length > 0) as [
        [string, string[]],
      ];
      return `ipset del ${name} ${members[0]}`;
    },
    "ipset add": async (bed) => {
      const [[name]] = [...(await ipsets(bed.node))].filter(([one]) => one.startsWith("cali40")) as [
        [string, string[]],
      ];
      return `ipset add ${name} 198.51.100.7`;
    },
  };
};

export function repairTests(bed: () => Bed, dataplane: Bed["dataplane"]): void {
  const damages = dataplane === "nftables" ? NFTABLES : iptables(dataplane === "iptables-nft" ? "nft" : "legacy");
  test.for(Object.keys(damages))("%s", async (name) => {
    const agent = await bed().start().ready();
    const before = await bed().enforced();
    const command = await damages[name]!(bed());
    await bed().node.run(["sh", "-c", command]);
    await until(
      async () => before === (await bed().enforced()),
      async () => `${name} is not repaired: ${difference(before, await bed().enforced())}\n${agent.log()}`,
      REPAIRED_WITHIN_MS,
    );
    expect(agent.log()).toMatch(/somebody else changed|put right/);
    // It was not the last time.
    await bed().apply(serverPolicy([{ action: "Log" }]));
    await until(async () => before !== (await bed().enforced()), "a change after a repair does not arrive");
    await bed().apply(serverPolicy());
    await until(async () => before === (await bed().enforced()), "a change back does not arrive");
    await agent.stop();
  });
}

/** Lines of one and not of the other. */
export function difference(before: string, after: string): string {
  const [a, b] = [before.split("\n"), after.split("\n")];
  const [inA, inB] = [new Set(a), new Set(b)];
  return [
    ...a.filter((line) => !inB.has(line)).map((line) => `- ${line}`),
    ...b.filter((line) => !inA.has(line)).map((line) => `+ ${line}`),
  ]
    .slice(0, 40)
    .join("\n");
}
