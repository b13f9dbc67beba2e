import type { IpSet, MemberIndex } from "./member-index.ts";
import type { ActivePolicy, ActiveProfile, Message } from "./messages.ts";
import type { Policies } from "./policies.ts";
import { CLOSED, DO_NOT_TRACK, EGRESS, INGRESS, type PolicyFacts, PRE_DNAT, samePolicy } from "./policy.ts";
import { RuleParser } from "./rules.ts";

type Emit = (message: Message) => void;
type Steps = Generator<void, void, undefined>;

/** Part of the rules: policies by key, profiles by name. */
export interface RulesOf {
  readonly policies: ReadonlySet<string>;
  readonly profiles: readonly string[];
}

const NO_RULES = "[[],[]]";
/** How many policies are parsed between two pauses. */
const STRIDE = 4;

/** The policies and profiles that endpoints of this node need, their rules parsed, the sets these refer to; and what of it the dataplane has. */
export class ActiveRules {
  readonly #policies: Policies;
  readonly #members: MemberIndex;
  readonly #onProblem: (what: string, why: string) => void;
  readonly #parser = new RuleParser();
  /** All profiles: JSON of `[ingress, egress]`. */
  readonly #profiles = new Map<string, string>();
  /** How many endpoints of this node name a profile. */
  readonly #profileRefs = new Map<string, number>();
  readonly #dirtyProfiles = new Set<string>();
  /** Sets to which the rules of a policy or profile refer. */
  readonly #setsOfPolicy = new Map<string, readonly IpSet[]>();
  readonly #setsOfProfile = new Map<string, readonly IpSet[]>();
  readonly #pendingPolicies = new Map<string, { readonly facts: PolicyFacts; readonly policy: ActivePolicy }>();
  readonly #pendingProfiles = new Map<string, { readonly rules: string; readonly profile: ActiveProfile }>();
  /** What the dataplane has, as it was read: a policy that comes back as it was is not said again. */
  readonly #sentPolicies = new Map<string, PolicyFacts>();
  readonly #sentProfiles = new Map<string, string>();
  readonly #gonePolicies = new Set<string>();
  readonly #goneProfiles = new Set<string>();

  constructor(policies: Policies, members: MemberIndex, onProblem: (what: string, why: string) => void) {
    this.#policies = policies;
    this.#members = members;
    this.#onProblem = onProblem;
  }

  /** How many policies the dataplane has. */
  get policyCount(): number {
    return this.#sentPolicies.size;
  }

  /** How many profiles the cluster has. */
  get profileCount(): number {
    return this.#profiles.size;
  }

  /** Whether there is something to say, or to work out. */
  get hasChanged(): boolean {
    return [
      this.#policies.dirty,
      this.#dirtyProfiles,
      this.#pendingPolicies,
      this.#pendingProfiles,
      this.#gonePolicies,
      this.#goneProfiles,
      this.#members.fresh,
      this.#members.changed,
      this.#members.unused,
    ].some(({ size }) => size > 0);
  }

  /** The rules of a profile, as JSON of `[ingress, egress]`; undefined: it is gone. */
  setProfile(name: string, rules: string | undefined): void {
    if (this.#profiles.get(name) === rules) return;
    if (rules === undefined) this.#profiles.delete(name);
    else this.#profiles.set(name, rules === NO_RULES ? NO_RULES : rules);
    if (this.#profileRefs.has(name)) this.#dirtyProfiles.add(name);
  }

  /** One more, or one less, endpoint of this node names a profile. */
  countProfile(name: string, by: 1 | -1): void {
    const count = this.#profileRefs.get(name) ?? 0;
    if (count + by === 0) this.#profileRefs.delete(name);
    else this.#profileRefs.set(name, count + by);
    if (count === 0 || count + by === 0) this.#dirtyProfiles.add(name);
  }

  /** Says new and changed sets, then policies, then profiles; all, or only some of them and the sets that these need. */
  *updates(emit: Emit, only?: RulesOf): Steps {
    const { dirty } = this.#policies;
    yield* this.#resolvePolicies(only ? [...dirty].filter((key) => only.policies.has(key)) : dirty);
    yield* this.#resolveProfiles(
      only ? only.profiles.filter((name) => this.#dirtyProfiles.has(name)) : this.#dirtyProfiles,
    );
    this.#parser.forget();
    yield* this.#sets(emit, only ? this.#setsOf(only) : [...this.#members.fresh, ...this.#members.changed]);
    for (const key of only?.policies ?? [...this.#pendingPolicies.keys()]) {
      const pending = this.#pendingPolicies.get(key);
      if (pending === undefined) continue;
      yield;
      this.#pendingPolicies.delete(key);
      this.#sentPolicies.set(key, pending.facts);
      emit({ type: "policy", policy: pending.policy });
    }
    for (const name of only?.profiles ?? [...this.#pendingProfiles.keys()]) {
      const pending = this.#pendingProfiles.get(name);
      if (pending === undefined) continue;
      yield;
      this.#pendingProfiles.delete(name);
      this.#sentProfiles.set(name, pending.rules);
      emit({ type: "profile", profile: pending.profile });
    }
  }

  /** Says which profiles, policies and sets are gone. No endpoint refers to them any more. */
  *removals(emit: Emit): Steps {
    for (const name of this.#goneProfiles) {
      this.#goneProfiles.delete(name);
      this.#sentProfiles.delete(name);
      emit({ type: "profile-removed", name });
    }
    for (const key of this.#gonePolicies) {
      yield;
      this.#gonePolicies.delete(key);
      const { id } = this.#sentPolicies.get(key)!;
      this.#sentPolicies.delete(key);
      emit({ type: "policy-removed", id });
    }
    for (const set of this.#members.unused) {
      yield;
      yield* this.#members.drop(set);
      if (set.isSent) emit({ type: "set-removed", id: set.definition.id });
    }
  }

  #setsOf({ policies, profiles }: RulesOf): Set<IpSet> {
    const found = new Set<IpSet>();
    for (const key of policies) for (const set of this.#setsOfPolicy.get(key) ?? []) found.add(set);
    for (const name of profiles) for (const set of this.#setsOfProfile.get(name) ?? []) found.add(set);
    return found;
  }

  /** Parses the rules of policies that became active or changed; of those that are not active any more, notes that they must go. */
  *#resolvePolicies(keys: Iterable<string>): Steps {
    let looked = 0;
    for (const key of keys) {
      if (++looked % STRIDE === 0) yield;
      this.#policies.dirty.delete(key);
      const facts = this.#policies.active(key);
      if (facts === undefined) {
        this.#refer(this.#setsOfPolicy, key, []);
        this.#pendingPolicies.delete(key);
        if (this.#sentPolicies.has(key)) this.#gonePolicies.add(key);
      } else {
        this.#gonePolicies.delete(key);
        const sent = this.#sentPolicies.get(key);
        if (sent !== undefined && samePolicy(sent, facts)) continue;
        this.#pendingPolicies.set(key, { facts, policy: this.#parsePolicy(key, facts) });
      }
    }
  }

  #parsePolicy(key: string, { id, tier, flags, selector, rules }: PolicyFacts): ActivePolicy {
    const [ingress, egress] = JSON.parse(rules) as [unknown, unknown];
    const parsed = this.#parser.parse(ingress, egress, id.namespace, (flags & CLOSED) !== 0, (where, why) =>
      this.#onProblem(key, `spec.${where}: ${why}`),
    );
    const sets = [...parsed.sets.values()].map((definition) => this.#members.acquire(definition));
    this.#refer(this.#setsOfPolicy, key, sets);
    return {
      id,
      tier,
      ...(flags & INGRESS && { ingress: parsed.ingress }),
      ...(flags & EGRESS && { egress: parsed.egress }),
      doNotTrack: (flags & DO_NOT_TRACK) !== 0,
      preDNAT: (flags & PRE_DNAT) !== 0,
      selector,
    };
  }

  *#resolveProfiles(names: Iterable<string>): Steps {
    for (const name of names) {
      yield;
      this.#dirtyProfiles.delete(name);
      const rules = this.#profileRefs.has(name) ? this.#profiles.get(name) : undefined;
      if (rules === undefined) {
        this.#refer(this.#setsOfProfile, name, []);
        this.#pendingProfiles.delete(name);
        if (this.#sentProfiles.has(name)) this.#goneProfiles.add(name);
        continue;
      }
      this.#goneProfiles.delete(name);
      if (this.#sentProfiles.get(name) === rules) continue;
      const [ingress, egress] = JSON.parse(rules) as [unknown, unknown];
      const parsed = this.#parser.parse(ingress, egress, undefined, false, (where, why) =>
        this.#onProblem(`Profile/${name}`, `spec.${where}: ${why}`),
      );
      const sets = [...parsed.sets.values()].map((definition) => this.#members.acquire(definition));
      this.#refer(this.#setsOfProfile, name, sets);
      const profile = { name, ingress: parsed.ingress, egress: parsed.egress };
      this.#pendingProfiles.set(name, { rules, profile });
    }
  }

  /** The rules of `owner` refer to these sets now, each of which was acquired before. */
  #refer(owners: Map<string, readonly IpSet[]>, owner: string, sets: readonly IpSet[]): void {
    const before = owners.get(owner);
    if (sets.length === 0) owners.delete(owner);
    else owners.set(owner, sets);
    for (const set of before ?? []) this.#members.release(set);
  }

  *#sets(emit: Emit, sets: Iterable<IpSet>): Steps {
    for (const set of sets) {
      yield;
      if (set.refs === 0) continue;
      const { id, type: setType } = set.definition;
      if (!set.isSent) {
        yield* this.#members.fill(set);
        this.#members.markSent(set);
        emit({ type: "set", id, setType, members: set.members.takeAll() });
      } else if (set.members.hasChanged) {
        const { added, removed } = set.members.takeDelta();
        this.#members.settled(set);
        if (added.length > 0 || removed.length > 0) emit({ type: "set-delta", id, added, removed });
      }
    }
  }
}
