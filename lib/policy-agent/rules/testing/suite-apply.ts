/** The part of the dataplanes' suite that is about applying: what changes, what does not, and what is refused. */
import { expect, it } from "vitest";
import { DataplaneError } from "../dataplane.ts";
import type { IpVersion, Rule } from "../ir.ts";
import { acceptPort, both, drop, expectPolicy, jump, policy, useBed } from "./suite-policy.ts";
import type { Flow, Port, SuiteSubject } from "./testbed.ts";
import { fateOf, netOf, packet, tcp, VERSIONS } from "./traffic.ts";

/** How often rules are replaced under traffic: what goes wrong for some microseconds of each time is to be hit. */
const TURNS = 60;

export function describeApply(subject: SuiteSubject): void {
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
    const flow = (version: IpVersion, from: Port): Flow => ({
      from,
      to: "out0",
      packet: packet(version, from, "out0"),
    });
    const flows = (["cali1", "cali2"] as const).flatMap((from) => VERSIONS.map((version) => flow(version, from)));
    const ofMembers = (set: string, { match, action }: Rule): Rule => ({
      match: [{ is: "set", side: "source", set }, ...match],
      action,
    });
    const total = flows.map(() => ({ sent: 0, out: 0 }));
    for (let turn = 0; turn < TURNS; turn++) {
      await agent.edit(
        both((edits, version) => {
          // Sets, chains and dispatch turn over, while what cali1 and cali2 may stays the same: one by a set that allows, the other by one that denies.
          edits.setSet(`s:${turn}`, "net", [netOf("cali1", version)]);
          edits.setSet(`d:${turn}`, "net", [netOf("cali2", version)]);
          edits.setChain("filter", {
            name: "cali-fw-cali1",
            rules: [ofMembers(`s:${turn}`, acceptPort(80)), drop],
          });
          edits.setChain("filter", {
            name: "cali-fw-cali2",
            rules: [ofMembers(`d:${turn}`, drop), acceptPort(80), drop],
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
            edits.removeSet(`d:${turn - 1}`);
            edits.removeChain("filter", `cali-fw-new${turn - 1}`);
          }
        }),
      );
      const applied = agent.apply();
      for (const [i, { sent, out }] of (await bed.flood(flows, applied)).entries()) {
        total[i]!.sent += sent;
        total[i]!.out += out;
      }
      await applied;
    }
    for (const [i, { sent, out }] of total.entries()) {
      const { from, packet } = flows[i]!;
      expect(sent).toBeGreaterThan(0);
      expect(out, `packets of ${from}, IPv${packet.version}, of ${sent}`).toBe(from === "cali1" ? sent : 0);
    }
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

export function describeFailure(subject: SuiteSubject): void {
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
