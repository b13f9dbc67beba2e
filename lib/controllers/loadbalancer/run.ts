import type { V1Namespace } from "@kubernetes/client-node";
import { IPAMBlock } from "../../api/ipamblock.ts";
import { IPPool } from "../../api/ippool.ts";
import { tryParseCidr } from "../../ip/index.ts";
import { createIpam, type Ipam } from "../../ipam/index.ts";
import { KubernetesError, type ResourcePath, type Wire } from "../../kubernetes/index.ts";
import type { LoadBalancerConfig } from "../config/index.ts";
import type { ControllerContext, Live } from "../controller.ts";
import { type Mirror, mirror, mirrorKubernetes } from "../mirror.ts";
import { WorkQueue } from "../queue.ts";
import {
  type Assignment,
  decideService,
  ingressOf,
  ingressWithout,
  type LoadBalancerPool,
  type Plan,
} from "./decide.ts";
import { type HeldAddress, handleOf, heldIn, keyOf, RequestProblem, type Service } from "./service.ts";

/** The owner of load balancers' blocks. */
const OWNER = "load-balancer";
/** All Services are looked at this often, in milliseconds. */
const EVERYTHING = 300_000;
/** Until what a mirror is behind of is looked at again. */
const BEHIND = 1_000;
const SERVICES: ResourcePath = { group: "", version: "v1", plural: "services" };
const NAMESPACES: ResourcePath = { group: "", version: "v1", plural: "namespaces" };

type Labels = Readonly<Record<string, string>>;

/** See `loadBalancerController`. */
export async function runLoadBalancer(
  context: ControllerContext,
  config: Live<LoadBalancerConfig>,
  ended: AbortSignal,
): Promise<void> {
  const stop = new AbortController();
  const loop = new LoadBalancer(context, config, AbortSignal.any([ended, stop.signal]));
  try {
    await loop.run();
  } finally {
    stop.abort();
    await loop.ended;
  }
}

class LoadBalancer {
  /** When no mirror is left. */
  readonly ended: Promise<unknown>;
  readonly #context: ControllerContext;
  readonly #config: Live<LoadBalancerConfig>;
  readonly #signal: AbortSignal;
  readonly #ipam: Ipam;
  readonly #queue: WorkQueue;
  readonly #services: Mirror<Service>;
  readonly #namespaces: Mirror<Labels>;
  readonly #pools: Mirror<LoadBalancerPool>;
  readonly #blocks: Mirror<readonly HeldAddress[]>;
  /** What Services hold as far as blocks have told: address to handle, by Service. */
  readonly #held = new Map<string, Map<string, string>>();
  readonly #troubles = new Map<string, string>();
  /** What was said of a Service, so that it is said once. */
  readonly #said = new Map<string, string>();
  /** The revision of a Service from which its status was written last: for as long as the mirror has that one, it is behind. */
  readonly #written = new Map<string, string>();

  constructor(context: ControllerContext, config: Live<LoadBalancerConfig>, signal: AbortSignal) {
    const { client, kubernetes, time, log } = context;
    this.#context = context;
    this.#config = config;
    this.#signal = signal;
    this.#ipam = createIpam(client, { clock: () => time.now(), log });
    this.#queue = new WorkQueue({
      time,
      work: (key) => this.#sync(key),
      onFailure: (key, error) => this.#say(key, (error as Error).message),
    });
    const common = (what: string) => ({
      signal,
      time,
      onTrouble: (why: string | undefined) => this.#trouble(what, why),
    });
    this.#services = mirrorKubernetes<Service, Service>({
      ...common("services"),
      kubernetes,
      path: SERVICES,
      transform: partOf,
      onChange: (key) => this.#queue.add(key),
    });
    this.#namespaces = mirrorKubernetes<Wire<V1Namespace>, Labels>({
      ...common("namespaces"),
      kubernetes,
      path: NAMESPACES,
      transform: ({ metadata }) => metadata?.labels ?? {},
      onChange: (_, now, before) => {
        if (!Bun.deepEquals(now, before)) for (const key of this.#queue.failing) this.#queue.add(key);
      },
    });
    this.#pools = mirror<IPPool, LoadBalancerPool>({
      ...common("ippools"),
      client,
      kind: IPPool,
      transform: poolOf,
      onChange: () => this.#addAll(),
    });
    this.#blocks = mirror<IPAMBlock, readonly HeldAddress[]>({
      ...common("ipamblocks"),
      client,
      kind: IPAMBlock,
      transform: heldIn,
      onChange: (_, now, before) => this.#blockChanged(now ?? [], before ?? []),
    });
    this.ended = Promise.all([this.#services, this.#namespaces, this.#pools, this.#blocks].map(({ done }) => done));
  }

  async run(): Promise<void> {
    const forget = this.#config.onChange(() => this.#addAll());
    try {
      const mirrors = [this.#services, this.#namespaces, this.#pools, this.#blocks];
      await Promise.race([Promise.all(mirrors.map((one) => one.whenSynced())), this.ended]);
      if (this.#signal.aborted) return;
      this.#report();
      this.#addAll();
      await Promise.all([this.#queue.run(this.#signal), this.#tick()]);
    } finally {
      forget();
    }
  }

  async #tick(): Promise<void> {
    while (!this.#signal.aborted) {
      await this.#context.time.sleep(EVERYTHING, this.#signal);
      this.#addAll();
    }
  }

  #addAll(): void {
    for (const [key, { spec }] of this.#services.items) if (spec?.type === "LoadBalancer") this.#queue.add(key);
    for (const key of this.#held.keys()) this.#queue.add(key);
  }

  #blockChanged(now: readonly HeldAddress[], before: readonly HeldAddress[]): void {
    for (const { service, address, handle } of before) {
      const held = this.#held.get(service);
      if (held?.get(address) === handle) held.delete(address);
      if (held?.size === 0) this.#held.delete(service);
    }
    for (const { service, address, handle } of now)
      this.#held.set(service, (this.#held.get(service) ?? new Map<string, string>()).set(address, handle));
    for (const { service } of [...before, ...now]) this.#queue.add(service);
  }

  async #sync(key: string): Promise<number | undefined> {
    const service = this.#services.items.get(key);
    const handle = service && handleOf(service);
    const held = [...(this.#held.get(key) ?? [])];
    const others = new Set(held.map(([, one]) => one).filter((one) => one !== handle));
    for (const other of others) {
      const left = held.flatMap(([address, one]) => (one === other ? [address] : []));
      if (!(await this.#releaseGone(key, other, left))) return BEHIND;
    }
    if (!service || !handle) {
      this.#written.delete(key);
      return this.#quiet(key);
    }
    const { resourceVersion } = service.metadata ?? {};
    if (resourceVersion !== undefined && this.#written.get(key) === resourceVersion) return BEHIND;
    try {
      const known = held.flatMap(([address, one]) => (one === handle ? [address] : []));
      const plan = this.#decide(service, known);
      if (plan.kind === "leave" || (isDone(plan) && !ingressOf(service, known))) return this.#quiet(key);
      // What there is to do depends on what it holds now, not on what was heard of it.
      const now = await this.#holds(handle, known);
      return await this.#carryOut(service, handle, now, this.#decide(service, now));
    } catch (error) {
      if (!(error instanceof RequestProblem)) throw error;
      this.#say(key, error.message);
      return undefined;
    }
  }

  /** What a handle holds, read anew; `known` finds what is in a block though its handle was lost. */
  async #holds(handle: string, known: readonly string[]): Promise<string[]> {
    const found = await this.#ipam.ipsByHandle(handle);
    const listed = new Set(found.map(({ address }) => address));
    for (const address of known) {
      const one = listed.has(address) ? undefined : await this.#ipam.allocationOf(address);
      if (one?.handle === handle) found.push(one);
    }
    return found.filter(({ releasedAt }) => releasedAt === undefined).map(({ address }) => address);
  }

  #decide(service: Service, held: readonly string[]): Plan {
    const poolsKnown = this.#pools.unreadable.size === 0;
    return decideService(service, held, this.#config.value, [...this.#pools.items.values()], poolsKnown);
  }

  async #carryOut(service: Service, handle: string, held: readonly string[], plan: Plan): Promise<number | undefined> {
    const key = keyOf(service);
    if (plan.kind === "leave") return this.#quiet(key);
    if (plan.kind === "withdraw") {
      const rest = ingressWithout(service, held);
      if (rest && !(await this.#writeStatus(service, rest))) return BEHIND;
      await this.#release(key, handle, held);
      return this.#quiet(key);
    }
    const now = new Set(held);
    const failures: unknown[] = [];
    if (plan.release.length > 0) {
      for (const one of await this.#ipam.releaseAddresses(plan.release.map((address) => ({ address, handle })))) {
        if (one.outcome === "unreadable") failures.push(new Error(`${one.address} cannot be released: ${one.reason}`));
        else now.delete(one.address);
      }
      this.#context.log.info("addresses of a Service go back", { service: key, addresses: plan.release.join(" ") });
    }
    for (const wanted of plan.assign) {
      try {
        const address = await this.#assign(service, handle, wanted);
        now.add(address);
        this.#context.log.info("a Service has an address", { service: key, address });
      } catch (error) {
        failures.push(error);
      }
    }
    const ingress = ingressOf(service, [...now]);
    const isWritten = !ingress || (await this.#writeStatus(service, ingress));
    if (failures.length > 0) throw failures[0];
    return isWritten ? this.#quiet(key) : BEHIND;
  }

  async #assign(service: Service, handle: string, wanted: Assignment): Promise<string> {
    const { name = "", namespace = "" } = service.metadata ?? {};
    const attributes = {
      service: name,
      namespace,
      type: "LoadBalancer",
      timestamp: timeText(this.#context.time.now()),
    };
    // Not `reuse`, which is for a handle that is the caller's alone: another controller may be at it. What it holds was just read.
    const common = { host: OWNER, handle, attributes, use: "LoadBalancer" } as const;
    if ("address" in wanted) return (await this.#ipam.assignIp({ ...common, address: wanted.address })).address;
    const namespaceLabels = this.#namespaces.items.get(namespace);
    if (!namespaceLabels) throw new Error(`the Namespace ${namespace} is not known yet`);
    const isV4 = wanted.version === 4;
    const { v4, v6 } = await this.#ipam.autoAssign({
      ...common,
      namespaceLabels,
      ...(isV4 ? { num4: 1, pools4: wanted.pools } : { num6: 1, pools6: wanted.pools }),
    });
    return (isV4 ? v4 : v6)[0]!.address;
  }

  /** Releases what a Service held that is gone. False: it is there, and the mirror has not heard of it yet. */
  async #releaseGone(key: string, handle: string, held: readonly string[]): Promise<boolean> {
    const [namespace, name] = key.split("/");
    try {
      const path = { ...SERVICES, namespace, name };
      const found = await this.#context.kubernetes.get<Service>(path, { signal: this.#signal });
      if (handleOf(found) === handle) return false;
    } catch (error) {
      if (!(error instanceof KubernetesError) || error.code !== "NOT_FOUND" || error.resourceMissing) throw error;
    }
    await this.#release(key, handle, held);
    return true;
  }

  /** All of a handle, and what blocks say is its though the handle does not. */
  async #release(key: string, handle: string, held: readonly string[]): Promise<void> {
    const released = new Set((await this.#ipam.releaseByHandle(handle)).addresses);
    const left = held.filter((address) => !released.has(address)).map((address) => ({ address, handle }));
    for (const { address, outcome, reason } of left.length > 0 ? await this.#ipam.releaseAddresses(left) : []) {
      if (outcome === "released") released.add(address);
      if (outcome === "unreadable") throw new Error(`${address} cannot be released: ${reason}`);
    }
    if (released.size === 0) return;
    this.#context.log.info("addresses of a Service go back", { service: key, addresses: [...released].join(" ") });
  }

  /** False: somebody else has written it meanwhile. */
  async #writeStatus(service: Service, ingress: object): Promise<boolean> {
    const { namespace, name } = service.metadata ?? {};
    const path = { ...SERVICES, namespace, name, subresource: "status" };
    const loadBalancer = { ...service.status?.loadBalancer, ingress };
    try {
      await this.#context.kubernetes.replace(path, { ...service, status: { ...service.status, loadBalancer } });
      this.#written.set(keyOf(service), service.metadata?.resourceVersion ?? "");
      return true;
    } catch (error) {
      if (error instanceof KubernetesError && ["CONFLICT", "NOT_FOUND"].includes(error.code)) return false;
      throw error;
    }
  }

  #trouble(what: string, why: string | undefined): void {
    if (why === undefined) this.#troubles.delete(what);
    else this.#troubles.set(what, why);
    this.#report();
  }

  #report(): void {
    this.#context.report(this.#troubles.size === 0, [...this.#troubles.values()].join("; "));
  }

  #say(key: string, message: string): void {
    if (this.#said.get(key) === message) return;
    this.#said.set(key, message);
    this.#context.log.warning("a Service does not have the addresses that it should", { service: key, why: message });
  }

  #quiet(key: string): undefined {
    this.#said.delete(key);
  }
}

const isDone = (plan: Plan): boolean => plan.kind === "serve" && plan.release.length + plan.assign.length === 0;

/** Of what is no load balancer only that. What is written back must be whole but for managedFields, which stay then as they are. */
function partOf(service: Service): Service {
  const { managedFields: _, ...metadata } = service.metadata ?? {};
  if (service.spec?.type === "LoadBalancer") return { ...service, metadata };
  const { name, namespace, uid } = metadata;
  return {
    metadata: { ...(name && { name }), ...(namespace && { namespace }), ...(uid && { uid }) },
    spec: { type: service.spec?.type ?? "ClusterIP" },
  };
}

function poolOf({ metadata, spec }: IPPool): LoadBalancerPool | undefined {
  const cidr = tryParseCidr(spec.cidr);
  if (!cidr || metadata.deletionTimestamp || !spec.allowedUses.includes("LoadBalancer")) return undefined;
  return { name: metadata.name, cidr, manual: spec.assignmentMode === "Manual" };
}

/** As Go prints a time: 2026-01-02 03:04:05.06 +0000 UTC. */
const timeText = (milliseconds: number): string =>
  new Date(milliseconds)
    .toISOString()
    .replace("T", " ")
    .replace(/\.?0*Z$/, " +0000 UTC");
