/**
 * Policies and profiles, and who refers to them. Their chains stand in a table as long as an endpoint's chain there jumps to them. One that is not
 * known, or refers to a set that is not there, is a chain that denies: an empty one would let the packet fall on to whatever comes next.
 */
import {
  type ActivePolicy,
  type ActiveProfile,
  type EndpointTier,
  isStaged,
  type ParsedRule,
  type PolicyId,
  policyKey,
  type SetId,
} from "../calc/index.ts";
import type { RenderContext } from "./context.ts";
import type { EndpointPolicy, TierTargets } from "./endpoint.ts";
import { groupRules, policyTargets, type Target } from "./groups.ts";
import type { IpVersion, Rule, Table } from "./ir.ts";
import { type PolicyDirection, policyChain, profileChain } from "./names.ts";
import { denyRules, type RuleOwner, renderRules, title } from "./policy.ts";
import type { Program } from "./program.ts";
import { SharedChains, type Use } from "./shared.ts";

/** What decides about an endpoint, by direction. */
export type BothDirections = Readonly<Record<PolicyDirection, EndpointPolicy>>;

const POLICY_TABLES: readonly Table[] = ["filter", "mangle", "raw"];

export class PolicyStore {
  readonly #context: RenderContext;
  readonly #programs: readonly Program[];
  readonly #shared: SharedChains;
  readonly #onUser: (user: string) => void;
  readonly #policies = new Map<string, ActivePolicy>();
  readonly #profiles = new Map<string, ActiveProfile>();
  /** Keys of policies and profiles that refer to sets which are not there. */
  readonly #unready = new Set<string>();
  /** Those sets, and who waits for each. */
  readonly #wanted = new Map<SetId, Set<string>>();
  readonly #users = new Map<string, Set<string>>();
  readonly #references = new Map<string, ReadonlySet<string>>();

  /** `onUser`: what the user refers to is not what it was when it asked for its {@link policyOf}. */
  constructor(context: RenderContext, programs: readonly Program[], onUser: (user: string) => void) {
    this.#context = context;
    this.#programs = programs;
    this.#onUser = onUser;
    this.#shared = new SharedChains(programs, (target, table, version) => this.#render(target, table, version));
  }

  setPolicy(policy: ActivePolicy): void {
    const key = policyKey(policy.id);
    const before = this.#policies.get(key);
    const wasThere = this.#isThere(key);
    this.#policies.set(key, policy);
    this.#lookForSets(key, [...(policy.ingress ?? []), ...(policy.egress ?? [])]);
    if (before?.selector !== policy.selector || wasThere !== this.#isThere(key)) this.#tellUsers(key);
    this.#refreshPolicy(policy.id);
  }

  removePolicy(id: PolicyId): void {
    const key = policyKey(id);
    if (!this.#policies.delete(key)) return;
    this.#lookForSets(key, []);
    this.#tellUsers(key);
    this.#refreshPolicy(id);
  }

  setProfile(profile: ActiveProfile): void {
    const key = profileKey(profile.name);
    const wasUnready = this.#unready.has(key);
    this.#profiles.set(key, profile);
    this.#lookForSets(key, [...profile.ingress, ...profile.egress]);
    if (wasUnready !== this.#unready.has(key)) this.#tellUsers(key);
    this.#refreshProfile(profile.name);
  }

  removeProfile(name: string): void {
    const key = profileKey(name);
    if (!this.#profiles.delete(key)) return;
    this.#lookForSets(key, []);
    this.#refreshProfile(name);
  }

  setArrived(id: SetId): void {
    const waiting = this.#wanted.get(id);
    if (!waiting) return;
    this.#wanted.delete(id);
    for (const key of waiting) {
      const policy = this.#policies.get(key);
      const profile = this.#profiles.get(key);
      if (policy) this.setPolicy(policy);
      else if (profile) this.setProfile(profile);
    }
  }

  /** What an endpoint jumps to. Tiers of staged policies alone are none. */
  policyOf(tiers: readonly EndpointTier[], profiles: readonly string[]): BothDirections {
    const selectorOf = (id: PolicyId) => this.#policies.get(policyKey(id))?.selector;
    const max = this.#context.config.maxChainNameLength;
    const of = (direction: PolicyDirection): EndpointPolicy => ({
      tiers: tiers.flatMap((tier): TierTargets[] => {
        const targets = policyTargets(this.#context, direction, tier[direction], selectorOf);
        return targets.length === 0 ? [] : [{ name: tier.name, defaultAction: tier.defaultAction, targets }];
      }),
      profiles: profiles.map((name) => ({
        kind: "profile",
        chain: profileChain(direction, name, max),
        direction,
        name,
      })),
    });
    return { ingress: of("ingress"), egress: of("egress") };
  }

  /** All that a user's chains jump to, and all it refers to, in place of what it did before. */
  use(user: string, uses: readonly Use[], references: ReadonlySet<string>): void {
    this.#shared.use(user, uses);
    for (const key of this.#references.get(user) ?? []) {
      if (references.has(key)) continue;
      const users = this.#users.get(key)!;
      users.delete(user);
      if (users.size === 0) this.#users.delete(key);
    }
    for (const key of references) {
      const users = this.#users.get(key);
      if (users) users.add(user);
      else this.#users.set(key, new Set([user]));
    }
    if (references.size > 0) this.#references.set(user, references);
    else this.#references.delete(user);
  }

  /** In words; undefined: all is there. A profile that does not exist is nothing to wait for: that it denies is final. */
  whatIsMissing(user: string): string | undefined {
    for (const key of this.#references.get(user) ?? []) {
      if (this.#unready.has(key)) return `not all sets of ${key} are there`;
      if (!isProfile(key) && !this.#policies.has(key)) return `policy ${key} is not there`;
    }
    return undefined;
  }

  /** Writes what changed. */
  flush(): void {
    this.#shared.flush();
  }

  #isThere(key: string): boolean {
    return this.#policies.has(key) && !this.#unready.has(key);
  }

  #tellUsers(key: string): void {
    for (const user of this.#users.get(key) ?? []) this.#onUser(user);
  }

  #refreshPolicy(id: PolicyId): void {
    if (isStaged(id.kind)) return;
    const max = this.#context.config.maxChainNameLength;
    this.#shared.refresh(policyChain("ingress", id, max), POLICY_TABLES);
    this.#shared.refresh(policyChain("egress", id, max), POLICY_TABLES);
  }

  #refreshProfile(name: string): void {
    const max = this.#context.config.maxChainNameLength;
    this.#shared.refresh(profileChain("ingress", name, max), POLICY_TABLES);
    this.#shared.refresh(profileChain("egress", name, max), POLICY_TABLES);
  }

  #lookForSets(key: string, rules: readonly ParsedRule[]): void {
    if (this.#unready.delete(key)) {
      for (const [set, waiting] of this.#wanted)
        if (waiting.delete(key) && waiting.size === 0) this.#wanted.delete(set);
    }
    const [program] = this.#programs;
    for (const set of setsOf(rules)) {
      if (program!.sets.has(set)) continue;
      this.#unready.add(key);
      const waiting = this.#wanted.get(set);
      if (waiting) waiting.add(key);
      else this.#wanted.set(set, new Set([key]));
    }
  }

  #render(target: Target, table: Table, ipVersion: IpVersion): readonly Rule[] {
    if (target.kind === "group") return groupRules(this.#context, target.members);
    const { direction } = target;
    const { key, owner, rules } = target.kind === "policy" ? this.#policy(target) : this.#profile(target);
    if (rules !== undefined && !this.#unready.has(key))
      return renderRules(this.#context, owner, rules, { ipVersion, table, direction });
    return denyRules(this.#context, table, `${title(owner, direction)} is not there`);
  }

  #policy({ id, direction }: Extract<Target, { kind: "policy" }>): Rendered {
    const key = policyKey(id);
    const policy = this.#policies.get(key);
    const owner: RuleOwner = { kind: "policy", id, tier: policy?.tier ?? "" };
    return { key, owner, rules: policy && (policy[direction] ?? []) };
  }

  #profile({ name, direction }: Extract<Target, { kind: "profile" }>): Rendered {
    const key = profileKey(name);
    return { key, owner: { kind: "profile", name }, rules: this.#profiles.get(key)?.[direction] };
  }
}

interface Rendered {
  readonly key: string;
  readonly owner: RuleOwner;
  /** Undefined: not known. */
  readonly rules: readonly ParsedRule[] | undefined;
}

/** No kind of policy is called so. */
const PROFILE = "profile/";
const profileKey = (name: string): string => PROFILE + name;
const isProfile = (key: string): boolean => key.startsWith(PROFILE);

/** What the chains of a table jump to for a policy. */
export function usesOf(table: Table, policy: Partial<BothDirections>): Use[] {
  return Object.values(policy).flatMap(({ tiers, profiles }) =>
    [...tiers.flatMap((tier) => tier.targets), ...profiles].map((target) => ({ table, target })),
  );
}

/** Keys of the enforced policies and of the profiles. */
export function referencesOf(
  tiers: readonly (readonly EndpointTier[])[],
  profiles: readonly string[],
): ReadonlySet<string> {
  const keys = new Set(profiles.map(profileKey));
  for (const tier of tiers.flat())
    for (const id of [...tier.ingress, ...tier.egress]) if (!isStaged(id.kind)) keys.add(policyKey(id));
  return keys;
}

function* setsOf(rules: readonly ParsedRule[]): Iterable<SetId> {
  for (const { source, destination } of rules) {
    for (const side of [source, destination]) {
      for (const sets of [side.sets, side.notSets, side.namedPorts, side.notNamedPorts, side.portSets])
        if (sets) yield* sets;
    }
  }
}
