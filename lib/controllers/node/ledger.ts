import type { BlockAffinity } from "../../api/blockaffinity.ts";
import type { IPAMBlock } from "../../api/ipamblock.ts";
import type { IPAMHandle } from "../../api/ipamhandle.ts";
import { type Allocation, type BlockFacts, blockFacts, type Pod } from "./facts.ts";

/**
 * What the collector has been told: by watches, so it may be old, each part by another time. Indexes are kept as things change; a block's facts are
 * replaced as a whole.
 */
export class Ledger {
  /** By CIDR. */
  readonly blocks = new Map<string, BlockFacts>();
  /** By name of the resource. */
  readonly affinities = new Map<string, BlockAffinity>();
  /** By ID. */
  readonly handles = new Map<string, IPAMHandle>();
  /** By `namespace/name`. */
  readonly pods = new Map<string, Pod>();
  /** Names of Kubernetes' nodes. */
  readonly nodes = new Set<string>();
  /** Calico's nodes where they are not Kubernetes' own: name to Kubernetes' name; undefined: no node of Kubernetes. */
  readonly calicoNodes = new Map<string, string | undefined>();
  readonly #blocksOfNode = new Map<string, Set<string>>();
  readonly #affinitiesOfNode = new Map<string, Set<string>>();
  readonly #allocationsOfHandle = new Map<string, Map<string, Allocation>>();
  readonly #blockNames = new Map<string, string>();
  readonly #handleNames = new Map<string, string>();
  readonly #usersOfAddress = new Map<string, Set<string>>();

  /** `name` is the resource's. Answers the nodes that it has to do with, before or now. */
  setBlock(name: string, block: IPAMBlock | undefined): Set<string> {
    const nodes = new Set<string>();
    const before = this.#blockNames.get(name);
    const known = before === undefined ? undefined : this.blocks.get(before);
    if (known) {
      for (const node of nodesOf(known)) {
        nodes.add(node);
        drop(this.#blocksOfNode, node, before!);
      }
      for (const one of known.allocations) {
        if (one.handle === undefined) continue;
        const held = this.#allocationsOfHandle.get(one.handle);
        held?.delete(one.id);
        if (held?.size === 0) this.#allocationsOfHandle.delete(one.handle);
      }
      this.blocks.delete(before!);
      this.#blockNames.delete(name);
    }
    if (!block) return nodes;
    const facts = blockFacts(block);
    const { cidr } = block.spec;
    this.blocks.set(cidr, facts);
    this.#blockNames.set(name, cidr);
    for (const node of nodesOf(facts)) {
      nodes.add(node);
      add(this.#blocksOfNode, node, cidr);
    }
    for (const one of facts.allocations) {
      if (one.handle === undefined) continue;
      const held = this.#allocationsOfHandle.get(one.handle) ?? new Map<string, Allocation>();
      held.set(one.id, one);
      this.#allocationsOfHandle.set(one.handle, held);
    }
    return nodes;
  }

  setAffinity(name: string, affinity: BlockAffinity | undefined): Set<string> {
    const nodes = new Set<string>();
    const before = this.affinities.get(name);
    if (before?.spec.type === "host") {
      drop(this.#affinitiesOfNode, before.spec.node, name);
      nodes.add(before.spec.node);
    }
    if (affinity) this.affinities.set(name, affinity);
    else this.affinities.delete(name);
    if (affinity?.spec.type === "host") {
      add(this.#affinitiesOfNode, affinity.spec.node, name);
      nodes.add(affinity.spec.node);
    }
    return nodes;
  }

  setHandle(name: string, handle: IPAMHandle | undefined): void {
    const before = this.#handleNames.get(name);
    if (before !== undefined) this.handles.delete(before);
    this.#handleNames.delete(name);
    if (!handle) return;
    this.handles.set(handle.spec.handleID, handle);
    this.#handleNames.set(name, handle.spec.handleID);
  }

  setPod(key: string, pod: Pod | undefined): void {
    for (const address of this.pods.get(key)?.addresses ?? []) drop(this.#usersOfAddress, address, key);
    if (!pod) {
      this.pods.delete(key);
      return;
    }
    this.pods.set(key, pod);
    if (!pod.finished) for (const address of pod.addresses) add(this.#usersOfAddress, address, key);
  }

  /** The pods that have not ended and say that they have the address, whatever the allocation says. */
  claimants(address: string): readonly Pod[] {
    return [...(this.#usersOfAddress.get(address) ?? [])].flatMap((key) => this.pods.get(key) ?? []);
  }

  allocationsOfHandle(handle: string): Iterable<Allocation> {
    return this.#allocationsOfHandle.get(handle)?.values() ?? [];
  }

  /** Blocks that are affine to a node or hold an address of it; CIDRs. */
  blocksOfNode(node: string): readonly string[] {
    return [...(this.#blocksOfNode.get(node) ?? [])];
  }

  affinitiesOfNode(node: string): readonly BlockAffinity[] {
    return [...(this.#affinitiesOfNode.get(node) ?? [])].flatMap((name) => this.affinities.get(name) ?? []);
  }

  /** Every node, by Calico's name, that owns a block or has an address, or is an object of Calico's own. */
  *nodesWithItems(): Iterable<string> {
    yield* new Set([...this.#blocksOfNode.keys(), ...this.#affinitiesOfNode.keys(), ...this.calicoNodes.keys()]);
  }

  /** Kubernetes' name of a node of Calico's. Undefined: it is no node of Kubernetes, and is left alone. */
  kubernetesNode(node: string): string | undefined {
    return this.calicoNodes.has(node) ? this.calicoNodes.get(node) : node;
  }

  /** Whether no node of that name is known: a first sign, to be asked of the API server. */
  looksGone(node: string): boolean {
    const name = this.kubernetesNode(node);
    return name !== undefined && !this.nodes.has(name);
  }
}

function nodesOf({ host, allocations }: BlockFacts): Set<string> {
  const nodes = new Set<string>();
  if (host !== undefined) nodes.add(host);
  for (const { node } of allocations) if (node !== undefined) nodes.add(node);
  return nodes;
}

function add(index: Map<string, Set<string>>, key: string, value: string): void {
  const values = index.get(key);
  if (values) values.add(value);
  else index.set(key, new Set([value]));
}

function drop(index: Map<string, Set<string>>, key: string, value: string): void {
  const values = index.get(key);
  if (values?.delete(value) && values.size === 0) index.delete(key);
}
