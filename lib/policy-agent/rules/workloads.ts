/** The workloads' part of the programs: their chains, the dispatch to them, floating addresses, code points, and whose source addresses are not checked. */
import { type LocalWorkload, type Nat, type WorkloadId, workloadKey } from "../calc/index.ts";
import { ACCEPT, always, isVersion, type RenderContext, rule } from "./context.ts";
import { dscpOf, dscpRules } from "./dscp.ts";
import { spoofablePrefixes, workloadChains } from "./endpoint.ts";
import type { Chain, IpVersion } from "./ir.ts";
import { CHAIN, PREFIX, SET } from "./names.ts";
import { floatingChains } from "./nat.ts";
import { type PolicyStore, referencesOf, usesOf } from "./policystore.ts";
import type { Program } from "./program.ts";

/** Why an endpoint is not (wholly) enforced as the datastore asks. */
export interface Incomplete {
  readonly id: WorkloadId;
  /** In words, for the log and the status: `its interface cali1 belongs to k8s/default/b/eth0`. */
  readonly reason: string;
}

/** Upstream's order of workloads that claim the same interface. */
function compareIds(a: WorkloadId, b: WorkloadId): number {
  for (const field of ["orchestrator", "workload", "endpoint"] as const)
    if (a[field] !== b[field]) return a[field] < b[field] ? -1 : 1;
  return 0;
}

/** A workload is a user of policies by the name of its interface. */
export class Workloads {
  readonly programmed = new Map<string, WorkloadId>();
  readonly incomplete = new Map<string, Incomplete>();

  readonly #context: RenderContext;
  readonly #programs: readonly Program[];
  readonly #policies: PolicyStore;
  readonly #known = new Map<string, LocalWorkload>();
  /** Interface → workloads that claim it, the one that has it first. */
  readonly #claims = new Map<string, readonly LocalWorkload[]>();
  readonly #interfaces = new Set<string>();
  readonly #spoofable = new Map<string, readonly string[]>();
  readonly #dirty = new Set<string>();
  #dispatchDirty = true;
  #spoofableDirty = true;
  #floatingDirty = true;
  #dscpDirty = true;

  constructor(context: RenderContext, programs: readonly Program[], policies: PolicyStore) {
    this.#context = context;
    this.#programs = programs;
    this.#policies = policies;
  }

  /** Names of those that have chains. */
  get interfaces(): ReadonlySet<string> {
    return this.#interfaces;
  }

  set(workload: LocalWorkload): void {
    this.#forget(workloadKey(workload.id));
    const { interfaceName: name } = workload;
    this.#known.set(workloadKey(workload.id), workload);
    this.#claims.set(
      name,
      [...(this.#claims.get(name) ?? []), workload].sort((a, b) => compareIds(a.id, b.id)),
    );
    this.#dirty.add(name);
    this.#noteExtras(workload);
  }

  remove(id: WorkloadId): void {
    const key = workloadKey(id);
    this.#forget(key);
    this.programmed.delete(key);
    this.incomplete.delete(key);
  }

  /** The policies of the workload on an interface are not what they were. */
  refresh(interfaceName: string): void {
    this.#dirty.add(interfaceName);
  }

  /** Writes what changed; says whether other interfaces have chains than before. */
  flush(): boolean {
    for (const name of this.#dirty) this.#write(name);
    this.#dirty.clear();
    for (const program of this.#programs) {
      const { ipVersion } = program;
      if (this.#spoofableDirty) program.setChain("raw", this.#rpfSkip(ipVersion));
      if (this.#floatingDirty)
        for (const chain of floatingChains(ipVersion, this.#nats(ipVersion))) program.setChain("nat", chain);
      if (this.#dscpDirty) this.#writeDscp(program);
    }
    if (this.#dispatchDirty) this.#writeDispatches();
    const changed = this.#dispatchDirty;
    this.#spoofableDirty = this.#floatingDirty = this.#dscpDirty = this.#dispatchDirty = false;
    return changed;
  }

  #forget(key: string): void {
    const before = this.#known.get(key);
    if (before === undefined) return;
    const { interfaceName: name } = before;
    this.#known.delete(key);
    const claims = this.#claims.get(name)!.filter((claim) => claim !== before);
    if (claims.length > 0) this.#claims.set(name, claims);
    else this.#claims.delete(name);
    this.#dirty.add(name);
    this.#noteExtras(before);
  }

  #noteExtras(workload: LocalWorkload): void {
    this.#floatingDirty ||= this.#hasNats(workload);
    this.#dscpDirty ||= dscpOf(workload) !== undefined;
  }

  #write(name: string): void {
    const [owner, ...others] = this.#claims.get(name) ?? [];
    if (owner) this.#writeChains(owner);
    else this.#removeChains(name);
    for (const other of others) this.#report(other.id, `its interface ${name} belongs to ${workloadKey(owner!.id)}`);
    const spoofable = owner ? spoofablePrefixes(this.#context, owner) : [];
    if (String(this.#spoofable.get(name) ?? []) === String(spoofable)) return;
    if (spoofable.length > 0) this.#spoofable.set(name, spoofable);
    else this.#spoofable.delete(name);
    this.#spoofableDirty = true;
  }

  #writeChains(workload: LocalWorkload): void {
    const { interfaceName: name, tiers, profiles } = workload;
    const policy = this.#policies.policyOf(tiers, profiles);
    for (const program of this.#programs) {
      for (const chain of workloadChains(this.#context, program.ipVersion, workload, policy))
        program.setChain("filter", chain);
    }
    this.#policies.use(name, usesOf("filter", policy), referencesOf([tiers], profiles));
    if (!this.#interfaces.has(name)) {
      this.#interfaces.add(name);
      this.#dispatchDirty = true;
    }
    this.#report(workload.id, this.#policies.whatIsMissing(name) ?? this.#whyUnreached(name));
  }

  #removeChains(name: string): void {
    if (!this.#interfaces.delete(name)) return;
    this.#dispatchDirty = true;
    this.#policies.use(name, [], new Set());
    for (const program of this.#programs) {
      for (const prefix of [PREFIX.toWorkload, PREFIX.fromWorkload])
        program.removeChain("filter", this.#context.endpointChain(prefix, name));
    }
  }

  #whyUnreached(interfaceName: string): string | undefined {
    if (this.#context.isWorkloadInterface(interfaceName)) return undefined;
    const prefixes = this.#context.config.interfacePrefixes.join(",");
    return `its interface ${interfaceName} begins with none of InterfacePrefix (${prefixes})`;
  }

  #report(id: WorkloadId, reason: string | undefined): void {
    const key = workloadKey(id);
    if (reason === undefined) {
      this.programmed.set(key, id);
      this.incomplete.delete(key);
    } else {
      this.incomplete.set(key, { id, reason });
      this.programmed.delete(key);
    }
  }

  #writeDispatches(): void {
    const otherwise = [always(this.#context.deny("filter"), "Unknown interface")];
    const names = [...this.#interfaces].sort();
    const write = (name: string, direction: "in" | "out", prefix: string): void => {
      const entries = new Map(names.map((name) => [name, this.#context.endpointChain(prefix, name)]));
      for (const program of this.#programs) program.setDispatch("filter", { name, direction, entries, otherwise });
    };
    write(CHAIN.fromWorkload, "in", PREFIX.fromWorkload);
    write(CHAIN.toWorkload, "out", PREFIX.toWorkload);
  }

  #rpfSkip(version: IpVersion): Chain {
    const rules = [...this.#spoofable.keys()].sort().flatMap((name) =>
      this.#spoofable
        .get(name)!
        .filter((net) => isVersion(net, version))
        .map((net) =>
          rule(
            [
              { is: "interface", direction: "in", name },
              { is: "net", side: "source", net },
            ],
            ACCEPT,
          ),
        ),
    );
    return { name: CHAIN.rpfSkip, rules };
  }

  #writeDscp(program: Program): void {
    const { members, chain } = dscpRules(program.ipVersion, this.#known.values());
    program.setSet(SET.dscp, "net", members);
    program.setChain("mangle", chain);
  }

  #hasNats(workload: LocalWorkload): boolean {
    const active = this.#context.config.floatingIPs || workload.id.orchestrator === "openstack";
    return active && workload.ipv4Nats.length + workload.ipv6Nats.length > 0;
  }

  #nats(version: IpVersion): Nat[] {
    return [...this.#known.values()]
      .filter((workload) => this.#hasNats(workload))
      .flatMap((workload) => (version === 4 ? workload.ipv4Nats : workload.ipv6Nats));
  }
}
