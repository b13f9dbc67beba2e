/** A kubelet on a node of the lab, with containerd for its runtime. */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { CACHED_BIN } from "../../lib/kubernetes/testing/index.ts";
import type { Daemon, Node } from "../lab/index.ts";
import { IN_CGROUPS } from "./cgroups.ts";
import { SOCKET } from "./containerd.ts";
import type { Families } from "./control-plane.ts";

export const KUBELET = join(CACHED_BIN, "kubelet");
const KUBELET_PORT = 10250;

/** Sysctls that a kubelet sets to its liking, and that are the machine's and no namespace's: the node shows it what it wants to see. */
const MACHINE_WIDE = {
  "vm/overcommit_memory": 1,
  "vm/panic_on_oom": 0,
  "kernel/panic": 10,
  "kernel/panic_on_oops": 1,
  "kernel/keys/root_maxkeys": 1_000_000,
  "kernel/keys/root_maxbytes": 25_000_000,
};

const CONFIG = {
  apiVersion: "kubelet.config.k8s.io/v1beta1",
  kind: "KubeletConfiguration",
  containerRuntimeEndpoint: `unix://${SOCKET}`,
  cgroupDriver: "cgroupfs",
  // From 1.35 on a kubelet refuses cgroup v1 unless told so.
  failCgroupV1: false,
  failSwapOn: false,
  // Below its own is refused without CAP_SYS_RESOURCE.
  oomScoreAdj: 0,
  protectKernelDefaults: true,
  // Only the lab's underlay leads here.
  authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
  authorization: { mode: "AlwaysAllow" },
  port: KUBELET_PORT,
  readOnlyPort: 0,
  resolvConf: "",
  // There is none: but without one each pod of a Deployment gets a warning.
  clusterDNS: ["10.96.0.10"],
  serializeImagePulls: false,
  // The node's files are in the machine's memory, and how full that is, is none of the cluster's business.
  imageGCHighThresholdPercent: 100,
  evictionHard: {
    "memory.available": "0%",
    "nodefs.available": "0%",
    "imagefs.available": "0%",
    "nodefs.inodesFree": "0%",
  },
  registerWithTaints: [],
  // What is killed over and over is to be back as after the first time.
  featureGates: { KubeletCrashLoopBackOffMax: true },
  crashLoopBackOff: { maxContainerRestartPeriod: "2s" },
  nodeStatusUpdateFrequency: "5s",
  syncFrequency: "10s",
  logging: { verbosity: 2 },
};

/** What a node needs before its first containerd and kubelet. Its cgroups are there. */
export async function prepareNode(node: Node): Promise<void> {
  const shadow = Object.entries(MACHINE_WIDE).map(([name, value]) =>
    `echo ${value} >$name && mount --bind $name /proc/sys/${name}`.replaceAll(
      "$name",
      `/run/sysctl/${name.replaceAll("/", ".")}`,
    ),
  );
  await node.run([
    "sh",
    "-ec",
    // Overlayfs takes no upper folder on an overlay, and the node's root is one. What a pod mounts for its node is
    // to be seen there, and the other way round.
    `mkdir -p /var/lib/containerd /var/lib/kubelet /run/sysctl /etc/kubernetes /usr/libexec/kubernetes
    mount -t tmpfs -o mode=711 tmpfs /var/lib/containerd
    mount -t tmpfs -o mode=755 tmpfs /var/lib/kubelet
    ${shadow.join("\n    ")}
    cat /proc/sys/kernel/random/uuid | tr -d - >/run/machine-id
    touch /etc/machine-id; mount --bind /run/machine-id /etc/machine-id
    mount --make-rshared /`,
  ]);
}

/** Starts it; not waited for. `kubeconfig` is a file of the machine; `families`: of the node's addresses. */
export async function startKubelet(
  node: Node,
  kubeconfig: string,
  config: object = {},
  families: Families = [4],
): Promise<Daemon> {
  const addresses = families.map((family) => (family === 4 ? node.address4 : node.address6));
  mkdirSync(node.path("/etc/kubernetes"), { recursive: true });
  copyFileSync(kubeconfig, node.path("/etc/kubernetes/kubelet.kubeconfig"));
  writeFileSync(node.path("/etc/kubernetes/kubelet.json"), JSON.stringify({ ...CONFIG, ...config }));
  return await node.daemon("kubelet", [
    ...IN_CGROUPS,
    ...[KUBELET, "--config=/etc/kubernetes/kubelet.json", "--kubeconfig=/etc/kubernetes/kubelet.kubeconfig"],
    ...[`--hostname-override=${node.name}`, `--node-ip=${addresses.join(",")}`, "--root-dir=/var/lib/kubelet"],
  ]);
}
