/**
 * The pod's interface: from an assignment (addresses, routes, names) to a working network namespace, and back.
 *
 * Data flow: a {@link PodInterfacePlan} is pure data → {@link createPodInterface} makes the pair of interfaces with the
 * pod's end directly in the pod's namespace, in three batches of netlink messages and one visit to that namespace →
 * {@link PodInterface} tells what came of it. {@link checkPodInterface} compares a plan with the kernel,
 * {@link deletePodInterface} takes it down however much is already gone, {@link listPodInterfaces} is what garbage
 * collection walks. What is set on either side is what Calico's own plugin sets, so that Felix takes it over unchanged.
 *
 * Ownership: the host interface carries its owner in its alias (IFLA_IFALIAS). An interface that carries another
 * owner, or none and cannot be shown to lead into this pod, is refused and never touched.
 *
 * Everything here is synchronous: the kernel answers netlink in the same system call.
 */
import type { Finding, PodInterfacePlan } from "./plan.ts";

export { checkPodInterface } from "./check.ts";
export { createPodInterface } from "./create.ts";
export { deletePodInterface } from "./delete.ts";
export { findPodInterface, listPodInterfaces } from "./list.ts";
export {
  type DeleteOutcome,
  type DeletePlan,
  type Finding,
  type ListedPodInterface,
  type PodInterface,
  type PodInterfacePlan,
  type PodRoute,
  VethError,
  type VethErrorCode,
} from "./plan.ts";

/** See mac.ts; loaded when it is called for, as is what follows. */
export async function podInterfaceMac(netns: string, name: string): Promise<string | undefined> {
  return (await import("./mac.ts")).podInterfaceMac(netns, name);
}

/** See repair.ts. */
export async function repairPodInterface(plan: PodInterfacePlan): Promise<Finding[]> {
  return (await import("./repair.ts")).repairPodInterface(plan);
}
