/** The manifest on a real API server, and the agent's start with exactly the rights that it gives. */

import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CNI_ACCESS } from "../../cmd/calico-cni/access.ts";
import { NODE_ACCESS } from "../../cmd/calico-node/access.ts";
import { kubernetesFactsOf } from "../../cmd/calico-node/kubernetes-facts.ts";
import { setNetworkUnavailable } from "../../cmd/calico-node/network-condition.ts";
import { CalicoNodeStatus } from "../../lib/api/caliconodestatus.ts";
import { ClusterInformation } from "../../lib/api/clusterinformation.ts";
import { crdsOf } from "../../lib/api/crd/index.ts";
import { FelixConfiguration } from "../../lib/api/felixconfiguration.ts";
import type { Kind } from "../../lib/api/kind.ts";
import type { Resource } from "../../lib/api/meta.ts";
import { watchBgp } from "../../lib/bgp/config/index.ts";
import { type Client, datastoreConfigFromEnv, openClient } from "../../lib/datastore/index.ts";
import { install } from "../../lib/install/index.ts";
import { createIpam } from "../../lib/ipam/index.ts";
import {
  type ApiServer,
  type AuditEvent,
  apiServerMissing,
  kubectl,
  startApiServer,
  type UserName,
} from "../../lib/kubernetes/testing/index.ts";
import { prepareNode } from "../../lib/node/index.ts";
import { machine } from "../../lib/node/testing.ts";
import { watchInputs } from "../../lib/policy-agent/intake/index.ts";
import { silentLogger } from "../../lib/telemetry/index.ts";

const missing =
  apiServerMissing() ?? (kubectl() === undefined ? "no kubectl: scripts/setup-kubernetes builds it" : undefined);
const MANIFEST = join(import.meta.dirname, "../../deploy/calico.yaml");

describe.skipIf(missing !== undefined)(missing ? `the manifest (skipped: ${missing})` : "the manifest", () => {
  let server: ApiServer;
  const folder = mkdtempSync(join(tmpdir(), "deploy-test-"));
  const clients: Client[] = [];
  beforeAll(async () => {
    server = await startApiServer({ audit: true });
    await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
  });
  afterAll(async () => {
    await Promise.all(clients.map((client) => client.close()));
    await server?.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const run = (...args: readonly string[]) =>
    spawnSync(kubectl()!, [`--kubeconfig=${server.kubeconfig("admin")}`, ...args], {
      encoding: "utf8",
      env: { HOME: server.folder, PATH: process.env.PATH },
    });
  // The test server has roles of these names already, which somebody else applied.
  const apply = ["apply", "--server-side", "--force-conflicts", `--filename=${MANIFEST}`, "--validate=strict"];

  test("is accepted on trial, for real, and again without a change", () => {
    const trial = run(...apply, "--dry-run=server");
    expect(trial.stderr).toBe("");
    expect(trial.status).toBe(0);
    const real = run(...apply);
    expect({ status: real.status, said: real.stderr }).toEqual({ status: 0, said: "" });
    expect(real.stdout.split("\n").length).toBe(trial.stdout.split("\n").length);
    const established = run(
      "wait",
      "--for=condition=Established",
      "crd",
      "--selector=app.kubernetes.io/component=crds",
      "--timeout=30s",
    );
    expect({ status: established.status, said: established.stderr }).toEqual({ status: 0, said: "" });
    const version = () =>
      run("get", "--filename", MANIFEST, "--output=jsonpath={.items[*].metadata.resourceVersion}").stdout;
    const before = version();
    expect(run(...apply).status).toBe(0);
    expect(version()).toBe(before);
  });

  test("parts of it can be applied alone", () => {
    const { stdout } = run(...apply, "--dry-run=server", "--selector=app.kubernetes.io/component in (config,node)");
    expect(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split(" ")[0]),
    ).toEqual(["configmap/calico-config", "daemonset.apps/calico-node"]);
  });

  const env = (user: UserName) => ({
    ...{ DATASTORE_TYPE: "kubernetes", KUBECONFIG: server.kubeconfig(user), NODENAME: "n1", IP: "autodetect" },
    ...{ CALICO_API_GROUP: "crd.projectcalico.org/v1", CALICO_NODENAME_FILE: join(folder, "nodename") },
  });
  const open = async (user: UserName): Promise<Client> => {
    const client = await openClient(datastoreConfigFromEnv(env(user)));
    clients.push(client);
    return client;
  };
  const until = async (what: string, holds: () => boolean): Promise<void> => {
    const deadline = performance.now() + 30_000;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`not after 30 s: ${what}`);
      await Bun.sleep(10);
    }
  };
  const asked = async (user: string): Promise<AuditEvent[]> =>
    (await server.audit()).filter((event) => event.user === `system:serviceaccount:kube-system:${user}`);

  test("lets the agent start, watch all that it needs, and assign addresses; and the plugin assign some itself", async () => {
    const client = await open("node");
    const kubernetes = kubernetesFactsOf(datastoreConfigFromEnv(env("node")), "n1");
    const known = await kubernetes.ask();
    const prepared = await prepareNode(client, env("node"), machine(["eth0 10.0.0.1/24"]), {
      log: silentLogger,
      ...(known && { kubernetes: known }),
    });
    expect(prepared.warnings).toEqual([]);
    const cluster = (await kubernetes.cluster())!;
    await setNetworkUnavailable(cluster, "n1", true);
    await kubernetes.close();

    const stop = new AbortController();
    const { signal } = stop;
    const troubles = new Map<string, string>();
    const onTrouble = (kind: string, why: string | undefined): void =>
      void (why === undefined ? troubles.delete(kind) : troubles.set(kind, why));
    let isConfigured = false;
    let isInSync = false;
    const bgp = watchBgp({ client, node: "n1", signal, onTrouble, onChange: () => (isConfigured = true) });
    const inputs = watchInputs({
      ...{ client, signal, onTrouble, sink: () => {}, onProblem: (what, problems) => onTrouble(what, problems.join()) },
      onInSync: () => (isInSync = true),
    });
    const synced = new Set<string>();
    const watch = async <R extends Resource>(kind: Kind<R>): Promise<void> => {
      for await (const event of client.watch(kind, { signal })) if (event.type === "synced") synced.add(kind.kind);
    };
    const others = [watch(FelixConfiguration), watch(ClusterInformation), watch(CalicoNodeStatus)];
    await until("everything is watched", () => isConfigured && isInSync && synced.size === others.length);
    // Kubernetes' ClusterNetworkPolicy is not there on every cluster, and is not asked for again at once.
    expect([...troubles].filter(([kind]) => !kind.startsWith("ClusterNetworkPolicy"))).toEqual([]);
    stop.abort();
    await Promise.all([bgp.done, inputs.done, ...others]);

    for (const [user, host] of [
      ["node", "n1"],
      ["cni", "n2"],
    ] as const) {
      const ipam = createIpam(user === "node" ? client : await open("cni"));
      const { v4 } = await ipam.autoAssign({ num4: 1, host, handle: `pod-of-${host}`, use: "Workload" });
      expect(v4).toHaveLength(1);
      await ipam.releaseByHandle(`pod-of-${host}`);
    }
    const secrets = join(folder, "secrets");
    const netFolder = join(folder, "net.d");
    for (const made of [secrets, netFolder]) mkdirSync(made);
    for (const [name, text] of [
      ["namespace", "kube-system"],
      ["ca.crt", server.ca],
      ["token", server.token("node")],
    ] as const)
      writeFileSync(join(secrets, name), text);
    await install({
      ...{ env: { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(server.port) }, secrets },
      ...{ parts: ["kubeconfig"], places: { netFolder, netFolderOfNode: netFolder }, executable: "", binFolders: [] },
      ...{ node: "n1", onStep: () => {}, warn: (message) => expect.fail(message) },
    });
    for (const account of ["calico-node", "calico-cni-plugin"])
      expect(
        (await asked(account)).filter(({ status }) => status === 403).map(({ verb, uri }) => `${verb} ${uri}`),
      ).toEqual([]);
    expect((await asked("calico-node")).length).toBeGreaterThan(50);
  });

  test("gives no right that is not used, but for those whose occasion is named here", async () => {
    const ELSEWHERE: Readonly<Record<string, readonly RegExp[]>> = {
      "calico-node": [
        // A pod is attached on the plugin's behalf.
        /^(get pods|get namespaces|patch pods\/status)$/,
        // A CalicoNodeStatus is answered, in a status of its own or not.
        /^(get|update) caliconodestatuses/,
        // What is there already is compared or completed.
        /^get (ippools|bgpconfigurations)\.|^update (felixconfigurations|clusterinformations)\./,
        // Where the cluster has the kind.
        /^watch clusternetworkpolicies\./,
        // Services are watched when BGP is to advertise them.
        /^(list|watch) services$/,
        // The allocator that serves this node's pods keeps these in mind, and gives back blocks.
        /^(list|watch) (ipamconfigs|ipreservations|ipamblocks)\.|^get (blockaffinities|ipamblocks|ipamhandles)\.|^delete (blockaffinities|ipamblocks)\./,
        // A handle that has addresses of two families, or gives one of several back.
        /^update ipamhandles\./,
      ],
      "calico-cni-plugin": [
        /^(get pods|get namespaces|get nodes|patch pods\/status|get clusterinformations\..*)$/,
        /^(get|list|delete) (blockaffinities|ipamblocks|ipamhandles)\.|^update ipamhandles\./,
      ],
    };
    for (const { account, rules } of [NODE_ACCESS, CNI_ACCESS]) {
      const used = new Set((await asked(account)).map(({ verb, resource }) => `${verb} ${resource}`));
      // Of Calico's kinds, those that are stored in the group that this cluster has.
      const stored = new Set(crdsOf("v1").map(({ spec }) => spec.names.plural));
      const declared = rules.flatMap(({ apiGroups, resources, verbs }) =>
        apiGroups
          .filter((group) => group !== "projectcalico.org")
          .flatMap((group) =>
            resources
              .filter((resource) => group !== "crd.projectcalico.org" || stored.has(resource.split("/")[0]!))
              .flatMap((resource) => {
                const [plural, sub] = resource.split("/");
                const name = `${plural}${group ? `.${group}` : ""}${sub ? `/${sub}` : ""}`;
                return verbs.map((verb) => `${verb} ${name}`);
              }),
          ),
      );
      const idle = declared.filter(
        (right) => !used.has(right) && !ELSEWHERE[account]!.some((named) => named.test(right)),
      );
      expect(idle, account).toEqual([]);
    }
  });
});
