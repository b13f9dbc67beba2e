/**
 * The built calico-kube-controllers against a real API server: the collector under fault, beside objects of Calico in Go, and
 * with exactly the rights that the manifest gives.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { parseAllDocuments } from "yaml";
import { crdsOf } from "../../lib/api/crd/index.ts";
import { IPAMBlock } from "../../lib/api/ipamblock.ts";
import { countIpam, deleteNodes, fillCluster } from "../../lib/controllers/testing.ts";
import { type Client, openClient } from "../../lib/datastore/index.ts";
import { createIpam, type Ipam } from "../../lib/ipam/index.ts";
import { type ApiServer, startApiProxy, startApiServer } from "../../lib/kubernetes/testing/index.ts";
import { CHECKOUT } from "../lab/index.ts";
import { GROUP_VERSION, type Mode, runProgram, type StoredObject } from "./cluster.ts";
import { Controllers, freePort, kubeControllers } from "./controllers.ts";
import { describeModes } from "./suite.ts";
import { goAffinity, goBlock, goHandle, goNode, podAttribute, podHandle, tunnelAttribute } from "./upstream-ipam.ts";

/** GC_NODES=10 for a quick look. */
const NODES = Number(process.env.GC_NODES ?? 100);
const GRACE_MS = 1_000;
const STACK = /^\s+at .*[:(]\d+|\$bunfs/m;
const range = (count: number): number[] => [...Array(count).keys()];
const node = (name: string): object => ({ apiVersion: "v1", kind: "Node", metadata: { name } });

async function until(what: string, holds: () => unknown, said: () => string = () => "", within = 90_000) {
  const limit = Date.now() + within;
  while (
    !(await Promise.resolve()
      .then(holds)
      .catch(() => false))
  ) {
    if (Date.now() > limit) throw new Error(`${what}: not in ${within} ms\n${said().slice(-4000)}`);
    await Bun.sleep(100);
  }
}

interface Role {
  readonly kind: string;
  readonly metadata: { readonly name: string };
  readonly rules: readonly {
    readonly apiGroups: readonly string[];
    readonly resources: readonly string[];
    readonly verbs: readonly string[];
  }[];
}
const ACCOUNT = "calico-kube-controllers";
/** Rights whose occasion does not come here. */
const MAKES = [/^create kubecontrollersconfigurations\./, /^update clusterinformations\./];
const ELSEWHERE: Readonly<Record<Mode, readonly RegExp[]>> = {
  // Tiers of a cluster that stores the older group are not waited for, so nobody asks for their policies.
  v1: [...MAKES, /^(list|watch) (staged)?(global)?networkpolicies\./, /^(list|watch) tiers\./],
  v3: MAKES,
};
/** The role that the manifest gives to the controllers. */
const ROLE = (): Role =>
  parseAllDocuments(readFileSync(join(CHECKOUT, "deploy/calico.yaml"), "utf8"))
    .map((document) => document.toJS() as Role)
    .find(({ kind, metadata }) => kind === "ClusterRole" && metadata.name === ACCOUNT)!;

describeModes("calico-kube-controllers", (mode) => {
  let server: ApiServer;
  let client: Client;
  let ipam: Ipam;
  let metricsPort: number;
  let folder: string;
  const running: Controllers[] = [];
  const api = `/apis/${GROUP_VERSION[mode]}`;
  /** While the API server was away, and came up: it says no to everybody before it knows its own rules. */
  const outage = { from: 0, to: 0 };
  const MERGE = "application/merge-patch+json";

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "gc-test-"));
    server = await startApiServer({ crds: mode, audit: true });
    client = await openClient({ type: "kubernetes", kubeconfig: server.kubeconfig("admin") });
    ipam = createIpam(client);
    metricsPort = await freePort();
    await server.apply(
      {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "ClusterRole",
        metadata: { name: ACCOUNT },
        rules: ROLE().rules,
      },
      { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "default", namespace: "default" } },
      {
        apiVersion: GROUP_VERSION[mode],
        kind: "KubeControllersConfiguration",
        metadata: { name: "default" },
        spec: {
          prometheusMetricsPort: metricsPort,
          controllers: { node: { leakGracePeriod: `${GRACE_MS}ms` }, loadBalancer: { assignIPs: "AllServices" } },
        },
      },
    );
  });
  afterEach(async () => {
    for (const one of running.splice(0)) await one.end();
  });
  afterAll(async () => {
    await client?.close();
    await server?.stop();
    if (folder) rmSync(folder, { recursive: true, force: true });
  });

  async function start(kubeconfig = server.kubeconfig("controllers")): Promise<Controllers> {
    const one = new Controllers({ kubeconfig, folder });
    running.push(one);
    await until(
      "ready",
      () => one.isReady("node"),
      () => one.log,
      30_000,
    );
    return one;
  }
  const stored = async (plural: string): Promise<StoredObject[]> =>
    (await server.request<{ items: StoredObject[] }>("GET", `${api}/${plural}`)).items;
  const names = async (plural: string): Promise<string[]> =>
    (await stored(plural)).map((one) => one.metadata.name).sort();
  const count = () => countIpam(server, mode);
  const metrics = async (port: number): Promise<string> =>
    (await fetch(`http://127.0.0.1:${port}/metrics`, { signal: AbortSignal.timeout(2000) })).text();
  const podPath = (name: string): string => `/api/v1/namespaces/default/pods/${name}`;
  const deletePod = (name: string): Promise<unknown> =>
    server.request("DELETE", `${podPath(name)}?gracePeriodSeconds=0`);

  /** A pod that is bound, and has been told its address by the plugin and by kubelet. */
  async function attach(name: string, host: string, handle: string): Promise<string> {
    await server.request("POST", "/api/v1/namespaces/default/pods", {
      ...{ apiVersion: "v1", kind: "Pod", metadata: { name } },
      spec: { nodeName: host, containers: [{ name: "main", image: "none" }] },
    });
    const attributes = { namespace: "default", pod: name, node: host };
    const { v4 } = await ipam.autoAssign({ num4: 1, host, handle, use: "Workload", attributes });
    await tell(name, v4[0]!.address);
    return v4[0]!.address;
  }
  async function tell(name: string, address: string): Promise<void> {
    const annotations = {
      "cni.projectcalico.org/podIP": `${address}/32`,
      "cni.projectcalico.org/podIPs": `${address}/32`,
    };
    await server.request("PATCH", podPath(name), { metadata: { annotations } }, MERGE);
    const status = { phase: "Running", podIP: address, podIPs: [{ ip: address }] };
    await server.request("PATCH", `${podPath(name)}/status`, { status }, MERGE);
  }

  test(`${NODES} nodes go at once; the program is killed twice, and the API server once`, async () => {
    const gone = range(NODES).map((index) => `gone-${index}`);
    await fillCluster(server, client, { nodes: [...gone, "stays"], blocksPerNode: 2, addressesPerBlock: 1 });
    const web = await attach("web", "stays", podHandle("a"));
    const late = await attach("late", "gone-7", podHandle("b"));
    const first = await start();
    await deleteNodes(server, gone);
    await until(
      "the first blocks",
      async () => (await count()).blocks < 1.9 * NODES,
      () => first.log,
    );
    await first.end("SIGKILL");
    const second = await start();
    await until(
      "more blocks",
      async () => (await count()).blocks < 1.4 * NODES,
      () => second.log,
    );
    await server.kill();
    await server.restart();
    await until(
      "again more",
      async () => (await count()).blocks < 0.9 * NODES,
      () => second.log,
    );
    outage.to = Date.now();
    await second.end("SIGKILL");
    const third = await start();
    const isLeft = (blocks: number, handles: number) => async () => {
      const now = await count();
      return now.blocks === blocks && now.affinities <= blocks && now.handles === handles;
    };
    // One block of the node that stays goes with its leaked addresses; of the others the one that a pod of a gone node uses is left.
    await until("all but what is used", isLeft(2, 2), () => `${JSON.stringify(third.status())}\n${third.log}`);
    expect(await ipam.allocationOf(late)).toMatchObject({ handle: podHandle("b") });
    await deletePod("late");
    const reclaimed = /^ipam_allocations_gc_reclamations\{ippool="pool",node="gone-7"\} 1$/m;
    await until(
      "its count",
      async () => reclaimed.test(await metrics(metricsPort)),
      () => third.log,
    );
    await until("the last of them", isLeft(1, 1), () => third.log);
    expect(await ipam.allocationOf(web)).toMatchObject({ handle: podHandle("a") });
    expect((await ipam.check({ endpoints: false })).findings).toEqual([]);
    expect(await third.end("SIGTERM")).toBe(0);
    expect(third.log).not.toMatch(STACK);
  });

  test("pods move, are lost and are made again, while watches are late, out of order and cut", async () => {
    const proxy = await startApiProxy(server);
    Object.assign(proxy.fault, { delay: 600, reorder: 4, cutAfter: 60 });
    try {
      const nodes = ["m1", "m2"];
      await server.apply(...nodes.map(node));
      let program = await start(proxy.kubeconfig("controllers"));
      const live = new Map<string, { readonly address: string; readonly handle: string }>();
      const check = async (when: string): Promise<void> => {
        for (const [pod, held] of [...live]) {
          const found = await ipam.allocationOf(held.address);
          if (live.get(pod) === held)
            expect({ when, pod, ...held, of: found?.handle }).toMatchObject({ of: held.handle });
        }
      };
      const ROUNDS = 6;
      await Promise.all(
        range(4).map(async (index) => {
          const pod = `moving-${index}`;
          for (let round = 0; round < ROUNDS; round++) {
            const handle = `k8s-pod-network.${pod}-${round}`;
            const address = await attach(pod, nodes[(index + round) % 2]!, handle);
            live.set(pod, { address, handle });
            // Some live for longer than it takes to be observed twice.
            const dwell = Date.now() + (round % 3) * GRACE_MS;
            do await check(`round ${round}`);
            while (Date.now() < dwell);
            if (index === 0 && round === 2) {
              await program.end("SIGKILL");
              program = await start(proxy.kubeconfig("controllers"));
            }
            if (round === ROUNDS - 1) break;
            live.delete(pod);
            // Of every other one the DEL never comes.
            if (round % 2 === 0) await ipam.releaseByHandle(handle);
            await deletePod(pod);
          }
        }),
      );
      proxy.cut();
      const kept = [...live.values()].map(({ handle }) => handle).sort();
      const held = async () => (await names("ipamhandles")).filter((name) => name.includes(".moving-"));
      await until(
        "what was lost is given back",
        async () => (await held()).join() === kept.join(),
        () => program.log,
      );
      await check("in the end");
      for (const pod of live.keys()) await deletePod(pod);
      live.clear();
      await deleteNodes(server, nodes);
      await until("everything", async () => (await names("blockaffinities")).every((name) => !/^m[12]-/.test(name)));
      await until(
        "the handles",
        async () => (await held()).length === 0,
        () => program.log,
      );
      expect(program.log).not.toMatch(STACK);
    } finally {
      await proxy.stop();
    }
  });

  test("objects of a Go Calico beside ours are shown, released and collected", async () => {
    const M = "10.70.0.0/26";
    const vm = "k8s-pod-network.vmi.default.vm1";
    await server.apply(goNode("go1", 1), goNode("go2", 2));
    await server
      .request("POST", `${api}/ippools`, {
        ...{ apiVersion: GROUP_VERSION[mode], kind: "IPPool", metadata: { name: "go" } },
        spec: { cidr: "10.70.0.0/16", blockSize: 26, ipipMode: "Always", nodeSelector: "has(go)", natOutgoing: true },
      })
      .catch(() => undefined);
    const objects = [
      goBlock(mode, M, "go1", {
        0: tunnelAttribute("ipip", "go1"),
        1: podAttribute(podHandle("1"), "theirs", "go1"),
        // Borrowed: the block of one node, the pod of another.
        3: podAttribute(podHandle("3"), "guest", "go2"),
        4: podAttribute(vm, "virt-launcher-vm1", "go2", { "vmi-name": "vm1", "vmi-uid": "1-2-3", "vm-uid": "4-5-6" }),
        5: podAttribute(podHandle("5"), "old", undefined),
        6: tunnelAttribute("vxlan", "go1"),
        7: tunnelAttribute("wireguard", "go1"),
        8: podAttribute("K8S-Pod-Network.UPPER", "upper", "go1"),
      }),
      goBlock(mode, "10.70.2.0/26", "go1", {}),
      goBlock(mode, "10.70.3.0/26", "go1", {}),
      goBlock(mode, "10.70.5.0/26", "go1", { 9: podAttribute(podHandle("1"), "theirs", "go1") }),
      goAffinity(mode, M, "go1"),
      goAffinity(mode, "10.70.1.0/26", "go1", { state: "pending" }),
      goAffinity(mode, "10.70.2.0/26", "go1", { state: "pendingDeletion" }),
      goAffinity(mode, "10.70.3.0/26", "go1", { isOld: true }),
      goAffinity(mode, "10.70.4.0/26", "go1", { isMarked: true }),
      goAffinity(mode, "10.70.5.0/26", "go1"),
      ...["ipip", "vxlan", "wireguard"].map((kind) => goHandle(mode, `${kind}-tunnel-addr-go1`, { [M]: 1 })),
      goHandle(mode, podHandle("1"), { [M]: 1, "10.70.5.0/26": 1 }),
      goHandle(mode, podHandle("3"), { [M]: 1 }),
      goHandle(mode, vm, { [M]: 1 }),
      goHandle(mode, podHandle("5"), { [M]: 1 }),
      goHandle(mode, "K8S-Pod-Network.UPPER", { [M]: 1 }),
      goHandle(mode, podHandle("8"), {}),
      goHandle(mode, podHandle("9"), { "10.70.4.0/26": 1 }, true),
    ];
    await server.apply(...objects);
    await server.request("POST", "/api/v1/namespaces/default/pods", {
      ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "guest" } },
      spec: { nodeName: "go2", containers: [{ name: "main", image: "none" }] },
    });
    await tell("guest", "10.70.0.3");
    // One of ours in their block.
    await ipam.assignIp({
      ...{ address: "10.70.0.2", host: "go1", handle: "k8s-pod-network.ours", use: "Workload" },
      attributes: { namespace: "default", pod: "ours", node: "go1" },
    });

    const calicoctl = async (...args: string[]): Promise<string> => {
      const { status, stdout, stderr } = await runProgram("calicoctl", ["ipam", ...args], server.kubeconfig("admin"));
      expect({ args, status, stderr }).toMatchObject({ status: 0, stderr: "" });
      return stdout;
    };
    const shown = await calicoctl("show", "--show-blocks");
    expect(shown).toMatch(/Block\s*\|\s*10\.70\.0\.0\/26\s*\|\s*64\s*\|\s*9 /);
    expect(await calicoctl("show", "--ip=10.70.0.0")).toMatch(/ipip-tunnel-addr-go1|ipipTunnelAddress/);
    expect(await calicoctl("show", "--ip=10.70.0.4")).toContain("virt-launcher-vm1");
    await calicoctl("release", "--ip=10.70.0.5");
    expect(await names("ipamhandles")).not.toContain(podHandle("5"));

    const program = await start();
    await deleteNodes(server, ["go1"]);
    const left = async (): Promise<object> => ({
      blocks: (await client.list(IPAMBlock)).items
        .filter(({ spec }) => spec.cidr.startsWith("10.70."))
        .map(({ spec }) => ({
          cidr: spec.cidr,
          affinity: spec.affinity,
          taken: spec.allocations.flatMap((one, ordinal) =>
            one === null ? [] : [`${ordinal} ${spec.attributes[one]!.handle_id}`],
          ),
        })),
      affinities: (await names("blockaffinities")).filter((name) => /^go[12]-/.test(name)),
      handles: (await names("ipamhandles")).filter((name) => ![podHandle("a"), podHandle("b")].includes(name)),
    });
    const guest = podHandle("3");
    const wanted = {
      blocks: [{ cidr: M, affinity: undefined, taken: [`3 ${guest}`, `4 ${vm}`] }],
      affinities: [],
      handles: [guest, vm].sort(),
    };
    await until(
      "all but what is used",
      async () => JSON.stringify(await left()) === JSON.stringify(wanted),
      () => program.log,
    ).catch(async (error: unknown) => {
      expect(await left()).toEqual(wanted);
      throw error;
    });
    await deletePod("guest");
    await until(
      "the guest's",
      async () => !(await names("ipamhandles")).includes(guest),
      () => program.log,
    );
    await calicoctl("release", "--ip=10.70.0.4");
    await until(
      "the block",
      async () => !(await names("ipamblocks")).includes("10-70-0-0-26"),
      () => program.log,
    );
  });

  test("KubeControllersConfiguration applies while it runs: port, level, controllers", async () => {
    const program = await start();
    const configure = (spec: object) =>
      server.request("PATCH", `${api}/kubecontrollersconfigurations/default`, { spec }, MERGE);
    const said = () => program.log;
    await until("metrics", async () => (await metrics(metricsPort)).includes("ipam_blocks{"), said);
    const text = await metrics(metricsPort);
    for (const name of [
      ...["ipam_allocations_in_use", "ipam_allocations_borrowed", "ipam_allocations_gc_candidates", "ipam_ippool_size"],
      ...["ipam_blocks_per_node", "ipam_allocations_per_node", "ipam_gc_oldest_unreclaimed_seconds"],
    ])
      expect(text).toContain(`# TYPE ${name} gauge`);
    await server.request("POST", `${api}/ipreservations`, {
      apiVersion: GROUP_VERSION[mode],
      kind: "IPReservation",
      metadata: { name: "some" },
      spec: { reservedCIDRs: ["10.70.0.0/29", "10.70.0.4/32"] },
    });
    await until(
      "what is reserved",
      async () => /^ipam_ippool_reserved\{ippool="[^"]+"\} 8$/m.test(await metrics(metricsPort)),
      said,
    );

    const next = await freePort();
    await configure({ prometheusMetricsPort: next, logSeverityScreen: "Debug" });
    await until("metrics on the other port", async () => (await metrics(next)).includes("ipam_blocks{"), said);
    await expect(metrics(metricsPort)).rejects.toThrow();
    metricsPort = next;
    await configure({ controllers: { node: null } });
    await until("the node controller has stopped", () => !("node" in program.status()), said);
    await configure({
      controllers: { node: { hostEndpoint: { autoCreate: "Enabled" }, leakGracePeriod: `${GRACE_MS}ms` } },
    });
    await until("it runs again", () => program.isReady("node"), said);
    await until("host endpoints", async () => (await names("hostendpoints")).includes("stays-auto-hep"), said);
    await server.request("PATCH", "/api/v1/nodes/stays", { metadata: { labels: { rack: "r1" } } }, MERGE);
    await until("their labels", async () => JSON.stringify(await stored("hostendpoints")).includes("r1"), said);
    await configure({ controllers: { node: { hostEndpoint: { autoCreate: "Disabled" } } } });
    await until("none", async () => (await names("hostendpoints")).length === 0, said);
    const running = async () =>
      (await stored("kubecontrollersconfigurations"))[0] as unknown as { status: { runningConfig: object } };
    expect((await running()).status.runningConfig).toMatchObject({ logSeverityScreen: "Debug" });

    await until("probes", () => program.isReady("KubeAPIServer") && program.isReady("CalicoDatastore"), said);
    for (const args of [
      ["check-status", "-r"],
      ["kube-controllers-health", "-l"],
    ])
      expect(await program.probe(...args)).toMatchObject({ status: 0, stdout: "Ready\n" });
    expect(await program.end("SIGTERM")).toBe(0);
  });

  test("a Service gets an address and gives it back; a pool and a tier wait for what is theirs", async () => {
    const pool = { cidr: "192.0.2.0/24", blockSize: 29, allowedUses: ["LoadBalancer"] };
    const named = (kind: string, name: string, spec: object) => ({
      apiVersion: GROUP_VERSION[mode],
      kind,
      metadata: { name },
      spec,
    });
    await server.apply(named("IPPool", "lb", pool));
    const program = await start();
    const path = "/api/v1/namespaces/default/services";
    await server.request("POST", path, {
      ...{ apiVersion: "v1", kind: "Service", metadata: { name: "web" } },
      spec: { type: "LoadBalancer", selector: { app: "web" }, ports: [{ port: 80 }] },
    });
    const address = async () =>
      (await server.request<{ status: { loadBalancer: { ingress?: { ip: string }[] } } }>("GET", `${path}/web`)).status
        .loadBalancer.ingress?.[0]?.ip;
    await until(
      "an address",
      async () => (await address())?.startsWith("192.0.2."),
      () => program.log,
    );
    await server.request("DELETE", `${path}/web`);
    await until("it is given back", async () => (await names("ipamhandles")).every((name) => !name.startsWith("lb-")));
    await server.apply(named("Tier", "security", { order: 10, defaultAction: "Deny" }));
    if (mode === "v3")
      for (const plural of ["tiers", "ippools"])
        await until(
          plural,
          async () => JSON.stringify(await stored(plural)).includes('"finalizers"'),
          () => program.log,
        );
    const policy = { tier: "security", selector: "all()", types: ["Ingress"] };
    await server.apply(named("GlobalNetworkPolicy", "security.allow", policy));
    await server.request("DELETE", `${api}/tiers/security`);
    if (mode === "v3") {
      const waits = async () => JSON.stringify(await stored("tiers")).includes("Waiting for policies");
      await until("the tier waits", waits, () => program.log);
    }
    await server.request("DELETE", `${api}/globalnetworkpolicies/security.allow`);
    await until(
      "the tier is gone",
      async () => !(await names("tiers")).includes("security"),
      () => program.log,
    );
  });

  test("nothing was refused, and no right is given that nothing used", async () => {
    const account = `system:serviceaccount:kube-system:${ACCOUNT}`;
    const events = (await server.audit()).filter(({ user }) => user === account);
    const refused = events.filter(
      ({ status, received }) => status === 403 && (received < outage.from || received > outage.to),
    );
    expect(refused.map(({ verb, uri }) => `${verb} ${uri}`)).toEqual([]);
    const used = new Set(events.map(({ verb, resource }) => `${verb} ${resource}`));
    const own = GROUP_VERSION[mode].split("/")[0]!;
    const served = new Set(crdsOf(mode).map(({ spec }) => spec.names.plural));
    const given = ROLE().rules.flatMap(({ apiGroups, resources, verbs }) =>
      apiGroups
        .filter((group) => group === "" || group === own)
        .flatMap((group) => resources.filter((one) => group === "" || served.has(one.split("/")[0]!)))
        .flatMap((resource) => verbs.map((verb) => ({ verb, resource }))),
    );
    const idle = given
      .map(({ verb, resource }) => `${verb} ${served.has(resource.split("/")[0]!) ? nameOf(resource, own) : resource}`)
      .filter((right) => !used.has(right) && !ELSEWHERE[mode].some((named) => named.test(right)));
    expect(idle).toEqual([]);
  });

  test("what is wrong is said in a line, and in the exit status", async () => {
    const broken = join(folder, "broken");
    writeFileSync(broken, "clusters: [");
    const status = { STATUS_FILE: join(folder, "wrong.json") };
    for (const [args, env, says] of [
      [["--bogus"], {}, "unknown flag: --bogus"],
      [["bogus"], {}, 'unknown command "bogus"'],
      [["check-status"], {}, "No command specified to check-status"],
      [["check-status", "-r", "-f", "/nowhere"], {}, "Failed to read status file /nowhere"],
      [["kube-controllers-health", "-l", "-f", broken], {}, `Failed to read status file ${broken}`],
      [[], { DATASTORE_TYPE: "floppy" }, "DATASTORE_TYPE"],
      [[], { DATASTORE_TYPE: "kubernetes", KUBECONFIG: "/nowhere" }, "kubeconfig /nowhere: there is no such file"],
      [[], { DATASTORE_TYPE: "kubernetes", KUBECONFIG: broken }, "neither YAML nor JSON"],
      [[], { ...clusterOf("controllers"), ENABLED_CONTROLLERS: "nodes" }, "ENABLED_CONTROLLERS"],
    ] as const) {
      const outcome = await kubeControllers(args, { ...status, ...env });
      expect({ args, env, status: outcome.status }).toMatchObject({ status: 1 });
      expect(outcome.stdout + outcome.stderr).toContain(says);
      expect(outcome.stdout + outcome.stderr).not.toMatch(STACK);
    }
  });
  const clusterOf = (user: "controllers" | "nobody") => ({
    DATASTORE_TYPE: "kubernetes",
    KUBECONFIG: server.kubeconfig(user),
  });

  describe("goes on trying", () => {
    test("while it has no rights, or the API server is away; and is not ready", async () => {
      const away = server.kubeconfig("controllers", { server: "https://127.0.0.1:1" });
      for (const [kubeconfig, says] of [
        [server.kubeconfig("nobody"), /nobody/],
        [away, /127\.0\.0\.1:1/],
      ] as const) {
        const program = new Controllers({ kubeconfig, folder });
        running.push(program);
        await until(
          "it says why",
          () => says.test(program.status().Startup!.Reason),
          () => program.log,
          30_000,
        );
        expect(await program.probe("check-status", "-r")).toMatchObject({ status: 1 });
        expect(await program.end("SIGTERM")).toBe(0);
        expect(program.log).not.toMatch(STACK);
      }
    });
  });
});

function nameOf(resource: string, group: string): string {
  return `${resource}.${group}`.replace(/^([^/.]+)(\/[a-z]+)\.(.*)$/, "$1.$3$2");
}
