import type { Input } from "./inputs.ts";
import type { Message, WorkloadId } from "./messages.ts";

/** What a calculation is made with. */
export interface CalcOptions {
  /** Endpoints of this node are local. */
  readonly nodeName: string;
  /**
   * Hears what is wrong with a resource that is enforced differently from how it reads, or not at all: `what` names it
   * (`NetworkPolicy/ns/name`), `why` says what is wrong and what is done instead. Called whenever the resource is read; rules are read
   * when they are needed on this node, so problems in rules that no local endpoint meets are not heard of.
   */
  readonly onProblem?: (what: string, why: string) => void;
}

/** Numbers for metrics (felix_active_local_*, felix_cluster_num_*). */
export interface CalcStats {
  readonly activeLocalEndpoints: number;
  readonly activeLocalPolicies: number;
  /** IP sets in use. */
  readonly activeLocalSelectors: number;
  readonly clusterHosts: number;
  readonly clusterHostEndpoints: number;
  readonly clusterWorkloadEndpoints: number;
  readonly clusterPolicies: number;
  readonly clusterProfiles: number;
  readonly clusterTiers: number;
}

/** A flush of part of what waits. */
export interface FlushOptions {
  /** Only this workload, and what it needs: its sets, policies and profiles. All else waits for the next flush. */
  readonly first: WorkloadId;
}

/** The calculation of one node. */
export interface Calc {
  /**
   * Takes in one resource, in little time whatever it is: what is work for many endpoints waits for the flush. The resource is not kept.
   * Never throws for what a resource says. During a flush in steps it is kept for after it.
   */
  update(input: Input): void;
  /** Everything that the datastore had at the beginning has been said: from now on flushes emit. */
  inSync(): void;
  /**
   * Says what has changed since the last flush, each thing once, in an order safe to apply one by one. Before {@link inSync} it emits
   * nothing; the first one after it ends with `in-sync`.
   */
  flush(emit: (message: Message) => void, options?: FlushOptions): void;
  /** {@link flush} in steps of well under a millisecond each, for a caller who has other things to do. Must be taken to its end. */
  flushing(emit: (message: Message) => void, options?: FlushOptions): Generator<void, void, undefined>;
  /** Whether a flush would emit, or has work to do. */
  readonly isDirty: boolean;
  /** Local workloads that the dataplane does not know yet: candidates for {@link FlushOptions.first}. */
  readonly newWorkloads: readonly WorkloadId[];
  stats(): CalcStats;
}
