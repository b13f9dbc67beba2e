/** The agent with a Kubernetes API server for its datastore, under exactly the role that upstream's DaemonSet has. */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CLUSTER_ROLES, summarise } from "../../lib/kubernetes/testing/index.ts";
import type { ProbePlace } from "../policy/prober.ts";
import { Agent, attach, type Expected, expectPackets, host, until } from "./agent.ts";
import { GROUP_VERSION, KubernetesCluster } from "./cluster.ts";
import { describeLabModes } from "./suite.ts";

const ACCOUNT = "system:serviceaccount:kube-system:calico-node";
const STATUS_FOLDER = "/run/calico/endpoint-status";

const v3 = (kind: string, name: string, spec: object, namespace?: string, metadata: object = {}): object => ({
  apiVersion: "projectcalico.org/v3",
  kind,
  metadata: { name, ...(namespace === undefined ? {} : { namespace }), ...metadata },
  spec,
});
const kubernetesPolicy = (name: string, spec: object): object => ({
  apiVersion: "networking.k8s.io/v1",
  kind: "NetworkPolicy",
  metadata: { name, namespace: "shop" },
  spec,
});
const namespaceObject = (name: string, labels: Readonly<Record<string, string>>): object => ({
  ...{ apiVersion: "v1", kind: "Namespace" },
  metadata: { name, labels: { name, ...labels } },
});
/** Of kubernetes-sigs/network-policy-api, without its schema. */
const CLUSTER_NETWORK_POLICY_CRD = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: {
    name: "clusternetworkpolicies.policy.networking.k8s.io",
    annotations: { "api-approved.kubernetes.io": "unapproved, for a test" },
  },
  spec: {
    group: "policy.networking.k8s.io",
    names: { kind: "ClusterNetworkPolicy", plural: "clusternetworkpolicies" },
    scope: "Cluster",
    versions: [
      {
        ...{ name: "v1alpha2", served: true, storage: true },
        schema: { openAPIV3Schema: { type: "object", "x-kubernetes-preserve-unknown-fields": true } },
      },
    ],
  },
};

describeLabModes("the agent", (mode) => {
  let cluster: KubernetesCluster;
  let agent: Agent;
  const places: ProbePlace[] = [];

  beforeAll(async () => {
    cluster = await KubernetesCluster.create({ mode, nodes: 2, audit: true });
    const [node, outside] = cluster.lab.nodes;
    await cluster.server.apply(namespaceObject("shop", { team: "blue" }), namespaceObject("other", { team: "red" }), {
      ...{ apiVersion: "v1", kind: "ServiceAccount" },
      metadata: { name: "front", namespace: "shop", labels: { role: "front" } },
    });
    const web = { namespace: "shop", labels: { app: "web" }, serviceAccount: "front" };
    places.push(
      (await attach(cluster, "web", web)).place,
      (await attach(cluster, "db", { namespace: "shop", labels: { app: "db" } })).place,
      (await attach(cluster, "client", { namespace: "other", labels: { app: "client" } })).place,
      host(node!, "node"),
      host(outside!, "outside"),
    );
    // The other machine plays a pod of another node, at its own address.
    await cluster.pod(
      "remote",
      {
        ...{ namespace: "other", labels: { app: "remote" } },
        annotations: { "cni.projectcalico.org/podIP": `${outside!.address4}/32` },
      },
      outside,
    );
    await outside!.run(["ip", "route", "add", "10.65.0.0/16", "via", node!.address4]);
    agent = Agent.start(cluster);
    await agent.ready();
  });
  afterAll(async () => {
    await agent?.stop();
    await cluster?.dispose();
  });

  const packets = (...expected: Expected[]) => expectPackets(places, expected, () => agent.log().slice(-4000));
  const remove = async (...objects: object[]): Promise<void> => {
    for (const object of objects) {
      const { kind, metadata } = object as { kind: string; metadata: { name: string; namespace?: string } };
      const where = metadata.namespace === undefined ? [] : ["-n", metadata.namespace];
      const outcome = await cluster.calicoctl("delete", kind, metadata.name, ...where);
      expect(outcome.status, outcome.stderr).toBe(0);
    }
  };
  const policyPath = (name: string) => `/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/${name}`;
  const isolateDb = kubernetesPolicy("isolate-db", {
    podSelector: { matchLabels: { app: "db" } },
    policyTypes: ["Ingress"],
    ingress: [{ from: [{ podSelector: { matchLabels: { app: "web" } } }], ports: [{ port: 80 }] }],
  });
  const ISOLATED: readonly Expected[] = [
    ["web", "db", 80, "allow"],
    ["web", "db", 81, "deny"],
    ["client", "db", 80, "deny"],
    ["outside", "db", 80, "deny"],
    // A node reaches its own pods, whatever policy says.
    ["node", "db", 81, "allow"],
    ["client", "web", 80, "allow"],
  ];
  const OPEN: readonly Expected[] = ISOLATED.map(([from, to, port]) => [from, to, port, "allow"]);

  test("is in sync where the cluster has no ClusterNetworkPolicy, and lets everything through that no policy selects", async () => {
    await packets(...OPEN);
    expect(agent.log()).toContain("in sync with the datastore");
  });

  test("a NetworkPolicy of Kubernetes isolates the pod that it selects, and stops doing so when it is deleted", async () => {
    await cluster.server.apply(isolateDb);
    await packets(...ISOLATED);
    await cluster.server.request("DELETE", policyPath("isolate-db"));
    await packets(...OPEN);
  });

  test("peers by their namespace's labels, here and on other nodes, follow the labels", async () => {
    await cluster.server.apply(
      kubernetesPolicy("red-only", {
        ...{ podSelector: { matchLabels: { app: "db" } }, policyTypes: ["Ingress"] },
        ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: "red" } } }] }],
      }),
    );
    await packets(["client", "db", 80, "allow"], ["outside", "db", 80, "allow"], ["web", "db", 80, "deny"]);
    await cluster.server.apply(namespaceObject("other", { team: "green" }));
    await packets(["client", "db", 80, "deny"], ["outside", "db", 80, "deny"], ["web", "db", 80, "deny"]);
    await cluster.server.apply(namespaceObject("other", { team: "red" }));
    await packets(["client", "db", 80, "allow"]);
    await cluster.server.request("DELETE", policyPath("red-only"));
    await packets(["web", "db", 80, "allow"]);
  });

  test("Calico's policies: tiers, order, service accounts by name and by label", async () => {
    const [tier, deny, byName, byLabel] = [
      v3("Tier", "platform", { order: 50, defaultAction: "Pass" }),
      v3("GlobalNetworkPolicy", "platform.no-81", {
        ...{ tier: "platform", order: 10, selector: "app == 'db'", types: ["Ingress"] },
        ingress: [{ action: "Deny", protocol: "TCP", destination: { ports: [81] } }, { action: "Pass" }],
      }),
      v3(
        "NetworkPolicy",
        "front-by-name",
        {
          ...{ selector: "app == 'db'", types: ["Ingress"], order: 1 },
          ingress: [{ action: "Allow", source: { serviceAccounts: { names: ["front"] } } }],
        },
        "shop",
      ),
      v3(
        "NetworkPolicy",
        "front-by-label",
        {
          ...{ selector: "app == 'db'", types: ["Ingress"], order: 2 },
          ingress: [{ action: "Allow", source: { serviceAccounts: { selector: "role == 'none'" } } }],
        },
        "shop",
      ),
    ] as const;
    await cluster.applyCalico(tier, deny, byName, byLabel);
    await packets(["web", "db", 80, "allow"], ["web", "db", 81, "deny"], ["client", "db", 80, "deny"]);
    await remove(byName);
    await packets(["web", "db", 80, "deny"], ["client", "db", 80, "deny"]);
    const account = { apiVersion: "v1", kind: "ServiceAccount" };
    await cluster.server.apply({
      ...account,
      metadata: { name: "front", namespace: "shop", labels: { role: "none" } },
    });
    await packets(["web", "db", 80, "allow"], ["web", "db", 81, "deny"], ["client", "db", 80, "deny"]);
    await remove(byLabel, deny, tier);
    await packets(...OPEN);
  });

  test("a policy as kubectl writes it into the custom resource itself", async () => {
    const resource = {
      apiVersion: GROUP_VERSION[mode],
      kind: "GlobalNetworkPolicy",
      metadata: { name: "default.raw" },
      spec: {
        tier: "default",
        selector: "app == 'db'",
        types: ["Ingress"],
        ingress: [{ action: "Allow", protocol: "UDP" }],
      },
    };
    await cluster.server.apply(resource);
    await packets(["web", "db", 80, "deny"], ["web", "db", 53, "allow", { protocol: 17 }]);
    await cluster.server.request("DELETE", `/apis/${GROUP_VERSION[mode]}/globalnetworkpolicies/default.raw`);
    await packets(...OPEN);
  });

  test("network sets, and what they hold", async () => {
    const { address4 } = cluster.lab.nodes[1]!;
    const sets = (nets: string[]) => [
      v3("NetworkSet", "friends", { nets }, "shop", { labels: { kind: "friend" } }),
      v3("GlobalNetworkSet", "enemies", { nets: [`${address4}/32`] }, undefined, { labels: { kind: "enemy" } }),
    ];
    const policy = v3(
      "NetworkPolicy",
      "friends-only",
      {
        ...{ selector: "app == 'db'", types: ["Ingress"] },
        ingress: [
          { action: "Allow", protocol: "TCP", source: { selector: "kind == 'friend'" } },
          { action: "Allow", protocol: "UDP", source: { selector: "kind == 'enemy'", namespaceSelector: "global()" } },
        ],
      },
      "shop",
    );
    const udp = { protocol: 17 };
    await cluster.applyCalico(...sets([]), policy);
    await packets(
      ["outside", "db", 80, "deny"],
      ["outside", "db", 80, "allow", udp],
      ["client", "db", 80, "deny", udp],
    );
    await cluster.applyCalico(...sets(["172.31.0.0/16"]));
    await packets(["outside", "db", 80, "allow"], ["client", "db", 80, "deny"]);
    await remove(policy, ...sets([]));
    await packets(...OPEN);
  });

  test("a rule that names a Service follows its EndpointSlices", async () => {
    const address = (name: string) => places.find((place) => place.name === name)!.addresses[4];
    const slice = (name: string) => ({
      ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4" },
      metadata: { name: "backend-1", namespace: "shop", labels: { "kubernetes.io/service-name": "backend" } },
      endpoints: [{ addresses: [address(name)], conditions: { ready: true } }],
      ports: [{ name: "http", port: 80, protocol: "TCP" }],
    });
    const policy = v3(
      "NetworkPolicy",
      "to-backend",
      {
        ...{ selector: "app == 'web'", types: ["Egress"] },
        egress: [{ action: "Allow", destination: { services: { name: "backend", namespace: "shop" } } }],
      },
      "shop",
    );
    await cluster.server.apply(slice("db"));
    await cluster.applyCalico(policy);
    await packets(["web", "db", 80, "allow"], ["web", "db", 81, "deny"], ["web", "client", 80, "deny"]);
    await cluster.server.apply(slice("client"));
    await packets(["web", "client", 80, "allow"], ["web", "db", 80, "deny"]);
    await cluster.server.request("DELETE", "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices/backend-1");
    await packets(["web", "client", 80, "deny"], ["web", "db", 80, "deny"]);
    await remove(policy);
    await packets(...OPEN);
  });

  test("a new pod is under its policy when ADD answers, where the plugin waits for that", async () => {
    await cluster.server.apply(isolateDb);
    await packets(...ISOLATED);
    const conf = { policy_setup_timeout_seconds: 20 };
    const { pod, place } = await attach(cluster, "db2", { namespace: "shop", labels: { app: "db" }, conf });
    const file = readdirSync(cluster.node.path(STATUS_FOLDER)).find((name) => name.includes("db2"));
    expect(file, "its status file").toBeDefined();
    const expected: Expected[] = [
      ["client", "db2", 80, "deny"],
      ["web", "db2", 80, "allow"],
    ];
    // At once: not polled.
    await expectPackets([...places, place], expected, () => agent.log(), 0);
    expect((await cluster.cni("DEL", pod, cluster.conf(), "shop")).status).toBe(0);
    await cluster.deletePod("db2", "shop");
    await until("its status file is gone", () => !existsSync(cluster.node.path(join(STATUS_FOLDER, file!))));
    await cluster.server.request("DELETE", policyPath("isolate-db"));
    await packets(...OPEN);
  });

  test("a FelixConfiguration that needs a new start gets one, and nothing opens meanwhile", async () => {
    await cluster.server.apply(isolateDb);
    await packets(...ISOLATED);
    const [starts, felix] = [agent.said("policy is in force"), agent.felix];
    await cluster.applyCalico(v3("FelixConfiguration", "default", { chainInsertMode: "Append" }));
    while (agent.said("policy is in force") === starts) {
      await expectPackets(places, ISOLATED, () => agent.log(), 0);
    }
    expect(agent.felix).not.toBe(felix);
    expect(agent.log()).toMatch(/a new start applies it.*ChainInsertMode/);
    expect(agent.log()).toContain("starts anew, as it asked for");
    await agent.ready();
    await packets(...ISOLATED);
    await cluster.server.request("DELETE", policyPath("isolate-db"));
    await packets(...OPEN);
  });

  describe("without the API server", () => {
    test("what was enforced stays, through a crash of the agent too; what changed meanwhile is caught up with", async () => {
      await cluster.server.apply(
        isolateDb,
        kubernetesPolicy("close-web", { podSelector: { matchLabels: { app: "web" } }, policyTypes: ["Ingress"] }),
      );
      const closed: Expected[] = [...ISOLATED.slice(0, -1), ["client", "web", 80, "deny"]];
      await packets(...closed);
      cluster.relay.target = undefined;
      cluster.relay.cut();
      await cluster.server.request("DELETE", policyPath("isolate-db"));
      await cluster.server.kill();
      await expectPackets(places, closed, () => agent.log(), 0);
      await agent.crash();
      // A probe that failed would have it killed over and over.
      await until(
        "it is alive, though it cannot begin",
        () => agent.isAlive(),
        () => agent.log(),
      );
      let problem = "";
      await until(
        "it says why it is not ready",
        async () => {
          problem = await agent.problem();
          return problem.includes("datastore: ");
        },
        () => `${problem}\n${agent.log()}`,
      );
      expect(problem).toContain("172.31.0.1:6443");
      await expectPackets(places, closed, () => agent.log(), 0);
      await cluster.server.compact();
      await cluster.server.restart();
      await expectPackets(places, closed, () => agent.log(), 0);
      cluster.relay.target = cluster.server.port;
      await packets(["client", "db", 80, "allow"], ["client", "web", 80, "deny"]);
      await agent.ready();
      await cluster.server.request("DELETE", policyPath("close-web"));
      await packets(...OPEN);
    });

    // Nothing of it depends on how the kinds are stored, and what is waited for is how long a watch waits to be tried again.
    test.runIf(mode === "v1")(
      "killed and restarted under a running agent: what was deleted meanwhile goes, what came is there",
      async () => {
        await cluster.server.apply(isolateDb);
        await packets(...ISOLATED);
        const { felix } = agent;
        cluster.relay.target = undefined;
        cluster.relay.cut();
        await cluster.server.request("DELETE", policyPath("isolate-db"));
        await cluster.server.apply(
          kubernetesPolicy("close-web", { podSelector: { matchLabels: { app: "web" } }, policyTypes: ["Ingress"] }),
        );
        await cluster.server.kill();
        await expectPackets(places, ISOLATED, () => agent.log(), 0);
        await cluster.server.compact();
        await cluster.server.restart();
        cluster.relay.target = cluster.server.port;
        await packets(["client", "db", 80, "allow"], ["client", "web", 80, "deny"]);
        expect(agent.felix).toBe(felix);
        await cluster.server.request("DELETE", policyPath("close-web"));
        await packets(...OPEN);
      },
    );
  });

  test("a role that is too narrow for one kind: readiness names the kind, and the last state stays in force", async () => {
    const role = (without: string) => ({
      apiVersion: "rbac.authorization.k8s.io/v1",
      kind: "ClusterRole",
      metadata: { name: "calico-node" },
      rules: CLUSTER_ROLES["calico-node"]!.map((rule) => ({
        ...rule,
        resources: rule.resources.filter((resource) => resource !== without),
      })).filter(({ resources }) => resources.length > 0),
    });
    await cluster.server.apply(isolateDb);
    await packets(...ISOLATED);
    await cluster.server.apply(role("networksets"));
    await agent.crash();
    let problem = "";
    await until(
      "readiness names the kind",
      async () => {
        problem = await agent.problem();
        return /NetworkSet.*networksets/s.test(problem);
      },
      () => problem + agent.log(),
    );
    await expectPackets(places, ISOLATED, () => agent.log(), 0);
    await cluster.server.apply(role(""));
    await agent.ready();
    await cluster.server.request("DELETE", policyPath("isolate-db"));
    await packets(...OPEN);
  });

  test("a ClusterNetworkPolicy whose definition comes later, and goes again", async () => {
    await cluster.server.apply(CLUSTER_NETWORK_POLICY_CRD, {
      apiVersion: "policy.networking.k8s.io/v1alpha2",
      kind: "ClusterNetworkPolicy",
      metadata: { name: "no-red" },
      spec: {
        ...{ tier: "Admin", priority: 5, subject: { pods: { podSelector: { matchLabels: { app: "db" } } } } },
        ingress: [{ action: "Deny", from: [{ namespaces: { matchLabels: { team: "red" } } }] }],
      },
    });
    await packets(["client", "db", 80, "deny"], ["outside", "db", 80, "deny"], ["web", "db", 80, "allow"]);
    await cluster.server.request("DELETE", "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies/no-red");
    await packets(...OPEN);
  });

  test("one watch for each kind, and no request while nothing happens", async () => {
    const mine = async () =>
      (await cluster.server.audit()).filter(
        ({ user, userAgent }) => user === ACCOUNT && userAgent.startsWith("calico-node-felix/"),
      );
    const earlier = (await mine()).length;
    const serving = () => agent.log().split("serves the CNI plugin").length;
    const times = serving();
    await agent.crash();
    await agent.ready();
    await until(
      "it serves the plugin",
      () => serving() > times,
      () => agent.log(),
    );
    const before = await mine();
    const watches = before.slice(earlier).filter(({ verb }) => verb === "watch");
    // One for all in the process who follow the same: policy, its configuration, what serves the plugin, and its allocator. Beside them all,
    // its own Node and pods: of these the server tells it alone, and of its pods the plugin needs more than policy keeps of all.
    const own = watches.filter(({ uri }) => uri.includes("fieldSelector"));
    expect(own.map(({ resource }) => resource).toSorted()).toEqual(["nodes", "pods"]);
    const { byVerb } = summarise(watches.filter((watch) => !own.includes(watch)));
    for (const plural of ["nodes", "pods", "namespaces", "serviceaccounts"])
      expect(byVerb.get(`watch ${plural}`), plural).toBe(1);
    expect([...byVerb].filter(([, count]) => count !== 1)).toEqual([]);
    await Bun.sleep(5_000);
    // Upstream's role may not watch IPAM's configuration, which is read instead, twice a minute.
    const later = (await mine()).slice(before.length).filter(({ uri }) => !/\/ipamconfig(s|urations)\b/.test(uri));
    expect(later).toEqual([]);
  });

  test("ends without a trace in what is enforced", async () => {
    await cluster.server.apply(isolateDb);
    await packets(...ISOLATED);
    await agent.stop();
    await expectPackets(places, ISOLATED, () => agent.log(), 0);
  });
});
