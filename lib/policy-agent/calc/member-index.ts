import { protocolNumber } from "../../api/protocol.ts";
import { type LabelStore, type Labels, SelectorIndex } from "../../selector/index.ts";
import { Members } from "./members.ts";
import { addressText, type NetKey } from "./nets.ts";
import { type Services, sliceMembers } from "./services.ts";
import { PROTOCOL_NAMES, type SetDefinition } from "./set-definition.ts";

/** A named port of an endpoint. */
export interface NamedPort {
  readonly name: string;
  readonly protocol: 6 | 17 | 132;
  readonly port: number;
}

/** A set that rules refer to, or referred to until now. */
export interface IpSet {
  readonly definition: SetDefinition;
  readonly members: Members;
  /** How many policies and profiles refer to it. */
  refs: number;
  /** Number of its selector in the index; -1 before its members have been looked for, and of sets of services. */
  selector: number;
  isFilled: boolean;
  /** Whether the dataplane has it. */
  isSent: boolean;
}

type Nets = NetKey | readonly NetKey[] | undefined;

const NO_NETS: readonly NetKey[] = [];

/** The protocol of a named port; those without ports count as TCP, as in felix/labelindex/ipsetmember. */
export function portProtocolOf(protocol: unknown): NamedPort["protocol"] {
  const number = typeof protocol === "string" || typeof protocol === "number" ? protocolNumber(protocol) : undefined;
  return number === 17 || number === 132 ? number : 6;
}

/**
 * Whose addresses are in which set: objects (endpoints and network sets) with labels in the store and addresses here, and the sets in use.
 * An object contributes its addresses, or the addresses with a named port, to every set whose selector it matches.
 */
export class MemberIndex {
  readonly #store: LabelStore;
  readonly #index: SelectorIndex;
  readonly #services: Services;
  readonly #nets: Nets[] = [];
  readonly #ports = new Map<number, readonly NamedPort[]>();
  readonly #sets = new Map<string, IpSet>();
  readonly #bySelector: (IpSet | undefined)[] = [];
  readonly #byService = new Map<string, Set<IpSet>>();
  /** Sets that rules began to refer to; those to which none refers any more; those with changed members. */
  readonly #fresh = new Set<IpSet>();
  readonly #unused = new Set<IpSet>();
  readonly #changed = new Set<IpSet>();

  constructor(store: LabelStore, services: Services) {
    this.#store = store;
    this.#index = new SelectorIndex(store);
    this.#services = services;
  }

  /** How many sets rules refer to. */
  get size(): number {
    return this.#sets.size - this.#unused.size;
  }

  get fresh(): ReadonlySet<IpSet> {
    return this.#fresh;
  }
  get unused(): ReadonlySet<IpSet> {
    return this.#unused;
  }
  get changed(): ReadonlySet<IpSet> {
    return this.#changed;
  }

  /** A rule refers to the set. Its members are looked for by {@link fill}. */
  acquire(definition: SetDefinition): IpSet {
    let set = this.#sets.get(definition.id);
    if (set === undefined) {
      const members = new Members(definition.type);
      set = { definition, members, refs: 0, selector: -1, isFilled: false, isSent: false };
      this.#sets.set(definition.id, set);
    }
    if (set.refs++ === 0) {
      this.#unused.delete(set);
      if (!set.isSent) this.#fresh.add(set);
    }
    return set;
  }

  release(set: IpSet): void {
    if (--set.refs > 0) return;
    this.#fresh.delete(set);
    this.#unused.add(set);
  }

  /** Finds the members of a set that is used for the first time; from then on they are kept up to date. */
  *fill(set: IpSet): Generator<void, void, undefined> {
    if (set.isFilled) return;
    set.isFilled = true;
    const { definition } = set;
    if (definition.of === "service") {
      const { service, withPorts } = definition;
      const sets = this.#byService.get(service);
      if (sets === undefined) this.#byService.set(service, new Set([set]));
      else sets.add(set);
      for (const member of this.#services.membersOf(service, withPorts)) set.members.add(member);
      return;
    }
    set.selector = this.#index.add(definition.selector);
    this.#bySelector[set.selector] = set;
    yield* this.#index.enroll(set.selector, (item) => this.#contribute(set, item, true));
  }

  /** The dataplane has the set as it is now. */
  markSent(set: IpSet): void {
    set.isSent = true;
    this.#fresh.delete(set);
    this.#changed.delete(set);
  }

  /** The changes of a set were taken. */
  settled(set: IpSet): void {
    this.#changed.delete(set);
  }

  /** Forgets a set that is no longer used. */
  *drop(set: IpSet): Generator<void, void, undefined> {
    this.#unused.delete(set);
    this.#changed.delete(set);
    this.#sets.delete(set.definition.id);
    if (!set.isFilled) return;
    if (set.definition.of === "service") {
      const sets = this.#byService.get(set.definition.service)!;
      sets.delete(set);
      if (sets.size === 0) this.#byService.delete(set.definition.service);
      return;
    }
    this.#bySelector[set.selector] = undefined;
    yield* this.#index.remove(set.selector);
  }

  /** A new object. */
  add(labels: Labels, parents: readonly string[], nets: readonly NetKey[], ports: readonly NamedPort[]): number {
    const item = this.#store.add(labels, parents);
    while (this.#nets.length <= item) this.#nets.push(undefined);
    this.#setAddresses(item, nets, ports);
    this.#join(item, this.#index.evaluate(item));
    return item;
  }

  /** What an object is now; answers whether its labels or parents changed. */
  update(
    item: number,
    labels: Labels,
    parents: readonly string[],
    nets: readonly NetKey[],
    ports: readonly NamedPort[],
  ): boolean {
    const relabelled = this.#store.set(item, labels, parents);
    if (!relabelled && this.#hasAddresses(item, nets, ports)) return false;
    const before = this.#index.matchesOf(item);
    if (this.#hasAddresses(item, nets, ports)) {
      this.#rejoin(item, before);
      return relabelled;
    }
    this.#leave(item, before);
    this.#setAddresses(item, nets, ports);
    this.#join(item, relabelled ? this.#index.evaluate(item) : before);
    return relabelled;
  }

  remove(item: number): void {
    this.#leave(item, this.#index.matchesOf(item));
    this.#index.forget(item);
    this.#nets[item] = undefined;
    this.#ports.delete(item);
    this.#store.remove(item);
  }

  /** What an object inherits has changed. */
  reevaluate(item: number): void {
    this.#rejoin(item, this.#index.matchesOf(item));
  }

  /** Takes in an EndpointSlice. */
  updateSlice(namespace: string, name: string, resource: unknown): void {
    const { before, now } = this.#services.update(namespace, name, resource);
    if (now !== undefined) {
      this.#eachOfService(now.service, (set, withPorts) => {
        for (const member of sliceMembers(now, withPorts)) set.members.add(member);
      });
    }
    if (before !== undefined) {
      this.#eachOfService(before.service, (set, withPorts) => {
        for (const member of sliceMembers(before, withPorts)) set.members.remove(member);
      });
    }
  }

  #eachOfService(service: string, change: (set: IpSet, withPorts: boolean) => void): void {
    for (const set of this.#byService.get(service) ?? []) {
      change(set, set.definition.of === "service" && set.definition.withPorts);
      this.#note(set);
    }
  }

  #rejoin(item: number, before: readonly number[]): void {
    const now = this.#index.evaluate(item);
    for (const id of now) if (!before.includes(id)) this.#contribute(this.#bySelector[id]!, item, true);
    for (const id of before) if (!now.includes(id)) this.#contribute(this.#bySelector[id]!, item, false);
  }

  #join(item: number, matches: readonly number[]): void {
    for (const id of matches) this.#contribute(this.#bySelector[id]!, item, true);
  }

  #leave(item: number, matches: readonly number[]): void {
    for (const id of matches) this.#contribute(this.#bySelector[id]!, item, false);
  }

  #contribute(set: IpSet, item: number, joins: boolean): void {
    const { definition, members } = set;
    const nets = this.#netsOf(item);
    if (definition.of === "port") {
      for (const { name, protocol, port } of this.#ports.get(item) ?? []) {
        if (name !== definition.port) continue;
        if (definition.protocol !== "any" && definition.protocol !== protocol) continue;
        for (const net of nets) {
          const member = `${addressText(net)},${PROTOCOL_NAMES[protocol]}:${port}`;
          if (joins) members.add(member);
          else members.remove(member);
        }
      }
    } else if (joins) for (const net of nets) members.add(net);
    else for (const net of nets) members.remove(net);
    this.#note(set);
  }

  #note(set: IpSet): void {
    if (!set.isSent) return;
    if (set.members.hasChanged) this.#changed.add(set);
    else this.#changed.delete(set);
  }

  #netsOf(item: number): readonly NetKey[] {
    const nets = this.#nets[item];
    return nets === undefined ? NO_NETS : typeof nets === "object" ? nets : [nets];
  }

  #setAddresses(item: number, nets: readonly NetKey[], ports: readonly NamedPort[]): void {
    this.#nets[item] = nets.length === 0 ? undefined : nets.length === 1 ? nets[0] : nets;
    if (ports.length === 0) this.#ports.delete(item);
    else this.#ports.set(item, ports);
  }

  #hasAddresses(item: number, nets: readonly NetKey[], ports: readonly NamedPort[]): boolean {
    const [ownNets, ownPorts] = [this.#netsOf(item), this.#ports.get(item) ?? []];
    return (
      nets.length === ownNets.length &&
      nets.every((net, i) => net === ownNets[i]) &&
      ports.length === ownPorts.length &&
      ports.every((port, i) => {
        const own = ownPorts[i]!;
        return port.name === own.name && port.protocol === own.protocol && port.port === own.port;
      })
    );
  }
}
