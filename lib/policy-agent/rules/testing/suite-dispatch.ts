/** The part of the dataplanes' suite that is about the way from an interface to its chain. */
import { beforeEach, expect, it } from "vitest";
import { accept, acceptPort, both, drop, jump, useBed } from "./suite-policy.ts";
import type { Edits, SuiteSubject, Testbed } from "./testbed.ts";
import { fateOf, packet, tcp, VERSIONS } from "./traffic.ts";

export function describeDispatch(subject: SuiteSubject): void {
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
