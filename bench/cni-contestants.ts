/** Who takes part in `bench:cni`: ways to give a pod an interface and to take it away, all as processes a runtime starts. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type ApiServer, type AuditEvent, type AuditSummary, summarise } from "../lib/kubernetes/testing/index.ts";
import type { Namespace } from "../lib/sys/index.ts";

export interface Command {
  readonly argv: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
}

export interface Contestant {
  readonly name: string;
  /** Where its commands run, if not in the sandbox's network. */
  readonly network?: { readonly namespace: Namespace };
  /** What is there before a runtime asks for a network, and after it is gone: not measured. */
  prepare?(pods: readonly Pod[]): Promise<void>;
  tidy?(pods: readonly Pod[]): Promise<void>;
  /** How long one request to its server took, in milliseconds, in each of its turns. */
  readonly roundTrips?: readonly number[];
  /** Requests and writes that a server has counted of this contestant so far. */
  counted?(): Promise<AuditSummary>;
  /** Commands run one after the other; their times add up. */
  add(pod: Pod): readonly Command[];
  del(pod: Pod): readonly Command[];
}

/** A network namespace that waits for an interface. `id` is unique over the whole run. */
export interface Pod {
  readonly id: number;
  readonly netns: string;
}

/** Unique within its first 11 characters, which is what the host interface is named by. */
const containerId = (pod: Pod) => `be${pod.id.toString(16).padStart(9, "0")}0123456789abcdef`;

/** A CNI plugin called as a runtime calls it. */
export function plugin(name: string, executable: string, cniPath: string, config: object): Contestant {
  const stdin = JSON.stringify(config);
  const call = (command: string, pod: Pod): Command[] => [
    {
      argv: [executable],
      stdin,
      env: {
        CNI_COMMAND: command,
        CNI_CONTAINERID: containerId(pod),
        CNI_NETNS: `/run/netns/${pod.netns}`,
        CNI_IFNAME: "eth0",
        CNI_PATH: cniPath,
        PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      },
    },
  ];
  return { name, add: (pod) => call("ADD", pod), del: (pod) => call("DEL", pod) };
}

/**
 * The plugin with an API server for its datastore, and upstream's role; the pods are objects there, on `node`. What is counted is what
 * `asks` does: the plugin, or the agent in its place.
 */
export function kubernetesPlugin(
  mode: "v1" | "v3",
  { server, node, asks }: { server: ApiServer; node: string; asks: "plugin" | "agent" },
  executable: string,
  cniPath: string,
): Contestant {
  const name = (pod: Pod) => `pod-${pod.id}`;
  const uids = new Map<Pod, string>();
  const roundTrips: number[] = [];
  const isAsking = ({ user, userAgent, verb }: AuditEvent): boolean =>
    asks === "plugin"
      ? user.endsWith(":calico-cni-plugin")
      : userAgent.startsWith("calico-node-felix") && verb !== "watch";
  const path = "/api/v1/namespaces/default/pods";
  const config = {
    cniVersion: "1.0.0",
    name: `bench-kubernetes-${mode}`,
    type: "calico",
    nodename: node,
    nodename_file_optional: true,
    log_level: "warning",
    datastore_type: "kubernetes",
    kubernetes: { kubeconfig: server.kubeconfig("cni") },
    policy: { type: "k8s" },
    ipam: { type: "calico-ipam" },
  };
  const base = plugin(
    `calico, kubernetes ${mode}${asks === "agent" ? ", fast path" : ""}`,
    executable,
    cniPath,
    config,
  );
  const withArgs = (commands: readonly Command[], pod: Pod): Command[] =>
    commands.map((command) => ({
      ...command,
      env: {
        ...command.env,
        CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=${name(pod)};K8S_POD_INFRA_CONTAINER_ID=${containerId(pod)};K8S_POD_UID=${uids.get(pod)}`,
      },
    }));
  // An idle API server keeps a core half busy, at the cost of whoever's turn it is: it stands still outside its own.
  server.pause();
  return {
    name: base.name,
    roundTrips,
    add: (pod) => withArgs(base.add(pod), pod),
    del: (pod) => withArgs(base.del(pod), pod),
    async prepare(pods) {
      server.resume();
      for (const pod of pods) {
        const { metadata } = await server.request<{ metadata: { uid: string } }>("POST", path, {
          metadata: { name: name(pod) },
          spec: { nodeName: node, containers: [{ name: "c", image: "none" }] },
        });
        uids.set(pod, metadata.uid);
      }
      const before = performance.now();
      await server.request("GET", "/api/v1/namespaces/default");
      roundTrips.push(performance.now() - before);
    },
    async tidy(pods) {
      for (const pod of pods) await server.request("DELETE", `${path}/${name(pod)}`, { gracePeriodSeconds: 0 });
      server.pause();
    },
    counted: async () => summarise((await server.audit()).filter(isAsking)),
  };
}

/** What the kernel's part alone costs: the same objects made by two `ip -batch` calls and removed by one `ip link del`. */
export function floor(folder: string): Contestant {
  const link = (pod: Pod) => `flr${pod.id.toString(16)}`;
  return {
    name: "floor: ip -batch",
    add(pod) {
      const address = `10.99.${(pod.id >> 8) & 255}.${pod.id & 255}`;
      const host = join(folder, `host-${pod.id}`);
      const inside = join(folder, `pod-${pod.id}`);
      writeFileSync(
        host,
        `link add ${link(pod)} type veth peer name eth0 netns ${pod.netns}\n` +
          `link set ${link(pod)} address ee:ee:ee:ee:ee:ee up\nroute add ${address} dev ${link(pod)} scope link\n`,
      );
      writeFileSync(
        inside,
        `link set lo up\nlink set eth0 up\naddr add ${address}/32 dev eth0\n` +
          "route add 169.254.1.1 dev eth0 scope link\nroute add default via 169.254.1.1 dev eth0\n",
      );
      return [{ argv: ["ip", "-batch", host] }, { argv: ["ip", "-n", pod.netns, "-batch", inside] }];
    },
    del: (pod) => [{ argv: ["ip", "link", "del", link(pod)] }],
  };
}
