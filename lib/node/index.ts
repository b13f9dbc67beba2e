/**
 * What a node does around its agents.
 *
 * Start-up: which address of the machine is the node's (`autodetect.ts`, `interfaces.ts`), what the Node resource says of it (`node-resource.ts`), whether another node has
 * it (`conflict.ts`), which pools and configurations a new cluster begins with (`pools.ts`, `defaults.ts`). Those are decisions over values; `prepare.ts`
 * carries them out by compare-and-swap, so that any number of nodes may start at once, and `monitor.ts` decides anew when the machine's addresses change.
 * What the environment's variables are called and mean is upstream's (node/pkg/lifecycle/startup).
 *
 * Status: `status.ts` answers CalicoNodeStatus resources with what a {@link StatusSource} says of BGP.
 *
 * Supervision of the processes that do the work: policy and routes run in one process of this executable (`felix`), BGP in another, so that neither
 * a restart nor a burst of work in one touches the other.
 */
export { type AutodetectOptions, autodetect, type Detected, type Method, parseMethod } from "./autodetect.ts";
export { isPolicyOnly, nodenameFile } from "./environment.ts";
export { NodeError } from "./errors.ts";
export { hostFacts } from "./host.ts";
export { suspicion } from "./interfaces.ts";
export { type MonitorAddressesOptions, monitorAddresses } from "./monitor.ts";
export { unservedPools } from "./pools.ts";
export {
  type PrepareOptions,
  prepareNode,
  removeShutdownTimestamp,
  shutdownTimestampFile,
} from "./prepare.ts";
export { reportNodeStatus, type StatusReporterOptions } from "./status.ts";
export { type SuperviseOptions, supervise, type Worker } from "./supervise.ts";
export { formatMoment, formatSince } from "./time.ts";
export type * from "./types.ts";
