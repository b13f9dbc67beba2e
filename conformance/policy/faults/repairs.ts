/** Somebody else changes what is enforced, with the tools that everybody has. No timer looks at anything in these tests. */
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DataplaneName } from "../world.ts";
import { type Agent, until } from "./agent.ts";
import { type Bed, serverPolicy } from "./bed.ts";
import { ipsets, nftObjects } from "./kernel.ts";

/** The word; what is noticed by an event takes a fraction of it. */
const REPAIRED_WITHIN_MS = 5_000;

/** What is done: a script of nft, or of a shell where it is about iptables. */
type Damage = (bed: Bed) => Promise<string> | string;

const NFTABLES: Readonly<Record<string, Damage>> = {
  "nft flush ruleset": () => "flush ruleset",
  "nft delete table": () => "delete table ip calico\ndelete table ip6 calico",
  "nft delete rule": async (bed) =>
    (await rules(bed, /cali-pi-|cali-tw-/)).map((rule) => `delete rule ${rule.at} handle ${rule.handle}`).join("\n"),
  "nft insert rule": async (bed) =>
    (await rules(bed, /cali-tw-/)).map((rule) => `insert rule ${rule.at} accept`).join("\n"),
  "nft flush chain": (bed) => each(bed, "chain", "flush"),
  "nft flush set": (bed) => each(bed, "set", "flush"),
  "nft flush map": (bed) => each(bed, "map", "flush"),
  "nft add table with flags dormant": () => "add table ip calico { flags dormant; }",
};

async function rules(bed: Bed, chains: RegExp): Promise<{ at: string; handle: number | undefined }[]> {
  const found = (await nftObjects(bed.node)).flatMap(({ rule }) =>
    rule && chains.test(rule.chain ?? "")
      ? [{ at: `${rule.family} ${rule.table} ${rule.chain}`, handle: rule.handle }]
      : [],
  );
  expect(found.length).toBeGreaterThan(1);
  return found;
}

async function each(bed: Bed, kind: "chain" | "set" | "map", verb: string): Promise<string> {
  const found = (await nftObjects(bed.node)).flatMap(({ [kind]: one }) => (one ? [one] : []));
  expect(found.length).toBeGreaterThan(0);
  return found.map(({ family, table, name }) => `${verb} ${kind} ${family} ${table} ${name}`).join("\n");
}

function iptables(backend: "nft" | "legacy"): Readonly<Record<string, Damage>> {
  const both = (rest: string): string => `iptables-${backend} -w ${rest} && ip6tables-${backend} -w ${rest}`;
  const chainOf = async (bed: Bed, what: string): Promise<string> => {
    const text = await bed.node.run([`iptables-${backend}-save`, "-t", "filter"]);
    const name = new RegExp(`^:(${what}\\S*)`, "m").exec(text)?.[1];
    expect(name, what).toBeDefined();
    return name!;
  };
  const setOf = async (bed: Bed): Promise<{ name: string; member: string }> => {
    const all = await ipsets(bed.node);
    const [name] = [...all.keys()].filter((one) => one.startsWith("cali40"));
    return { name: name!, member: all.get(name!)![0]! };
  };
  return {
    "iptables -F": () => both("-F"),
    "iptables -F of every table": () =>
      ["filter", "nat", "mangle", "raw"].map((table) => both(`-t ${table} -F`)).join(" && "),
    "iptables -F of a chain of policy": async (bed) => `iptables-${backend} -w -F ${await chainOf(bed, "cali-pi-")}`,
    "iptables -D of the jump to Calico's chains": () => both("-D FORWARD 1"),
    "iptables -D of a rule": async (bed) => `iptables-${backend} -w -D ${await chainOf(bed, "cali-tw-")} 1`,
    // Chains may be back, and in use, before -X gets to them.
    "iptables -F and -X": () => `${both("-F")} && { ${both("-X")} || true; }`,
    ...(backend === "nft" ? { "nft flush ruleset": () => "nft flush ruleset" } : {}),
    "ipset flush": () => "ipset flush",
    "ipset del": async (bed) => `ipset del ${Object.values(await setOf(bed)).join(" ")}`,
    "ipset add": async (bed) => `ipset add ${(await setOf(bed)).name} 198.51.100.7`,
  };
}

export function repairTests(bed: () => Bed, dataplane: DataplaneName): void {
  const damages = dataplane === "nftables" ? NFTABLES : iptables(dataplane === "iptables-nft" ? "nft" : "legacy");
  let agent: Agent;
  let right: string;
  beforeAll(async () => {
    agent = await bed().start().ready();
    right = await bed().enforced();
  });
  afterAll(() => bed().endAll());

  const isRight = async (): Promise<boolean> => right === (await bed().enforced());
  const what = async (): Promise<string> =>
    `${difference(right, await bed().enforced())}\n${agent.log().slice(-4_000)}`;

  test.for(Object.keys(damages))("%s", async (name) => {
    const said = agent.log().length;
    const text = await damages[name]!(bed());
    if (dataplane === "nftables") await bed().node.run(["nft", "-f", "-"], { stdin: text });
    else await bed().node.run(["sh", "-c", text]);
    // What is noticed, and is put right, may be so before the tool has ended.
    await until(() => /somebody else changed|put right/.test(agent.log().slice(said)), what, REPAIRED_WITHIN_MS);
    await until(isRight, what, REPAIRED_WITHIN_MS);
  });

  if (dataplane !== "nftables") {
    test("a rule before Calico's: Calico's go before it, and it stays", async () => {
      const foreign = ["FORWARD", "-m", "comment", "--comment", "foreign", "-j", "ACCEPT"];
      await bed().node.run([dataplane, "-w", "-I", ...foreign]);
      const first = async (): Promise<string[]> =>
        (await bed().node.run([dataplane, "-w", "-S", "FORWARD"])).split("\n").slice(1, -1);
      await until(async () => (await first())[0]!.includes("cali-FORWARD"), what, REPAIRED_WITHIN_MS);
      expect(await first()).toContainEqual(expect.stringContaining("foreign"));
      await bed().node.run([dataplane, "-w", "-D", ...foreign]);
      expect(await isRight(), await what()).toBe(true);
    });
  }

  if (dataplane === "iptables-nft") {
    test("a change that comes while the agent reads is not taken for its own, or for read", async () => {
      await bed().endAll();
      // Reads, and before it says what it has read, the table is another one.
      const script = `#!/bin/sh
        /usr/sbin/iptables-nft-save "$@" >/tmp/read
        if rm /tmp/armed; then iptables-nft -w -t raw -F; fi 2>/dev/null
        cat /tmp/read`;
      await bed().node.run(
        [
          "sh",
          "-c",
          "mkdir -p /tmp/between && cd /tmp/between && cat >iptables-nft-save && chmod +x iptables-nft-save",
        ],
        { stdin: script },
      );
      agent = await bed()
        .start({ env: { PATH: "/tmp/between:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin" } })
        .ready();
      await bed().node.run(["sh", "-c", "touch /tmp/armed && iptables-nft -w -F"]);
      await until(async () => (await bed().node.exec(["test", "-e", "/tmp/armed"])).status !== 0, what);
      await until(isRight, what, REPAIRED_WITHIN_MS);
    });
  }

  if (dataplane === "iptables-legacy") {
    test("a change that comes while the agent itself has the lock is noticed as soon as others", async () => {
      await bed().endAll();
      const script = `#!/bin/sh
        /usr/sbin/iptables-legacy-restore "$@"
        status=$?
        if rm /tmp/armed; then iptables-legacy -w -F cali-FORWARD; fi 2>/dev/null
        exit $status`;
      await bed().node.run(
        [
          "sh",
          "-c",
          "mkdir -p /tmp/with && cd /tmp/with && cat >iptables-legacy-restore && chmod +x iptables-legacy-restore",
        ],
        { stdin: script },
      );
      agent = await bed()
        .start({ env: { PATH: "/tmp/with:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin" } })
        .ready();
      await until(isRight, what);
      await bed().node.run(["touch", "/tmp/armed"]);
      await bed().apply(serverPolicy([{ action: "Allow", protocol: "TCP", destination: { ports: [81] } }]));
      await until(async () => (await bed().node.exec(["test", "-e", "/tmp/armed"])).status !== 0, what);
      await bed().apply(serverPolicy());
      await until(isRight, what, REPAIRED_WITHIN_MS);
    });
  }

  test("after all of it, changes arrive as before", async () => {
    await bed().apply(serverPolicy([{ action: "Allow", protocol: "TCP", destination: { ports: [81] } }]));
    await until(async () => !(await isRight()), what);
    await bed().apply(serverPolicy());
    await until(isRight, what);
  });
}

/** Lines of one and not of the other. */
export function difference(before: string, after: string): string {
  const [a, b] = [before.split("\n"), after.split("\n")];
  const [inA, inB] = [new Set(a), new Set(b)];
  const lines = [
    ...a.filter((line) => !inB.has(line)).map((line) => `- ${line}`),
    ...b.filter((line) => !inA.has(line)).map((line) => `+ ${line}`),
  ];
  if (lines.length > 0 || before === after) return lines.slice(0, 40).join("\n");
  // The same lines in another order, or one of them twice.
  const at = a.findIndex((line, index) => line !== b[index]);
  return [
    `from line ${at} on`,
    ...a.slice(at, at + 5).map((line) => `- ${line}`),
    ...b.slice(at, at + 5).map((line) => `+ ${line}`),
  ].join("\n");
}
