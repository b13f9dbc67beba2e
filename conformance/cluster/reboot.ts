/**
 * A power cut and the boot after it, as far as a lab node can have them. The cable goes first: a machine without power takes leave of nobody, and who
 * has connections with it does not hear of their end. Then every process ends at once. What lives in the kernel or in /run begins anew; what is on
 * a disk is there as before: /var/lib/calico, /var/lib/cni, /etc/cni/net.d, /opt/cni/bin, /var/lib/containerd, /var/lib/kubelet, /var/log.
 *
 * What a lab node keeps, and a real one does not: its network namespace, with sysctls that neither Calico nor kube-proxy touches, the
 * counters of eth0 and what the kernel remembers of TCP peers; clock and uptime, which are the machine's; its first process; /dev/shm. And
 * its files are as they were written last, where a disk may lack what nobody had synced.
 */
import type { Node } from "../lab/index.ts";
import type { Cluster } from "./cluster.ts";
import { startKubeProxy } from "./kube-proxy.ts";
import type { ClusterNode } from "./node.ts";

/** Of a kernel that nobody has told anything, though a lab node forwards from the start. */
const SYSCTLS = [
  "net/ipv4/ip_forward",
  "net/ipv4/conf/all/route_localnet",
  "net/ipv6/conf/all/forwarding",
  "net/netfilter/nf_conntrack_acct",
];

interface JsonAddresses {
  readonly addr_info: readonly { readonly family: string; readonly local: string; readonly prefixlen: number }[];
}

interface JsonRoute {
  readonly gateway: string;
}

/** What an administrator's own configuration gives the node at each boot, as commands of `ip -batch`: what eth0 has now. */
async function underlayOf(node: Node): Promise<string[]> {
  const ask = async <T>(...args: readonly string[]): Promise<T[]> =>
    JSON.parse((await node.run(["ip", "-json", ...args])) || "[]") as T[];
  const [links, ...routes] = await Promise.all([
    ask<JsonAddresses>("address", "show", "dev", "eth0"),
    ...["-4", "-6"].map((family) => ask<JsonRoute>(family, "route", "show", "default", "dev", "eth0")),
  ]);
  const addresses = links.flatMap(({ addr_info }) => addr_info);
  return [
    "link set lo up",
    "link set eth0 up",
    ...addresses.map(
      ({ family, local, prefixlen }) =>
        `address add ${local}/${prefixlen} dev eth0${family === "inet6" ? " nodad" : ""}`,
    ),
    ...routes.flat().map(({ gateway }) => `route add default via ${gateway} dev eth0`),
  ];
}

/** kill(2) of -1 is one walk over all processes, those of pods among them: who is about to fork does not get away. */
const CUT_POWER = `
  ip link set eth0 down
  kill -KILL -1
  # Until there is nobody but the first process and this one.
  while set -- /proc/[0-9]*; [ $# -gt 2 ]; do sleep 0.01; done`;

/** The file behind /proc/sys/kernel/random/boot_id, by which a kubelet tells that its node was rebooted; the machine's own stays. */
const BOOT_ID = "/run/boot-id";

/**
 * Mounts of pods and daemons (not those that stand for disks, nor the one that a lab node's `ip netns` wants), files, cgroups; then all that the
 * network namespace has.
 */
const CLEAN = `
  set -e
  cut -d' ' -f5 /proc/self/mountinfo | tac | while read -r mount; do
    case $mount in
      /run/netns) ;;
      /run/*|/var/lib/kubelet/*|/var/lib/containerd/*|/proc/sys/kernel/random/boot_id) umount "$mount" ;;
    esac
  done
  find /run -mindepth 1 ! -path /run/netns -delete
  # The kernel's own iterators stay.
  find /sys/fs/bpf -mindepth 1 ! -name '*.debug' -delete
  mkdir /run/lock
  rm -f /tmp/*.log
  cat /proc/sys/kernel/random/uuid >${BOOT_ID}
  mount --bind ${BOOT_ID} /proc/sys/kernel/random/boot_id
  until find /sys/fs/cgroup -mindepth 2 -depth -type d -exec rmdir {} + 2>/run/rmdir; do sleep 0.01; done
  rm /run/rmdir

  nft flush ruleset
  for family in "" 6; do
    for table in $(cat /proc/net/ip\${family}_tables_names 2>/dev/null); do
      ip\${family}tables-legacy -t $table -F
      ip\${family}tables-legacy -t $table -X
    done
  done
  ipset destroy
  for link in $(ls /sys/class/net); do
    case $link in lo|eth0|bonding_masters) ;; *) [ ! -e /sys/class/net/$link ] || ip link delete $link ;; esac
  done
  ip address flush dev eth0
  for family in -4 -6; do
    ip $family route flush table main
    ip $family rule flush
    ip $family rule add pref 32766 lookup main
    [ $family = -6 ] || ip -4 rule add pref 32767 lookup default
  done
  ip neighbour flush all
  conntrack -F 2>/dev/null
  ${SYSCTLS.map((name) => `echo 0 >/proc/sys/${name}`).join("\n  ")}`;

/** A kubelet ends when containerd is still looking through its former sandboxes, and systemd starts it again. */
async function startKubelet(cluster: Cluster, node: ClusterNode): Promise<void> {
  let runs = false;
  while (!runs) {
    await cluster.startKubelet(node);
    await cluster.until(`the kubelet of ${node.name} has started, or ended`, async () => {
      runs = node.kubelet.log().includes('"Started kubelet"');
      return runs || !node.kubelet.running;
    });
  }
}

/**
 * Cuts the power of these nodes at once; `off` then is run, if given, and they boot: containerd and kubelet are started as systemd would, kube-proxy
 * beside them. Resolves when those run. Answers when the kubelets were started, on the clock of `performance`.
 */
export async function reboot(
  cluster: Cluster,
  nodes: readonly ClusterNode[],
  off: () => Promise<void> | void = () => {},
): Promise<number> {
  const underlays = await Promise.all(nodes.map(({ lab }) => underlayOf(lab)));
  await Promise.all(nodes.map(({ lab }) => lab.run(["sh", "-c", CUT_POWER])));
  await off();
  const boot = async (node: ClusterNode, commands: readonly string[]): Promise<void> => {
    await node.lab.run(["sh", "-c", CLEAN]);
    await node.lab.run(["ip", "-batch", "-"], { stdin: commands.join("\n") });
    await node.startContainerd();
    await startKubelet(cluster, node);
    await startKubeProxy(cluster, node);
  };
  const booted = performance.now();
  await Promise.all(nodes.map((node, index) => boot(node, underlays[index]!)));
  return booted;
}
