import { describe, expect, it } from "vitest";
import { closeRules } from "./close.ts";
import type { Action, Match, Rule } from "./ir.ts";

const full = (id: string): boolean => id === "s:full";
const inFull: Match = { is: "set", side: "source", set: "s:full" };
const inOther: Match = { is: "set", side: "source", set: "s:other" };
const tcp: Match = { is: "protocol", protocol: 6 };
const rule = (action: Action, ...match: readonly Match[]): Rule => ({ match, action });
const drop: Action = { do: "drop" };
const mark: Action = { do: "set-mark", value: 1, mask: 1 };

describe("rules that look into a set which has not all its members", () => {
  it("deny whatever the set says, where they deny what is in it", () => {
    expect(closeRules([rule(drop, tcp, inFull, inOther)], full)).toEqual([rule(drop, tcp, inOther)]);
    expect(closeRules([rule({ do: "reject", with: "icmp" }, inFull)], full)).toEqual([
      rule({ do: "reject", with: "icmp" }),
    ]);
  });

  it("allow nothing, where they allow what is not in it", () => {
    expect(closeRules([rule(mark, { ...inFull, not: true }), rule(drop)], full)).toEqual([rule(drop)]);
  });

  it("stay, where what is missing is denied anyway", () => {
    expect(
      closeRules([rule(mark, inFull), rule(drop, { ...inFull, not: true }), rule(drop, inOther)], full),
    ).toBeUndefined();
  });
});
