/**
 * The controllers' configuration: the resource KubeControllersConfiguration named `default`, and the environment over it
 * (kube-controllers/pkg/config).
 *
 *     watch -> mergeConfig (pure) -> a Live<RunConfig>, and status.runningConfig written back
 *
 * The resource is made with upstream's defaults where there is none, also after somebody deleted it. Changes are in force at once: where
 * upstream ends the process to begin anew, here each controller looks at its part of the setting. A cluster without the kind has the
 * defaults. A variable that cannot be understood is the end at start, as for upstream.
 */
export { ConfigError } from "./errors.ts";
export { type FollowedConfig, type FollowOptions, followConfig } from "./follow.ts";
export {
  type ControllersConfig,
  defaultConfiguration,
  ENVIRONMENT,
  type Environment,
  type HostEndpointsConfig,
  type LoadBalancerConfig,
  type Merged,
  type MirrorControllerConfig,
  mergeConfig,
  type NodeControllerConfig,
  type RunConfig,
} from "./run-config.ts";
