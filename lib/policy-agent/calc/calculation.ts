import { LabelStore } from "../../selector/index.ts";
import { ActiveRules } from "./active-rules.ts";
import type { Calc, CalcOptions, CalcStats, FlushOptions } from "./calc.ts";
import { Cluster } from "./cluster.ts";
import {
  type EndpointFacts,
  type Labelled,
  type LocalBase,
  localHost,
  localWorkload,
  readHost,
  readNetworkSet,
  readWorkload,
} from "./endpoints.ts";
import { fieldsOf, isFields, labelsOf, listOf } from "./fields.ts";
import { Hosts } from "./hosts.ts";
import type { Input } from "./inputs.ts";
import { MemberIndex } from "./member-index.ts";
import { type Message, type PolicyId, policyKey, type WorkloadId, workloadKey } from "./messages.ts";
import { Policies } from "./policies.ts";
import { readPolicy } from "./policy.ts";
import { Services } from "./services.ts";
import { sameLists, type TierFacts, type TierLists, tierLists } from "./tiers.ts";

/** A calculation that knows nothing yet. */
export function createCalc(options: CalcOptions): Calc {
  return new Calculation(options);
}

type ItemKind = "WorkloadEndpoint" | "HostEndpoint" | "NetworkSet" | "GlobalNetworkSet";

/** An endpoint of this node. */
interface Local {
  readonly key: string;
  readonly base: LocalBase;
  /** To see whether it changed. */
  readonly text: string;
}

/** How many objects are looked at, or policies parsed, between two pauses. */
const STRIDE = 16;

class Calculation implements Calc {
  readonly #nodeName: string;
  readonly #onProblem: (what: string, why: string) => void;
  readonly #store = new LabelStore();
  readonly #members = new MemberIndex(this.#store, new Services());
  readonly #cluster = new Cluster();
  readonly #policies = new Policies(
    this.#store,
    ({ id }) => policyKey(id),
    (item) => this.#dirtyEndpoints.add(item),
  );
  readonly #rules: ActiveRules;
  readonly #tiers = new Map<string, TierFacts>();
  /** Number of each endpoint and network set, by kind. */
  readonly #items: Readonly<Record<ItemKind, Map<string, number>>> = {
    WorkloadEndpoint: new Map<string, number>(),
    HostEndpoint: new Map<string, number>(),
    NetworkSet: new Map<string, number>(),
    GlobalNetworkSet: new Map<string, number>(),
  };
  readonly #hosts = new Hosts();

  readonly #locals = new Map<number, Local>();
  readonly #dirtyEndpoints = new Set<number>();
  /** Groups of profiles whose labels changed. */
  readonly #dirtyGroups = new Set<number>();

  readonly #sentEndpoints = new Map<string, { readonly local: Local; readonly lists: TierLists }>();
  readonly #goneEndpoints = new Set<string>();

  #isInSync = false;
  #saidInSync = false;
  #isFlushing = false;
  readonly #waiting: Input[] = [];

  constructor({ nodeName, onProblem }: CalcOptions) {
    this.#nodeName = nodeName;
    this.#onProblem = onProblem ?? (() => {});
    this.#rules = new ActiveRules(this.#policies, this.#members, this.#onProblem);
  }

  update(input: Input): void {
    if (this.#isFlushing) {
      this.#waiting.push(input);
      return;
    }
    this.#take(input);
  }

  #take(input: Input): void {
    if (input.kind === "Policy") {
      this.#updatePolicy(input.id, input.policy);
      return;
    }
    const { kind, name, namespace = "" } = input;
    // What is no object is as good as gone.
    const resource = isFields(input.resource) ? input.resource : undefined;
    const what = namespace === "" ? `${kind}/${name}` : `${kind}/${namespace}/${name}`;
    const report = (why: string) => this.#onProblem(what, why);
    switch (kind) {
      case "WorkloadEndpoint": {
        const facts = resource && readWorkload(name, resource, report);
        this.#updateEndpoint(kind, `${namespace}/${name}`, facts, (found) =>
          localWorkload(name, namespace, resource, found, report),
        );
        break;
      }
      case "HostEndpoint": {
        const facts = resource && readHost(resource, report);
        this.#updateEndpoint(kind, name, facts, (found) => localHost(name, resource, found));
        break;
      }
      case "NetworkSet":
        this.#updateItem(kind, `${namespace}/${name}`, resource && readNetworkSet(namespace, resource, report));
        break;
      case "GlobalNetworkSet":
        this.#updateItem(kind, name, resource && readNetworkSet(undefined, resource, report));
        break;
      case "Profile":
        this.#updateProfile(name, resource);
        break;
      case "Tier":
        this.#updateTier(name, resource);
        break;
      case "EndpointSlice":
        this.#members.updateSlice(namespace, name, resource);
        break;
      case "Node":
        this.#hosts.setNode(name, resource !== undefined);
        this.#cluster.updateNode(name, resource);
        break;
      case "IPPool":
        this.#cluster.updatePool(name, resource);
        break;
      case "BGPConfiguration":
        this.#cluster.updateBgpConfiguration(name, resource);
        break;
    }
  }

  inSync(): void {
    this.#isInSync = true;
  }

  get isDirty(): boolean {
    return (
      this.#isInSync &&
      (!this.#saidInSync ||
        this.#cluster.hasChanged ||
        this.#waiting.length > 0 ||
        this.#rules.hasChanged ||
        [this.#dirtyGroups, this.#dirtyEndpoints, this.#goneEndpoints].some(({ size }) => size > 0))
    );
  }

  get newWorkloads(): readonly WorkloadId[] {
    const found: WorkloadId[] = [];
    for (const item of this.#dirtyEndpoints) {
      const local = this.#locals.get(item);
      if (local?.base.kind !== "workload" || this.#sentEndpoints.has(local.key)) continue;
      found.push(local.base.workload.id);
    }
    return found;
  }

  stats(): CalcStats {
    return {
      activeLocalEndpoints: this.#locals.size,
      activeLocalPolicies: this.#rules.policyCount,
      activeLocalSelectors: this.#members.size,
      clusterHosts: this.#hosts.size,
      clusterHostEndpoints: this.#items.HostEndpoint.size,
      clusterWorkloadEndpoints: this.#items.WorkloadEndpoint.size,
      clusterPolicies: this.#policies.size,
      clusterProfiles: this.#rules.profileCount,
      clusterTiers: this.#tiers.size,
    };
  }

  flush(emit: (message: Message) => void, options?: FlushOptions): void {
    for (const _ of this.flushing(emit, options));
  }

  *flushing(emit: (message: Message) => void, options?: FlushOptions): Generator<void, void, undefined> {
    if (!this.#isInSync) return;
    if (this.#isFlushing) throw new Error("a flush began before the one under way was taken to its end");
    this.#isFlushing = true;
    let taken = 0;
    try {
      yield* this.#settleLabels();
      if (options === undefined) yield* this.#flushAll(emit);
      else yield* this.#flushFirst(emit, options.first);
      // What came in meanwhile, and what comes in while that is taken: perhaps thousands.
      for (const input of this.#waiting) {
        this.#take(input);
        if (++taken % STRIDE === 0) yield;
      }
    } finally {
      this.#isFlushing = false;
      for (const input of this.#waiting.splice(0).slice(taken)) this.#take(input);
    }
  }

  *#flushAll(emit: (message: Message) => void): Generator<void, void, undefined> {
    yield* this.#rules.updates(emit);
    yield* this.#emitEndpoints(emit, [...this.#dirtyEndpoints]);
    yield* this.#emitRemovals(emit);
    yield* this.#cluster.flush(emit);
    if (this.#saidInSync) return;
    this.#saidInSync = true;
    emit({ type: "in-sync" });
  }

  *#flushFirst(emit: (message: Message) => void, first: WorkloadId): Generator<void, void, undefined> {
    const item = this.#findLocal(workloadKey(first));
    const local = item === undefined ? undefined : this.#locals.get(item);
    if (item === undefined || local === undefined) return;
    const policies = new Set<string>();
    for (const { id } of this.#policies.policiesOf(item)) policies.add(policyKey(id));
    const { profiles } = baseOf(local);
    yield* this.#rules.updates(emit, { policies, profiles });
    yield* this.#emitEndpoints(emit, [item]);
  }

  #findLocal(key: string): number | undefined {
    for (const [item, local] of this.#locals) {
      if (local.base.kind === "workload" && local.key === `workload ${key}`) return item;
    }
    return undefined;
  }

  /** Endpoints and sets whose profiles give other labels than before. */
  *#settleLabels(): Generator<void, void, undefined> {
    let looked = 0;
    for (const group of this.#dirtyGroups) {
      for (const item of this.#store.itemsOf(group)) {
        if (++looked % STRIDE === 0) yield;
        if (!this.#store.has(item) || this.#store.groupOf(item) !== group) continue;
        this.#members.reevaluate(item);
        if (this.#policies.isLocal(item)) this.#policies.evaluate(item);
      }
      this.#dirtyGroups.delete(group);
    }
  }

  *#emitEndpoints(emit: (message: Message) => void, items: Iterable<number>): Generator<void, void, undefined> {
    /** Endpoints that the same selectors match share their lists. */
    const shared = new Map<string, TierLists>();
    for (const item of items) {
      yield;
      this.#dirtyEndpoints.delete(item);
      const local = this.#locals.get(item);
      if (local === undefined) continue;
      const key = this.#policies.selectorsOf(item).toSorted().join();
      let lists = shared.get(key);
      if (lists === undefined) {
        lists = tierLists(this.#policies.policiesOf(item), this.#tiers);
        shared.set(key, lists);
      }
      this.#goneEndpoints.delete(local.key);
      const sent = this.#sentEndpoints.get(local.key);
      if (sent !== undefined && sent.local.text === local.text && sameLists(sent.lists, lists)) continue;
      this.#sentEndpoints.set(local.key, { local, lists });
      emit(endpointMessage(local.base, lists));
    }
  }

  *#emitRemovals(emit: (message: Message) => void): Generator<void, void, undefined> {
    for (const key of this.#goneEndpoints) {
      this.#goneEndpoints.delete(key);
      const base = this.#sentEndpoints.get(key)!.local.base;
      this.#sentEndpoints.delete(key);
      emit(
        base.kind === "workload"
          ? { type: "workload-removed", id: base.workload.id }
          : { type: "host-removed", name: base.host.name },
      );
    }
    yield* this.#rules.removals(emit);
  }

  #updatePolicy(id: PolicyId, resource: unknown): void {
    const key = policyKey(id);
    const facts = isFields(resource) ? readPolicy(id, resource, (why) => this.#onProblem(key, why)) : undefined;
    this.#policies.set(key, facts);
  }

  #updateEndpoint(
    kind: "WorkloadEndpoint" | "HostEndpoint",
    key: string,
    facts: EndpointFacts | undefined,
    makeLocal: (facts: EndpointFacts) => LocalBase | undefined,
  ): void {
    const known = this.#items[kind].get(key);
    if (facts === undefined && known !== undefined) {
      this.#setLocal(known, undefined);
      this.#hosts.setEndpoint(known, undefined);
    }
    const { item, relabelled } = this.#updateItem(kind, key, facts);
    if (item === undefined || facts === undefined) return;
    this.#hosts.setEndpoint(item, facts.node);
    const base = facts.node === this.#nodeName ? makeLocal(facts) : undefined;
    this.#setLocal(item, base);
    if (base !== undefined && (relabelled || !this.#policies.isLocal(item))) this.#policies.evaluate(item);
  }

  #setLocal(item: number, base: LocalBase | undefined): void {
    const before = this.#locals.get(item);
    if (before === undefined && base === undefined) return;
    const local = base && makeLocal(base);
    if (before !== undefined && before.key === local?.key && before.text === local.text) return;
    if (local === undefined) {
      this.#locals.delete(item);
      this.#policies.forget(item);
      this.#dirtyEndpoints.delete(item);
    } else {
      this.#locals.set(item, local);
      this.#dirtyEndpoints.add(item);
      this.#goneEndpoints.delete(local.key);
    }
    if (before !== undefined && before.key !== local?.key && this.#sentEndpoints.has(before.key)) {
      this.#goneEndpoints.add(before.key);
    }
    const [old, now] = [before ? baseOf(before).profiles : [], local ? baseOf(local).profiles : []];
    for (const name of now) this.#rules.countProfile(name, 1);
    for (const name of old) this.#rules.countProfile(name, -1);
  }

  #updateItem(
    kind: ItemKind,
    key: string,
    facts: Labelled | undefined,
  ): { readonly item?: number; readonly relabelled: boolean } {
    const items = this.#items[kind];
    const known = items.get(key);
    if (facts === undefined) {
      if (known === undefined) return { relabelled: false };
      items.delete(key);
      this.#members.remove(known);
      return { relabelled: false };
    }
    const { labels, parents, nets, ports } = facts;
    if (known !== undefined) {
      return { item: known, relabelled: this.#members.update(known, labels, parents, nets, ports) };
    }
    const item = this.#members.add(labels, parents, nets, ports);
    items.set(key, item);
    return { item, relabelled: true };
  }

  #updateProfile(name: string, resource: unknown): void {
    const spec = resource === undefined ? undefined : fieldsOf(fieldsOf(resource).spec);
    const labels = spec && labelsOf(spec.labelsToApply);
    for (const group of this.#store.setParent(name, labels)) this.#dirtyGroups.add(group);
    this.#rules.setProfile(name, spec && JSON.stringify([listOf(spec.ingress), listOf(spec.egress)]));
  }

  #updateTier(name: string, resource: unknown): void {
    const before = this.#tiers.get(name);
    if (resource === undefined) this.#tiers.delete(name);
    else {
      const { order, defaultAction } = fieldsOf(fieldsOf(resource).spec);
      this.#tiers.set(name, {
        order: typeof order === "number" && !Number.isNaN(order) ? order : Number.POSITIVE_INFINITY,
        defaultAction: defaultAction === "Pass" ? "Pass" : "Deny",
      });
    }
    const now = this.#tiers.get(name);
    if (before?.order === now?.order && before?.defaultAction === now?.defaultAction) return;
    for (const item of this.#locals.keys()) this.#dirtyEndpoints.add(item);
  }
}

function makeLocal(base: LocalBase): Local {
  const key = base.kind === "workload" ? `workload ${workloadKey(base.workload.id)}` : `host ${base.host.name}`;
  return { key, base, text: JSON.stringify(base) };
}

const baseOf = ({ base }: Local): { readonly profiles: readonly string[] } =>
  base.kind === "workload" ? base.workload : base.host;

function endpointMessage(base: LocalBase, lists: TierLists): Message {
  if (base.kind === "workload") return { type: "workload", workload: { ...base.workload, tiers: lists.normal } };
  return {
    type: "host",
    host: {
      ...base.host,
      tiers: lists.normal,
      forwardTiers: lists.forward,
      untrackedTiers: lists.untracked,
      preDnatTiers: lists.preDnat,
    },
  };
}
