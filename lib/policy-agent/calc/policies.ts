import { type LabelStore, SelectorIndex } from "../../selector/index.ts";
import { EVERYWHERE, type PolicyFacts, type PolicyRead, samePolicy, sameStanding } from "./policy.ts";

/** A policy; its selector is kept once for all that have it. */
class Entry implements PolicyFacts {
  readonly id: PolicyFacts["id"];
  readonly tier: string;
  readonly order: number;
  readonly flags: number;
  readonly rules: string;
  readonly selected: Selected;

  constructor({ tier, order, flags, rules }: PolicyFacts, id: PolicyFacts["id"], selected: Selected) {
    this.id = id;
    this.tier = tier;
    this.order = order;
    this.flags = flags;
    this.rules = rules;
    this.selected = selected;
  }

  get selector(): string {
    return this.selected.text;
  }
}

/** A selector by which one or many policies choose endpoints, and the endpoints of this node that it matches. */
interface Selected {
  readonly text: string;
  readonly id: number;
  policies: Entry | Set<Entry> | undefined;
  matched: Set<number> | undefined;
}

/**
 * All policies of the cluster, and which of them are for endpoints of this node. Policies with the same selector are matched once.
 */
export class Policies {
  readonly #entries = new Map<string, Entry>();
  readonly #selected = new Map<string, Selected>();
  readonly #bySelector: (Selected | undefined)[] = [];
  readonly #locals = new Set<number>();
  readonly #index: SelectorIndex;
  readonly #dirty = new Set<string>();
  readonly #endpointChanged: (item: number) => void;
  readonly #keyOf: (facts: PolicyFacts) => string;

  /** `endpointChanged`: the policies of an endpoint, or their order, are not what they were. */
  constructor(store: LabelStore, keyOf: (facts: PolicyFacts) => string, endpointChanged: (item: number) => void) {
    this.#index = new SelectorIndex(store, this.#locals);
    this.#keyOf = keyOf;
    this.#endpointChanged = endpointChanged;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Keys of policies that may have become active or inactive, or say something else than before. The caller takes them out. */
  get dirty(): Set<string> {
    return this.#dirty;
  }

  /** The policy when it must be enforced here. */
  active(key: string): PolicyFacts | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    return isActive(entry) ? entry : undefined;
  }

  /** What a policy says now; undefined: it is gone. */
  set(key: string, facts: PolicyRead | undefined): void {
    const before = this.#entries.get(key);
    if (before === undefined && facts === undefined) return;
    if (before !== undefined && facts !== undefined && samePolicy(before, facts)) return;
    // The id stays the same object: lists of policies are compared by it.
    const id = before?.id ?? facts!.id;
    if (before !== undefined && before.selector === facts?.selector) {
      const now = new Entry(facts, id, before.selected);
      this.#replace(before, now);
      this.#entries.set(key, now);
      if (isActive(before) || isActive(now)) this.#dirty.add(key);
      if (!sameStanding(before, now)) this.#changedFor(now.selected);
      return;
    }
    if (facts === undefined) this.#entries.delete(key);
    else {
      const entry = new Entry(facts, id, this.#select(facts));
      this.#entries.set(key, entry);
      this.#attach(entry);
      if (isActive(entry)) this.#dirty.add(key);
      this.#changedFor(entry.selected);
    }
    if (before === undefined) return;
    if (isActive(before)) this.#dirty.add(key);
    this.#detach(before);
  }

  /** An endpoint of this node is new, or has other labels. */
  evaluate(item: number): void {
    this.#locals.add(item);
    const before = this.#index.matchesOf(item);
    const now = this.#index.evaluate(item);
    let changed = false;
    for (const id of now) {
      if (before.includes(id)) continue;
      this.#match(this.#bySelector[id]!, item);
      changed = true;
    }
    for (const id of before) {
      if (now.includes(id)) continue;
      this.#unmatch(this.#bySelector[id]!, item);
      changed = true;
    }
    if (changed) this.#endpointChanged(item);
  }

  /** An endpoint is no more, or no more one of this node. */
  forget(item: number): void {
    if (!this.#locals.delete(item)) return;
    for (const id of this.#index.matchesOf(item)) this.#unmatch(this.#bySelector[id]!, item);
    this.#index.forget(item);
  }

  /** Whether it is an endpoint of this node. */
  isLocal(item: number): boolean {
    return this.#locals.has(item);
  }

  /** Numbers of the selectors that match an endpoint: endpoints with the same ones have the same policies. */
  selectorsOf(item: number): readonly number[] {
    return this.#index.matchesOf(item);
  }

  /** The policies for an endpoint, in no order. */
  *policiesOf(item: number): Generator<PolicyFacts, void, undefined> {
    for (const id of this.#index.matchesOf(item)) {
      yield* entriesOf(this.#bySelector[id]!);
    }
  }

  #select({ selector: text, root }: PolicyRead): Selected {
    let selector = this.#selected.get(text);
    if (selector !== undefined) return selector;
    const id = this.#index.add(text, root);
    selector = { text, id, policies: undefined, matched: undefined };
    this.#selected.set(text, selector);
    this.#bySelector[id] = selector;
    const found = selector;
    // No pauses: an endpoint of this node is looked at only where its labels lead to the selector.
    for (const _ of this.#index.enroll(id, (item) => this.#match(found, item), root));
    return selector;
  }

  #attach(entry: Entry): void {
    const { selected } = entry;
    const { policies } = selected;
    if (policies === undefined) selected.policies = entry;
    else if (policies instanceof Set) policies.add(entry);
    else selected.policies = new Set([policies, entry]);
  }

  #replace(before: Entry, now: Entry): void {
    const { policies } = now.selected;
    if (policies instanceof Set) {
      policies.delete(before);
      policies.add(now);
    } else now.selected.policies = now;
  }

  #detach(entry: Entry): void {
    const { selected } = entry;
    this.#changedFor(selected);
    if (selected.policies instanceof Set) {
      selected.policies.delete(entry);
      if (selected.policies.size > 0) return;
    }
    this.#selected.delete(selected.text);
    this.#bySelector[selected.id] = undefined;
    for (const _ of this.#index.remove(selected.id, selected.matched ?? []));
  }

  #changedFor(selector: Selected): void {
    for (const item of selector.matched ?? []) this.#endpointChanged(item);
  }

  #match(selector: Selected, item: number): void {
    if (selector.matched === undefined) {
      selector.matched = new Set([item]);
      for (const entry of entriesOf(selector)) this.#dirty.add(this.#keyOf(entry));
    } else selector.matched.add(item);
  }

  #unmatch(selector: Selected, item: number): void {
    if (!selector.matched?.delete(item) || selector.matched.size > 0) return;
    selector.matched = undefined;
    for (const entry of entriesOf(selector)) this.#dirty.add(this.#keyOf(entry));
  }
}

const isActive = ({ selected, flags }: Entry): boolean => selected.matched !== undefined || (flags & EVERYWHERE) !== 0;

const entriesOf = ({ policies }: Selected): Iterable<Entry> =>
  policies instanceof Set ? policies : policies === undefined ? [] : [policies];
