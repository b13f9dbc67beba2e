import { BGPConfiguration } from "../../api/bgpconfiguration.ts";
import { GlobalNetworkPolicy } from "../../api/globalnetworkpolicy.ts";
import { GlobalNetworkSet } from "../../api/globalnetworkset.ts";
import { HostEndpoint } from "../../api/hostendpoint.ts";
import { IPPool } from "../../api/ippool.ts";
import type { Kind } from "../../api/kind.ts";
import {
  ClusterNetworkPolicy,
  EndpointSlice,
  KubernetesNetworkPolicy,
  Namespace,
  ServiceAccount,
} from "../../api/kubernetes/index.ts";
import type { Resource } from "../../api/meta.ts";
import { NetworkPolicy } from "../../api/networkpolicy.ts";
import { NetworkSet } from "../../api/networkset.ts";
import { Node } from "../../api/node.ts";
import { Profile } from "../../api/profile.ts";
import { StagedGlobalNetworkPolicy } from "../../api/stagedglobalnetworkpolicy.ts";
import { StagedKubernetesNetworkPolicy } from "../../api/stagedkubernetesnetworkpolicy.ts";
import { StagedNetworkPolicy } from "../../api/stagednetworkpolicy.ts";
import { Tier } from "../../api/tier.ts";
import { WorkloadEndpoint } from "../../api/workloadendpoint.ts";
import { type Client, DatastoreError } from "../../datastore/index.ts";
import { pause } from "../../wait/index.ts";
import type { Input } from "../calc/index.ts";
import { toInput } from "./convert.ts";

interface Source {
  readonly kind: Kind;
  /** A cluster may not have the kind; that counts as having none of it, and is asked again now and then. */
  readonly optional?: true;
  /** What the datastore would tell of beside the objects of this kind. */
  readonly builtIn?: Resource;
}

const source = <R extends Resource>(kind: Kind<R>, optional?: true): Source => ({
  kind: kind as unknown as Kind,
  ...(optional ? { optional } : {}),
});

/** What policy depends on. Policies come before endpoints only for looks: nothing is enforced before all are in sync. */
const SOURCES: readonly Source[] = [
  source(Tier),
  source(GlobalNetworkPolicy),
  source(NetworkPolicy),
  source(KubernetesNetworkPolicy, true),
  source(ClusterNetworkPolicy, true),
  source(StagedGlobalNetworkPolicy, true),
  source(StagedNetworkPolicy, true),
  source(StagedKubernetesNetworkPolicy, true),
  source(Profile),
  source(GlobalNetworkSet),
  source(NetworkSet),
  source(IPPool),
  source(Node),
  source(BGPConfiguration, true),
  source(EndpointSlice, true),
  source(HostEndpoint),
  source(WorkloadEndpoint),
];

/**
 * Where Profiles are views they are made here of what a datastore would make them of: others of this process follow Namespaces as well,
 * and one watch serves both.
 */
const VIEWED: readonly Source[] = SOURCES.flatMap((one) =>
  one.kind.kind === "Profile"
    ? [{ ...source(Namespace), builtIn: Profile.builtIn!.make() }, source(ServiceAccount)]
    : [one],
);

/** How long until a kind that could not be watched is tried again, in milliseconds. */
const RETRY = { first: 500, most: 30_000 };

export interface WatchInputsOptions {
  readonly client: Client;
  readonly signal: AbortSignal;
  /** Takes one input. What it answers is waited for: so the calculation slows the watches down, instead of a queue growing. */
  readonly sink: (input: Input) => void | Promise<void>;
  /** Something in a resource could not be understood. `what` names it: `NetworkPolicy prod/db`. */
  readonly onProblem: (what: string, problems: readonly string[]) => void;
  /** All there was at the beginning has been handed on. Called once. */
  readonly onInSync: () => void;
  /** A kind cannot be watched now, and why; undefined: it can again. For readiness. */
  readonly onTrouble: (kind: string, why: string | undefined) => void;
}

export interface InputWatch {
  /** Kinds that have not told everything yet. */
  readonly missing: ReadonlySet<string>;
  /** Ends when the signal is aborted; throws when a watch that had begun breaks for good, so that what it told is uncertain. */
  readonly done: Promise<void>;
}

/** Watches everything that policy depends on. */
export function watchInputs(options: WatchInputsOptions): InputWatch {
  const sources = options.client.capabilities.views ? VIEWED : SOURCES;
  const missing = new Set(sources.map(({ kind }) => label(kind)));
  const synced = (kind: Kind): void => {
    if (missing.delete(label(kind)) && missing.size === 0) options.onInSync();
  };
  const done = Promise.all(sources.map((source) => watchSource(source, options, () => synced(source.kind))));
  return { missing, done: done.then(() => undefined) };
}

/** Names apart what two groups call alike. */
const label = (kind: Kind): string =>
  kind.apiVersion.startsWith("projectcalico.org/") ? kind.kind : `${kind.kind}.${kind.apiVersion.split("/")[0]}`;

async function watchSource(
  { kind, optional, builtIn }: Source,
  options: WatchInputsOptions,
  synced: () => void,
): Promise<void> {
  const { client, signal, onTrouble } = options;
  if (builtIn) await tell(builtIn, false, options);
  for (let wait = RETRY.first; !signal.aborted; wait = Math.min(wait * 2, RETRY.most)) {
    let begun = false;
    try {
      for await (const event of client.watch(kind, { signal, shared: true })) {
        begun = true;
        if (event.type === "synced") {
          onTrouble(label(kind), undefined);
          synced();
        } else if (event.type === "invalid") {
          options.onProblem(event.key, [event.error.message]);
        } else {
          await tell(event.resource, event.type === "deleted", options);
        }
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      if (begun || !(error instanceof DatastoreError)) throw error;
      const isNone = optional && error.kindMissing;
      onTrouble(label(kind), isNone ? undefined : error.message);
      if (isNone) synced();
    }
    await pause(wait, signal);
  }
}

async function tell(resource: Resource, gone: boolean, { sink, onProblem }: WatchInputsOptions): Promise<void> {
  const { input, problems } = toInput(resource, gone);
  if (problems.length > 0 && !gone) onProblem(nameOf(resource), problems);
  if (input) await sink(input);
}

const nameOf = ({ kind, metadata: { name, namespace } }: Resource): string =>
  namespace === undefined ? `${kind} ${name}` : `${kind} ${namespace}/${name}`;
