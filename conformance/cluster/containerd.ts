/** containerd and runc on a node of the lab, and the images that it has. */
import { mkdirSync, writeFileSync } from "node:fs";
import { until } from "../kubernetes/agent.ts";
import type { Daemon, Node } from "../lab/index.ts";
import { IN_CGROUPS } from "./cgroups.ts";
import { PAUSE } from "./stock.ts";

export const SOCKET = "/run/containerd/containerd.sock";

const CONFIG = `version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${SOCKET}"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE}"
  # Below its own is refused without CAP_SYS_RESOURCE.
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    discard_unpacked_layers = true
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/opt/cni/bin"
    conf_dir = "/etc/cni/net.d"
`;

/** Starts it in the node's namespaces and cgroups; resolves when it answers. */
export async function startContainerd(node: Node): Promise<Daemon> {
  mkdirSync(node.path("/run/containerd"), { recursive: true });
  writeFileSync(node.path("/run/containerd/config.toml"), CONFIG);
  const daemon = await node.daemon("containerd", [...IN_CGROUPS, "containerd", "--config=/run/containerd/config.toml"]);
  await until(
    `containerd answers on ${node.name}`,
    async () => {
      if (!daemon.running) throw new Error(`containerd ended on ${node.name}:\n${daemon.log()}`);
      return (await node.exec(["ctr", `--address=${SOCKET}`, "version"])).status === 0;
    },
    () => daemon.log(),
  );
  return daemon;
}

/** Imports an archive that the node can see. */
export async function importImage(node: Node, archive: string): Promise<void> {
  await node.run(["ctr", `--address=${SOCKET}`, "--namespace=k8s.io", "images", "import", "--all-platforms", archive]);
}
