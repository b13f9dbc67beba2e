/**
 * Rules that know their place: the comment of each is a hash over its chain's name and all rules up to it, so that reading back the comments
 * tells what a chain holds, without understanding its rules. The hash chain is upstream's (felix/generictables/rules.go); the text that is
 * hashed is ours.
 */
import type { Rule } from "../rules/index.ts";
import { TAG } from "./names.ts";
import { type Dialect, renderRule } from "./render.ts";

/** What a chain holds, ready to be written. */
export interface Content {
  /** Each rule's text, from its comment on. */
  readonly lines: readonly string[];
  /** Each rule's hash. */
  readonly hashes: readonly string[];
  /** Chains that the rules jump or go to, each once. */
  readonly targets: readonly string[];
  /** Kernel names of sets that the rules look into, each once. */
  readonly sets: readonly string[];
  /** How many rules deny. */
  readonly denials: number;
}

export const EMPTY: Content = { lines: [], hashes: [], targets: [], sets: [], denials: 0 };

const LENGTH = 16;

/** Renders rules for a chain. `salt` keeps two lists of rules in one of the kernel's chains apart. Throws RenderError. */
export function renderChain(name: string, rules: readonly Rule[], dialect: Dialect, salt = ""): Content {
  if (rules.length === 0) return EMPTY;
  const lines: string[] = [];
  const hashes: string[] = [];
  const targets = new Set<string>();
  const sets = new Set<string>();
  let denials = 0;
  let digest = sha224(name + salt);
  for (const rule of rules) {
    for (const rendered of renderRule(rule, dialect)) {
      digest = sha224(digest, rendered.text);
      const hash = digest.toString("base64url").slice(0, LENGTH);
      hashes.push(hash);
      lines.push(`-m comment --comment "${TAG}${hash}" ${rendered.text}`);
      if (rendered.target !== undefined) targets.add(rendered.target);
      for (const set of rendered.sets) sets.add(set);
    }
    if (rule.action.do === "drop" || rule.action.do === "reject") denials++;
  }
  return { lines, hashes, targets: [...targets], sets: [...sets], denials };
}

function sha224(...parts: readonly (string | Buffer)[]): Buffer {
  const hasher = new Bun.CryptoHasher("sha224");
  for (const part of parts) hasher.update(part);
  return hasher.digest();
}
