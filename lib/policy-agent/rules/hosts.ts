/** The host endpoints' part of the programs. There are few, so that they are rendered together. */
import type { LocalHost } from "../calc/index.ts";
import type { RenderContext } from "./context.ts";
import { hostChains } from "./endpoint.ts";
import { canonicalAddress, hasUntracked, hostDispatches, resolveHostEndpoints } from "./hostendpoints.ts";
import type { Dispatch, Table } from "./ir.ts";
import { ANY_INTERFACE } from "./names.ts";
import { type PolicyStore, referencesOf, usesOf } from "./policystore.ts";
import type { Program } from "./program.ts";
import type { Use } from "./shared.ts";

/** As a user of policies. No interface has a name with a slash. */
export const HOSTS = "host/endpoints";

export class Hosts {
  /** By name of the resource. */
  readonly interfacesOf = new Map<string, readonly string[]>();
  /** By name of the interface, those of workloads left out. */
  readonly addresses = new Map<string, ReadonlySet<string>>();

  readonly #context: RenderContext;
  readonly #programs: readonly Program[];
  readonly #policies: PolicyStore;
  readonly #known = new Map<string, LocalHost>();
  #chains = new Map<string, { readonly table: Table; readonly name: string }>();
  readonly #dispatches = new Map<string, Dispatch>();
  #interfaces: readonly string[] = [];
  #dirty = true;

  constructor(context: RenderContext, programs: readonly Program[], policies: PolicyStore) {
    this.#context = context;
    this.#programs = programs;
    this.#policies = policies;
  }

  /** Names of those that have chains of their own. */
  get interfaces(): readonly string[] {
    return this.#interfaces;
  }

  set(host: LocalHost): void {
    this.#known.set(host.name, host);
    this.#dirty = true;
  }

  remove(name: string): void {
    if (this.#known.delete(name)) this.#dirty = true;
  }

  /** Their policies are not what they were. */
  refresh(): void {
    this.#dirty = true;
  }

  /** Undefined: the interface is gone. Says whether anything is new. */
  setAddresses(name: string, addresses: readonly string[] | undefined): boolean {
    const before = this.addresses.get(name);
    const now = addresses && new Set(addresses.map(canonicalAddress));
    if (now === undefined ? before === undefined : before && sameMembers(before, now)) return false;
    if (now) this.addresses.set(name, now);
    else this.addresses.delete(name);
    this.#dirty ||= this.#known.size > 0;
    return true;
  }

  /** Writes what changed; says whether other interfaces have chains than before. */
  flush(): boolean {
    if (!this.#dirty) return false;
    this.#dirty = false;
    const resolved = resolveHostEndpoints(this.#known.values(), this.addresses);
    const chains = new Map<string, { readonly table: Table; readonly name: string }>();
    const uses: Use[] = [];
    const references = new Set<string>();
    for (const [name, host] of resolved) {
      for (const chain of this.#writeChains(name, host, uses)) chains.set(`${chain.table} ${chain.name}`, chain);
      const tiers = [host.tiers, host.forwardTiers, host.untrackedTiers, host.preDnatTiers];
      for (const key of referencesOf(tiers, host.profiles)) references.add(key);
    }
    for (const [key, { table, name }] of this.#chains)
      if (!chains.has(key)) for (const program of this.#programs) program.removeChain(table, name);
    this.#chains = chains;
    this.#policies.use(HOSTS, uses, references);
    for (const { table, dispatch } of hostDispatches(this.#context, resolved)) this.#setDispatch(table, dispatch);
    return this.#note(resolved);
  }

  #writeChains(name: string, host: LocalHost, uses: Use[]): { readonly table: Table; readonly name: string }[] {
    const normal = this.#policies.policyOf(host.tiers, host.profiles);
    const forward = this.#policies.policyOf(host.forwardTiers, []);
    uses.push(...usesOf("filter", normal), ...usesOf("filter", forward));
    uses.push(...usesOf("mangle", { egress: normal.egress }));
    const preDnat = host.preDnatTiers.length > 0 && this.#policies.policyOf(host.preDnatTiers, []);
    if (preDnat) uses.push(...usesOf("mangle", { ingress: preDnat.ingress }));
    const untracked = hasUntracked(host) && name !== ANY_INTERFACE && this.#policies.policyOf(host.untrackedTiers, []);
    if (untracked) uses.push(...usesOf("raw", untracked));
    const policies = { normal, forward, ...(preDnat && { preDnat }), ...(untracked && { untracked }) };
    return hostChains(this.#context, name, policies).map(({ table, chain }) => {
      for (const program of this.#programs) program.setChain(table, chain);
      return { table, name: chain.name };
    });
  }

  #setDispatch(table: Table, dispatch: Dispatch): void {
    const key = `${table} ${dispatch.name}`;
    const before = this.#dispatches.get(key);
    if (before && sameDispatch(before, dispatch)) return;
    this.#dispatches.set(key, dispatch);
    for (const program of this.#programs) program.setDispatch(table, dispatch);
  }

  #note(resolved: ReadonlyMap<string, LocalHost>): boolean {
    this.interfacesOf.clear();
    for (const name of this.#known.keys()) this.interfacesOf.set(name, []);
    for (const [name, host] of resolved) {
      const there = name === ANY_INTERFACE ? ["*"] : this.addresses.has(name) ? [name] : [];
      this.interfacesOf.set(host.name, [...this.interfacesOf.get(host.name)!, ...there]);
    }
    const before = this.#interfaces;
    this.#interfaces = [...resolved.keys()].filter((name) => name !== ANY_INTERFACE).sort();
    return String(before) !== String(this.#interfaces);
  }
}

const sameMembers = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean =>
  a.size === b.size && [...a].every((member) => b.has(member));

function sameDispatch(a: Dispatch, b: Dispatch): boolean {
  if (a.entries.size !== b.entries.size || JSON.stringify(a.otherwise) !== JSON.stringify(b.otherwise)) return false;
  for (const [name, chain] of a.entries) if (b.entries.get(name) !== chain) return false;
  return true;
}
