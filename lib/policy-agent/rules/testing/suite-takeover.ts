/** The part of the dataplanes' suite that is about what an earlier process left, at whatever moment it ended. */
import { expect, it } from "vitest";
import type { IpVersion } from "../ir.ts";
import { acceptPort, both, drop, expectPolicy, policy, useBed } from "./suite-policy.ts";
import type { Edits, SuiteSubject } from "./testbed.ts";
import { fateOf, netOf, packet, tcp, VERSIONS } from "./traffic.ts";

export function describeTakeover(subject: SuiteSubject): void {
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
