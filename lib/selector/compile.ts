import { type LabelStore, NONE } from "./labels.ts";
import type { Node } from "./tree.ts";

/** A selector over the objects of one store. */
export interface Compiled {
  matches(item: number): boolean;
  /** Gives back the names and values it holds in the store. */
  release(): void;
}

type Test = (item: number) => boolean;

/** Evaluates like `evaluate` does, by comparing numbers where the selector compares whole values. */
export function compile(root: Node, store: LabelStore): Compiled {
  const names: number[] = [];
  const pairs: number[] = [];
  const nameOf = (label: string): number => {
    const name = store.acquireName(label);
    names.push(name);
    return name;
  };
  const pairOf = (label: string, value: string): number => {
    const pair = store.acquirePair(label, value);
    pairs.push(pair);
    return pair;
  };

  const build = (node: Node): Test => {
    switch (node.op) {
      case "all":
      case "global":
        return () => true;
      case "!": {
        const operand = build(node.operand);
        return (item) => !operand(item);
      }
      case "&&":
      case "||": {
        const operands = node.operands.map(build);
        const stop = node.op === "||";
        return (item) => {
          for (const operand of operands) if (operand(item) === stop) return stop;
          return !stop;
        };
      }
    }
    const name = nameOf(node.label);
    switch (node.op) {
      case "has":
        return (item) => store.find(item, name) !== NONE;
      case "==":
      case "!=": {
        const pair = pairOf(node.label, node.value);
        const equal = node.op === "==";
        return (item) => (store.find(item, name) === pair) === equal;
      }
      case "in":
      case "not in": {
        const wanted = new Set(node.values.map((value) => pairOf(node.label, value)));
        const inside = node.op === "in";
        return (item) => wanted.has(store.find(item, name)) === inside;
      }
      default: {
        const { value, op } = node;
        const holds =
          op === "contains"
            ? (text: string) => text.includes(value)
            : op === "starts with"
              ? (text: string) => text.startsWith(value)
              : (text: string) => text.endsWith(value);
        return (item) => {
          const pair = store.find(item, name);
          return pair !== NONE && holds(store.valueOf(pair));
        };
      }
    }
  };

  return {
    matches: build(root),
    release() {
      for (const pair of pairs) store.releasePair(pair);
      for (const name of names) store.releaseName(name);
    },
  };
}
