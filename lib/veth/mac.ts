import { openNamespace, SysError } from "../sys/index.ts";
import { findLink, openPodSide } from "./ownership.ts";

/** The MAC address of an interface in a pod, "aa:bb:…"; undefined when there is no such interface, or no such pod. */
export function podInterfaceMac(netns: string, name: string): string | undefined {
  try {
    using namespace = openNamespace(netns);
    using pod = openPodSide(namespace);
    return pod && findLink(pod.netlink, { name })?.mac;
  } catch (error) {
    if (error instanceof SysError && error.code === "ENOENT") return undefined;
    throw error;
  }
}
