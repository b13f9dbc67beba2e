import type { Kind } from "../../api/kind.ts";
import type { Resource } from "../../api/meta.ts";
import { type Client, DatastoreError, type Index } from "../../datastore/index.ts";
import { pause } from "../../wait/index.ts";
import type { Unreadable } from "./types.ts";

/** How long until a kind that could not be watched is tried again, in milliseconds. */
const RETRY = { first: 500, most: 30_000 };
/** What does not get better by itself: the rest need not wait for it. */
const REFUSED: readonly DatastoreError["code"][] = ["UNAUTHORIZED", "CONFIG"];

export interface SourceOptions {
  readonly client: Client;
  readonly index?: Index;
  /** For messages: `BGPPeer`, `Secret kube-system/bgp`. */
  readonly label: string;
  /** BGP goes on without the kind where the node may not read it, or the cluster has none of it. */
  readonly isOptional: boolean;
  /** How long others wait for it, in milliseconds; absent: until it has told everything. */
  readonly patience?: number;
  /** Filled with the names of all objects that were ever told of. */
  readonly remembered?: Set<string>;
  readonly onChange: () => void;
  readonly onTrouble: (label: string, why: string | undefined) => void;
}

/** The objects of one kind, kept up to date. What was known stays in force while the datastore is away. */
export class Source<R extends Resource = Resource> {
  readonly objects = new Map<string, R>();
  readonly #kind: Kind<R>;
  readonly #options: SourceOptions;
  readonly #unreadable = new Map<string, Unreadable>();
  readonly #stop = new AbortController();
  #isReady = false;
  /** Never rejects but for a fault of this program. */
  readonly done: Promise<void>;

  constructor(kind: Kind<R>, options: SourceOptions) {
    this.#kind = kind;
    this.#options = options;
    this.done = this.#run();
    if (options.patience !== undefined) void pause(options.patience, this.#stop.signal).then(() => this.#ready());
  }

  get label(): string {
    return this.#options.label;
  }

  /** Whether others need not wait for it any more. */
  get isReady(): boolean {
    return this.#isReady;
  }

  get unreadable(): Iterable<Unreadable> {
    return this.#unreadable.values();
  }

  stop(): void {
    this.#stop.abort();
  }

  #ready(): void {
    if (this.#isReady || this.#stop.signal.aborted) return;
    this.#isReady = true;
    this.#options.onChange();
  }

  async #run(): Promise<void> {
    const { client, index, isOptional, onTrouble } = this.#options;
    const { signal } = this.#stop;
    for (let wait = RETRY.first; !signal.aborted; wait = Math.min(wait * 2, RETRY.most)) {
      /** What this watch has told; undefined once it told everything: what it did not tell of is gone. */
      let told: Set<string> | undefined = new Set();
      try {
        for await (const event of client.watch(this.#kind, { signal, ...(index ? { index } : {}) })) {
          if (event.type === "synced") {
            for (const key of told ? this.objects.keys() : []) if (!told!.has(key)) this.objects.delete(key);
            told = undefined;
            wait = RETRY.first;
            onTrouble(this.label, undefined);
            if (this.#isReady) this.#options.onChange();
            else this.#ready();
            continue;
          }
          if (event.type === "invalid") this.#invalid(event.key, event.error, told);
          else this.#event(event.type, event.resource, told);
          if (this.#isReady) this.#options.onChange();
        }
        if (signal.aborted) return;
      } catch (error) {
        if (signal.aborted) return;
        if (!(error instanceof DatastoreError)) throw error;
        const isNone = isOptional && error.kindMissing === true;
        onTrouble(this.label, isNone ? undefined : error.message);
        if (isNone || (isOptional && REFUSED.includes(error.code))) this.#ready();
      }
      await pause(wait, signal);
    }
  }

  #event(type: "added" | "modified" | "deleted", resource: R, told: Set<string> | undefined): void {
    const { name, namespace } = resource.metadata;
    const key = namespace === undefined ? name : `${namespace}/${name}`;
    this.#unreadable.delete(key);
    this.#options.remembered?.add(key);
    if (type === "deleted") this.objects.delete(key);
    else this.objects.set(key, resource);
    told?.add(key);
  }

  /** An earlier version stays in force. */
  #invalid(path: string, error: Error, told: Set<string> | undefined): void {
    const segments = path.split("/");
    const name = segments.at(-1) ?? path;
    const key = this.#kind.namespaced ? `${segments.at(-2)}/${name}` : name;
    this.#unreadable.set(key, { kind: this.#kind.kind, name, message: error.message });
    told?.add(key);
  }
}
