/** What a cluster has beside its nodes: etcd and kube-apiserver, kube-controller-manager, kube-scheduler. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { Subprocess } from "bun";
import { type ApiServer, CACHED_BIN, startApiServer } from "../../lib/kubernetes/testing/index.ts";
import { type Relay, startRelay } from "../kubernetes/relay.ts";
import type { Lab } from "../lab/index.ts";

const CONTROLLER_MANAGER_NAME = "kube-controller-manager";
export const CONTROLLER_MANAGER = join(CACHED_BIN, CONTROLLER_MANAGER_NAME);
export const SCHEDULER = join(CACHED_BIN, "kube-scheduler");

/** The address of Service kubernetes, which the API server's certificate has to name. */
const KUBERNETES_SERVICES = ["10.96.0.1", "fd00:10:96::1"];
const SERVICES = { 4: "10.96.0.0/16", 6: "fd00:10:96::/112" };

/** IP's versions: the primary one first. */
export type Families = readonly [4] | readonly [6] | readonly [4, 6] | readonly [6, 4];

export interface ControlPlaneOptions {
  readonly audit?: boolean;
  /** Of Services, and of the way to the API server the first. */
  readonly families: Families;
}

/**
 * All of it runs in the machine's own network namespace, on its loopback: nodes come in through the relay, and the API server gets out to
 * kubelets through {@link file://./egress.ts}.
 */
export class ControlPlane {
  readonly #programs = new Map<string, Subprocess>();

  private constructor(
    readonly lab: Lab,
    readonly server: ApiServer,
    readonly relay: Relay,
  ) {}

  static async start(lab: Lab, options: ControlPlaneOptions): Promise<ControlPlane> {
    const socket = join(lab.machineShare, "egress.sock");
    const egress = join(lab.machineShare, "egress.json");
    const connection = { proxyProtocol: "HTTPConnect", transport: { uds: { udsName: socket } } };
    writeFileSync(
      egress,
      JSON.stringify({
        ...{ apiVersion: "apiserver.k8s.io/v1beta1", kind: "EgressSelectorConfiguration" },
        egressSelections: [{ name: "cluster", connection }],
      }),
    );
    lab.serve([process.execPath, fileURLToPath(new URL("egress.ts", import.meta.url)), socket], "egress.log");
    const server = await startApiServer({
      ...{ audit: options.audit ?? false, serviceAccounts: true },
      // A server's own address is of the family of its first range of Services.
      host: options.families[0] === 4 ? "127.0.0.1" : "::1",
      names: [lab.underlay4, lab.underlay6, ...KUBERNETES_SERVICES],
      arguments: [
        ...[`--egress-selector-config-file=${egress}`, "--kubelet-preferred-address-types=InternalIP"],
        `--service-cluster-ip-range=${options.families.map((family) => SERVICES[family]).join(",")}`,
      ],
    });
    const [primary] = options.families;
    const relay = startRelay(lab, server.port, primary === 4 ? "127.0.0.1" : "::1", primary);
    const plane = new ControlPlane(lab, server, relay);
    try {
      plane.startControllers();
      plane.startScheduler();
      await plane.#serveKubernetes();
      return plane;
    } catch (error) {
      await plane.stop();
      throw error;
    }
  }

  startControllers(): void {
    const { folder } = this.server;
    this.#start(CONTROLLER_MANAGER_NAME, [
      CONTROLLER_MANAGER,
      // Calico gives addresses to nodes. An address range for each is what a cluster without it would need.
      ...["--controllers=*,-node-ipam-controller,-node-route-controller", "--allocate-node-cidrs=false"],
      ...[
        `--service-account-private-key-file=${join(folder, "account.key")}`,
        `--root-ca-file=${join(folder, "ca.crt")}`,
      ],
      "--concurrent-deployment-syncs=5",
    ]);
  }

  /** As a crash would end it, and starts it again at once. */
  async killControllers(): Promise<void> {
    const child = this.#programs.get(CONTROLLER_MANAGER_NAME);
    child?.kill("SIGKILL");
    await child?.exited;
    this.startControllers();
  }

  startScheduler(): void {
    this.#start("kube-scheduler", [SCHEDULER]);
  }

  #start(name: string, command: readonly string[]): void {
    const log = Bun.file(this.logFile(name));
    const common = [`--kubeconfig=${this.server.kubeconfig("admin-token")}`, "--leader-elect=false", "--secure-port=0"];
    const child = Bun.spawn(["setpriv", "--pdeathsig=KILL", "--", ...command, ...common], {
      cwd: this.server.folder,
      env: { PATH: "/usr/bin:/bin", HOME: this.server.folder },
      stdin: "ignore",
      stdout: log,
      stderr: log,
    });
    this.#programs.set(name, child);
  }

  logFile(name: string): string {
    return join(this.lab.machineShare, `${name}.log`);
  }

  /** Where Service kubernetes leads: the server on a loopback does not publish itself. */
  async #serveKubernetes(): Promise<void> {
    const url = new URL(this.relay.url);
    const address = url.hostname.replaceAll(/[[\]]/g, "");
    const labels = { "kubernetes.io/service-name": "kubernetes" };
    await this.server.apply({
      ...{
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        addressType: address.includes(":") ? "IPv6" : "IPv4",
      },
      metadata: { name: "kubernetes", namespace: "default", labels },
      endpoints: [{ addresses: [address], conditions: { ready: true } }],
      ports: [{ name: "https", port: Number(url.port), protocol: "TCP" }],
    });
  }

  async stop(): Promise<void> {
    for (const child of this.#programs.values()) child.kill("SIGKILL");
    await Promise.all([...this.#programs.values()].map((child) => child.exited));
    this.relay.stop();
    await this.server.stop();
  }
}
