import { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import { BGPFilter } from "../../api/bgpfilter.ts";
import { BGPPeer } from "../../api/bgppeer.ts";
import { BlockAffinity } from "../../api/blockaffinity.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import { EndpointSlice, Secret, Service } from "../../api/kubernetes/index.ts";
import type { Resource } from "../../api/meta.ts";
import { Node } from "../../api/node.ts";
import { Profile } from "../../api/profile.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { DatastoreError, type Index } from "../../datastore/index.ts";
import { pause } from "../../wait/index.ts";
import type { NodeBgp } from "../model/index.ts";
import { nodeBgp } from "./node-bgp.ts";
import { DEFAULT_NAMESPACE, type PasswordField } from "./passwords.ts";
import { share } from "./share.ts";
import { Source } from "./source.ts";
import type { BgpInputs, BgpWatch, WatchBgpOptions } from "./types.ts";

const SETTLE = 50;
/** How long sessions without a password wait for a Secret that others need, in milliseconds. */
const SECRET_PATIENCE = 2000;
/** How often affinities are looked for that carry no label to watch by, in milliseconds. */
const RELIST = 600_000;

/** Watches what BGP of a node depends on: the kinds of the cluster always, the others while something asks for them. */
export function watchBgp(options: WatchBgpOptions): BgpWatch {
  const watch = new Watch(options);
  return { missing: watch.missing, done: watch.done, again: () => watch.again() };
}

class Watch {
  /** Kinds that are waited for. */
  readonly missing = new Set<string>();
  readonly done: Promise<void>;
  readonly #options: WatchBgpOptions;
  readonly #ended = Promise.withResolvers<void>();
  readonly #sources = new Map<string, Source>();
  readonly #nodes: Source<Node>;
  readonly #configurations: Source<BGPConfiguration>;
  readonly #peers: Source<BGPPeer>;
  readonly #filters: Source<BGPFilter>;
  readonly #pools: Source<IPPool>;
  /** None where the node's blocks are Kubernetes' (usePodCidr). */
  readonly #affinities: Source<BlockAffinity> | undefined;
  /** What a list found, which sees affinities that a watch by label does not. */
  #listed: readonly BlockAffinity[] | undefined;
  /** Affinities that the watch told of, be it long ago: it is right about them, and a list may be out of date. */
  readonly #watched = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #last: NodeBgp | undefined;

  constructor(options: WatchBgpOptions) {
    this.#options = options;
    this.done = this.#ended.promise;
    this.#nodes = this.#start(Node, { isOptional: false });
    this.#configurations = this.#start(BGPConfiguration, { isOptional: false });
    this.#peers = this.#start(BGPPeer, { isOptional: false });
    this.#filters = this.#start(BGPFilter, { isOptional: true });
    this.#pools = this.#start(IPPool, { isOptional: false });
    this.#affinities = options.usePodCidr
      ? undefined
      : this.#start(BlockAffinity, {
          isOptional: false,
          index: { node: options.node, affinityType: "host" },
          remembered: this.#watched,
        });
    if (this.#affinities && options.client.capabilities.views) void this.#findUnlabelled().catch(this.#ended.reject);
    else this.#listed = [];
    const { signal } = options;
    if (signal.aborted) this.#end();
    else signal.addEventListener("abort", () => this.#end(), { once: true });
  }

  #end(): void {
    clearTimeout(this.#timer);
    const sources = [...this.#sources.values()];
    for (const source of sources) source.stop();
    Promise.all(sources.map(({ done }) => done)).then(() => this.#ended.resolve(), this.#ended.reject);
  }

  #start<R extends Resource>(
    kind: Kind<R>,
    options: {
      readonly isOptional: boolean;
      readonly index?: Index;
      readonly label?: string;
      readonly patience?: number;
      readonly remembered?: Set<string>;
    },
  ): Source<R> {
    const { client, onTrouble } = this.#options;
    const label = options.label ?? kind.kind;
    this.missing.add(label);
    const source = new Source(kind, {
      client,
      ...options,
      label,
      onChange: () => this.#changed(),
      onTrouble: (label, why) => onTrouble?.(label, why),
    });
    source.done.catch(this.#ended.reject);
    this.#sources.set(label, source as unknown as Source);
    return source;
  }

  again(): void {
    this.#changed();
  }

  #changed(): void {
    if (this.#timer !== undefined || this.#options.signal.aborted) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      try {
        this.#settle();
      } catch (error) {
        this.#ended.reject(error);
        this.#end();
      }
    }, this.#options.settle ?? SETTLE);
  }

  #settle(): void {
    const { signal, onChange } = this.#options;
    if (signal.aborted) return;
    // Only these tell what else is needed.
    if (this.#configurations.isReady && this.#peers.isReady) this.#adjust();
    let isComplete = this.#listed !== undefined;
    for (const [label, { isReady }] of this.#sources) {
      if (isReady) this.missing.delete(label);
      else isComplete = false;
    }
    if (!isComplete) return;
    const next = share(this.#last, nodeBgp(this.#inputs(), this.#options));
    if (next === this.#last) return;
    this.#last = next;
    onChange(next);
  }

  #inputs(): BgpInputs {
    const of = <R extends Resource>(label: string): Iterable<R> =>
      (this.#sources.get(label)?.objects.values() ?? []) as Iterable<R>;
    const sources = [...this.#sources.values()];
    const unlabelled = (this.#listed ?? []).filter(({ metadata }) => !this.#watched.has(metadata.name));
    return {
      nodes: this.#nodes.objects.values(),
      configurations: this.#configurations.objects.values(),
      peers: this.#peers.objects.values(),
      filters: this.#filters.objects.values(),
      pools: this.#pools.objects.values(),
      affinities: [...(this.#affinities?.objects.values() ?? []), ...unlabelled],
      services: of<Service>(Service.kind),
      endpointSlices: of<EndpointSlice>(EndpointSlice.kind),
      endpoints: of<WorkloadEndpoint>(WorkloadEndpoint.kind),
      profiles: of<Profile>(Profile.kind),
      secrets: sources.flatMap(({ label, objects }) =>
        label.startsWith(SECRET) ? ([...objects.values()] as Secret[]) : [],
      ),
      unreadable: sources.flatMap(({ unreadable }) => [...unreadable]),
    };
  }

  /** Watches what is needed now, and what is no longer needed not any more. */
  #adjust(): void {
    const { node, advertiseClusterIps, secretNamespace } = this.#options;
    const namespace = secretNamespace || DEFAULT_NAMESPACE;
    const needed = new Map<string, () => void>();
    const need = <R extends Resource>(
      kind: Kind<R>,
      { label = kind.kind, ...options }: { label?: string; index?: Index; patience?: number } = {},
    ): void => {
      needed.set(label, () => this.#start(kind, { isOptional: true, label, ...options }));
    };
    const configuration = this.#configurations.objects.get("default")?.spec;
    const peers = [...this.#peers.objects.values()];
    const ranges = [
      configuration?.serviceClusterIPs,
      configuration?.serviceExternalIPs,
      configuration?.serviceLoadBalancerIPs,
    ];
    if (advertiseClusterIps || ranges.some((list) => list?.some(({ cidr }) => cidr))) {
      need(Service);
      need(EndpointSlice);
    }
    if (peers.some(({ spec }) => spec.localWorkloadSelector)) {
      need(WorkloadEndpoint, { index: { node } });
      need(Profile);
    }
    const fields: (PasswordField | undefined)[] = [
      configuration?.nodeMeshPassword,
      ...peers.map(({ spec }) => spec.password),
    ];
    for (const field of fields) {
      const name = field?.secretKeyRef?.name;
      if (name) {
        need(Secret, { label: `${SECRET}${namespace}/${name}`, index: { namespace, name }, patience: SECRET_PATIENCE });
      }
    }
    for (const [label, source] of this.#sources) {
      if (ALWAYS.has(label) || needed.has(label)) continue;
      source.stop();
      this.#sources.delete(label);
      this.missing.delete(label);
      this.#options.onTrouble?.(label, undefined);
    }
    for (const [label, start] of needed) if (!this.#sources.has(label)) start();
  }

  /**
   * On Kubernetes a node's affinities are watched by a label, which older Calicos did not write. A list finds those without as
   * well; they become fewer, and none is added.
   */
  async #findUnlabelled(): Promise<void> {
    const { client, node, signal } = this.#options;
    while (!signal.aborted) {
      try {
        this.#listed = (await client.list(BlockAffinity, { node, affinityType: "host" })).items;
        this.#changed();
      } catch (error) {
        if (!(error instanceof DatastoreError)) throw error;
      }
      await pause(this.#listed ? RELIST : SETTLE * 20, signal);
    }
  }
}

const SECRET = `${Secret.kind} `;
const ALWAYS: ReadonlySet<string> = new Set(
  [Node, BGPConfiguration, BGPPeer, BGPFilter, IPPool, BlockAffinity].map(({ kind }) => kind),
);
