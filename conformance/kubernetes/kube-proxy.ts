/** The real kube-proxy on a node of the lab, and real connections through its Services. */
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { kubeProxy } from "../../lib/kubernetes/testing/index.ts";
import { inNamespace, openNamespace } from "../../lib/sys/index.ts";
import type { Node } from "../lab/index.ts";
import { terminate, until } from "./agent.ts";
import type { KubernetesCluster } from "./cluster.ts";

/** kube-proxy's mode, and for iptables the back end that it finds under the name `iptables`. */
export type ProxyMode = "nftables" | "iptables-nft" | "iptables-legacy";

export const kubeProxyMissing = (): string | undefined =>
  kubeProxy() === undefined ? "no kube-proxy: scripts/setup-kubernetes builds it" : undefined;

export class KubeProxy {
  readonly #process: Bun.Subprocess;
  readonly #file: string;

  private constructor(
    readonly node: Node,
    readonly mode: ProxyMode,
    file: string,
    process: Bun.Subprocess,
  ) {
    this.#file = file;
    this.#process = process;
  }

  /** Resolves when what it makes of `service`, an address, is in the kernel. */
  static async start(cluster: KubernetesCluster, mode: ProxyMode, service: string): Promise<KubeProxy> {
    const { lab, node, server, relay } = cluster;
    const kubeconfig = readFileSync(server.kubeconfig("admin-token", { server: relay.url }));
    await Bun.write(join(lab.machineShare, "kube-proxy.kubeconfig"), kubeconfig);
    const file = join(lab.machineShare, `kube-proxy-${mode}.log`);
    const log = Bun.file(file);
    const command = [
      ...[kubeProxy()!, `--kubeconfig=${lab.share}/kube-proxy.kubeconfig`, `--hostname-override=${node.name}`],
      ...[`--proxy-mode=${mode.split("-")[0]}`, "--cluster-cidr=10.65.0.0/16", "--v=2"],
      // The limit is the machine's, and no namespace's.
      ...["--conntrack-max-per-core=0", "--conntrack-min=0"],
      "--healthz-bind-address=127.0.0.1:10256",
    ];
    const proxy = new KubeProxy(node, mode, file, enter(node, mode, command, log));
    await until(
      `kube-proxy serves ${service}`,
      async () => (await proxy.rules()).some((rule) => rule.includes(service)),
      () => readFileSync(file, "utf8").slice(-3000),
    );
    return proxy;
  }

  /** What of the kernel's rules is kube-proxy's, without counters. */
  async rules(): Promise<string[]> {
    const { node, mode } = this;
    if (mode === "nftables") {
      const { stdout } = await node.exec(["nft", "-s", "list", "table", "ip", "kube-proxy"]);
      return stdout.split("\n");
    }
    return (await saved(node, mode)).filter((line) => line.includes("KUBE-") && !line.startsWith(":"));
  }

  async stop(): Promise<void> {
    await terminate(this.#process);
  }

  /** Ends it, and removes what it made, as changing to another mode does. */
  async remove(): Promise<void> {
    await this.stop();
    const log = Bun.file(`${this.#file}.cleanup`);
    await enter(this.node, this.mode, [kubeProxy()!, "--cleanup"], log).exited;
  }
}

/** Lines of iptables-save of one back end. */
export async function saved(node: Node, mode: "iptables-nft" | "iptables-legacy"): Promise<string[]> {
  return (await node.run([`${mode}-save`])).split("\n").filter((line) => !line.startsWith("#"));
}

/** Starts a command on the node that finds, under the name `iptables`, the back end of that mode. */
export function enter(node: Node, mode: ProxyMode, command: readonly string[], log: Bun.BunFile): Bun.Subprocess {
  const folder = "/run/iptables-of-kube-proxy";
  mkdirSync(node.path(folder), { recursive: true });
  if (mode !== "nftables") {
    for (const tool of ["iptables", "ip6tables"]) {
      for (const part of ["", "-save", "-restore"]) {
        const link = node.path(join(folder, tool + part));
        try {
          symlinkSync(`/usr/sbin/${tool}-${mode.split("-")[1]}${part}`, link);
        } catch {
          // Of a run before this one, perhaps for the other back end.
          Bun.spawnSync(["ln", "-sf", `/usr/sbin/${tool}-${mode.split("-")[1]}${part}`, link]);
        }
      }
    }
  }
  const into = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--net", "--wdns=/"];
  return Bun.spawn(["nsenter", `--target=${node.pid}`, ...into, "--", ...command], {
    env: { PATH: `${folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin`, HOME: "/root" },
    stdin: "ignore",
    stdout: log,
    stderr: log,
  });
}

/** Answers each connection with the address that it comes from. */
export function listen(netns: string, port: number): { stop(): void } {
  using namespace = openNamespace(netns);
  const listener = inNamespace(namespace, () =>
    Bun.listen({
      hostname: "0.0.0.0",
      port,
      socket: {
        open(socket) {
          socket.end(`${socket.remoteAddress}\n`);
        },
        data() {},
      },
    }),
  );
  return { stop: () => listener.stop(true) };
}

/** Connects to what {@link listen} opened: the address that it saw, or what became of the attempt. What takes longer than `seconds` is silence. */
export async function connect(netns: string, address: string, port: number, seconds = 1): Promise<string> {
  const script = `exec 3<>/dev/tcp/${address}/${port} && read -r line <&3 && echo "$line"`;
  const child = Bun.spawn(["nsenter", `--net=${netns}`, "timeout", String(seconds), "bash", "-c", script], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [said, complaint, status] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  if (status === 0) return said.trim();
  return complaint.includes("refused") ? "refused" : "silence";
}
