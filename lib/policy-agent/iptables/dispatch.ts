/**
 * A dispatch as a tree of chains: interfaces are told apart by the first character behind what all names have in common, and a chain of its
 * own follows where more than one remains (`cali-from-wl-dispatch-7`; upstream's tree, felix/rules/dispatch.go). Where a
 * chain would still be long it branches again (`cali-from-wl-dispatch-7f`), so that the way through it hardly grows with the
 * number of interfaces.
 */
import type { Chain, Dispatch, Rule } from "../rules/index.ts";
import { MAX_CHAIN_NAME } from "./names.ts";
import { canMatchInterface } from "./render.ts";

/** Entries that one chain lists before it branches again. The root always branches: that is upstream's tree. */
const LEAF = 16;

export interface DispatchTree {
  /** The last is the root, which has the dispatch's name. */
  readonly chains: readonly Chain[];
  /** Interfaces whose names iptables cannot match: they meet what is there for strangers. */
  readonly unmatched: readonly string[];
}

export function dispatchTree(dispatch: Dispatch): DispatchTree {
  const all = [...dispatch.entries.keys()].sort();
  const names = all.filter(canMatchInterface);
  const stem = commonPrefix(names);
  const chains: Chain[] = [];
  const leaf = (name: string): Rule => go(dispatch, name, dispatch.entries.get(name) ?? "");
  const build = (chain: string, members: readonly string[], mustBranch: boolean): void => {
    const rules: Rule[] = [];
    const common = commonPrefix(members);
    for (const bin of mustBranch || members.length > LEAF ? branches(members, common) : [members]) {
      const prefix = (bin[0] ?? "").slice(0, common + 1);
      const child = `${dispatch.name}-${prefix.slice(stem)}`;
      if (bin.length === 1 || bin === members || !canName(child)) {
        for (const name of bin) rules.push(leaf(name));
      } else {
        rules.push(go(dispatch, `${prefix}*`, child));
        build(child, bin, false);
      }
    }
    // A packet that went to a branch does not come back: what holds for strangers holds in each.
    chains.push({ name: chain, rules: [...rules, ...dispatch.otherwise] });
  };
  build(dispatch.name, names, true);
  return { chains, unmatched: all.filter((name) => !canMatchInterface(name)) };
}

function go(dispatch: Dispatch, interfaceName: string, chain: string): Rule {
  return {
    match: [{ is: "interface", direction: dispatch.direction, name: interfaceName }],
    action: { do: "goto", chain },
  };
}

/** By the character at a place; a name that ends there is alone. Sorted names give sorted bins. */
function branches(names: readonly string[], place: number): string[][] {
  const bins: string[][] = [];
  let last: string | undefined;
  for (const name of names) {
    const character = name.slice(0, place + 1);
    if (character === last) bins.at(-1)?.push(name);
    else bins.push([name]);
    last = character;
  }
  return bins;
}

/** How many characters sorted names have in common. */
function commonPrefix(names: readonly string[]): number {
  const [first, last] = [names[0] ?? "", names.at(-1) ?? ""];
  let length = 0;
  while (length < first.length && first[length] === last[length]) length++;
  return length;
}

const canName = (chain: string): boolean => chain.length <= MAX_CHAIN_NAME && /^[\w.-]+$/.test(chain);
