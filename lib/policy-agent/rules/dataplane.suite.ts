/** What every dataplane does: see rules/dataplane.ts. Packets are real ones; the kernel's text is compared only with itself. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DataplaneError } from "./dataplane.ts";
import type { IpVersion, Rule } from "./ir.ts";
import { describeSets } from "./testing/suite-sets.ts";
import { describeTraffic } from "./testing/suite-traffic.ts";
import type { Agent, Edits, SuiteSubject, Tamper, Testbed } from "./testing/testbed.ts";
import { addressOf, fateOf, netOf, packet, tcp, VERSIONS } from "./testing/traffic.ts";

/** Runs the whole specification against one dataplane; skipped with the reason where it cannot run. */
export function describeDataplane(subject: SuiteSubject): void {
  const name = `${subject.name} does what a dataplane promises`;
  if (subject.missing !== undefined) {
    describe.skip(`${name} [skipped: ${subject.missing}]`, () => it.skip("nothing", () => {}));
    return;
  }
  const group = (title: string, body: () => void): void => {
    const reason = subject.without?.[title];
    if (reason === undefined) describe(title, body);
    else describe.skip(`${title} [skipped: ${reason}]`, body);
  };
  describe(name, () => {
    group("apply", () => describeApply(subject));
    group("takeover", () => describeTakeover(subject));
    group("others", () => describeOthers(subject));
    group("dispatch", () => describeDispatch(subject));
    group("hooks", () => describeHooks(subject));
    group("failure", () => describeFailure(subject));
    describeSets(subject, group);
    describeTraffic(subject, group);
  });
}

const accept: Rule = { match: [], action: { do: "accept" } };
const drop: Rule = { match: [], action: { do: "drop" } };
const jump = (chain: string): Rule => ({ match: [], action: { do: "jump", chain } });
const acceptPort = (port: number): Rule => ({
  match: [
    { is: "protocol", protocol: 6 },
    { is: "ports", side: "destination", ports: [{ first: port, last: port }] },
  ],
  action: { do: "accept" },
});

/** cali1 may reach port 80 if it is a member of s:allowed, and gets its answers; nothing else is forwarded from or to a workload. */
function policy(edits: Edits, version: IpVersion): void {
  edits.setSet("s:allowed", "net", [netOf("cali1", version)]);
  edits.setChain("filter", {
    name: "cali-fw-cali1",
    rules: [
      {
        ...acceptPort(80),
        match: [{ is: "set", side: "source", set: "s:allowed" }, ...acceptPort(80).match],
        comment: "clients may",
      },
      drop,
    ],
  });
  edits.setChain("filter", { name: "cali-fw-cali2", rules: [drop] });
  edits.setDispatch("filter", {
    name: "cali-from-wl-dispatch",
    direction: "in",
    entries: new Map([
      ["cali1", "cali-fw-cali1"],
      ["cali2", "cali-fw-cali2"],
    ]),
    otherwise: [drop],
  });
  edits.setChain("filter", {
    name: "cali-FORWARD",
    rules: [
      { match: [{ is: "conntrack", states: ["established", "related"] }], action: { do: "accept" } },
      {
        match: [{ is: "interface", direction: "in", name: "cali*" }],
        action: { do: "jump", chain: "cali-from-wl-dispatch" },
      },
      { match: [{ is: "interface", direction: "out", name: "cali*" }], action: { do: "drop" } },
    ],
  });
  edits.setHook("filter", "FORWARD", { first: [jump("cali-FORWARD")], last: [] });
}

const both =
  (change: (edits: Edits, version: IpVersion) => void) =>
  (v4: Edits, v6: Edits): void => {
    change(v4, 4);
    change(v6, 6);
  };

/** The policy is in force. */
function expectPolicy(bed: Testbed, versions = VERSIONS): void {
  for (const version of versions) {
    const fates = {
      allowed: fateOf(bed, "cali1", packet(version, "cali1", "out0")),
      "other port": fateOf(bed, "cali1", packet(version, "cali1", "out0", tcp(81))),
      "other workload": fateOf(bed, "cali2", packet(version, "cali2", "out0")),
      "no endpoint": fateOf(bed, "cali3", packet(version, "cali3", "out0")),
      "from outside": fateOf(bed, "out0", packet(version, "out0", "cali1", tcp(80, { sourcePort: 40_001 }))),
    };
    expect(fates, `IPv${version}`).toEqual({
      allowed: "out0",
      "other port": "silence",
      "other workload": "silence",
      "no endpoint": "silence",
      "from outside": "silence",
    });
  }
}

/** A test bed with one agent, for each test. */
function useBed(subject: SuiteSubject): { readonly bed: Testbed; readonly agent: Agent } {
  const use = {} as { bed: Testbed; agent: Agent };
  beforeEach(async () => {
    use.bed = await subject.open();
    use.agent = await use.bed.start();
  });
  afterEach(async () => {
    await use.bed?.dispose();
  });
  return use;
}

function describeApply(subject: SuiteSubject): void {
  const use = useBed(subject);

  it("enforces on an empty kernel, and says that it compared", async () => {
    const { bed, agent } = use;
    expect(fateOf(bed, "cali2", packet(4, "cali2", "out0"))).toBe("out0");
    await agent.edit(both(policy));
    const applied = await agent.apply();
    expect(applied).toMatchObject({ compared: true, repaired: [] });
    expect(applied.commands).toBeGreaterThan(0);
    expectPolicy(bed);
    const counts = await agent.counts();
    expect(counts.sets).toBe(2);
    expect(counts.chains).toBeGreaterThanOrEqual(6);
    expect(counts.rules).toBeGreaterThanOrEqual(12);
  });

  it("sends nothing when there is nothing to change", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    const before = bed.look.ours(4);
    expect(await agent.apply()).toEqual({ commands: 0, compared: false, repaired: [] });
    await agent.edit(both(policy));
    expect((await agent.apply()).commands).toBe(0);
    expect(bed.look.ours(4)).toBe(before);
  });

  it("finds nothing to repair when it looks and all is as it was", async () => {
    const { agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    await agent.recheck();
    expect(await agent.apply()).toEqual({ commands: 0, compared: true, repaired: [] });
  });

  it("changes one chain and leaves the rules of the others alone", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    expectPolicy(bed);
    const look = (chain: string): string[] => VERSIONS.map((version) => bed.look.identity(version, "filter", chain));
    const [forward, first, second] = [look("cali-FORWARD"), look("cali-fw-cali1"), look("cali-fw-cali2")];
    await agent.edit(
      both((edits) => edits.setChain("filter", { name: "cali-fw-cali2", rules: [acceptPort(90), drop] })),
    );
    await agent.apply();
    expect(look("cali-FORWARD")).toEqual(forward);
    expect(look("cali-fw-cali1")).toEqual(first);
    expect(look("cali-fw-cali2")).not.toEqual(second);
    for (const version of VERSIONS) {
      expect(fateOf(bed, "cali2", packet(version, "cali2", "out0", tcp(90)))).toBe("out0");
      expect(fateOf(bed, "cali2", packet(version, "cali2", "out0", tcp(80)))).toBe("silence");
    }
  });

  it("brings a new chain with those that refer to it, and takes one away with them", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    await agent.edit(
      both((edits) => {
        edits.setChain("filter", { name: "cali-po-b", rules: [acceptPort(91)] });
        edits.setChain("filter", { name: "cali-po-a", rules: [jump("cali-po-b")] });
        edits.setChain("filter", { name: "cali-fw-cali2", rules: [jump("cali-po-a"), drop] });
      }),
    );
    await agent.apply();
    for (const version of VERSIONS) {
      expect(fateOf(bed, "cali2", packet(version, "cali2", "out0", tcp(91)))).toBe("out0");
    }
    await agent.edit(
      both((edits) => {
        edits.removeChain("filter", "cali-po-a");
        edits.removeChain("filter", "cali-po-b");
        edits.setChain("filter", { name: "cali-fw-cali2", rules: [drop] });
      }),
    );
    await agent.apply();
    for (const version of VERSIONS) expect(bed.look.ours(version)).not.toContain("cali-po-");
    expectPolicy(bed);
  });

  it("reorders, inserts and deletes rules of a chain", async () => {
    const { bed, agent } = use;
    const ports = [80, 81, 82, 83, 84, 85];
    const rules = (allowed: readonly number[]): Rule[] => [...allowed.map(acceptPort), drop];
    await agent.edit(both(policy));
    for (const allowed of [[80, 82, 84], [84, 80, 82], [84, 81, 82, 83], [83], [80, 81, 82, 83, 84, 85], []]) {
      await agent.edit(both((edits) => edits.setChain("filter", { name: "cali-fw-cali1", rules: rules(allowed) })));
      await agent.apply();
      const open = ports.filter((port) => fateOf(bed, "cali1", packet(6, "cali1", "out0", tcp(port))) === "out0");
      expect(open).toEqual(allowed.toSorted());
    }
    expect((await agent.counts()).chains).toBeGreaterThan(0);
  });

  it("lets no denied packet through and loses no allowed one while it applies", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    let rounds = 0;
    for (let turn = 0; turn < 8; turn++) {
      await agent.edit(
        both((edits, version) => {
          // Sets, chains and dispatch turn over, while what cali1 and cali2 may stays the same.
          edits.setSet(`s:${turn}`, "net", [netOf("cali1", version)]);
          edits.setChain("filter", {
            name: "cali-fw-cali1",
            rules: [
              { ...acceptPort(80), match: [{ is: "set", side: "source", set: `s:${turn}` }, ...acceptPort(80).match] },
              drop,
            ],
          });
          edits.setChain("filter", { name: `cali-fw-new${turn}`, rules: [drop] });
          edits.setDispatch("filter", {
            name: "cali-from-wl-dispatch",
            direction: "in",
            entries: new Map([
              ["cali1", "cali-fw-cali1"],
              [`cali2x${turn}`, `cali-fw-new${turn}`],
              ["cali2", "cali-fw-cali2"],
            ]),
            otherwise: [drop],
          });
          if (turn > 0) {
            edits.removeSet(`s:${turn - 1}`);
            edits.removeChain("filter", `cali-fw-new${turn - 1}`);
          }
        }),
      );
      let done = false;
      const applied = agent.apply().finally(() => {
        done = true;
      });
      while (!done) {
        for (const version of VERSIONS) {
          expect(fateOf(bed, "cali2", packet(version, "cali2", "out0"))).toBe("silence");
          expect(fateOf(bed, "cali1", packet(version, "cali1", "out0"))).toBe("out0");
        }
        rounds++;
        await new Promise((resolve) => setImmediate(resolve));
      }
      await applied;
    }
    expect(rounds).toBeGreaterThan(0);
  });

  it("removes everything of its own and nothing of others", async () => {
    const { bed, agent } = use;
    for (const version of VERSIONS) bed.tamper.plantForeign(version);
    const foreign = VERSIONS.map((version) => bed.look.foreign(version));
    await agent.edit(both(policy));
    await agent.apply();
    expect(VERSIONS.map((version) => bed.look.foreign(version))).toEqual(foreign);
    await agent.remove();
    expect(VERSIONS.map((version) => bed.look.ours(version))).toEqual(["", ""]);
    expect(VERSIONS.map((version) => bed.look.foreign(version))).toEqual(foreign);
    expect(fateOf(bed, "cali2", packet(4, "cali2", "out0"))).toBe("out0");
  });

  it("goes on enforcing when it is closed", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    await agent.close();
    expectPolicy(bed);
  });
}

function describeTakeover(subject: SuiteSubject): void {
  const use = useBed(subject);

  it("takes over what a predecessor programmed without touching it", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    expectPolicy(bed);
    const look = (): string[] =>
      VERSIONS.flatMap((version) =>
        ["cali-FORWARD", "cali-fw-cali1", "cali-fw-cali2"].map((chain) => bed.look.identity(version, "filter", chain)),
      );
    const before = look();
    await agent.kill();
    const successor = await bed.start();
    await successor.edit(both(policy));
    expect(await successor.apply()).toMatchObject({ commands: 0, compared: true });
    expect(look()).toEqual(before);
    for (const version of VERSIONS) {
      const answer = packet(version, "out0", "cali1", { sourcePort: 80, destinationPort: 40_000, flags: "syn-ack" });
      expect(fateOf(bed, "out0", answer)).toBe("cali1");
    }
    expectPolicy(bed);
  });

  it("changes the difference only, and removes what nobody wants any more", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.edit(
      both((edits, version) => {
        edits.setSet("s:old", "net", [netOf("cali2", version)]);
        edits.setChain("filter", {
          name: "cali-fw-old",
          rules: [{ match: [{ is: "set", side: "source", set: "s:old" }], action: { do: "drop" } }],
        });
      }),
    );
    await agent.apply();
    expectPolicy(bed);
    await agent.kill();
    for (const version of VERSIONS) bed.tamper.plantLeftovers(version);
    const look = (chain: string): string[] => VERSIONS.map((version) => bed.look.identity(version, "filter", chain));
    const [forward, first] = [look("cali-FORWARD"), look("cali-fw-cali1")];
    const successor = await bed.start();
    await successor.edit(both(policy));
    await successor.edit(
      both((edits) => edits.setChain("filter", { name: "cali-fw-cali2", rules: [acceptPort(92), drop] })),
    );
    await successor.apply();
    expect(look("cali-FORWARD")).toEqual(forward);
    expect(look("cali-fw-cali1")).toEqual(first);
    for (const version of VERSIONS) {
      expect(fateOf(bed, "cali2", packet(version, "cali2", "out0", tcp(92)))).toBe("out0");
      expect(bed.look.ours(version)).not.toMatch(/gone|old/);
    }
  });

  it("can be killed at any moment of an apply, and its successor gets there", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    await agent.kill();
    const much =
      (turn: number) =>
      (edits: Edits, version: IpVersion): void => {
        policy(edits, version);
        for (let index = 0; index < 150; index++) {
          const members = Array.from({ length: 20 }, (_, low) =>
            version === 4 ? `10.${turn}.${index}.${low}/32` : `fd00:${turn}:${index}::${low}/128`,
          );
          edits.setSet(`s:${turn}-${index}`, "net", members);
          edits.setChain("filter", {
            name: `cali-pi-${turn}-${index}`,
            rules: [
              { match: [{ is: "set", side: "source", set: `s:${turn}-${index}` }], action: { do: "accept" } },
              drop,
            ],
          });
        }
      };
    for (const [turn, delay] of [0, 4, 12, 25, 50, 90].entries()) {
      const doomed = await bed.start();
      await doomed.edit(both(much(turn)));
      const applied = doomed.apply().then(
        () => "applied",
        () => "killed",
      );
      await new Promise((resolve) => setTimeout(resolve, delay));
      await doomed.kill();
      await applied;
      expectPolicy(bed);
    }
    const successor = await bed.start();
    await successor.edit(both(policy));
    // What a killed process had started may finish behind it, and may make the first round fail.
    await successor.apply().catch(() => successor.apply());
    await successor.recheck();
    await successor.apply();
    expectPolicy(bed);
    for (const version of VERSIONS) expect(bed.look.ours(version)).not.toContain("cali-pi-");
  });
}

function describeOthers(subject: SuiteSubject): void {
  const use = useBed(subject);

  const spoiled: Readonly<Record<string, (tamper: Tamper, version: IpVersion) => void>> = {
    "deletes a rule": (tamper, version) => tamper.deleteRule(version, "filter", "cali-fw-cali2"),
    "puts a rule in front": (tamper, version) => tamper.insertRule(version, "filter", "cali-fw-cali2"),
    "flushes a chain": (tamper, version) => tamper.flushChain(version, "filter", "cali-FORWARD"),
    "unhooks us": (tamper, version) => tamper.unhook(version, "filter", "FORWARD"),
    "flushes everything": (tamper, version) => tamper.flushEverything(version),
    "flushes a set": (tamper, version) => tamper.flushSet(version, "s:allowed"),
    "adds a member": (tamper, version) => tamper.addMember(version, "s:allowed", netOf("cali2", version)),
    "deletes a member": (tamper, version) => tamper.deleteMember(version, "s:allowed", netOf("cali1", version)),
  };

  for (const [what, spoil] of Object.entries(spoiled)) {
    it(`notices and repairs when somebody ${what}`, async () => {
      const { bed, agent } = use;
      await agent.edit(both(policy));
      await agent.apply();
      const ours = VERSIONS.map((version) => bed.look.ours(version));
      for (const version of VERSIONS) {
        await agent.forgetDrift();
        spoil(bed.tamper, version);
        await agent.drift();
        const applied = await agent.apply();
        expect(applied.compared).toBe(true);
        expect(applied.repaired.length).toBeGreaterThan(0);
        expect(applied.commands).toBeGreaterThan(0);
        expect(VERSIONS.map((each) => bed.look.ours(each))).toEqual(ours);
        expectPolicy(bed);
      }
    });

    it(`repairs at a recheck when somebody ${what} while nobody listens`, async () => {
      const { bed, agent } = use;
      await agent.edit(both(policy));
      await agent.apply();
      const ours = VERSIONS.map((version) => bed.look.ours(version));
      await agent.close();
      for (const version of VERSIONS) spoil(bed.tamper, version);
      const successor = await bed.start();
      await successor.edit(both(policy));
      expect((await successor.apply()).commands).toBeGreaterThan(0);
      expect(VERSIONS.map((each) => bed.look.ours(each))).toEqual(ours);
      expectPolicy(bed);
    });
  }

  it("does not take its own changes for those of others", async () => {
    const { agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    for (const turn of [1, 2, 3]) {
      await agent.edit(
        both((edits, version) => {
          edits.setChain("filter", { name: `cali-fw-turn${turn}`, rules: [accept] });
          edits.changeSet("s:allowed", [netOf(`cali${turn}` as "cali1", version)], []);
        }),
      );
      expect((await agent.apply()).repaired).toEqual([]);
    }
  });

  it("leaves what others have as it is, through changes and repairs", async () => {
    const { bed, agent } = use;
    for (const version of VERSIONS) bed.tamper.plantForeign(version);
    const foreign = VERSIONS.map((version) => bed.look.foreign(version));
    await agent.edit(both(policy));
    await agent.apply();
    for (const version of VERSIONS) bed.tamper.flushChain(version, "filter", "cali-FORWARD");
    await agent.drift();
    await agent.apply();
    expectPolicy(bed);
    await agent.edit(both((edits) => edits.setChain("filter", { name: "cali-fw-cali2", rules: [accept] })));
    await agent.apply();
    expect(VERSIONS.map((version) => bed.look.foreign(version))).toEqual(foreign);
    expect(fateOf(bed, "cali2", packet(4, "cali2", "out0"))).toBe("out0");
  });
}

function describeDispatch(subject: SuiteSubject): void {
  const use = useBed(subject);
  /** Interfaces that share beginnings with those that are there, as many as asked for. */
  const crowd = (count: number): [string, string][] =>
    Array.from({ length: count }, (_, index) => [`cali${(index * 7919 + 10).toString(36)}z`, "cali-fw-crowd"]);
  const dispatch = (
    edits: Edits,
    entries: readonly (readonly [string, string])[],
    direction: "in" | "out" = "in",
  ): void =>
    edits.setDispatch("filter", {
      name: `cali-${direction}-dispatch`,
      direction,
      entries: new Map(entries),
      otherwise: [drop],
    });
  const fates = (bed: Testbed): string =>
    (["cali1", "cali2", "cali3"] as const).map((port) => fateOf(bed, port, packet(6, port, "out0"))).join(" ");

  beforeEach(async () => {
    await use.agent.edit(
      both((edits) => {
        for (const name of ["cali-fw-cali1", "cali-fw-cali2", "cali-fw-crowd"]) {
          edits.setChain("filter", { name, rules: [accept] });
        }
        dispatch(edits, [
          ["cali1", "cali-fw-cali1"],
          ["cali10", "cali-fw-crowd"],
          ["cali1a", "cali-fw-crowd"],
          ...crowd(200),
        ]);
        edits.setHook("filter", "FORWARD", { first: [jump("cali-in-dispatch")], last: [] });
      }),
    );
    await use.agent.apply();
  });

  it("sends each interface to its chain, and all others to what is otherwise", () => {
    expect(fates(use.bed)).toBe("out0 silence silence");
  });

  it("adds one and removes one", async () => {
    const { bed, agent } = use;
    const identity = (): string[] => VERSIONS.map((version) => bed.look.identity(version, "filter", "cali-fw-cali1"));
    const change = async (entries: readonly (readonly [string, string])[]): Promise<void> => {
      await agent.edit(both((edits) => dispatch(edits, entries)));
      const before = identity();
      await agent.apply();
      expect(identity()).toEqual(before);
    };
    await change([["cali1", "cali-fw-cali1"], ["cali2", "cali-fw-cali2"], ...crowd(200)]);
    expect(fates(bed)).toBe("out0 out0 silence");
    await change([["cali2", "cali-fw-cali2"], ...crowd(199)]);
    expect(fates(bed)).toBe("silence out0 silence");
    await agent.recheck();
    expect((await agent.apply()).repaired).toEqual([]);
  });

  it("sends an interface to another chain", async () => {
    const { bed, agent } = use;
    await agent.edit(
      both((edits) => {
        edits.setChain("filter", { name: "cali-fw-other", rules: [drop] });
        dispatch(edits, [["cali1", "cali-fw-other"], ...crowd(200)]);
      }),
    );
    await agent.apply();
    expect(fates(bed)).toBe("silence silence silence");
  });

  it("goes, does not jump: what a chain leaves open returns to whoever came to the dispatch", async () => {
    const { bed, agent } = use;
    await agent.edit(
      both((edits) => {
        edits.setChain("filter", { name: "cali-fw-cali1", rules: [] });
        edits.setHook("filter", "FORWARD", { first: [jump("cali-in-dispatch"), acceptPort(80), drop], last: [] });
      }),
    );
    await agent.apply();
    expect(fates(bed)).toBe("out0 silence silence");
    expect(fateOf(bed, "cali1", packet(6, "cali1", "out0", tcp(81)))).toBe("silence");
  });

  it("tells by the interface a packet leaves through, too", async () => {
    const { bed, agent } = use;
    await agent.edit(
      both((edits) => {
        dispatch(edits, [["cali1", "cali-fw-cali1"]], "out");
        edits.setHook("filter", "FORWARD", { first: [jump("cali-out-dispatch")], last: [] });
      }),
    );
    await agent.apply();
    for (const version of VERSIONS) {
      expect(fateOf(bed, "out0", packet(version, "out0", "cali1"))).toBe("cali1");
      expect(fateOf(bed, "out0", packet(version, "out0", "cali2"))).toBe("silence");
    }
  });

  it("begins with none and ends with none", async () => {
    const { bed, agent } = use;
    await agent.edit(both((edits) => dispatch(edits, [])));
    await agent.apply();
    expect(fates(bed)).toBe("silence silence silence");
    await agent.edit(both((edits) => dispatch(edits, [["cali3", "cali-fw-crowd"]])));
    await agent.apply();
    expect(fates(bed)).toBe("silence silence out0");
    await agent.edit(
      both((edits) => {
        edits.setHook("filter", "FORWARD", { first: [], last: [] });
        edits.removeDispatch("filter", "cali-in-dispatch");
      }),
    );
    await agent.apply();
    expect(fates(bed)).toBe("out0 out0 out0");
    for (const version of VERSIONS) expect(bed.look.ours(version)).not.toContain("cali-in-dispatch");
  });
}

function describeHooks(subject: SuiteSubject): void {
  const use = useBed(subject);
  const mark = { do: "set-mark", value: 0x10000, mask: 0x10000 } as const;
  const marked = { is: "mark", value: 0x10000, mask: 0x10000 } as const;

  it("has rules first and rules last", async () => {
    const { bed, agent } = use;
    await agent.edit(
      both((edits) =>
        edits.setHook("filter", "FORWARD", {
          first: [{ match: acceptPort(80).match, action: mark }],
          last: [{ match: [marked], action: { do: "accept" } }, drop],
        }),
      ),
    );
    await agent.apply();
    for (const version of VERSIONS) {
      expect(fateOf(bed, "cali1", packet(version, "cali1", "out0"))).toBe("out0");
      expect(fateOf(bed, "cali1", packet(version, "cali1", "out0", tcp(81)))).toBe("silence");
    }
  });

  it("changes and clears them", async () => {
    const { bed, agent } = use;
    const set = (first: Rule[], last: Rule[]): Promise<void> =>
      agent.edit(both((edits) => edits.setHook("filter", "FORWARD", { first, last })));
    const fate = (): string => fateOf(bed, "cali1", packet(4, "cali1", "out0"));
    await set([drop], []);
    await agent.apply();
    expect(fate()).toBe("silence");
    await set([], [drop]);
    await agent.apply();
    expect(fate()).toBe("silence");
    await set([], []);
    await agent.apply();
    expect(fate()).toBe("out0");
  });

  const hooks = [
    ["raw", "PREROUTING", "cali1", "out0"],
    ["mangle", "PREROUTING", "cali1", "out0"],
    ["mangle", "INPUT", "cali1", "host"],
    ["filter", "INPUT", "cali1", "host"],
    ["mangle", "FORWARD", "cali1", "out0"],
    ["filter", "FORWARD", "cali1", "out0"],
    ["raw", "OUTPUT", "host", "out0"],
    ["mangle", "OUTPUT", "host", "out0"],
    ["filter", "OUTPUT", "host", "out0"],
    ["mangle", "POSTROUTING", "cali1", "out0"],
    ["mangle", "POSTROUTING", "host", "out0"],
  ] as const;
  it("stands at every hook of raw, mangle and filter", async () => {
    const { bed, agent } = use;
    for (const [table, hook, from, to] of hooks) {
      await agent.edit(
        both((edits) =>
          edits.setHook(table, hook, { first: [{ ...acceptPort(81), action: { do: "drop" } }], last: [] }),
        ),
      );
      await agent.apply();
      for (const version of VERSIONS) {
        expect([hook, fateOf(bed, from, packet(version, from, to, tcp(81)))]).toEqual([hook, "silence"]);
        expect([hook, fateOf(bed, from, packet(version, from, to, tcp(82)))]).toEqual([hook, to]);
      }
      await agent.edit(both((edits) => edits.setHook(table, hook, { first: [], last: [] })));
    }
  });

  it("passes a mark on from table to table, in the kernel's order", async () => {
    const { bed, agent } = use;
    await agent.edit(
      both((edits, version) => {
        edits.setHook("raw", "PREROUTING", { first: [{ match: acceptPort(80).match, action: mark }], last: [] });
        edits.setHook("mangle", "PREROUTING", {
          first: [
            {
              match: [marked, { is: "net", side: "source", net: netOf("cali2", version) }],
              action: { do: "set-mark", value: 0, mask: 0x10000 },
            },
          ],
          last: [],
        });
        edits.setHook("filter", "FORWARD", {
          first: [{ match: [{ ...marked, not: true }], action: { do: "drop" } }],
          last: [],
        });
      }),
    );
    await agent.apply();
    for (const version of VERSIONS) {
      expect(fateOf(bed, "cali1", packet(version, "cali1", "out0"))).toBe("out0");
      expect(fateOf(bed, "cali1", packet(version, "cali1", "out0", tcp(81)))).toBe("silence");
      expect(fateOf(bed, "cali2", packet(version, "cali2", "out0"))).toBe("silence");
    }
    expect(addressOf("cali1", 4)).toBe("10.65.0.1");
  });
}

function describeFailure(subject: SuiteSubject): void {
  const use = useBed(subject);
  /** The kernel translates in the nat table only. */
  const impossible: Rule = { match: [], action: { do: "masquerade" } };

  it("keeps all that was in force, does what can be done, says what was refused, and tries again", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.apply();
    await agent.edit((v4, v6) => {
      v4.setChain("filter", { name: "cali-fw-cali1", rules: [impossible] });
      v6.setChain("filter", { name: "cali-fw-cali2", rules: [acceptPort(93), drop] });
    });
    const refused = await agent.apply().then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(DataplaneError);
    expect(refused).toMatchObject({ code: "DATAPLANE_REFUSED" });
    expectPolicy(bed);
    expect(fateOf(bed, "cali2", packet(6, "cali2", "out0", tcp(93)))).toBe("out0");
    await expect(agent.apply()).rejects.toThrow("DATAPLANE_REFUSED");
    await agent.edit((v4) => v4.setChain("filter", { name: "cali-fw-cali1", rules: [acceptPort(94), drop] }));
    await agent.apply();
    expect(fateOf(bed, "cali1", packet(4, "cali1", "out0", tcp(94)))).toBe("out0");
    expect(fateOf(bed, "cali1", packet(4, "cali1", "out0", tcp(80)))).toBe("silence");
    expect(await agent.apply()).toMatchObject({ commands: 0, repaired: [] });
  });

  it("enforces the rest of a first apply of which something is refused, and leaves nothing open", async () => {
    const { bed, agent } = use;
    await agent.edit(both(policy));
    await agent.edit((v4) => {
      v4.setChain("mangle", { name: "cali-wrong", rules: [impossible] });
      v4.setHook("mangle", "PREROUTING", { first: [jump("cali-wrong")], last: [] });
    });
    await expect(agent.apply()).rejects.toThrow("DATAPLANE_REFUSED");
    // Whether the rest of IPv4 is in force, or what was refused denies in its place, is the dataplane's choice.
    expect(fateOf(bed, "cali2", packet(4, "cali2", "out0"))).toBe("silence");
    expect(fateOf(bed, "cali1", packet(4, "cali1", "out0", tcp(81)))).toBe("silence");
    expectPolicy(bed, [6]);
  });
}
