import { describe, expect, it } from "vitest";
import { type Changes, Program, type Rule } from "../rules/index.ts";
import { difference, emptyHeld, type Held, inTurns, settle } from "./diff.ts";
import { keyText, partsOf } from "./elements.ts";
import { stepText } from "./operations.ts";
import { changed, everything, PortSetUse, type WantsOptions } from "./wants.ts";

const accept: Rule = { match: [], action: { do: "accept" } };
const drop: Rule = { match: [], action: { do: "drop" } };
const jump = (chain: string): Rule => ({ match: [], action: { do: "jump", chain } });
const inSet = (set: string): Rule => ({ match: [{ is: "set", side: "source", set }], action: { do: "accept" } });
const ports = (...list: number[]): Rule => ({
  match: [{ is: "ports", side: "source", ports: list.map((port) => ({ first: port, last: port })) }],
  action: { do: "drop" },
});

/** A program, and a kernel that is told of and takes every step. */
function world() {
  const program = new Program(4);
  const held: Held = emptyHeld();
  const use = new PortSetUse();
  const options: WantsOptions = { held, maxSetSize: 100, read: () => new Set() };
  const text = (changes: Changes): string[] => {
    const planned = changed(program, changes, use, options)!;
    expect(planned.problems).toEqual([]);
    const operations = difference(held, planned.wants, 4);
    settle(held, planned.wants);
    return operations.map((operation) =>
      stepText(operation, 4, "calico").replaceAll(/ comment "cali:[\w-]{16};"| ip calico/g, ""),
    );
  };
  return { program, held, use, options, step: () => text(program.takeChanges()) };
}

describe("the steps of a transaction", () => {
  it("make what is referred to before what refers to it, and take it away after", () => {
    const { program, step } = world();
    program.setHook("filter", "FORWARD", { first: [jump("a")], last: [] });
    program.setChain("filter", { name: "a", rules: [inSet("s:1"), ports(1, 3), jump("b")] });
    program.setChain("filter", { name: "b", rules: [drop] });
    program.setSet("s:1", "net", ["10.0.0.0/8"]);
    program.setDispatch("filter", {
      name: "d",
      direction: "in",
      entries: new Map([["cali1", "b"]]),
      otherwise: [accept],
    });
    expect(step()).toEqual([
      "add table",
      "add set cali40s-1 { type ipv4_addr; flags interval; }",
      "add set cali4p-dES2ePghHX_dkFLq { type inet_service; flags interval; }",
      "add element cali40s-1 { 10.0.0.0/8 }",
      "add element cali4p-dES2ePghHX_dkFLq { 1, 3 }",
      "add chain filter-a",
      "add chain filter-b",
      "add chain filter-d",
      "add chain filter-FORWARD { type filter hook forward priority 0; policy accept; }",
      "add map filter-d { type ifname : verdict; }",
      "add rule filter-a ip saddr @cali40s-1 counter accept",
      "add rule filter-a th sport @cali4p-dES2ePghHX_dkFLq counter drop",
      "add rule filter-a counter jump filter-b",
      "add rule filter-b counter drop",
      "add rule filter-d iifname vmap @filter-d",
      "add rule filter-d counter accept",
      "add rule filter-FORWARD counter jump filter-a",
      'add element filter-d { "cali1" : goto filter-b }',
    ]);
    expect(step()).toEqual([]);
    program.setHook("filter", "FORWARD", { first: [], last: [drop] });
    program.removeChain("filter", "a");
    program.removeChain("filter", "b");
    program.removeSet("s:1");
    program.removeDispatch("filter", "d");
    expect(step()).toEqual([
      "flush chain filter-a",
      "flush chain filter-b",
      "flush chain filter-d",
      "flush chain filter-FORWARD",
      'delete element filter-d { "cali1" : goto filter-b }',
      "delete set cali40s-1",
      "delete set cali4p-dES2ePghHX_dkFLq",
      "delete map filter-d",
      "delete chain filter-a",
      "delete chain filter-b",
      "delete chain filter-d",
      "add rule filter-FORWARD counter drop",
    ]);
    program.setHook("filter", "FORWARD", { first: [], last: [] });
    expect(step()).toEqual(["delete table"]);
  });

  it("are those that the change needs and no more", () => {
    const { program, step } = world();
    program.setSet("s:1", "net", ["10.0.0.0/8", "11.0.0.0/8"]);
    program.setChain("filter", { name: "a", rules: [accept, drop] });
    program.setChain("raw", { name: "a", rules: [accept] });
    step();
    program.changeSet("s:1", ["12.0.0.0/8"], ["10.0.0.0/8"]);
    expect(step()).toEqual(["delete element cali40s-1 { 10.0.0.0/8 }", "add element cali40s-1 { 12.0.0.0/8 }"]);
    program.setChain("filter", { name: "a", rules: [drop] });
    expect(step()).toEqual(["flush chain filter-a", "add rule filter-a counter drop"]);
    program.setChain("filter", { name: "a", rules: [accept] });
    program.setChain("filter", { name: "a", rules: [drop] });
    expect(step()).toEqual([]);
  });

  it("send many elements in parts that fit a message", () => {
    const { program, held, use, options } = world();
    const members = Array.from({ length: 1000 }, (_, i) => `10.0.${i >> 8}.${i & 255},tcp:${i + 1}`);
    program.setSet("n:1", "port", members);
    const { wants } = everything(program, use, { ...options, maxSetSize: 1000 });
    const added = difference(held, wants, 4).flatMap((operation) =>
      operation.do === "add-elements" ? [operation.elements.length] : [],
    );
    expect(added.length).toBeGreaterThan(1);
    expect(added.reduce((sum, count) => sum + count)).toBe(1000);
  });
});

describe("compared as a whole", () => {
  it("a set is told apart element by element, and what nobody wants goes", () => {
    const { program, held, use } = world();
    program.setSet("s:1", "net", ["10.0.0.0/8", "12.0.0.0/8"]);
    held.table = "present";
    held.sets.set("cali40s-1", "net").set("cali40s-gone", "net").set("m", "map").set("odd", "foreign");
    held.maps.set("m", new Map());
    held.chains.set("filter-old", { base: "", hashes: "?", rules: 1 });
    const has = (...nets: string[]): Set<string> =>
      new Set(nets.map((member) => keyText(partsOf({ member, type: "net", version: 4 }))));
    const { wants } = everything(program, use, {
      held,
      maxSetSize: 9,
      read: (name) => (name === "cali40s-1" ? has("10.0.0.0/8", "11.0.0.0/32") : has()),
    });
    expect(difference(held, wants, 4).map((operation) => stepText(operation, 4, "t"))).toEqual([
      "flush chain ip t filter-old",
      "delete set ip t cali40s-gone",
      "delete set ip t odd",
      "delete map ip t m",
      "delete chain ip t filter-old",
      "delete element ip t cali40s-1 { 11.0.0.0 }",
      "add element ip t cali40s-1 { 12.0.0.0/8 }",
    ]);
  });

  it("what cannot be said is closed when it is new, and left as it was when it is not", () => {
    const { program, held, use, options } = world();
    program.setChain("filter", { name: "new", rules: [{ match: [{ is: "ipvs" }], action: { do: "accept" } }] });
    program.setChain("filter", { name: "old", rules: [ports()] });
    program.setSet("s:bad", "net", ["10.0.0.0/99"]);
    program.setHook("raw", "FORWARD", { first: [drop], last: [] });
    held.chains.set("filter-old", { base: "", hashes: "x", rules: 1 });
    held.table = "present";
    const { wants, problems } = everything(program, use, options);
    expect(problems.map(({ unit, message }) => `${unit}: ${message}`)).toEqual([
      'ip set cali40s-bad: "10.0.0.0/99" is no CIDR of IPv4',
      "ip chain raw-FORWARD: the table raw has no chain at FORWARD",
      "ip chain filter-new: rule 1 of chain filter-new: nftables knows nothing of IPVS",
      "ip chain filter-old: rule 1 of chain filter-old: a list of ports is empty",
    ]);
    expect(wants.chains.get("filter-new")!.rules.map(({ text }) => text)).toEqual(["counter drop"]);
    expect(wants.chains.has("filter-old")).toBe(false);
    expect(wants.sets.has("cali40s-bad")).toBe(false);
  });

  it("a set that changed its type asks for it", () => {
    const { program, use, options, step } = world();
    program.setSet("s:1", "net", []);
    step();
    program.setSet("s:1", "port", []);
    expect(changed(program, program.takeChanges(), use, options)).toBeUndefined();
  });

  it("sets that nothing refers to yet go before; what is added to one that is there, or made anew, goes with the rules", () => {
    const { program, held, use, options, step } = world();
    program.setChain("filter", { name: "a", rules: [inSet("s:there")] });
    program.setSet("s:there", "net", ["10.0.0.1/32"]);
    step();
    held.sets.set("cali40s-other", "port");
    program.changeSet("s:there", ["10.0.0.2/32"], []);
    program.setSet("s:new", "net", ["10.0.0.3/32"]);
    program.setChain("filter", { name: "a", rules: [inSet("s:there"), inSet("s:new"), ports(1, 3)] });
    const { wants } = changed(program, program.takeChanges(), use, options)!;
    wants.sets.set("cali40s-other", { shape: "net", added: [], removed: [] });
    const { sets, rest } = inTurns(held, wants);
    expect([...sets.sets.keys()].map((name) => name.slice(0, 7))).toEqual(["cali40s", "cali4p-"]);
    expect([sets.chains.size, sets.maps.size]).toEqual([0, 0]);
    expect([...rest.sets.keys()]).toEqual(["cali40s-there", "cali40s-other"]);
    expect([...rest.chains.keys()]).toEqual(["filter-a"]);
  });
});
