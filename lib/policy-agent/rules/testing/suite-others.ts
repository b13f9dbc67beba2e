/** The part of the dataplanes' suite that is about other people's hands in the kernel: what they spoil, and what is theirs. */
import { expect, it } from "vitest";
import type { IpVersion } from "../ir.ts";
import { accept, both, expectPolicy, policy, useBed } from "./suite-policy.ts";
import type { SuiteSubject, Tamper } from "./testbed.ts";
import { fateOf, netOf, packet, VERSIONS } from "./traffic.ts";

export function describeOthers(subject: SuiteSubject): void {
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
