/**
 * Addresses of Services of the type LoadBalancer (kube-controllers/pkg/controllers/loadbalancer): from pools whose allowedUses have
 * LoadBalancer, in blocks of the virtual owner `load-balancer`, under the handle `lb-<hash>` of the Service. What a Service holds is
 * what its status says.
 *
 * A Service is managed when its loadBalancerClass is `calico`, or absent and the configuration says AllServices, or it asks by one of the
 * annotations projectcalico.org/{ipv4pools,ipv6pools,loadBalancerIPs} or by spec.loadBalancerIP. Everything goes back when it is
 * deleted, or is managed no longer; single addresses, when others are asked for or their pool goes.
 *
 *     Services, Namespaces, pools, blocks -> decide.ts (pure), one Service at a time -> IPAM, then the Service's status
 *
 * Never a second address: nothing is decided before everything was read once, and nothing is assigned or released before the handle
 * was read anew. What a crash left between two of those steps is found there by the next. Two controllers at once may assign one each at the
 * same moment: the one that the status shows stays, the other goes back.
 *
 * Beyond upstream: a change of spec.loadBalancerIP counts as one of the annotation does; a family that cannot be had does not keep the other
 * from the Service; an address whose pool is gone is replaced; of two addresses of a family one goes back.
 */

import type { LoadBalancerConfig } from "../config/index.ts";
import type { Controller, ControllerContext, Live } from "../controller.ts";
import { runLoadBalancer } from "./run.ts";

export type { LoadBalancerConfig } from "../config/index.ts";

/** The controller of load balancers' addresses. Where it does not run, Services keep what they have. */
export function loadBalancerController(context: ControllerContext, config: Live<LoadBalancerConfig>): Controller {
  return { name: "loadbalancer", run: (signal) => runLoadBalancer(context, config, signal) };
}
