import type { BlockAffinity } from "../../api/blockaffinity.ts";
import { Node } from "../../api/node.ts";
import type { Client } from "../../datastore/index.ts";
import {
  createIpam,
  type Ipam,
  type IpamConfig,
  type IpamOptions,
  ipamAdmin,
  type ReleaseRequest,
} from "../../ipam/index.ts";
import type { Logger } from "../../telemetry/index.ts";
import type { Time } from "../time.ts";
import type { LiveCluster } from "./cluster.ts";
import { judgePod, Observations, superfluousBlocks, wholeHandles } from "./decide.ts";
import type { Allocation, BlockFacts, Pod } from "./facts.ts";
import type { Ledger } from "./ledger.ts";
import { Limit } from "./limit.ts";
import { kubernetesNodeOf } from "./names.ts";

export interface CollectorOptions {
  readonly client: Client;
  readonly live: LiveCluster;
  readonly ledger: Ledger;
  readonly log: Logger;
  readonly time: Pick<Time, "now" | "random">;
  /** LeakGracePeriod in milliseconds; 0: nothing is collected on nodes that exist. */
  readonly grace: () => number;
  /** Requests about blocks, handles and pods that are under way at once; 32 when absent. */
  readonly parallel?: number;
  /** Handles of this many blocks, by CIDR, that cannot be read: what they hold is not known. */
  readonly unreadable?: () => boolean;
  /** Hears of every address that was released. */
  readonly onReclaimed?: (allocation: Allocation) => void;
  /** Waits of the allocator's retries; for tests. */
  readonly sleep?: (milliseconds: number) => Promise<void>;
}

/** Some of the work failed; the rest is done. */
export class CollectionFailed extends Error {
  override readonly name = "CollectionFailed";
  constructor(
    what: string,
    readonly failures: readonly { readonly item: string; readonly error: unknown }[],
  ) {
    const [first] = failures;
    super(`${what}: ${failures.length} not done, such as ${first?.item}: ${(first?.error as Error)?.message}`, {
      cause: first?.error,
    });
  }
}

/** How long the configuration of IPAM is taken to be what it was. */
const CONFIG_MS = 30_000;

/**
 * Gives back what nobody uses any more. It decides by the ledger, which may be old; so whatever it takes away it looks at again at the API
 * server, after it has read in the ledger which allocations there are: an allocation is made after its pod was bound, so a pod that is not there
 * then cannot be theirs. What it writes is guarded by revisions and sequence numbers: what has changed meanwhile stays.
 */
export class Collector {
  readonly #options: CollectorOptions;
  readonly #limit: Limit;
  readonly #ipam: Ipam;
  readonly #ipamOptions: IpamOptions;
  readonly #leaks = new Observations();
  readonly #idle = new Observations();
  readonly #goneSince = new Map<string, number>();
  #config: { readonly at: number; readonly value: IpamConfig } | undefined;

  constructor(options: CollectorOptions) {
    this.#options = options;
    this.#limit = new Limit(options.parallel ?? 32);
    this.#ipamOptions = {
      clock: options.time.now,
      random: options.time.random,
      log: options.log,
      ...(options.sleep && { sleep: options.sleep }),
    };
    this.#ipam = createIpam(options.client, this.#ipamOptions);
  }

  /** Allocations that look leaked, by {@link Allocation.id}. */
  isCandidate(id: string): boolean {
    return this.#leaks.has(id);
  }

  /** Since when, in milliseconds since 1970, the oldest thing that should go has not gone. */
  get oldest(): number | undefined {
    const all = [this.#leaks.oldest, this.#idle.oldest, ...this.#goneSince.values()];
    return all.reduce((a, b) => (a === undefined ? b : b === undefined ? a : Math.min(a, b)), undefined);
  }

  /** The nodes that have something and do not seem to exist. */
  goneNodes(): string[] {
    const { ledger, time } = this.#options;
    const gone = [...ledger.nodesWithItems()].filter((node) => ledger.looksGone(node));
    for (const node of gone) if (!this.#goneSince.has(node)) this.#goneSince.set(node, time.now());
    for (const node of this.#goneSince.keys()) if (!gone.includes(node)) this.#goneSince.delete(node);
    return gone;
  }

  /**
   * Gives back all that a node had, if it is gone: addresses of pods that are gone as well, tunnels' addresses, blocks, affinities, handles; and Calico's own
   * Node, where that is not a view of Kubernetes'. All of it is tried; throws {@link CollectionFailed} when some of it failed. Answers whether
   * nothing is left.
   */
  async reclaimNode(node: string): Promise<boolean> {
    const { ledger, live, log, time, client } = this.#options;
    if (!ledger.looksGone(node)) {
      this.#goneSince.delete(node);
      return false;
    }
    const isNode = ledger.calicoNodes.has(node);
    // Before the API server is asked: an allocation that is made from here on is not looked at.
    const blocks = ledger.blocksOfNode(node).flatMap((cidr) => ledger.blocks.get(cidr) ?? []);
    const affinities = ledger.affinitiesOfNode(node);
    if (blocks.length === 0 && affinities.length === 0 && !isNode) {
      this.#goneSince.delete(node);
      return true;
    }
    if (!this.#goneSince.has(node)) this.#goneSince.set(node, time.now());
    const name = await this.#kubernetesNode(node);
    if (name === undefined || (await live.nodeExists(name))) {
      this.#goneSince.delete(node);
      return false;
    }
    const pods = await live.podsOn(name);
    const config = await this.#configuration();
    const plan = planNode(node, name, blocks, pods, ledger);
    const byCidr = new Map(affinities.map((affinity) => [affinity.spec.cidr, affinity]));
    const failures: { item: string; error: unknown }[] = [];
    const failed = await this.#limit.each(blocks, async (facts) => {
      const { cidr } = facts.block.spec;
      const affinity = byCidr.get(cidr);
      const staying = facts.allocations.filter((one) => one.node !== node).map(requestOf);
      const owned = facts.host === node;
      await this.#reclaim(config, facts, plan.unused.get(cidr) ?? [], {
        ...(owned && { owner: node, staying, ...(affinity && { affinity }) }),
      });
    });
    failures.push(...failed.map(({ item, error }) => ({ item: `block ${item.block.spec.cidr}`, error })));
    // Of no block, or of one that is another's or cannot be read.
    const odd = affinities.filter(
      ({ spec }) => !blocks.some(({ block, host }) => block.spec.cidr === spec.cidr && host === node),
    );
    const oddFailed = await this.#limit.each(odd, (affinity) => this.#settleAffinity(affinity));
    failures.push(...oddFailed.map(({ item, error }) => ({ item: `affinity ${item.metadata.name}`, error })));
    if (failures.length > 0) throw new CollectionFailed(`reclaim node ${node}`, failures);
    if (plan.left > 0) {
      log.info("a node is gone, but addresses of it are in use", { node, addresses: plan.left, pods: pods.size });
      return false;
    }
    if (isNode && pods.size === 0) {
      const { deleteResource } = await ipamAdmin();
      await deleteResource(client, Node, { name: node });
      ledger.calicoNodes.delete(node);
    }
    this.#goneSince.delete(node);
    log.info("a node is gone, and what it had is given back", { node, blocks: blocks.length });
    return true;
  }

  /**
   * Looks at everything that nodes have which exist: addresses without a pod, empty blocks that a node can do without, affinities without a block, handles without
   * an address, blocks of nobody, and what has cooled down. All of it is tried; throws {@link CollectionFailed} when some of it failed.
   */
  async scan(): Promise<void> {
    const config = await this.#configuration();
    const failures = [
      ...(await this.#collectLeaks(config)),
      ...(await this.#collectIdle(config)),
      ...(await this.#collectCooled(config)),
    ];
    if (failures.length > 0) throw new CollectionFailed("collect", failures);
  }

  async #collectLeaks(config: IpamConfig): Promise<Failure[]> {
    const { ledger, live, time, grace, log } = this.#options;
    const now = time.now();
    const period = grace();
    const confirmed: Allocation[] = [];
    const seen = new Set<string>();
    const factsOf = new Map<string, BlockFacts>();
    for (const [cidr, facts] of ledger.blocks) {
      for (const one of facts.allocations) {
        if (one.use !== "pod" || one.node === undefined || ledger.looksGone(one.node)) continue;
        const node = ledger.kubernetesNode(one.node);
        if (node === undefined) continue;
        const isUnused =
          judgePod(one, ledger.pods.get(one.pod!), node) === "unused" && ledger.claimants(one.address).length === 0;
        if (!isUnused) continue;
        seen.add(one.id);
        if (this.#leaks.note(one.id, now, period) && period > 0) {
          confirmed.push(one);
          factsOf.set(cidr, facts);
        }
      }
    }
    this.#leaks.keep(seen);
    if (confirmed.length === 0) return [];
    const failures: Failure[] = [];
    const unused: Allocation[] = [];
    const byPod = groupBy(confirmed, ({ pod }) => pod!);
    const failed = await this.#limit.each([...byPod], async ([pod, allocations]) => {
      const now = await live.pod(pod);
      for (const one of allocations) {
        if (judgePod(one, now, ledger.kubernetesNode(one.node!)) === "unused") unused.push(one);
        else this.#leaks.clear(one.id);
      }
    });
    failures.push(...failed.map(({ item: [pod], error }) => ({ item: `addresses of pod ${pod}`, error })));
    const whole = wholeHandles(unused, (handle) => ledger.allocationsOfHandle(handle));
    const byBlock = groupBy(whole, ({ block }) => block);
    const broken = await this.#limit.each([...byBlock], async ([cidr, allocations]) => {
      for (const { address, pod, node, handle } of allocations)
        log.info("an address is released: its pod does not use it", { address, pod, node, handle });
      await this.#reclaim(config, factsOf.get(cidr)!, allocations, {});
    });
    failures.push(...broken.map(({ item: [cidr], error }) => ({ item: `block ${cidr}`, error })));
    return failures;
  }

  async #collectIdle(config: IpamConfig): Promise<Failure[]> {
    const { ledger, time, grace, unreadable, client, log } = this.#options;
    const period = grace();
    if (period === 0) {
      this.#idle.keep(new Set());
      return [];
    }
    const now = time.now();
    const seen = new Set<string>();
    const due = (id: string): boolean => {
      seen.add(id);
      return this.#idle.note(id, now, period);
    };
    const failures: Failure[] = [];
    const owned = [...ledger.blocks.values()].flatMap(({ block, host, empty }) =>
      host === undefined || ledger.looksGone(host) ? [] : [{ cidr: block.spec.cidr, host, empty }],
    );
    const blocks = superfluousBlocks(owned).flatMap((cidr) => {
      const facts = ledger.blocks.get(cidr)!;
      return due(`block ${cidr} ${facts.block.spec.sequenceNumber}`) ? [facts] : [];
    });
    const affinityOf = (facts: BlockFacts): BlockAffinity | undefined =>
      ledger.affinitiesOfNode(facts.host!).find(({ spec }) => spec.cidr === facts.block.spec.cidr);
    const failed = await this.#limit.each(blocks, async (facts) => {
      const affinity = affinityOf(facts);
      log.info("an empty block is given back", { block: facts.block.spec.cidr, node: facts.host });
      await this.#reclaim(config, facts, [], { owner: facts.host!, ...(affinity && { affinity }) });
    });
    failures.push(...failed.map(({ item, error }) => ({ item: `block ${item.block.spec.cidr}`, error })));

    const affinities = [...ledger.affinities.values()].filter(({ spec, metadata }) => {
      if (spec.type !== "host" || ledger.looksGone(spec.node)) return false;
      // Half claimed, half given up, or of no block of its own.
      if (ledger.blocks.get(spec.cidr)?.host === spec.node && spec.state === "confirmed") return false;
      return due(`affinity ${metadata.name} ${metadata.resourceVersion}`);
    });
    const oddFailed = await this.#limit.each(affinities, (affinity) => this.#settleAffinity(affinity));
    failures.push(...oddFailed.map(({ item, error }) => ({ item: `affinity ${item.metadata.name}`, error })));

    if (!unreadable?.()) {
      const handles = [...ledger.handles].filter(([id, { metadata }]) => {
        for (const _ of ledger.allocationsOfHandle(id)) return false;
        return due(`handle ${id} ${metadata.resourceVersion}`);
      });
      const { settleHandle } = await ipamAdmin();
      const lost = await this.#limit.each(handles, async ([id]) => {
        log.info("a handle without addresses is deleted", { handle: id });
        await settleHandle(client, id, this.#ipamOptions);
      });
      failures.push(...lost.map(({ item: [id], error }) => ({ item: `handle ${id}`, error })));
    }
    this.#idle.keep(seen);
    return failures;
  }

  /** What has cooled down in blocks that nobody touches, and blocks that are nobody's and empty. */
  async #collectCooled(config: IpamConfig): Promise<Failure[]> {
    const { ledger, time } = this.#options;
    const limit = time.now() - config.ipCooldownSeconds * 1000;
    const due = [...ledger.blocks.values()].filter(
      ({ block, coolingSince, empty }) =>
        (coolingSince !== undefined && coolingSince <= limit) || (empty && block.spec.affinity === undefined),
    );
    const failed = await this.#limit.each(due, (facts) => this.#reclaim(config, facts, [], {}));
    return failed.map(({ item, error }) => ({ item: `block ${item.block.spec.cidr}`, error }));
  }

  async #reclaim(
    config: IpamConfig,
    facts: BlockFacts,
    allocations: readonly Allocation[],
    giveUp: {
      readonly owner?: string;
      readonly affinity?: BlockAffinity;
      readonly staying?: readonly ReleaseRequest[];
    },
  ): Promise<void> {
    const { client, ledger, log, onReclaimed } = this.#options;
    const { reclaimBlock } = await ipamAdmin();
    const { owner, ...known } = giveUp;
    const { outcomes } = await reclaimBlock(
      client,
      config,
      {
        block: facts.block,
        release: allocations.map(requestOf),
        ...(owner !== undefined && { giveUp: { owner: { type: "host", name: owner }, ...known } }),
        handle: (id) => ledger.handles.get(id),
      },
      this.#ipamOptions,
    );
    const kept: string[] = [];
    for (const [index, { outcome, address, reason }] of outcomes.entries()) {
      const allocation = allocations[index]!;
      if (outcome === "released") onReclaimed?.(allocation);
      if (outcome === "released" || outcome === "not-allocated") this.#leaks.clear(allocation.id);
      else kept.push(`${address}: ${reason}`);
    }
    if (kept.length > 0)
      log.info("addresses stay allocated, as they are not what they were", { addresses: kept.join(", ") });
  }

  async #settleAffinity({ spec }: BlockAffinity): Promise<void> {
    const { settleAffinity } = await ipamAdmin();
    await settleAffinity(this.#options.client, { type: spec.type, name: spec.node }, spec.cidr, this.#ipamOptions);
  }

  /** Kubernetes' name of a node. Undefined: it is none of Kubernetes'. A Calico Node may have been made after the ledger was told of its blocks. */
  async #kubernetesNode(node: string): Promise<string | undefined> {
    const { client, ledger } = this.#options;
    if (client.capabilities.views || ledger.calicoNodes.has(node)) return ledger.kubernetesNode(node);
    const stored = await client.get(Node, { name: node });
    return stored ? kubernetesNodeOf(stored) : node;
  }

  async #configuration(): Promise<IpamConfig> {
    const now = this.#options.time.now();
    if (!this.#config || now - this.#config.at > CONFIG_MS)
      this.#config = { at: now, value: await this.#ipam.configuration() };
    return this.#config.value;
  }
}

interface Failure {
  readonly item: string;
  readonly error: unknown;
}

/** Which allocations of a node that is gone are unused, by block, and how many are not. */
export function planNode(
  node: string,
  kubernetesNode: string,
  blocks: readonly BlockFacts[],
  /** As the API server has just answered. */
  pods: ReadonlyMap<string, Pod>,
  ledger: Pick<Ledger, "claimants" | "allocationsOfHandle">,
): { readonly unused: ReadonlyMap<string, readonly Allocation[]>; readonly left: number } {
  const claimed = new Set([...pods.values()].flatMap(({ addresses }) => addresses));
  const mine = blocks.flatMap(({ allocations }) => allocations.filter((one) => one.node === node));
  const isUnused = (one: Allocation): boolean => {
    if (one.use !== "pod") return false;
    // The list is newer than the ledger about pods of this node.
    if (ledger.claimants(one.address).some((pod) => pod.node !== kubernetesNode)) return false;
    if (claimed.has(one.address)) return false;
    return judgePod(one, pods.get(one.pod!), kubernetesNode) === "unused";
  };
  const leaks = mine.filter(isUnused);
  // A tunnel's address is used as long as anything else of its node is.
  const tunnels = mine.filter(({ use }) => use === "tunnel");
  const unused = [...leaks, ...(leaks.length + tunnels.length === mine.length ? tunnels : [])];
  const whole = wholeHandles(unused, (handle) => ledger.allocationsOfHandle(handle));
  return { unused: groupBy(whole, ({ block }) => block), left: mine.length - whole.length };
}

function requestOf({ address, handle, sequenceNumber }: Allocation): ReleaseRequest {
  return { address, sequenceNumber, ...(handle !== undefined && { handle }) };
}

function groupBy<T>(items: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}
