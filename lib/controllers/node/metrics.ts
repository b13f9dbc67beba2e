import { type Cidr, cidrContains, cidrSize, parseCidr, tryParseCidr } from "../../ip/index.ts";
import type { Counter, Family, Gauge, Metrics } from "../../telemetry/daemon.ts";
import type { Allocation } from "./facts.ts";
import type { Ledger } from "./ledger.ts";

/** Upstream's words for what is of no pool, of no node, of no owner (kube-controllers/pkg/controllers/node). */
const NO_POOL = "no_ippool";
const NO_NODE = "unknown_node";
const NO_OWNER = "no_affinity";

/** What the metrics are computed of, whenever they are asked for: all of it anew, so that no count can drift. */
export interface MetricsSource {
  readonly ledger: Ledger;
  /** Name to CIDR. */
  readonly pools: ReadonlyMap<string, string>;
  /** How many addresses of each are reserved. */
  reservedIn(cidrs: readonly Cidr[]): readonly bigint[];
  isCandidate(id: string): boolean;
  /** Milliseconds since 1970. */
  readonly oldest: number | undefined;
  now(): number;
  /** Whether all that there was at the beginning is in the ledger; until then nothing is told. */
  readonly synced: boolean;
}

/** Upstream's metrics of IPAM, and the age of the oldest thing that should be collected. */
export class IpamMetrics {
  readonly #gauges: Record<"inUse" | "borrowed" | "candidates" | "blocks" | "size" | "reserved", Replaced>;
  readonly #legacy: Record<"allocations" | "blocks" | "borrowed", Replaced>;
  readonly #reclamations: Family<Counter>;
  #source: MetricsSource | undefined;

  constructor(metrics: Metrics) {
    const gauge = (name: string, help: string, ...labels: string[]) =>
      new Replaced(metrics.gauges(name, help, labels), labels.length);
    const both = ["ippool", "node"];
    this.#gauges = {
      inUse: gauge("ipam_allocations_in_use", "Addresses that are allocated to workloads and tunnels.", ...both),
      borrowed: gauge("ipam_allocations_borrowed", "Allocated addresses of blocks that are another node's.", ...both),
      candidates: gauge(
        "ipam_allocations_gc_candidates",
        "Allocated addresses that nobody seems to use: they are released when that stays so.",
        ...both,
      ),
      blocks: gauge("ipam_blocks", "Blocks of the pool, by the node that has them.", ...both),
      size: gauge("ipam_ippool_size", "Addresses of the pool.", "ippool"),
      reserved: gauge(
        "ipam_ippool_reserved",
        "Addresses of the pool that an IPReservation keeps from being assigned.",
        "ippool",
      ),
    };
    this.#legacy = {
      allocations: gauge("ipam_allocations_per_node", "Addresses that are allocated.", "node"),
      blocks: gauge("ipam_blocks_per_node", "Blocks, by the node that has them.", "node"),
      borrowed: gauge("ipam_allocations_borrowed_per_node", "Allocated addresses of others' blocks.", "node"),
    };
    this.#reclamations = metrics.counters(
      "ipam_allocations_gc_reclamations",
      "Addresses that were released because nobody used them.",
      both,
    );
    const oldest = metrics.gauge(
      "ipam_gc_oldest_unreclaimed_seconds",
      "How long the oldest thing that looks superfluous (a gone node's blocks, an address, a block, a handle) has not been collected; 0: there is none.",
    );
    metrics.collect(() => {
      const source = this.#source;
      if (!source?.synced) return;
      this.#compute(source);
      oldest.set(source.oldest === undefined ? 0 : Math.max(0, source.now() - source.oldest) / 1000);
    });
  }

  /** From now on these are told of. */
  show(source: MetricsSource): void {
    this.#source = source;
  }

  reclaimed(allocation: Allocation): void {
    const pools = [...(this.#source?.pools ?? [])];
    this.#reclamations.with(poolOf(pools, allocation.block), allocation.node ?? NO_NODE).inc();
  }

  #compute(source: MetricsSource): void {
    const { ledger } = source;
    const pools = [...source.pools];
    const counts = {
      inUse: new Tally(),
      borrowed: new Tally(),
      candidates: new Tally(),
      blocks: new Tally(),
      size: new Tally(),
      reserved: new Tally(),
    };
    const legacy = { allocations: new Tally(), blocks: new Tally(), borrowed: new Tally() };
    const cidrs = pools.map(([, cidr]) => parseCidr(cidr));
    const reserved = source.reservedIn(cidrs);
    for (const [index, [pool]] of pools.entries()) {
      counts.size.add(Number(cidrSize(cidrs[index]!)), pool);
      counts.reserved.add(Number(reserved[index]), pool);
      // A quotient of two of them is 0, and not absent, for a node that has nothing.
      for (const node of ledger.nodes)
        for (const one of ["inUse", "borrowed", "candidates"] as const) counts[one].add(0, pool, node);
    }
    for (const [cidr, { host, allocations }] of ledger.blocks) {
      const pool = poolOf(pools, cidr);
      const owner = host ?? NO_OWNER;
      counts.blocks.add(1, pool, owner);
      legacy.blocks.add(1, owner);
      for (const one of allocations) {
        const node = one.node ?? NO_NODE;
        counts.inUse.add(1, pool, node);
        legacy.allocations.add(1, node);
        if (one.node !== undefined && one.node !== host) {
          counts.borrowed.add(1, pool, node);
          legacy.borrowed.add(1, node);
        }
        if (source.isCandidate(one.id)) counts.candidates.add(1, pool, node);
      }
    }
    for (const name of Object.keys(counts) as (keyof typeof counts)[]) this.#gauges[name].replace(counts[name]);
    for (const name of Object.keys(legacy) as (keyof typeof legacy)[]) this.#legacy[name].replace(legacy[name]);
  }
}

class Tally {
  readonly counts = new Map<string, { readonly labels: readonly string[]; count: number }>();
  add(by: number, ...labels: string[]): void {
    const key = labels.join("\0");
    const known = this.counts.get(key);
    if (known) known.count += by;
    else this.counts.set(key, { labels, count: by });
  }
}

/** Gauges of which only those that were counted last are told. */
class Replaced {
  #told: (readonly string[])[] = [];
  constructor(
    readonly family: Family<Gauge>,
    readonly labels: number,
  ) {}
  replace({ counts }: Tally): void {
    for (const labels of this.#told) if (!counts.has(labels.join("\0"))) this.family.remove(...labels);
    this.#told = [];
    for (const { labels, count } of counts.values()) {
      this.family.with(...labels).set(count);
      this.#told.push(labels);
    }
  }
}

function poolOf(pools: readonly (readonly [string, string])[], cidr: string): string {
  const block = tryParseCidr(cidr);
  if (!block) return NO_POOL;
  for (const [name, text] of pools) {
    const pool = tryParseCidr(text);
    if (pool && pool.version === block.version && cidrContains(pool, block)) return name;
  }
  return NO_POOL;
}
