import type { HostEndpointsConfig, LoadBalancerConfig, RunConfig } from "./config/index.ts";
import { type Controller, type ControllerContext, type Live, select } from "./controller.ts";
import { hostEndpointsController } from "./hostendpoints/index.ts";
import { ippoolController } from "./ippool/index.ts";
import { loadBalancerController } from "./loadbalancer/index.ts";
import { createNodeController, DEFAULT_NODE_SETTINGS } from "./node/index.ts";
import { tierController } from "./tier/index.ts";

const NO_HOST_ENDPOINTS: HostEndpointsConfig = { autoCreate: false, createDefault: false, templates: [] };
const NO_LOAD_BALANCER: LoadBalancerConfig = { assignIPs: "RequestedServicesOnly" };

/** Every controller there is, by name, each with its part of the configuration. */
export function controllersOf(
  context: (name: string) => ControllerContext,
  config: Live<RunConfig>,
): Readonly<Record<string, () => Controller>> {
  const node = select(config, ({ controllers }) => controllers.node);
  return {
    node: () =>
      createNodeController(
        context("node"),
        select(node, (value) => ({ leakGracePeriod: value?.leakGracePeriod ?? DEFAULT_NODE_SETTINGS.leakGracePeriod })),
      ),
    hostendpoints: () =>
      hostEndpointsController(
        context("hostendpoints"),
        select(node, (value) => value?.hostEndpoints ?? NO_HOST_ENDPOINTS),
      ),
    loadbalancer: () =>
      loadBalancerController(
        context("loadbalancer"),
        select(config, ({ controllers }) => controllers.loadBalancer ?? NO_LOAD_BALANCER),
      ),
    ippool: () => ippoolController(context("ippool")),
    tier: () => tierController(context("tier")),
  };
}

/**
 * Names of those that shall run. Host endpoints are the node controller's, for whoever configures it. `isV3`: pools and tiers are Kubernetes' own objects,
 * which can wait for a finalizer; nobody configures that.
 */
export function enabledControllers({ controllers }: RunConfig, isV3: boolean): readonly string[] {
  return [
    ...(controllers.node ? ["node", "hostendpoints"] : []),
    ...(controllers.loadBalancer ? ["loadbalancer"] : []),
    ...(isV3 ? ["ippool", "tier"] : []),
  ];
}
