/** The policy that the parts of the dataplanes' suite put in force, the packets that tell whether it is, and a test bed for each test. */
import { afterEach, beforeEach, expect } from "vitest";
import type { IpVersion, Rule } from "../ir.ts";
import type { Agent, Edits, SuiteSubject, Testbed } from "./testbed.ts";
import { fateOf, netOf, packet, tcp, VERSIONS } from "./traffic.ts";

export const accept: Rule = { match: [], action: { do: "accept" } };
export const drop: Rule = { match: [], action: { do: "drop" } };
export const jump = (chain: string): Rule => ({ match: [], action: { do: "jump", chain } });
export const acceptPort = (port: number): Rule => ({
  match: [
    { is: "protocol", protocol: 6 },
    { is: "ports", side: "destination", ports: [{ first: port, last: port }] },
  ],
  action: { do: "accept" },
});

/** cali1 may reach port 80 if it is a member of s:allowed, and gets its answers; nothing else is forwarded from or to a workload. */
export function policy(edits: Edits, version: IpVersion): void {
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

export const both =
  (change: (edits: Edits, version: IpVersion) => void) =>
  (v4: Edits, v6: Edits): void => {
    change(v4, 4);
    change(v6, 6);
  };

/** The policy is in force. */
export function expectPolicy(bed: Testbed, versions = VERSIONS): void {
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
export function useBed(subject: SuiteSubject): { readonly bed: Testbed; readonly agent: Agent } {
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
