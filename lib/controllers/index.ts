/**
 * The loops of the cluster as a whole, of which one replica runs: what belongs to no single node is brought here from what is to what
 * should be. Upstream's calico-kube-controllers.
 *
 * One controller = pure decisions over mirrors of what it watches (mirror.ts), and a loop: a change adds a key to a queue
 * (queue.ts), the key's work looks at what is now and writes the difference. A key that fails is tried again later by itself
 * and never keeps others back. Nobody is elected leader, as upstream elects none: two that run at once are safe because each
 * write is a compare-and-swap.
 *
 *     watch -> mirror -> queue.add(key) -> work(key): decide -> write
 *
 * runner.ts runs those that are enabled, starts again what fails, and gathers what they say of themselves into the status
 * file (status.ts) that probes read.
 *
 * all.ts has the list of them: node/ (garbage collection of IPAM), hostendpoints/; config/ is what they are told, live.
 */
export { controllersOf, enabledControllers } from "./all.ts";
export { ConfigError, type FollowedConfig, followConfig, type RunConfig } from "./config/index.ts";
export { type Controller, type ControllerContext, type Live, Setting, select } from "./controller.ts";
export {
  type KubernetesMirrorOptions,
  type Mirror,
  type MirrorOptions,
  mirror,
  mirrorKubernetes,
} from "./mirror.ts";
export { createNodeController, DEFAULT_NODE_SETTINGS, type NodeControllerSettings } from "./node/index.ts";
export { WorkQueue, type WorkQueueOptions } from "./queue.ts";
export { type RunnerOptions, runControllers } from "./runner.ts";
export { type Condition, type ProbeAnswer, probe, STATUS_FILE, StatusFile, type StatusFileOptions } from "./status.ts";
export { systemTime, type Time } from "./time.ts";
