/** Runs in the virtual machine: the built agent beside the real kube-proxy in IPVS mode, on each dataplane, and real connections. */
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Cluster, createCluster, kubernetesArgs, pool } from "../../cni/cluster.ts";
import { addressesIn } from "../../cni/result.ts";
import { terminate, until } from "../../kubernetes/agent.ts";
import { connect, enter, listen } from "../../kubernetes/kube-proxy.ts";
import { startRelay } from "../../kubernetes/relay.ts";
import { CHECKOUT, type Node } from "../../lab/index.ts";
import { DATAPLANE_ENVIRONMENT, FELIX } from "../../policy/felix.ts";
import { FILES, MACHINE } from "../index.ts";
import { claim } from "./claims.ts";
import {
  BACKEND_PORT,
  BACKENDS,
  CLAIMS,
  type Claim,
  DATAPLANES,
  type Dataplane,
  FOLLOWS,
  NODE_PORT,
  OUTSIDE,
  POOL,
  SERVICES,
} from "./services.ts";

/** In milliseconds: far more than anything takes, emulated on a busy machine. */
const PATIENCE = 200_000;
/** How long a connection may take before it is taken for denied, in seconds: with its processes, which take long to start here. */
const SECONDS = { silence: 4, answer: 20 } as const;
const HOST_PORT = 9000;
/** What kube-proxy uses beside IPVS, whatever the agent does. */
const IPTABLES = "iptables-nft";
const PODS = ["open", "picky", "client", "other", "to-backends", "to-services"] as const;
type Place = (typeof PODS)[number] | "node" | "outside";

const ENVIRONMENT: Readonly<Record<Dataplane | "auto", Readonly<Record<string, string>>>> = {
  ...DATAPLANE_ENVIRONMENT,
  auto: {},
};

const policy = (name: string, spec: object): object => ({
  ...{ apiVersion: "projectcalico.org/v3", kind: "NetworkPolicy" },
  metadata: { name, namespace: "default" },
  spec,
});

/** None of them names a Service's port, and only the last one a Service's address. */
const POLICIES = [
  policy("picky", {
    ...{ selector: "app == 'picky'", types: ["Ingress"] },
    ingress: [
      {
        action: "Allow",
        protocol: "TCP",
        source: { selector: "app == 'client'" },
        destination: { ports: [BACKEND_PORT] },
      },
      { action: "Allow", protocol: "TCP", source: { selector: "app == 'other'" }, destination: { ports: [80] } },
    ],
  }),
  policy("to-backends", {
    ...{ selector: "app == 'to-backends'", types: ["Egress"] },
    egress: [BACKENDS.open, OUTSIDE].map((address) => ({
      ...{ action: "Allow", protocol: "TCP" },
      destination: { nets: [`${address}/32`], ports: [BACKEND_PORT] },
    })),
  }),
  policy("to-services", {
    ...{ selector: "app == 'to-services'", types: ["Egress"] },
    egress: [{ action: "Allow", protocol: "TCP", destination: { nets: ["10.96.0.0/16"] } }],
  }),
];

/** `["client", "10.96.0.50", 80, "10.65.0.2"]`: whom the listener sees, or "silence" or "refused". */
type Connection = readonly [from: Place, to: string, port: number, outcome: string];

class Bed {
  readonly #places = new Map<Place, { readonly netns: string; readonly address: string }>();
  #agent: Bun.Subprocess | undefined;
  #proxy: Bun.Subprocess | undefined;
  #agents = 0;

  constructor(readonly cluster: Cluster) {}

  get node(): Node {
    return this.cluster.nodes[0]!;
  }
  get outside(): Node {
    return this.cluster.nodes[1]!;
  }

  readonly address = (place: Place): string => this.#places.get(place)!.address;

  async populate(): Promise<void> {
    const { cluster, node, outside } = this;
    const pods = PODS.map((name) => ({
      ...{ apiVersion: "v1", kind: "Pod", metadata: { name, namespace: "default", labels: { app: name } } },
      spec: { nodeName: node.name, containers: [{ name: "main", image: "none" }] },
    }));
    await cluster.apply({ apiVersion: "v1", kind: "Namespace", metadata: { name: "default" } }, ...pods, ...POLICIES);
    const sandboxes = await node.pods(PODS);
    const conf = cluster.conf({ policy: { type: "k8s" } });
    for (const sandbox of sandboxes) {
      const result = await sandbox.add(conf, { args: kubernetesArgs(sandbox) });
      const place = { netns: node.path(sandbox.netns), address: addressesIn(result)[0]! };
      this.#places.set(sandbox.name as Place, place);
    }
    for (const [name, address] of Object.entries(BACKENDS))
      if (this.address(name as Place) !== address) throw new Error(`${name} has ${this.address(name as Place)}`);
    this.#places.set("node", { netns: `/proc/${node.pid}/ns/net`, address: node.address4 });
    this.#places.set("outside", { netns: `/proc/${outside.pid}/ns/net`, address: outside.address4 });
    await outside.run(["ip", "route", "add", POOL, "via", node.address4]);
    for (const name of ["open", "picky", "outside"] as const) listen(this.#places.get(name)!.netns, BACKEND_PORT);
    listen(this.#places.get("node")!.netns, HOST_PORT);
    copyFileSync(join(FILES, "kubeconfig"), join(cluster.lab.machineShare, "kube-proxy.kubeconfig"));
  }

  /** Not waited for. */
  startAgent(settings: Dataplane | "auto"): void {
    const { cluster, node } = this;
    const env = {
      PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
      ...cluster.env,
      ...ENVIRONMENT[settings],
      NODENAME: node.name,
      FELIX_LOGSEVERITYSCREEN: "Info",
    };
    this.#agents++;
    const into = ["--mount", "--uts", "--ipc", "--pid", "--cgroup", "--net", "--wdns=/"];
    const log = Bun.file(this.#agentLog);
    this.#agent = Bun.spawn(["nsenter", `--target=${node.pid}`, ...into, "--", "sh", "-c", FELIX], {
      ...{ env, stdin: "ignore", stdout: log, stderr: log },
    });
  }

  /** Waits until the agent, since it last started, enforces by this dataplane, with IPVS in mind or without. */
  async enforces(dataplane: Dataplane, ipvs: boolean): Promise<void> {
    await until(
      `the agent enforces by ${dataplane} ${ipvs ? "beside" : "without"} IPVS`,
      () => {
        const [chosen = "", ...since] = (this.agentLog().split("policy is enforced by").at(-1) ?? "").split("\n");
        const isIt = chosen.includes(`dataplane="${dataplane}"`) && chosen.includes(`ipvs=${ipvs}`);
        return isIt && since.join("\n").includes("policy is in force");
      },
      () => this.agentLog().slice(-3000),
      PATIENCE,
    );
  }

  get #agentLog(): string {
    return join(this.cluster.lab.machineShare, `agent-${this.#agents}.log`);
  }

  agentLog(): string {
    return existsSync(this.#agentLog) ? readFileSync(this.#agentLog, "utf8") : "";
  }

  async stopAgent(): Promise<void> {
    if (this.#agent) await terminate(this.#agent);
    this.#agent = undefined;
  }

  /** Resolves when its Services are in the kernel. */
  async startProxy(): Promise<void> {
    const { cluster, node } = this;
    const file = join(cluster.lab.machineShare, "kube-proxy.log");
    const command = [
      ...[`${CHECKOUT}/.cache/bin/kube-proxy`, `--kubeconfig=${cluster.lab.share}/kube-proxy.kubeconfig`],
      ...[`--hostname-override=${node.name}`, "--proxy-mode=ipvs", `--cluster-cidr=${POOL}`, "--v=2"],
      ...["--conntrack-max-per-core=0", "--conntrack-min=0", "--healthz-bind-address=127.0.0.1:10256"],
    ];
    this.#proxy = enter(node, IPTABLES, command, Bun.file(file));
    await until(
      "kube-proxy has its Services in IPVS",
      async () => {
        const { stdout } = await node.exec(["ipvsadm", "-Ln"]);
        return Object.values(SERVICES).every(
          ({ address, backend }) => stdout.includes(address) && stdout.includes(backend),
        );
      },
      () => readFileSync(file, "utf8").slice(-3000),
      PATIENCE,
    );
  }

  /** Ends it, and removes what it made, as changing to another mode does. */
  async removeProxy(): Promise<void> {
    if (this.#proxy) await terminate(this.#proxy);
    this.#proxy = undefined;
    const log = Bun.file(join(this.cluster.lab.machineShare, "kube-proxy-cleanup.log"));
    await enter(this.node, IPTABLES, [`${CHECKOUT}/.cache/bin/kube-proxy`, "--cleanup"], log).exited;
    if (existsSync(`/proc/${this.node.pid}/root/sys/class/net/kube-ipvs0`))
      throw new Error("kube-ipvs0 is still there");
  }

  /** Tries all at once, until they fare as they should. */
  async connections(...expected: Connection[]): Promise<void> {
    let results: Connection[] = [];
    await until(
      "connections fare as they should",
      async () => {
        results = await Promise.all(
          expected.map(
            async ([from, to, port, outcome]): Promise<Connection> => [
              ...([from, to, port] as const),
              await connect(
                this.#places.get(from)!.netns,
                to,
                port,
                SECONDS[outcome === "silence" ? outcome : "answer"],
              ),
            ],
          ),
        );
        return JSON.stringify(results) === JSON.stringify(expected);
      },
      () => `${JSON.stringify(results)}\nshould be\n${JSON.stringify(expected)}`,
      60_000,
    );
  }
}

async function lookInto(bed: Bed, dataplane: Dataplane): Promise<void> {
  const of = (name: Claim, ...expected: Connection[]) =>
    claim(`${dataplane}: ${CLAIMS[name]}`, () => bed.connections(...expected));
  const { open, picky, away } = SERVICES;
  const { address } = bed;
  await of(
    "works",
    ["client", open.address, 80, address("client")],
    ["other", open.address, 80, address("other")],
    ["client", BACKENDS.open, BACKEND_PORT, address("client")],
  );
  await of(
    "ingress",
    ["client", picky.address, 80, address("client")],
    ["other", picky.address, 80, "silence"],
    ["open", picky.address, 80, "silence"],
  );
  await of(
    "egress",
    ["to-backends", open.address, 80, address("to-backends")],
    ["to-backends", away.address, 80, address("to-backends")],
    ["to-backends", picky.address, 80, "silence"],
    ["to-services", open.address, 80, "silence"],
    ["to-services", away.address, 80, "silence"],
  );
  await of(
    "host",
    ["node", open.address, 80, address("node")],
    ["node", picky.address, 80, address("node")],
    ["client", address("node"), HOST_PORT, "silence"],
    ["outside", address("node"), HOST_PORT, address("outside")],
    ["client", open.address, 80, address("client")],
  );
  // What comes to a NodePort is seen as the node's own, but only behind policy.
  await of(
    "nodePort",
    ["outside", address("node"), NODE_PORT, "silence"],
    ["client", address("node"), NODE_PORT, address("node")],
    ["other", address("node"), NODE_PORT, "silence"],
  );
}

const cluster = await createCluster({ nodes: 2, pools: [pool("pool4", POOL)] });
const relay = startRelay(cluster.lab, Number(process.env.API_PORT), MACHINE);
try {
  const bed = new Bed(cluster);
  await bed.populate();
  const direct: Connection[] = [
    ["client", BACKENDS.picky, BACKEND_PORT, bed.address("client")],
    ["other", BACKENDS.picky, BACKEND_PORT, "silence"],
  ];
  const [first, ...others] = DATAPLANES;
  await claim(FOLLOWS.appears, async () => {
    bed.startAgent(first);
    await bed.enforces(first, false);
    await bed.connections(...direct);
    await bed.startProxy();
    await bed.enforces(first, true);
  });
  await lookInto(bed, first);
  for (const dataplane of others) {
    await bed.stopAgent();
    bed.startAgent(dataplane);
    await bed.enforces(dataplane, true);
    await lookInto(bed, dataplane);
  }
  await bed.stopAgent();
  await claim(FOLLOWS.auto, async () => {
    bed.startAgent("auto");
    await bed.enforces("iptables-nft", true);
    if (!bed.agentLog().includes("kube-proxy runs in IPVS mode")) throw new Error(bed.agentLog());
    await bed.connections(["client", SERVICES.picky.address, 80, bed.address("client")]);
  });
  await claim(FOLLOWS.goes, async () => {
    await bed.removeProxy();
    await bed.enforces("nftables", false);
    await bed.connections(...direct, ["client", bed.address("node"), HOST_PORT, "silence"]);
  });
} finally {
  relay.stop();
  await cluster.dispose();
}
process.exit(0);
