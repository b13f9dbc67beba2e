/**
 * The node of bench:policy: pods with an interface and an address each, as the plugin makes them, in the sandbox's network namespace; a
 * datastore; and the built agent.
 */
import { spawnSync } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Subprocess } from "bun";
import { ClusterInformation } from "../lib/api/clusterinformation.ts";
import { IPPool, newIPPool } from "../lib/api/ippool.ts";
import type { Kind } from "../lib/api/kind.ts";
import { Namespace } from "../lib/api/kubernetes/index.ts";
import type { Resource } from "../lib/api/meta.ts";
import { WorkloadEndpoint } from "../lib/api/workloadendpoint.ts";
import {
  type Client,
  type DatastoreConfig,
  ensureInitialized,
  type Operation,
  openClient,
} from "../lib/datastore/index.ts";
import { must } from "./sandbox.ts";

export type Dataplane = "nftables" | "iptables-nft" | "iptables-legacy";
export const DATAPLANES: readonly Dataplane[] = ["nftables", "iptables-nft", "iptables-legacy"];

const ENVIRONMENT: Readonly<Record<Dataplane, Readonly<Record<string, string>>>> = {
  nftables: { FELIX_NFTABLESMODE: "Enabled" },
  "iptables-nft": { FELIX_NFTABLESMODE: "Disabled", FELIX_IPTABLESBACKEND: "NFT" },
  "iptables-legacy": { FELIX_NFTABLESMODE: "Disabled", FELIX_IPTABLESBACKEND: "Legacy" },
};

export const NODE = "bench-node";
export const NAMESPACE = "bench";
/** The two pods that traffic runs between have a network namespace each; the far ends of all others share one. */
const SENDER = 0;
const RECEIVER = 1;
const REST = "bench-rest";
/** What the plugin gives the node's end of every interface. */
const HOST_MAC = "ee:ee:ee:ee:ee:ee";
const GATEWAY = "169.254.1.1";
/** Of one transaction; etcd takes 128. */
const BATCH = 100;
const METRICS_PORT = 9091;
const START_TIMEOUT = 120_000;

export const address = (pod: number): string => `10.65.${(pod + 2) >> 8}.${(pod + 2) & 255}`;
const interfaceName = (pod: number): string => `cali${pod.toString(16).padStart(11, "0")}`;
const mac = (pod: number): string => `02:00:00:00:${hex(pod >> 8)}:${hex(pod & 255)}`;
const hex = (value: number): string => value.toString(16).padStart(2, "0");

export const SENDER_NETNS = "/run/netns/bench-sender";
export const RECEIVER_NETNS = "/run/netns/bench-receiver";
export const SENDER_ADDRESS = address(SENDER);
export const RECEIVER_ADDRESS = address(RECEIVER);
export const RECEIVER_INTERFACE = interfaceName(RECEIVER);

/** Makes interfaces for so many pods, and lets the node forward between them without any agent. */
export function makePods(count: number): void {
  writeFileSync("/proc/sys/net/ipv4/ip_forward", "1");
  for (const name of ["bench-sender", "bench-receiver", REST]) must("ip", "netns", "add", name);
  const lines: string[] = [];
  for (let pod = 0; pod < count; pod++) {
    const name = interfaceName(pod);
    const [netns, far] =
      pod === SENDER ? ["bench-sender", "eth0"] : pod === RECEIVER ? ["bench-receiver", "eth0"] : [REST, `p${pod}`];
    lines.push(
      `link add ${name} address ${HOST_MAC} type veth peer name ${far} address ${mac(pod)} netns ${netns}`,
      `link set ${name} up`,
      `neighbour replace ${address(pod)} lladdr ${mac(pod)} dev ${name} nud permanent`,
    );
  }
  batch(lines);
  for (const [netns, pod] of [
    ["bench-sender", SENDER],
    ["bench-receiver", RECEIVER],
  ] as const) {
    batch(
      [
        "link set lo up",
        "link set eth0 up",
        `address add ${address(pod)}/32 dev eth0`,
        `neighbour replace ${GATEWAY} lladdr ${HOST_MAC} dev eth0 nud permanent`,
        `route add ${GATEWAY} dev eth0 scope link`,
        `route add default via ${GATEWAY} dev eth0`,
      ],
      "-netns",
      netns,
    );
  }
  batch(
    Array.from({ length: count - 2 }, (_, pod) => `link set p${pod + 2} up`),
    "-netns",
    REST,
  );
}

/** Routes between the two pods as anybody would set them: the path without us. */
export function routePlainly(): void {
  for (const pod of [SENDER, RECEIVER])
    must("ip", "route", "replace", address(pod), "dev", interfaceName(pod), "scope", "link");
}

/** Takes away whatever any dataplane has left in the kernel. */
export function clearKernel(): void {
  spawnSync("nft", ["flush", "ruleset"]);
  const legacy = readFileSync("/proc/self/net/ip_tables_names", { encoding: "utf8", flag: "r" }).trim();
  for (const table of legacy === "" ? [] : legacy.split("\n")) {
    for (const command of ["iptables-legacy", "ip6tables-legacy"]) {
      spawnSync(command, ["-t", table, "-F"]);
      spawnSync(command, ["-t", table, "-X"]);
    }
  }
  spawnSync("ipset", ["destroy"]);
  spawnSync("ip", ["route", "flush", "root", "10.65.0.0/16"]);
  spawnSync("conntrack", ["-F"]);
}

function batch(lines: readonly string[], ...options: string[]): void {
  const run = spawnSync("ip", [...options, "-batch", "-"], { input: `${lines.join("\n")}\n`, encoding: "utf8" });
  if (run.status !== 0) throw new Error(`ip -batch: ${run.stderr || run.error?.message}`);
}

/** A datastore with what every cluster has, and endpoints for so many pods. */
export async function openStore(config: DatastoreConfig, pods: number): Promise<Client> {
  const client = await openClient(config);
  await ensureInitialized(client);
  if (!(await client.get(ClusterInformation, { name: "default" })))
    throw new Error("the datastore was not initialised");
  await client.create(IPPool, newIPPool("bench", { cidr: "10.65.0.0/16", natOutgoing: true }));
  await client.create(Namespace, { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } } as Namespace);
  await createAll(
    client,
    WorkloadEndpoint,
    Array.from({ length: pods }, (_, pod) => endpointOf(pod)),
  );
  return client;
}

function endpointOf(pod: number): WorkloadEndpoint {
  return {
    apiVersion: "projectcalico.org/v3",
    kind: "WorkloadEndpoint",
    metadata: {
      name: `${NODE.replaceAll("-", "--")}-k8s-pod--${pod}-eth0`,
      namespace: NAMESPACE,
      labels: {
        "projectcalico.org/namespace": NAMESPACE,
        "projectcalico.org/orchestrator": "k8s",
        pod: `pod-${pod}`,
        app: `app-${pod % 100}`,
      },
    },
    spec: {
      orchestrator: "k8s",
      node: NODE,
      containerID: pod.toString(16).padStart(64, "0"),
      pod: `pod-${pod}`,
      endpoint: "eth0",
      ipNetworks: [`${address(pod)}/32`],
      profiles: [`kns.${NAMESPACE}`],
      interfaceName: interfaceName(pod),
      mac: mac(pod),
    },
  };
}

/** Creates many objects, several in one transaction. */
export async function createAll<R extends Resource>(
  client: Client,
  kind: Kind<R>,
  resources: readonly R[],
): Promise<void> {
  for (let at = 0; at < resources.length; at += BATCH) {
    await client.commit(
      resources
        .slice(at, at + BATCH)
        .map((resource): Operation => ({ op: "create", kind: kind as unknown as Kind, resource })),
    );
  }
}

export interface Memory {
  readonly resident: number;
  readonly anonymous: number;
  readonly peak: number;
}

/** A running agent. */
export class Agent {
  /** When it was started, by `Date.now()` and by `performance.now()`. */
  readonly startedDate = Date.now();
  readonly started = performance.now();
  readonly #child: Subprocess;
  readonly #log: string;

  constructor(dist: string, folder: string, dataplane: Dataplane, datastore: Readonly<Record<string, string>>) {
    this.#log = join(folder, `agent-${this.started.toFixed(3)}.log`);
    const log = openSync(this.#log, "w");
    this.#child = Bun.spawn([join(dist, "calico-node"), "felix"], {
      env: {
        PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ...datastore,
        ...ENVIRONMENT[dataplane],
        NODENAME: NODE,
        FELIX_LOGSEVERITYSCREEN: "Info",
        FELIX_PROMETHEUSMETRICSENABLED: "true",
        FELIX_PROMETHEUSMETRICSPORT: String(METRICS_PORT),
        ...ownSettings(),
      },
      stdin: "pipe", // it ends with this process, however that ends
      stdout: log,
      stderr: log,
    });
    closeSync(log);
  }

  /** Milliseconds after the start at which a line with this text was logged. */
  async logged(text: string): Promise<number> {
    for (const deadline = performance.now() + START_TIMEOUT; performance.now() < deadline; await Bun.sleep(5)) {
      const line = this.log()
        .split("\n")
        .find((one) => one.includes(text));
      if (line !== undefined) return new Date(`${line.slice(0, 23).replace(" ", "T")}`).getTime() - this.startedDate;
      if (this.#child.exitCode !== null) throw new Error(`the agent ended: ${this.log()}`);
    }
    throw new Error(`the agent never said "${text}": ${this.log().slice(-4000)}`);
  }

  log(): string {
    return readFileSync(this.#log, "utf8");
  }

  /** Memory in MiB: resident now, of it what is not the executable's own pages, and at most so far. */
  memory(): Memory {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, "utf8");
    const of = (field: string) => Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1]) / 1024;
    return { resident: of("VmRSS"), anonymous: of("RssAnon"), peak: of("VmHWM") };
  }

  /** Processor time so far, in milliseconds. */
  processor(): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, "utf8").split(") ")[1]!.split(" ");
    return (Number(fields[11]) + Number(fields[12])) * 10; // clock ticks of 10 ms (USER_HZ)
  }

  /** Its metrics, by name with labels. */
  async metrics(): Promise<ReadonlyMap<string, number>> {
    const text = await (await fetch(`http://127.0.0.1:${METRICS_PORT}/metrics`)).text();
    return new Map(
      text.split("\n").flatMap((line) => {
        const at = line.lastIndexOf(" ");
        return line === "" || line.startsWith("#") ? [] : [[line.slice(0, at), Number(line.slice(at + 1))] as const];
      }),
    );
  }

  /** Ends it; at once, as a crash would, with SIGKILL. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    this.#child.kill(signal);
    await this.#child.exited;
  }
}

/** FELIX_… of whoever runs the bench, to try settings. */
const ownSettings = (): Record<string, string> =>
  Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (name.startsWith("FELIX_") && value ? [[name, value]] : [])),
  );
