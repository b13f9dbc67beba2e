/** The part of the dataplanes' suite that is about the kernel's hooks and the marks that go from one to the next. */
import { expect, it } from "vitest";
import type { Rule } from "../ir.ts";
import { acceptPort, both, drop, useBed } from "./suite-policy.ts";
import type { SuiteSubject } from "./testbed.ts";
import { addressOf, fateOf, netOf, packet, tcp, VERSIONS } from "./traffic.ts";

export function describeHooks(subject: SuiteSubject): void {
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
