import { hostCidr, parseMac } from "../ip/index.ts";
import { linkSet, neighbourTableSet, openNetlink, type Request, RT_SCOPE, routeAdd } from "../netlink/index.ts";
import { currentNamespace, inNamespace, writeSysctl } from "../sys/index.ts";
import { checkPodInterface } from "./check.ts";
import { openPod } from "./create.ts";
import { findLink } from "./ownership.ts";
import { type Finding, type PodInterfacePlan, VethError } from "./plan.ts";
import { GATEWAY, HOST_INET_CONF, hostSysctls, ipv6Gateway, podRoutes, versionsOf } from "./settings.ts";

/**
 * Sets what can be set on an interface in use without harm: both ends up, the host's settings and routes, the pod's routes.
 * What a running pod may have changed for itself (its sysctls, MTU, MAC, a route of its own to the same destination) stays.
 * Answers what is still not as planned. Throws {@link VethError}.
 */
export function repairPodInterface(plan: PodInterfacePlan): Finding[] {
  using home = currentNamespace();
  try {
    using host = openNetlink(plan.hostNetns);
    using namespace = openPod(plan, home);
    using pod = openNetlink(namespace);
    const hostLink = findLink(host, { name: plan.hostInterface });
    const podLink = findLink(pod, { name: plan.containerInterface });
    if (hostLink && podLink) {
      const { v4 } = versionsOf(plan);
      const { index } = hostLink;
      const onHost: Request<unknown>[] = [linkSet({ index }, { up: true, ...(v4 && { inetConf: HOST_INET_CONF }) })];
      if (v4) onHost.push(neighbourTableSet(index, 4, { proxyDelay: 0 }));
      const inPod: Request<unknown>[] = [linkSet({ index: podLink.index }, { up: true })];
      for (const address of plan.hostRoutes ? plan.addresses : [])
        onHost.push(routeAdd({ destination: hostCidr(address), index, scope: RT_SCOPE.LINK }));
      if (v4) inPod.push(routeAdd({ destination: hostCidr(GATEWAY), index: podLink.index, scope: RT_SCOPE.LINK }));
      const v6Gateway = hostLink.mac === undefined ? undefined : ipv6Gateway(parseMac(hostLink.mac));
      for (const destination of podRoutes(plan)) {
        const gateway = destination.version === 4 ? GATEWAY : v6Gateway;
        if (gateway) inPod.push(routeAdd({ destination, index: podLink.index, gateway }));
      }
      const set = (): void => {
        for (const { name, value } of hostSysctls(plan)) trySysctl(name, value);
      };
      if (plan.hostNetns) inNamespace(plan.hostNetns, set, home);
      else set();
      // What is there already is refused, and what could not be set is found below.
      host.batch(onHost);
      pod.batch(inPod);
    }
  } catch (error) {
    if (error instanceof VethError) throw error;
    throw new VethError("KERNEL", (error as Error).message, { cause: error });
  }
  return checkPodInterface(plan);
}

function trySysctl(name: string, value: string): void {
  try {
    writeSysctl(name, value);
  } catch {}
}
