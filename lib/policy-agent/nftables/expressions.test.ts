import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Netfilter, NF_SUBSYSTEM, nfDump, openNetfilter } from "../../netlink/netfilter/index.ts";
import { describeAsRoot, makeNamespace, type TestNamespace } from "../../sys/testing.ts";
import type { IpVersion } from "../rules/index.ts";
import { mapParts, portRangeParts } from "./elements.ts";
import { familyOf } from "./kernel.ts";
import { setName } from "./names.ts";
import { type Step, stepRequest, stepText } from "./operations.ts";
import { compileRules, portSetsOf } from "./render.ts";
import { CASE_SETS, cases } from "./testcases.ts";

const GETRULE = 7;
const NEWRULE = 6;
const RULE = { TABLE: 1, CHAIN: 2, EXPRESSIONS: 4 } as const;

const nftIsThere = spawnSync("nft", ["--version"]).status === 0;
const describeWithNft = nftIsThere ? describeAsRoot : (name: string, _: () => void) => it.skip(`${name} [needs nft]`);

describeWithNft("what the kernel is sent", () => {
  let space: TestNamespace;
  let netfilter: Netfilter;
  beforeEach(() => {
    space = makeNamespace("calico-nft");
    netfilter = openNetfilter(space.namespace);
  });
  afterEach(() => {
    netfilter.close();
    space.dispose();
  });
  const send = (version: IpVersion, steps: readonly Step[]): void => {
    const requests = steps.map((step, i) => stepRequest(step, version, "calico", i + 1));
    const { errors } = netfilter.transaction(NF_SUBSYSTEM.NFTABLES, requests);
    expect(errors.map(({ error }) => error.message)).toEqual([]);
  };
  const nft = (text: string): string =>
    space.run(() => {
      const done = spawnSync("nft", ["-f", "-"], { input: text, encoding: "utf8" });
      if (done.status !== 0) throw new Error(done.stderr);
      return done.stdout;
    });
  /** Expressions of the rules of a chain, as the kernel tells them. */
  const listed = (version: IpVersion, chain: string): string[] =>
    netfilter.dump(
      nfDump({
        subsystem: NF_SUBSYSTEM.NFTABLES,
        type: GETRULE,
        family: familyOf(version),
        attempt: () => "list rules",
        attributes: (writer) => writer.attributeString(RULE.TABLE, "calico"),
        decode: (message) => {
          if (message.type !== NEWRULE) return undefined;
          const rule = message.attributes();
          if (rule.string(RULE.CHAIN) !== chain) return undefined;
          return Buffer.from(rule.get(RULE.EXPRESSIONS) ?? []).toString("latin1");
        },
      }),
    );

  describe.each([4, 6] as const)("in IPv%i", (version) => {
    it("is for every match and action what nft makes of their text", () => {
      const all = cases(version);
      const rules = all.map(({ rule }) => rule);
      const compiled = compileRules("filter-ours", rules, { version, table: "filter" });
      send(version, [
        { do: "add-table" },
        { do: "add-set", set: setName(version, CASE_SETS.net), shape: "net" },
        { do: "add-set", set: setName(version, CASE_SETS.port), shape: "port" },
        ...portSetsOf(rules, version).map(({ name }): Step => ({ do: "add-set", set: name, shape: "ports" })),
        { do: "add-chain", chain: "filter-cali-to" },
        { do: "add-chain", chain: "filter-ours" },
        { do: "add-chain", chain: "filter-nft" },
        ...compiled.map((rule): Step => ({ do: "add-rule", chain: "filter-ours", rule })),
      ]);
      nft(
        compiled.map((rule) => stepText({ do: "add-rule", chain: "filter-nft", rule }, version, "calico")).join("\n"),
      );
      const ours = listed(version, "filter-ours");
      const theirs = listed(version, "filter-nft");
      expect(ours).toHaveLength(all.length);
      expect(theirs).toHaveLength(all.length);
      const different = all.filter((_, i) => ours[i] !== theirs[i]).map(({ text }) => text);
      expect(different).toEqual([]);
    });

    it("makes chains, sets, maps and elements that nft lists as it does those of their text", () => {
      const net =
        version === 4 ? ["10.0.0.0/8", "11.0.0.1/32", "11.0.0.2/32", "255.255.255.255/32"] : ["fd00::/8", "::1/128"];
      const port = version === 4 ? ["10.0.0.1,tcp:80", "10.0.0.1,sctp:65535"] : ["fd00::1,udp:53"];
      const elements = { do: "add-elements", map: false } as const;
      const steps: Step[] = [
        { do: "add-table" },
        {
          do: "add-chain",
          chain: "mangle-OUTPUT",
          base: { type: "route", hook: "OUTPUT", priority: -150 },
        },
        { do: "add-chain", chain: "nat-POSTROUTING", base: { type: "nat", hook: "POSTROUTING", priority: 110 } },
        { do: "add-chain", chain: "filter-cali-to" },
        { do: "add-set", set: "nets", shape: "net" },
        { ...elements, set: "nets", elements: net.map((member) => ({ member, type: "net", version }) as const) },
        { do: "add-set", set: "ports", shape: "port" },
        { ...elements, set: "ports", elements: port.map((member) => ({ member, type: "port", version }) as const) },
        { do: "add-set", set: "numbers", shape: "ports" },
        {
          ...elements,
          set: "numbers",
          elements: [
            { first: 1, last: 9 },
            { first: 11, last: 11 },
            { first: 60000, last: 65535 },
          ].map(portRangeParts),
        },
        { do: "add-set", set: "entries", shape: "map" },
        { ...elements, set: "entries", map: true, elements: [mapParts("cali1", "filter-cali-to")] },
      ];
      const list = (): string => space.exec("nft", "list", "table", version === 4 ? "ip" : "ip6", "calico");
      send(version, steps);
      const ours = list();
      send(version, [{ do: "delete-table" }]);
      nft(steps.map((step) => stepText(step, version, "calico")).join("\n"));
      expect(ours).toBe(list());
    });
  });
});
