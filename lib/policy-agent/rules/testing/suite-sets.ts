/** The part of the dataplanes' suite that is about IP sets. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { IpVersion, Match, Rule } from "../ir.ts";
import type { Agent, Edits, Port, SuiteSubject, Testbed } from "./testbed.ts";
import { addressOf, fateOf, netOf, packet, sctp, tcp, udp, VERSIONS } from "./traffic.ts";

const drop: Rule = { match: [], action: { do: "drop" } };

/** See the top of the file. */
export function describeSets(subject: SuiteSubject, group: (title: string, body: () => void) => void): void {
  const use = {} as { bed: Testbed; agent: Agent };
  const both = (change: (edits: Edits, version: IpVersion) => void) =>
    use.agent.edit((v4, v6) => {
      change(v4, 4);
      change(v6, 6);
    });
  /** Only what matches is forwarded. */
  const only = (edits: Edits, ...match: readonly Match[]): void => {
    edits.setChain("filter", { name: "cali-FORWARD", rules: [{ match, action: { do: "accept" } }, drop] });
    edits.setHook("filter", "FORWARD", {
      first: [{ match: [], action: { do: "jump", chain: "cali-FORWARD" } }],
      last: [],
    });
  };
  /** Which of the workloads may. */
  const open = (version: IpVersion): string =>
    (["cali1", "cali2", "cali3"] as const)
      .filter((port) => fateOf(use.bed, port, packet(version, port, "out0")) === "out0")
      .join(" ");
  const source: Match = { is: "set", side: "source", set: "s:a" };

  group("sets", () => {
    describe("of nets", () => {
      beforeEach(async () => {
        use.bed = await subject.open();
        use.agent = await use.bed.start();
      });
      afterEach(() => use.bed?.dispose());

      it("match their members, by either side, and the other way round", async () => {
        await both((edits, version) => {
          edits.setSet("s:a", "net", [netOf("cali1", version), netOf("cali2", version)]);
          edits.setSet("s:b", "net", [netOf("out0", version)]);
          only(edits, source, { is: "set", side: "destination", set: "s:b" });
        });
        await use.agent.apply();
        for (const version of VERSIONS) {
          expect(open(version)).toBe("cali1 cali2");
          expect(fateOf(use.bed, "cali1", packet(version, "cali1", "cali2"))).toBe("silence");
        }
        await both((edits) => only(edits, { ...source, not: true }));
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali3");
      });

      it("get and lose members without a rule being touched", async () => {
        await both((edits, version) => {
          edits.setSet("s:a", "net", [netOf("cali1", version)]);
          only(edits, source);
        });
        await use.agent.apply();
        const identity = (): string[] =>
          VERSIONS.map((version) => use.bed.look.identity(version, "filter", "cali-FORWARD"));
        const before = identity();
        await both((edits, version) => edits.changeSet("s:a", [netOf("cali2", version)], [netOf("cali1", version)]));
        const applied = await use.agent.apply();
        expect(identity()).toEqual(before);
        expect(applied.commands).toBeGreaterThan(0);
        expect(applied.compared).toBe(false);
        for (const version of VERSIONS) expect(open(version)).toBe("cali2");
        await both((edits) => edits.setSet("s:a", "net", []));
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("");
      });

      it("hold nets of every length, and one that contains another takes its place", async () => {
        const wide = { 4: "10.65.0.0/16", 6: "fd65::/16" };
        const inner = { 4: ["10.65.0.0/31", "10.65.0.3/32"], 6: ["fd65::/127", "fd65::3/128"] };
        const all = { 4: "0.0.0.0/0", 6: "::/0" };
        await both((edits, version) => {
          edits.setSet("s:a", "net", [wide[version]]);
          only(edits, source);
        });
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali1 cali2 cali3");
        await both((edits, version) => edits.changeSet("s:a", inner[version], [wide[version]]));
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali1 cali3");
        await both((edits, version) => edits.changeSet("s:a", [all[version]], inner[version]));
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali1 cali2 cali3");
        await both((edits, version) => edits.changeSet("s:a", [netOf("cali2", version)], [all[version]]));
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali2");
        await use.agent.recheck();
        expect(await use.agent.apply()).toMatchObject({ commands: 0, repaired: [] });
      });

      it("are made, used, given up and made anew under the same name", async () => {
        for (const member of ["cali1", "cali2"] as const) {
          await both((edits, version) => {
            edits.setSet("s:a", "net", [netOf(member, version)]);
            only(edits, source);
          });
          await use.agent.apply();
          for (const version of VERSIONS) expect(open(version)).toBe(member);
          await both((edits) => {
            only(edits);
            edits.removeSet("s:a");
          });
          await use.agent.apply();
          for (const version of VERSIONS) expect(() => use.bed.look.members(version, "s:a")).toThrow();
        }
      });

      it("are replaced as a whole while rules use them", async () => {
        await both((edits, version) => {
          edits.setSet("s:a", "net", [netOf("cali1", version)]);
          only(edits, source);
        });
        await use.agent.apply();
        await both((edits, version) => {
          edits.removeSet("s:a");
          edits.setSet("s:a", "net", [netOf("cali3", version)]);
        });
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali3");
      });

      it("become sets of ports, with the rules that use them", async () => {
        await both((edits, version) => {
          edits.setSet("s:a", "net", [netOf("cali1", version)]);
          only(edits, source);
        });
        await use.agent.apply();
        await both((edits, version) => {
          edits.setSet("s:a", "port", [`${addressOf("out0", version)},tcp:80`]);
          only(edits, { is: "port-set", side: "destination", set: "s:a" });
        });
        await use.agent.apply();
        for (const version of VERSIONS) {
          expect(open(version)).toBe("cali1 cali2 cali3");
          expect(fateOf(use.bed, "cali1", packet(version, "cali1", "out0", tcp(81)))).toBe("silence");
        }
      });

      it("may be empty, and may be many", async () => {
        await both((edits, version) => {
          for (let index = 0; index < 60; index++)
            edits.setSet(`s:${index}`, "net", index === 7 ? [netOf("cali1", version)] : []);
          edits.setChain("filter", {
            name: "cali-FORWARD",
            rules: [
              ...Array.from(
                { length: 60 },
                (_, index): Rule => ({
                  match: [{ is: "set", side: "source", set: `s:${index}` }],
                  action: { do: "accept" },
                }),
              ),
              drop,
            ],
          });
          edits.setHook("filter", "FORWARD", {
            first: [{ match: [], action: { do: "jump", chain: "cali-FORWARD" } }],
            last: [],
          });
        });
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali1");
        expect((await use.agent.counts()).sets).toBe(120);
      });

      it("hold ten thousand members, and change by one", async () => {
        const members = (version: IpVersion): string[] =>
          Array.from({ length: 10_000 }, (_, index) =>
            version === 4
              ? `10.${100 + (index >> 12)}.${(index >> 5) & 127}.${(index & 31) * 2}/32`
              : `fd00:1::${(index * 2).toString(16)}/128`,
          );
        await both((edits, version) => {
          edits.setSet("s:a", "net", [...members(version), netOf("cali1", version)]);
          only(edits, source);
        });
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali1");
        await both((edits, version) => edits.changeSet("s:a", [netOf("cali2", version)], [netOf("cali1", version)]));
        expect((await use.agent.apply()).commands).toBeLessThanOrEqual(8);
        for (const version of VERSIONS) expect(open(version)).toBe("cali2");
        await use.agent.recheck();
        expect(await use.agent.apply()).toMatchObject({ commands: 0, repaired: [] });
        await both((edits, version) => edits.setSet("s:a", "net", [netOf("cali3", version)]));
        await use.agent.apply();
        for (const version of VERSIONS) expect(open(version)).toBe("cali3");
      });
    });

    describe("of ports", () => {
      beforeEach(async () => {
        use.bed = await subject.open();
        use.agent = await use.bed.start();
      });
      afterEach(() => use.bed?.dispose());

      const fates = (version: IpVersion): readonly string[] => {
        const sent = {
          tcp80: tcp(80),
          tcp81: tcp(81),
          udp53: udp(53),
          udp80: udp(80),
          sctp9: sctp(9),
          sctp80: sctp(80),
        };
        return Object.entries(sent).flatMap(([name, fields]) =>
          fateOf(use.bed, "cali1", packet(version, "cali1", "out0", fields)) === "out0" ? [name] : [],
        );
      };

      it("match address, protocol and port together", async () => {
        await both((edits, version) => {
          const [near, far] = [addressOf("cali2", version), addressOf("out0", version)];
          edits.setSet("n:a", "port", [`${far},tcp:80`, `${far},udp:53`, `${far},sctp:9`, `${near},tcp:81`]);
          only(edits, { is: "port-set", side: "destination", set: "n:a" });
        });
        await use.agent.apply();
        for (const version of VERSIONS) {
          expect(fates(version)).toEqual(["tcp80", "udp53", "sctp9"]);
          expect(fateOf(use.bed, "cali1", packet(version, "cali1", "cali2", tcp(80)))).toBe("silence");
          expect(fateOf(use.bed, "cali1", packet(version, "cali1", "cali2", tcp(81)))).toBe("cali2");
        }
        await both((edits, version) =>
          edits.changeSet("n:a", [`${addressOf("out0", version)},tcp:81`], [`${addressOf("out0", version)},tcp:80`]),
        );
        await use.agent.apply();
        for (const version of VERSIONS) expect(fates(version)).toEqual(["tcp81", "udp53", "sctp9"]);
        await use.agent.recheck();
        expect(await use.agent.apply()).toMatchObject({ commands: 0, repaired: [] });
      });

      it("match the source, too", async () => {
        const from: Port = "cali1";
        await both((edits, version) => {
          edits.setSet("n:a", "port", [`${addressOf(from, version)},tcp:5000`]);
          only(edits, { is: "port-set", side: "source", set: "n:a" });
        });
        await use.agent.apply();
        for (const version of VERSIONS) {
          expect(fateOf(use.bed, from, packet(version, from, "out0", { sourcePort: 5000 }))).toBe("out0");
          expect(fateOf(use.bed, from, packet(version, from, "out0", { sourcePort: 5001 }))).toBe("silence");
        }
      });

      it("do not match the other way round what they have", async () => {
        await both((edits, version) => {
          edits.setSet("n:a", "port", [`${addressOf("out0", version)},tcp:80`]);
          only(edits, { is: "port-set", side: "destination", set: "n:a", not: true });
        });
        await use.agent.apply();
        for (const version of VERSIONS) {
          expect(fates(version)).toEqual(["tcp81", "udp53", "udp80", "sctp9", "sctp80"]);
        }
      });
    });
  });
}
