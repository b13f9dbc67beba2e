import { BlockAffinity } from "../../api/blockaffinity.ts";
import { IPAMConfiguration } from "../../api/ipamconfiguration.ts";
import { IPPool } from "../../api/ippool.ts";
import { IPReservation } from "../../api/ipreservation.ts";
import type { Kind } from "../../api/kind.ts";
import type { Resource } from "../../api/meta.ts";
import { Node } from "../../api/node.ts";
import { DatastoreError, type Index, type WatchEvent } from "../../datastore/index.ts";
import { pause } from "../../wait/index.ts";
import { type Context, isUnreadable } from "../context.ts";
import { type Pool, readPools } from "../pools.ts";
import { DEFAULT_CONFIG } from "../reads.ts";
import { type Reservations, readReservations } from "../reservations.ts";
import type { IpamConfig } from "../types.ts";

/** What an ordinary request reads first, without its handle. */
export interface Facts {
  readonly config: IpamConfig;
  readonly pools: readonly Pool[];
  readonly reservations: Reservations;
  /** Of the node's affinities, those that can be read. */
  readonly rows: readonly BlockAffinity[];
  readonly nodeLabels: Readonly<Record<string, string>>;
}

/**
 * A watch does not tell that it has lost its server. So everything is listed again, on the side, when a request comes and the last
 * list is older than `again`; what was not listed for longer than `most` is not used. A watch that is shared may have listed before this
 * one began: what it tells first may be older by the three minutes after which a silent server is noticed.
 */
const AGE = { again: 5 * 60_000, most: 10 * 60_000 };

/** Waits until a kind that could not be watched is tried again, in milliseconds. */
const RETRY = { first: 500, most: 30_000 };

/** Keeps the facts by watches. */
export class Warm {
  /** Resolves when all is known, or the signal aborts. */
  readonly inSync: Promise<void>;
  readonly #ctx: Context;
  readonly #config: Kept<IPAMConfiguration>;
  readonly #pools: Kept<IPPool>;
  readonly #reservations: Kept<IPReservation>;
  readonly #rows: Kept<BlockAffinity>;
  readonly #nodes: Kept<Node>;
  readonly #node: string;
  #facts: Facts | undefined;
  #listedAt = 0;
  #listing: Promise<void> | undefined;
  #isInSync = () => {};

  constructor(ctx: Context, node: string, signal: AbortSignal) {
    this.#ctx = ctx;
    this.#node = node;
    const changed = (): void => this.#changed();
    const keep = <R extends Resource>(kind: Kind<R>, index?: Index) => new Kept<R>(ctx, kind, index, changed);
    // Upstream's role for its node's agent may get it, and no more.
    this.#config = new Kept<IPAMConfiguration>(ctx, IPAMConfiguration, undefined, changed, "default");
    this.#pools = keep(IPPool);
    this.#reservations = keep(IPReservation);
    this.#rows = keep(BlockAffinity, { node, affinityType: "host" });
    this.#nodes = keep(Node, { node });
    this.inSync = new Promise((resolve) => {
      this.#isInSync = resolve;
      signal.addEventListener("abort", () => resolve());
    });
    for (const kept of this.#all()) void kept.watch(signal);
  }

  /** Undefined: not everything is known, or not of late; the datastore is to be read. */
  facts(): Facts | undefined {
    const age = this.#ctx.now() - this.#listedAt;
    if (age > AGE.again && this.#all().every(({ known }) => known)) void this.#listAgain();
    if (age > AGE.most) return undefined;
    this.#facts ??= this.#make();
    return this.#facts;
  }

  /** Reads the node's affinities: what a claim has changed a moment ago is known when it resolves, whatever the watch has told by then. */
  async listAffinities(): Promise<void> {
    await this.#rows.list(true);
  }

  #all(): readonly Kept<never>[] {
    return [this.#config, this.#pools, this.#reservations, this.#rows, this.#nodes] as unknown as Kept<never>[];
  }

  #changed(): void {
    this.#facts = undefined;
    if (this.#listedAt > 0 || !this.#all().every(({ known }) => known)) return;
    this.#listedAt = this.#ctx.now();
    this.#isInSync();
  }

  #listAgain(): Promise<void> {
    this.#listing ??= Promise.all(this.#all().map((kept) => kept.list()))
      .then((done) => {
        if (done.every(Boolean)) this.#listedAt = this.#ctx.now();
      })
      .finally(() => {
        this.#listing = undefined;
      });
    return this.#listing;
  }

  #make(): Facts | undefined {
    // Nothing may be assigned while the configuration cannot be read.
    if (!this.#all().every(({ known }) => known) || this.#config.unreadable) return undefined;
    const node = this.#nodes.items.get(this.#node);
    return {
      config: this.#config.items.get("default")?.spec ?? DEFAULT_CONFIG,
      pools: readPools([...this.#pools.items.values()]),
      reservations: readReservations([...this.#reservations.items.values()]),
      rows: [...this.#rows.items.values()],
      nodeLabels: node?.metadata.labels ?? {},
    };
  }
}

/** The objects of one kind, or of an index of it, as far as they can be read. */
class Kept<R extends Resource> {
  items = new Map<string, R>();
  known = false;
  /** At the last list there was one that cannot be read. */
  unreadable = false;
  readonly #ctx: Context;
  readonly #kind: Kind<R>;
  readonly #index: Index | undefined;
  readonly #changed: () => void;
  readonly #single: string | undefined;
  #events = 0;
  #said = "";

  /** `single`: the name of the only object of its kind, which is read now and then where it cannot be watched. */
  constructor(ctx: Context, kind: Kind<R>, index: Index | undefined, changed: () => void, single?: string) {
    this.#ctx = ctx;
    this.#kind = kind;
    this.#index = index;
    this.#changed = changed;
    this.#single = single;
  }

  /** Watches until the signal aborts. A watch that ends with an error is begun anew, and until then nothing is known. */
  async watch(signal: AbortSignal): Promise<void> {
    const { client, log } = this.#ctx;
    const index = this.#index;
    for (let wait = RETRY.first; !signal.aborted; wait = Math.min(wait * 2, RETRY.most)) {
      try {
        // What existed is told before `synced`, and counts from then on.
        let items = new Map<string, R>();
        for await (const event of client.watch(this.#kind, { signal, shared: true, ...(index ? { index } : {}) })) {
          if (signal.aborted) return;
          wait = RETRY.first;
          await this.#told(event, items);
          if (event.type !== "synced") continue;
          // A watch that is shared tells as well what an object was when it could still be read.
          if (this.known || !this.unreadable) items = this.#synced(items);
          else if (await this.list(true, true)) items = this.items;
          else break;
        }
      } catch (error) {
        if (signal.aborted) return;
        const message = error instanceof Error ? error.message : String(error);
        if (message !== this.#said)
          log.warning(`${this.#kind.kind} cannot be watched: the allocator reads it`, { error: message });
        this.#said = message;
        const isRead = this.#single !== undefined && (await this.list(true, true));
        if (!isRead) {
          this.known = false;
          this.#changed();
        }
        if (!(error instanceof DatastoreError)) return;
      }
      await pause(wait, signal);
    }
  }

  async #stored(): Promise<{ readonly items: readonly R[]; readonly unreadable: readonly { error: Error }[] }> {
    const { client } = this.#ctx;
    if (this.#single === undefined) return client.list(this.#kind, this.#index);
    try {
      const one = await client.get(this.#kind, { name: this.#single });
      return { items: one ? [one] : [], unreadable: [] };
    } catch (error) {
      if (!isUnreadable(error)) throw error;
      return { items: [], unreadable: [{ error }] };
    }
  }

  /** Lists again; answers false when that failed. What the watch tells meanwhile is newer, except with `anyhow`; `first`: it is known from now on. */
  async list(anyhow = false, first = false): Promise<boolean> {
    const events = this.#events;
    try {
      const { items, unreadable } = await this.#stored();
      if (!this.known && !first) return false;
      if (events !== this.#events && !anyhow) return true;
      for (const one of unreadable)
        this.#ctx.log.warning(`a stored ${this.#kind.kind} is passed over`, { error: one.error.message });
      this.items.clear();
      for (const item of items) this.items.set(keyOf(item), item);
      this.unreadable = unreadable.length > 0;
      this.known = true;
      this.#changed();
      return true;
    } catch (error) {
      if (!(error instanceof DatastoreError)) throw error;
      this.#ctx.log.warning(`${this.#kind.kind} cannot be listed`, { error: error.message });
      return false;
    }
  }

  async #told(event: WatchEvent<R>, items: Map<string, R>): Promise<void> {
    if (event.type === "synced") return;
    this.#events++;
    if (event.type === "invalid") {
      // Which object it is the key does not say in every datastore. One that cannot be read counts as absent, as in createIpam.
      this.unreadable = true;
      this.#changed();
      if (this.known) await this.list();
      return;
    }
    const key = keyOf(event.resource);
    if (event.type === "deleted") items.delete(key);
    else items.set(key, event.resource);
    if (!this.known) return;
    // The one of them whose readability matters is the only one of its kind.
    this.unreadable = false;
    this.#changed();
  }

  #synced(items: Map<string, R>): Map<string, R> {
    if (!this.known || items !== this.items) {
      this.items = items;
      this.known = true;
      this.#changed();
    }
    return this.items;
  }
}

/** What tells the objects of one kind apart. */
function keyOf(resource: Resource): string {
  const { cidr } = resource.spec as { cidr?: string };
  return resource.kind === "BlockAffinity" && cidr !== undefined ? cidr : resource.metadata.name;
}
