import { spawn, spawnSync } from "node:child_process";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import { type Dataplane, type DataplaneError, type Match, Program, type Rule } from "../rules/index.ts";
import { openNftables } from "./index.ts";

const nftIsThere = spawnSync("nft", ["--version"]).status === 0;
const describeWithNft = nftIsThere ? describeAsRoot : (name: string, _: () => void) => it.skip(`${name} [needs nft]`);

const accept: Rule = { match: [], action: { do: "accept" } };
const drop: Rule = { match: [], action: { do: "drop" } };
const jump = (chain: string): Rule => ({ match: [], action: { do: "jump", chain } });
const fromSet = (set: string): Rule => ({ match: [{ is: "set", side: "source", set }], action: { do: "accept" } });
const toPorts = (...ports: number[]): Rule => ({
  match: [
    { is: "protocol", protocol: 6 },
    { is: "ports", side: "destination", ports: ports.map((port) => ({ first: port, last: port })) },
  ],
  action: { do: "accept" },
});

interface Listed {
  readonly handle?: number;
  readonly family?: string;
  readonly chain?: string;
  readonly name?: string;
  elem?: unknown[];
  expr?: object[];
}

/** What a table holds, in an order of its own: chains and sets by name, elements sorted, counters left out. */
function canonical(space: TestNamespace): string {
  const text = space.exec("nft", "-j", "list", "ruleset");
  const { nftables } = JSON.parse(text) as { nftables: Record<string, Listed>[] };
  const lines = nftables.flatMap((entry) => {
    const [kind, object] = Object.entries(entry)[0]!;
    if (kind === "metainfo") return [];
    const { handle: _, ...rest } = object;
    if (rest.elem) rest.elem = rest.elem.map((one) => JSON.stringify(one)).toSorted();
    if (rest.expr) rest.expr = rest.expr.map((one) => ("counter" in one ? { counter: null } : one));
    const name = kind === "rule" ? "" : rest.name;
    return [`${rest.family} ${rest.chain ?? ""} ${name} ${kind} ${JSON.stringify(rest)}`];
  });
  // Rules of a chain stay in their order: sorting is stable, and they are told apart by what stands before their text.
  const key = (line: string): string => (/^\S+ \S* +rule /.exec(line) ?? [line])[0]!;
  return lines.toSorted((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : 0)).join("\n");
}

describeWithNft("nftables in a namespace", () => {
  const spaces: TestNamespace[] = [];
  const open: Dataplane[] = [];
  let space: TestNamespace;
  let v4: Program;
  let v6: Program;
  const newSpace = (): TestNamespace => {
    const made = makeNamespace("calico-nft");
    spaces.push(made);
    return made;
  };
  const start = async (
    programs = { v4, v6 },
    at = space,
    options: { readonly maxSetSize?: number } = {},
  ): Promise<Dataplane> => {
    const dataplane = await openNftables({ programs, namespace: at.namespace, ...options });
    open.push(dataplane);
    return dataplane;
  };
  beforeEach(() => {
    space = newSpace();
    v4 = new Program(4);
    v6 = new Program(6);
  });
  afterEach(async () => {
    for (const dataplane of open.splice(0)) await dataplane.close();
    for (const one of spaces.splice(0)) one.dispose();
  });
  const failure = async (dataplane: Dataplane): Promise<DataplaneError> => {
    try {
      await dataplane.apply();
    } catch (error) {
      return error as DataplaneError;
    }
    throw new Error("it did not fail");
  };
  const nft = (...words: string[]): string => space.exec("nft", words.join(" "));
  const list = (): string => space.exec("nft", "-s", "list", "ruleset");
  const drifted = async (dataplane: Dataplane, act: () => void): Promise<string> => {
    const told = new Promise<string>((resolve, reject) => {
      dataplane.onDrift(resolve);
      setTimeout(() => reject(new Error("nobody noticed within 20 s")), 20_000);
    });
    act();
    return told;
  };
  const small = (program: Program): void => {
    program.setSet("s:a", "net", ["10.0.0.1/32", "10.0.0.2/32", "10.1.0.0/16", "fd00::1/128"]);
    program.setSet("n:b", "port", ["10.0.0.1,tcp:80", "fd00::1,udp:53"]);
    program.setChain("filter", { name: "cali-pi-x", rules: [fromSet("s:a"), toPorts(80, 443), drop] });
    program.setChain("filter", { name: "cali-tw-cali1", rules: [jump("cali-pi-x")] });
    program.setDispatch("filter", {
      name: "cali-to-wl-dispatch",
      direction: "out",
      entries: new Map([["cali1", "cali-tw-cali1"]]),
      otherwise: [drop],
    });
    program.setChain("filter", { name: "cali-FORWARD", rules: [jump("cali-to-wl-dispatch")] });
    program.setHook("filter", "FORWARD", { first: [jump("cali-FORWARD")], last: [accept] });
  };

  it("makes the table, and takes it away when nothing is wanted", async () => {
    const dataplane = await start();
    expect(await dataplane.apply()).toMatchObject({ commands: 0, compared: true });
    expect(list()).toBe("");
    small(v4);
    await dataplane.apply();
    expect(list()).toMatchInlineSnapshot(`
      "table ip calico {
      	set cali40s-a {
      		type ipv4_addr
      		flags interval
      		elements = { 10.0.0.1, 10.0.0.2,
      			     10.1.0.0/16 }
      	}

      	set cali40n-b {
      		type ipv4_addr . inet_proto . inet_service
      		elements = { 10.0.0.1 . tcp . 80 }
      	}

      	set cali4p-XNX498Xv7xIMuZfR {
      		type inet_service
      		flags interval
      		elements = { 80, 443 }
      	}

      	map filter-cali-to-wl-dispatch {
      		type ifname : verdict
      		elements = { "cali1" : goto filter-cali-tw-cali1 }
      	}

      	chain filter-cali-pi-x {
      		ip saddr @cali40s-a counter accept comment "cali:HRep1i7Q2HcrS3D8;"
      		tcp dport @cali4p-XNX498Xv7xIMuZfR counter accept comment "cali:D_0cjfLIYi4hqsxt;"
      		counter drop comment "cali:Ez_uUK5GLqk06B09;"
      	}

      	chain filter-cali-tw-cali1 {
      		counter jump filter-cali-pi-x comment "cali:5hnENq5iApPITQhh;"
      	}

      	chain filter-cali-FORWARD {
      		counter jump filter-cali-to-wl-dispatch comment "cali:rToTQOpcZfNzjxDt;"
      	}

      	chain filter-cali-to-wl-dispatch {
      		oifname vmap @filter-cali-to-wl-dispatch comment "cali:7yTKe1m73_-SbNkd;"
      		counter drop comment "cali:h7fYeJeaL7qfX9D5;"
      	}

      	chain filter-FORWARD {
      		type filter hook forward priority filter; policy accept;
      		counter jump filter-cali-FORWARD comment "cali:dpfqBgJrpRwlrqw1;"
      		counter accept comment "cali:ahOigk5wo5o93AI1;"
      	}
      }
      "
    `);
    expect(dataplane.counts).toEqual({ chains: 5, rules: 9, sets: 3, maps: 1 });
    clear(v4);
    await dataplane.apply();
    expect(list()).toBe("");
    small(v6);
    await dataplane.apply();
    expect(list()).toContain("fd00::1 . udp . 53");
    await dataplane.remove();
    expect(list()).toBe("");
    expect(await dataplane.apply()).toMatchObject({ compared: true });
    expect(list()).toContain("table ip6 calico");
  });

  it("changes elements one by one, and leaves rules alone that stay", async () => {
    const dataplane = await start();
    small(v4);
    await dataplane.apply();
    const chains = (): string =>
      space.exec("nft", "-a", "list", "chains").replaceAll(/counter packets \d+ bytes \d+/g, "");
    const before = chains();
    v4.changeSet("s:a", ["10.0.0.9/32"], ["10.0.0.1/32", "10.1.0.0/16"]);
    v4.changeSet("n:b", ["10.0.0.7,sctp:9"], []);
    expect(await dataplane.apply()).toEqual({ commands: 3, compared: false, repaired: [] });
    expect(chains()).toBe(before);
    expect(list()).toContain("elements = { 10.0.0.2, 10.0.0.9 }");
    expect(list()).toContain("10.0.0.7 . sctp . 9");
    v4.setDispatch("filter", {
      name: "cali-to-wl-dispatch",
      direction: "out",
      entries: new Map([
        ["cali1", "cali-pi-x"],
        ["cali2", "cali-tw-cali1"],
      ]),
      otherwise: [drop],
    });
    expect(await dataplane.apply()).toMatchObject({ commands: 2 });
    expect(chains()).toBe(before);
    expect(list()).toMatch(/"cali1" : goto filter-cali-pi-x,\s+"cali2" : goto filter-cali-tw-cali1/);
    v4.setChain("filter", { name: "cali-tw-cali1", rules: [drop] });
    expect(await dataplane.apply()).toMatchObject({ commands: 2 });
    expect(await dataplane.apply()).toEqual({ commands: 0, compared: false, repaired: [] });
  });

  it("gives sets of ports up with the last rule that looks into them", async () => {
    const dataplane = await start();
    const sets = (): number => list().match(/set cali4p-/g)?.length ?? 0;
    v4.setChain("filter", { name: "a", rules: [toPorts(1, 3)] });
    v4.setChain("filter", { name: "b", rules: [toPorts(3, 1), toPorts(5, 7)] });
    await dataplane.apply();
    expect(sets()).toBe(2);
    v4.setChain("filter", { name: "b", rules: [toPorts(5)] });
    await dataplane.apply();
    expect(sets()).toBe(1);
    v4.removeChain("filter", "a");
    v4.setChain("filter", { name: "b", rules: [toPorts(3, 1)] });
    await dataplane.apply();
    expect(sets()).toBe(1);
    v4.setChain("filter", { name: "b", rules: [] });
    await dataplane.apply();
    expect(sets()).toBe(0);
    dataplane.recheck();
    expect(await dataplane.apply()).toEqual({ commands: 0, compared: true, repaired: [] });
  });

  it("takes over what an earlier process left, and changes the difference", async () => {
    small(v4);
    small(v6);
    const first = await start();
    await first.apply();
    const before = space.exec("nft", "-a", "list", "ruleset");
    const again = { v4: new Program(4), v6: new Program(6) };
    small(again.v4);
    small(again.v6);
    const second = await start(again);
    expect(await second.apply()).toEqual({ commands: 0, compared: true, repaired: [] });
    expect(space.exec("nft", "-a", "list", "ruleset")).toBe(before);
    await second.close();
    const third = { v4: new Program(4), v6: new Program(6) };
    small(third.v4);
    small(third.v6);
    third.v4.setSet("s:a", "net", ["10.0.0.2/32", "10.0.0.3/32"]);
    third.v6.setChain("filter", { name: "cali-pi-x", rules: [drop] });
    await (await start(third)).apply();
    await sameAsFromScratch(third);
  });

  it("takes over a table of another's making: other rules, other types, another hook, out of use", async () => {
    nft("add table ip calico { flags dormant; }");
    nft("add chain ip calico filter-FORWARD { type filter hook forward priority -10; policy drop; }");
    nft("add set ip calico cali40s-a { type ipv4_addr; }");
    nft("add set ip calico strange { type ether_addr; }");
    nft("add map ip calico other { type ipv4_addr : verdict; }");
    nft("add rule ip calico filter-FORWARD ip saddr @cali40s-a meta l4proto { 6, 17 } drop");
    nft("add chain ip calico filter-cali-pi-x");
    nft("add rule ip calico filter-cali-pi-x accept");
    nft("add rule ip calico filter-FORWARD jump filter-cali-pi-x");
    nft("add chain ip calico left-over");
    nft("add rule ip calico left-over goto filter-cali-pi-x");
    nft("add element ip calico other { 10.0.0.1 : jump left-over }");
    nft("add set ip calico filter-cali-to-wl-dispatch { type mark; }");
    nft("add chain ip calico filter-cali-to-wl-dispatch");
    nft("add rule ip calico filter-cali-to-wl-dispatch meta mark @filter-cali-to-wl-dispatch accept");
    small(v4);
    await (await start()).apply();
    await sameAsFromScratch({ v4, v6 });
  });

  it("notices what others do to its tables, and repairs it with the next apply", async () => {
    const dataplane = await start();
    small(v4);
    small(v6);
    await dataplane.apply();
    const before = canonical(space);
    expect(await drifted(dataplane, () => nft("flush ruleset"))).toMatch(/^nft \(process \d+\) deleted/);
    expect((await dataplane.apply()).repaired).toEqual(["table ip calico was gone", "table ip6 calico was gone"]);
    expect(canonical(space)).toBe(before);
    await drifted(dataplane, () => nft("flush chain ip6 calico filter-cali-FORWARD"));
    expect((await dataplane.apply()).repaired).toEqual([
      "rules of chain filter-cali-FORWARD were not as they were left",
    ]);
    await drifted(dataplane, () => nft("flush set ip calico cali40s-a"));
    expect((await dataplane.apply()).repaired).toEqual(["set cali40s-a lacked 3 of its members"]);
    await drifted(dataplane, () => nft("add element ip calico cali40s-a { 1.1.1.1, 2.0.0.0-2.0.0.9 }"));
    expect((await dataplane.apply()).repaired).toEqual(["set cali40s-a had 2 members too many"]);
    await drifted(dataplane, () => nft("delete element ip calico filter-cali-to-wl-dispatch { cali1 }"));
    expect((await dataplane.apply()).repaired).toEqual([
      "entries of map filter-cali-to-wl-dispatch were not as they were left",
    ]);
    await drifted(dataplane, () =>
      nft(
        "delete element ip calico filter-cali-to-wl-dispatch { cali1 };",
        "add element ip calico filter-cali-to-wl-dispatch { cali1 : accept, cali9 : drop }",
      ),
    );
    expect((await dataplane.apply()).repaired).toHaveLength(1);
    await drifted(dataplane, () => nft("insert rule ip calico filter-cali-pi-x accept; add chain ip calico more"));
    expect((await dataplane.apply()).repaired).toEqual([
      "rules of chain filter-cali-pi-x were not as they were left",
      "chain more was not ours",
    ]);
    await drifted(dataplane, () => nft("add table ip calico { flags dormant; }"));
    expect((await dataplane.apply()).repaired).toEqual(["table ip calico was out of use"]);
    expect(canonical(space)).toBe(before);
  });

  it("repairs also when a change comes before the event has", async () => {
    const dataplane = await start();
    small(v4);
    await dataplane.apply();
    nft("delete element ip calico cali40s-a { 10.0.0.1 }");
    v4.changeSet("s:a", [], ["10.0.0.1/32", "10.0.0.2/32"]);
    expect(await dataplane.apply()).toMatchObject({ compared: true });
    await sameAsFromScratch({ v4, v6 });
  });

  it("does not touch the tables of others, nor mind what happens there", async () => {
    nft(
      "add table ip kube-proxy; add chain ip kube-proxy x; add table inet calico; add set inet calico s { type mark; }",
    );
    const dataplane = await start();
    const told: string[] = [];
    dataplane.onDrift((what) => told.push(what));
    small(v4);
    await dataplane.apply();
    nft("add rule ip kube-proxy x counter drop; add element inet calico s { 1 }");
    v4.changeSet("s:a", ["10.7.7.7/32"], []);
    expect(await dataplane.apply()).toMatchObject({ compared: false });
    await drifted(dataplane, () => nft("flush chain ip calico filter-cali-pi-x"));
    expect(told).toHaveLength(1);
    await dataplane.remove();
    expect(list()).toContain("counter drop");
    expect(list()).toContain("table inet calico");
  });

  it("gets there while others change their own tables all the time", { timeout: 60_000 }, async () => {
    nft("add table ip other; add chain ip other x");
    const script = "for i in $(seq 60); do nft add rule ip other x counter; done";
    const busy = spawn("ip", ["netns", "exec", space.name, "sh", "-c", script], { stdio: "ignore" });
    const ended = new Promise<void>((resolve) => busy.once("exit", () => resolve()));
    let working = true;
    void ended.then(() => {
      working = false;
    });
    const dataplane = await start();
    const told: string[] = [];
    dataplane.onDrift((what) => told.push(what));
    small(v4);
    for (let i = 0; working; i++) {
      v4.changeSet("s:a", [`10.5.${i >> 8}.${i & 255}/32`], []);
      if (i % 5 === 0) dataplane.recheck();
      expect(await dataplane.apply()).toMatchObject({ compared: i % 5 === 0, repaired: [] });
      await new Promise((resolve) => setImmediate(resolve));
    }
    await ended;
    expect(told).toEqual([]);
    nft("delete table ip other");
    await sameAsFromScratch({ v4, v6 });
  });

  it("makes thousands of rules and elements at once, and does not take its own noise for others'", async () => {
    const dataplane = await start();
    const told: string[] = [];
    dataplane.onDrift((what) => told.push(what));
    v4.setSet(
      "s:big",
      "net",
      Array.from({ length: 4000 }, (_, i) => `10.${i >> 8}.${i & 255}.0/25`),
    );
    v4.setSet(
      "n:big",
      "port",
      Array.from({ length: 4000 }, (_, i) => `10.0.${i >> 8}.${i & 255},tcp:${i + 1}`),
    );
    for (let i = 0; i < 500; i++) v4.setChain("filter", { name: `cali-pi-${i}`, rules: Array(8).fill(drop) });
    v4.setChain("filter", { name: "cali-x", rules: [fromSet("s:big")] });
    await dataplane.apply();
    nft("add table ip other");
    await drifted(dataplane, () => nft("add rule ip calico filter-cali-x accept"));
    expect(told).toEqual([expect.stringContaining("added a rule to the chain filter-cali-x")]);
    expect((await dataplane.apply()).repaired).toEqual(["rules of chain filter-cali-x were not as they were left"]);
    v4.setSet("s:big", "net", []);
    expect((await dataplane.apply()).compared).toBe(false);
    dataplane.recheck();
    expect(await dataplane.apply()).toMatchObject({ commands: 0, compared: true });
  });

  describe("what is refused", () => {
    it("keeps its last good rules, or drops, while the rest is enforced; and says what it is", async () => {
      const dataplane = await start();
      small(v4);
      await dataplane.apply();
      v4.setChain("filter", { name: "cali-pi-x", rules: [jump("cali-nowhere")] });
      v4.setChain("filter", { name: "cali-new", rules: [accept, fromSet("s:none")] });
      v4.setChain("filter", { name: "cali-good", rules: [toPorts(1)] });
      v4.changeSet("s:a", ["10.9.9.9/32"], []);
      v4.setChain("filter", { name: "cali-tw-cali1", rules: [jump("cali-new"), accept] });
      const error = await failure(dataplane);
      expect(error.code).toBe("DATAPLANE_REFUSED");
      expect(error.message).toContain(
        "ip chain filter-cali-pi-x: add rule ip calico filter-cali-pi-x counter jump filter-cali-nowhere",
      );
      expect(error.message).toContain("ip chain filter-cali-new: ");
      expect(error.message).toContain("ENOENT");
      const text = list();
      expect(chainText(text, "filter-cali-pi-x")).toContain("ip saddr @cali40s-a counter accept");
      expect(chainText(text, "filter-cali-new")).toMatch(
        /^counter drop comment "cali:[\w-]{16}; Refused by the kernel"$/,
      );
      expect(chainText(text, "filter-cali-good")).toContain("tcp dport 1 counter accept");
      expect(chainText(text, "filter-cali-tw-cali1")).toContain("jump filter-cali-new");
      expect(text).toContain("10.9.9.9");
      v4.setSet("s:none", "net", []);
      v4.setChain("filter", { name: "cali-nowhere", rules: [drop] });
      expect(await dataplane.apply()).toMatchObject({ compared: true, repaired: [] });
      await sameAsFromScratch({ v4, v6 });
    });

    it("is found also when it is wrong only where it is reached from", async () => {
      const dataplane = await start();
      small(v4);
      const masquerade: Rule = { match: [], action: { do: "masquerade" } };
      v4.setChain("filter", { name: "cali-bad", rules: [masquerade] });
      v4.setHook("filter", "FORWARD", { first: [jump("cali-FORWARD")], last: [jump("cali-bad")] });
      v4.setHook("filter", "INPUT", { first: [accept], last: [] });
      v4.setHook("nat", "POSTROUTING", { first: [masquerade], last: [] });
      const error = await failure(dataplane);
      expect(error.code).toBe("DATAPLANE_REFUSED");
      const text = list();
      expect(chainText(text, "filter-cali-FORWARD")).toContain("jump filter-cali-to-wl-dispatch");
      expect(chainText(text, "filter-INPUT")).toContain("counter accept");
      expect(chainText(text, "nat-POSTROUTING")).toContain("masquerade");
      expect(`${chainText(text, "filter-FORWARD")}${chainText(text, "filter-cali-bad")}`).toContain("counter drop");
    });

    it("is a set with more members than it may have", async () => {
      const dataplane = await start(undefined, undefined, { maxSetSize: 3 });
      small(v4);
      await dataplane.apply();
      v4.changeSet("s:a", ["10.3.0.0/32"], []);
      v4.setChain("filter", { name: "cali-good", rules: [drop] });
      const error = await failure(dataplane);
      expect(error.code).toBe("DATAPLANE_SET_FULL");
      expect(error.message).toContain("ip set cali40s-a: 4 members are more than maxIpsetSize 3 allows");
      expect(list()).not.toContain("10.3.0.0");
      expect(list()).toContain("chain filter-cali-good");
      v4.changeSet("s:a", [], ["10.0.0.1/32"]);
      await dataplane.apply();
      expect(list()).toContain("10.3.0.0");
    });

    it("is a set with more members than it may have: nothing gets through that must be denied", async () => {
      const dataplane = await start(undefined, undefined, { maxSetSize: 2 });
      const inSet = (set: string, not: boolean): Match => ({ is: "set", side: "source", set, ...(not && { not }) });
      const allow: Rule["action"] = { do: "set-mark", value: 1, mask: 1 };
      v4.setSet("s:bad", "net", ["10.0.0.1/32", "10.0.0.2/32"]);
      v4.setSet("s:good", "net", ["10.0.1.1/32", "10.0.1.2/32"]);
      const rules: Rule[] = [
        { match: [inSet("s:bad", false)], action: { do: "drop" } },
        { match: [inSet("s:bad", true)], action: allow },
        { match: [inSet("s:good", false)], action: allow },
      ];
      v4.setChain("filter", { name: "cali-policy", rules });
      await dataplane.apply();
      const before = chainText(list(), "filter-cali-policy");
      v4.changeSet("s:bad", ["10.0.0.3/32"], []);
      expect((await failure(dataplane)).code).toBe("DATAPLANE_SET_FULL");
      const full = chainText(list(), "filter-cali-policy");
      expect(full).not.toContain("@cali40s-bad");
      expect(full).toContain("counter drop");
      expect(full).toContain("@cali40s-good");
      // Who may no longer, may no longer at once.
      v4.changeSet("s:good", ["10.0.1.3/32", "10.0.1.4/32"], ["10.0.1.1/32"]);
      await failure(dataplane);
      expect(list()).not.toContain("10.0.1.1");
      v4.changeSet("s:bad", [], ["10.0.0.1/32"]);
      v4.changeSet("s:good", [], ["10.0.1.3/32"]);
      await dataplane.apply();
      expect(chainText(list(), "filter-cali-policy")).toBe(before);
      await sameAsFromScratch({ v4, v6 });
    });

    it("is a set whose members overlap; it stays as it was", async () => {
      const dataplane = await start();
      small(v4);
      await dataplane.apply();
      v4.changeSet("s:a", ["10.1.2.0/24"], ["10.0.0.1/32"]);
      const error = await failure(dataplane);
      expect(error.message).toContain("ip set cali40s-a: ");
      expect(list()).toContain("10.0.0.1");
      v4.changeSet("s:a", [], ["10.1.0.0/16"]);
      await dataplane.apply();
      await sameAsFromScratch({ v4, v6 });
    });

    it("is a rule that cannot be said", async () => {
      const dataplane = await start();
      small(v4);
      const ipvs: Match = { is: "ipvs" };
      v4.setChain("filter", { name: "cali-odd", rules: [{ match: [ipvs], action: { do: "accept" } }] });
      const error = await failure(dataplane);
      expect(error.message).toContain("rule 1 of chain filter-cali-odd: nftables knows nothing of IPVS");
      expect(chainText(list(), "filter-cali-odd")).toContain("counter drop");
      v4.removeChain("filter", "cali-odd");
      await dataplane.apply();
      await sameAsFromScratch({ v4, v6 });
    });
  });

  it("gets to the same state step by step as at once, whatever the steps", { timeout: 120_000 }, async () => {
    const names = ["a", "b", "c", "d"];
    const chain = fc.constantFrom(...names);
    const set = fc.constantFrom("s:1", "s:2", "n:3");
    const nets = fc.uniqueArray(fc.integer({ min: 0, max: 255 }), { maxLength: 12 });
    const rule = fc.oneof(
      fc.constantFrom(accept, drop),
      fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 3 }).map((ports) => toPorts(...ports)),
      set.map((id): Rule => {
        const is = id.startsWith("n") ? "port-set" : "set";
        return { match: [{ is, side: "source", set: id }], action: { do: "return" } };
      }),
    );
    const rules = fc.array(rule, { maxLength: 4 });
    // Chains refer to later ones only: a circle would be refused.
    const chainOf = fc.tuple(chain, rules, fc.boolean());
    const step = fc.oneof(
      chainOf.map(([name, list, jumps]) => (program: Program) => {
        const next = names[names.indexOf(name) + 1];
        program.setChain("filter", { name, rules: jumps && next ? [...list, jump(next)] : list });
      }),
      fc.tuple(set, nets).map(([id, list]) => (program: Program) => {
        const type = id.startsWith("n") ? "port" : "net";
        program.setSet(
          id,
          type,
          list.map((n) => memberOf(type, program.ipVersion, n)),
        );
      }),
      fc.dictionary(fc.constantFrom("cali1", "cali2", "cali3"), chain).map((entries) => (program: Program) => {
        program.setDispatch("filter", {
          name: "dispatch",
          direction: "in",
          entries: new Map(Object.entries(entries)),
          otherwise: Object.keys(entries).length > 1 ? [drop] : [],
        });
      }),
      fc.constant((program: Program) => program.removeDispatch("filter", "dispatch")),
      rules.map((first) => (program: Program) => program.setHook("filter", "FORWARD", { first, last: [] })),
    );
    const script = fc.array(fc.array(fc.tuple(fc.boolean(), step), { maxLength: 5 }), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(script, async (rounds) => {
        const programs = { v4: new Program(4), v6: new Program(6) };
        for (const program of [programs.v4, programs.v6]) {
          // Everything that may be referred to is there.
          for (const name of names) program.setChain("filter", { name, rules: [] });
          for (const id of ["s:1", "s:2"]) program.setSet(id, "net", []);
          program.setSet("n:3", "port", []);
        }
        space = newSpace();
        const dataplane = await start(programs, space);
        await dataplane.apply();
        for (const round of rounds) {
          for (const [isV6, act] of round) act(isV6 ? programs.v6 : programs.v4);
          expect((await dataplane.apply()).compared).toBe(false);
        }
        await sameAsFromScratch(programs);
        dataplane.recheck();
        expect(await dataplane.apply()).toEqual({ commands: 0, compared: true, repaired: [] });
        await dataplane.close();
        for (const one of spaces.splice(1)) one.dispose();
      }),
      { numRuns: 40 },
    );
  });

  /** The kernel holds what a new process would make in an empty one. */
  async function sameAsFromScratch(programs: { readonly v4: Program; readonly v6: Program }): Promise<void> {
    const fresh = newSpace();
    const dataplane = await openNftables({ programs, namespace: fresh.namespace });
    try {
      await dataplane.apply();
      expect(canonical(space)).toBe(canonical(fresh));
    } finally {
      await dataplane.close();
    }
  }
});

const memberOf = (type: "net" | "port", version: 4 | 6, n: number): string => {
  const address = version === 4 ? `10.0.0.${n}` : `fd00::${n.toString(16)}`;
  return type === "port" ? `${address},tcp:${n + 1}` : `${address}/${version === 4 ? 32 : 128}`;
};

const clear = (program: Program): void => {
  for (const name of [...program.chains("filter").keys()]) program.removeChain("filter", name);
  for (const name of [...program.dispatches("filter").keys()]) program.removeDispatch("filter", name);
  for (const hook of program.hooks("filter").keys()) program.setHook("filter", hook, { first: [], last: [] });
  for (const id of [...program.sets.keys()]) program.removeSet(id);
};

/** Rules of a chain in a listing. */
const chainText = (listing: string, name: string): string =>
  new RegExp(`chain ${name} \\{([^}]*)\\}`).exec(listing)?.[1]?.trim() ?? "";
