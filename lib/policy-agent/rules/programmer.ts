/** From the calculation's messages to the programs: hands each message to whose it is, and completes them in order. */
import type { Message, WorkloadId } from "../calc/index.ts";
import { RenderContext } from "./context.ts";
import type { Programs } from "./dataplane.ts";
import { HOSTS, Hosts } from "./hosts.ts";
import { HostSets } from "./hostsets.ts";
import { endpointMarkChains } from "./ipvs.ts";
import { EndpointMarks } from "./marks.ts";
import { natOutgoingChain, natStaticChains } from "./nat.ts";
import type { RulesConfig } from "./options.ts";
import { PolicyStore } from "./policystore.ts";
import type { Program } from "./program.ts";
import { cidrBlockChain } from "./serviceloop.ts";
import { hooks, staticChains } from "./static.ts";
import { type Incomplete, Workloads } from "./workloads.ts";

export type { Incomplete } from "./workloads.ts";

/** What the kernel says of an interface of the host. */
export interface InterfaceState {
  /** Administratively and operationally up. */
  readonly up: boolean;
  /** Plain addresses of both IP versions. */
  readonly addresses: readonly string[];
}

/**
 * Keeps the programs in line with the messages. Every call touches memory only, and no more of the programs than the message concerns; what
 * many messages change together (chains of an endpoint, dispatch, chains that are shared) waits for `complete`.
 */
export interface Programmer {
  onMessage(message: Message): void;
  /** An interface of the host appeared, changed, or (`undefined`) went away. Of use for host endpoints, and for the host's addresses. */
  onInterface(name: string, state: InterfaceState | undefined): void;
  /** Brings the programs up to date: once before each apply of the dataplane. Cheap when nothing happened. */
  complete(): void;
  /**
   * Workloads that the programs hold as of the last `complete`, by `orchestrator/workload/endpoint`: all their chains, policies, profiles and sets
   * are there. Once the dataplane has applied, their policy is in force. One whose interface belongs to another is not among them.
   */
  readonly programmed: ReadonlyMap<string, WorkloadId>;
  /** Workloads that are known and not in `programmed`, by the same key. */
  readonly incomplete: ReadonlyMap<string, Incomplete>;
  /** Host endpoints by name, each with the interfaces (`*`: all others) it holds for as of the last `complete`; none: no interface matches it. */
  readonly hostEndpoints: ReadonlyMap<string, readonly string[]>;
}

/**
 * Writes what is always there (hooks, static chains, empty dispatches) into the programs at once; until the first messages, workloads are denied.
 *
 * @throws RulesError when the configuration cannot be rendered.
 */
export function createProgrammer(config: RulesConfig, programs: Programs): Programmer {
  return new RuleProgrammer(config, programs);
}

class RuleProgrammer implements Programmer {
  readonly #context: RenderContext;
  readonly #programs: readonly Program[];
  readonly #policies: PolicyStore;
  readonly #workloads: Workloads;
  readonly #hosts: Hosts;
  readonly #sets: HostSets;
  readonly #marks: EndpointMarks | undefined;
  /** Interfaces that have a mark, and what is written for them. */
  #marked: readonly string[] = [];
  #markChains = new Set<string>();
  #serviceCidrs: readonly string[] = [];
  #serviceCidrsDirty = true;

  constructor(config: RulesConfig, { v4, v6 }: Programs) {
    this.#context = new RenderContext(config);
    this.#programs = v6 ? [v4, v6] : [v4];
    this.#policies = new PolicyStore(this.#context, this.#programs, (user) =>
      user === HOSTS ? this.#hosts.refresh() : this.#workloads.refresh(user),
    );
    this.#workloads = new Workloads(this.#context, this.#programs, this.#policies);
    this.#hosts = new Hosts(this.#context, this.#programs, this.#policies);
    this.#sets = new HostSets(this.#context, this.#programs);
    const { endpoint, nonCaliEndpoint } = this.#context.marks;
    this.#marks = config.kubeIPVSSupportEnabled ? new EndpointMarks(endpoint, nonCaliEndpoint) : undefined;
    for (const program of this.#programs) {
      for (const { table, hook, rules } of hooks(this.#context)) program.setHook(table, hook, rules);
      for (const chain of natStaticChains()) program.setChain("nat", chain);
    }
    this.complete();
  }

  get programmed(): ReadonlyMap<string, WorkloadId> {
    return this.#workloads.programmed;
  }
  get incomplete(): ReadonlyMap<string, Incomplete> {
    return this.#workloads.incomplete;
  }
  get hostEndpoints(): ReadonlyMap<string, readonly string[]> {
    return this.#hosts.interfacesOf;
  }

  onMessage(message: Message): void {
    switch (message.type) {
      case "set":
        for (const program of this.#programs) program.setSet(message.id, message.setType, message.members);
        this.#policies.setArrived(message.id);
        break;
      case "set-delta":
        for (const program of this.#programs) program.changeSet(message.id, message.added, message.removed);
        break;
      case "set-removed":
        for (const program of this.#programs) program.removeSet(message.id);
        break;
      case "policy":
        this.#policies.setPolicy(message.policy);
        break;
      case "policy-removed":
        this.#policies.removePolicy(message.id);
        break;
      case "profile":
        this.#policies.setProfile(message.profile);
        break;
      case "profile-removed":
        this.#policies.removeProfile(message.name);
        break;
      case "workload":
        this.#workloads.set(message.workload);
        break;
      case "workload-removed":
        this.#workloads.remove(message.id);
        break;
      case "host":
        this.#hosts.set(message.host);
        break;
      case "host-removed":
        this.#hosts.remove(message.name);
        break;
      case "pool":
        this.#sets.setPool(message.pool);
        break;
      case "pool-removed":
        this.#sets.removePool(message.cidr);
        break;
      case "node":
        this.#sets.setNode(message);
        break;
      case "node-removed":
        this.#sets.removeNode(message.name);
        break;
      case "service-cidrs":
        this.#serviceCidrs = message.cidrs;
        this.#serviceCidrsDirty = true;
        break;
      case "in-sync":
        break;
    }
  }

  onInterface(name: string, state: InterfaceState | undefined): void {
    if (!this.#context.isHostInterface(name)) return;
    if (this.#hosts.setAddresses(name, state?.addresses)) this.#sets.addressesChanged();
  }

  complete(): void {
    const workloadsMoved = this.#workloads.flush();
    const hostsMoved = this.#hosts.flush();
    this.#policies.flush();
    if (this.#marks && (workloadsMoved || hostsMoved)) this.#writeMarks(this.#marks);
    const poolsChanged = this.#sets.flush(this.#hosts.addresses.values());
    for (const program of this.#programs) {
      const { ipVersion } = program;
      if (poolsChanged) this.#writePools(program);
      if (this.#serviceCidrsDirty)
        program.setChain("filter", cidrBlockChain(this.#context, ipVersion, this.#serviceCidrs));
    }
    this.#serviceCidrsDirty = false;
  }

  /** Pools decide about tunnels and masquerading. */
  #writePools(program: Program): void {
    const { ipVersion } = program;
    for (const { table, chain } of staticChains(this.#context, ipVersion, this.#sets.tunnels(ipVersion)))
      program.setChain(table, chain);
    program.setChain("nat", natOutgoingChain(this.#context, ipVersion, this.#sets.hasNatOutgoing(ipVersion)));
  }

  #writeMarks(marks: EndpointMarks): void {
    const workloads = [...this.#workloads.interfaces].sort();
    const hosts = this.#hosts.interfaces.filter((name) => !this.#workloads.interfaces.has(name));
    const marked = [...workloads, ...hosts];
    const now = new Set(marked);
    for (const name of this.#marked) if (!now.has(name)) marks.release(name);
    this.#marked = marked;
    const { dispatch, chains } = endpointMarkChains(this.#context, marks, workloads, hosts);
    const names = new Set(chains.map((chain) => chain.name));
    for (const program of this.#programs) {
      program.setDispatch("filter", dispatch);
      for (const chain of chains) program.setChain("filter", chain);
      for (const name of this.#markChains) if (!names.has(name)) program.removeChain("filter", name);
    }
    this.#markChains = names;
  }
}
