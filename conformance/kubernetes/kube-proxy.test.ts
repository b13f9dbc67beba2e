/** The agent beside a real kube-proxy, in each mode that this kernel has: who sees what, whose rules are whose, and a change of mode. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { apiServerMissing } from "../../lib/kubernetes/testing/index.ts";
import { pool } from "../cni/cluster.ts";
import { missingBuild } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import type { ProbePlace } from "../policy/prober.ts";
import { Agent, attach, type Expected, expectPackets, host, until } from "./agent.ts";
import { KubernetesCluster } from "./cluster.ts";
import { connect, KubeProxy, kubeProxyMissing, listen, type ProxyMode, saved } from "./kube-proxy.ts";

const SERVICE = "10.96.0.50";
const NODE_PORT = 30080;
const BACKEND_PORT = 8080;
/** kube-proxy's own marks: to be dropped, and to be masqueraded. */
const KUBE_MARKS = 0x8000 | 0x4000;

const policy = (name: string, spec: object, namespace?: string): object => ({
  apiVersion: "projectcalico.org/v3",
  kind: namespace === undefined ? "GlobalNetworkPolicy" : "NetworkPolicy",
  metadata: { name, ...(namespace === undefined ? {} : { namespace }) },
  spec,
});
const allow = (source: object, port: number): object => ({
  ...{ action: "Allow", protocol: "TCP" },
  source,
  destination: { ports: [port] },
});

describeLab(
  "beside kube-proxy",
  () => {
    let cluster: KubernetesCluster;
    let agent: Agent;
    let proxy: KubeProxy;
    const places: ProbePlace[] = [];
    const listeners: { stop(): void }[] = [];
    const place = (name: string) => places.find((one) => one.name === name)!;
    const address = (name: string) => place(name).addresses[4];

    const service = (externalTrafficPolicy: "Local" | "Cluster") => ({
      ...{ apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "shop" } },
      spec: {
        ...{ type: "NodePort", clusterIP: SERVICE, externalTrafficPolicy, selector: { app: "web" } },
        ports: [{ name: "http", port: 80, targetPort: BACKEND_PORT, nodePort: NODE_PORT, protocol: "TCP" }],
      },
    });

    beforeAll(async () => {
      cluster = await KubernetesCluster.create({
        ...{ mode: "v1", nodes: 2 },
        pools: [pool("pool4", "10.65.0.0/16", { natOutgoing: true }), pool("pool6", "fd65::/112")],
      });
      const { server, node, lab } = cluster;
      const outside = lab.nodes[1]!;
      const addresses = [{ type: "InternalIP", address: node.address4 }];
      const status = "application/merge-patch+json";
      await server.request("PATCH", `/api/v1/nodes/${node.name}/status`, { status: { addresses } }, status);
      await cluster.namespace("shop");
      for (const name of ["web", "client", "other"]) {
        places.push((await attach(cluster, name, { namespace: "shop", labels: { app: name } })).place);
      }
      places.push(host(node, "node"), host(outside, "outside"));
      await outside.run(["ip", "route", "add", "10.65.0.0/16", "via", node.address4]);
      await server.apply(service("Local"), {
        ...{ apiVersion: "discovery.k8s.io/v1", kind: "EndpointSlice", addressType: "IPv4" },
        metadata: { name: "web-1", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } },
        endpoints: [{ addresses: [address("web")], conditions: { ready: true }, nodeName: node.name }],
        ports: [{ name: "http", port: BACKEND_PORT, protocol: "TCP" }],
      });
      listeners.push(listen(place("web").netns, BACKEND_PORT), listen(place("outside").netns, 80));
    });
    afterAll(async () => {
      for (const listener of listeners) listener.stop();
      await agent?.stop();
      await proxy?.stop();
      await cluster?.dispose();
    });

    const explain = () => agent.log().slice(-3000);
    const remove = async (kind: string, name: string, namespace?: string): Promise<void> => {
      const outcome = await cluster.calicoctl(
        "delete",
        kind,
        name,
        ...(namespace === undefined ? [] : ["-n", namespace]),
      );
      expect(outcome.status, outcome.stderr).toBe(0);
    };

    /** What becomes of connections: `["client", "10.96.0.50", 80, "10.65.0.3"]` is seen as coming from there. */
    type Connection = readonly [from: string, to: string, port: number, outcome: string];
    async function connections(...expected: Connection[]): Promise<void> {
      let results: Connection[] = [];
      await until(
        "connections fare as they should",
        async () => {
          results = await Promise.all(
            expected.map(
              async ([from, to, port]): Promise<Connection> => [
                ...([from, to, port] as const),
                await connect(place(from).netns, to, port),
              ],
            ),
          );
          return JSON.stringify(results) === JSON.stringify(expected);
        },
        () => `${JSON.stringify(results)}\nshould be ${JSON.stringify(expected)}\n${explain()}`,
      );
    }

    /** What is the agent's in the kernel: rules and chains, without counters. */
    async function ours(mode: ProxyMode): Promise<string[]> {
      if (mode !== "nftables")
        return (await saved(cluster.node, mode))
          .filter((line) => /cali[-:]/.test(line))
          .map((line) => line.replace(/\[\d+:\d+\]/, ""));
      return (await cluster.node.run(["nft", "-s", "list", "table", "ip", "calico"])).split("\n");
    }

    const MODES: readonly (readonly [ProxyMode, RegExp])[] = [
      ["nftables", /dataplane="nftables".*kube-proxy runs in nftables mode/],
      ["iptables-nft", /dataplane="iptables-nft".*kube-proxy runs in iptables mode/],
      ["iptables-legacy", /dataplane="iptables-legacy".*kube-proxy runs in iptables mode/],
    ];

    describe.each(MODES)("in mode %s", (mode, said) => {
      let before: string[];
      beforeAll(async () => {
        proxy = await KubeProxy.start(cluster, mode, SERVICE);
        before = (await proxy.rules()).sort();
        agent = Agent.start(cluster);
        await agent.ready();
      });
      afterAll(async () => {
        await agent.stop();
        await proxy.remove();
      });

      test("NFTablesMode=Auto follows it, and says so", () => {
        expect(agent.log()).toMatch(said);
      });

      test("without policy its Services work, from pods, from the node, from outside, and from the pod behind it", async () => {
        await connections(
          ["client", SERVICE, 80, address("client")],
          ["node", SERVICE, 80, address("node")],
          ["outside", address("node"), NODE_PORT, address("outside")],
          ["web", SERVICE, 80, address("node")],
        );
      });

      test("policy of the pod sees the backend's port, and who asks", async () => {
        const web = (...ingress: object[]) =>
          policy("web", { selector: "app == 'web'", types: ["Ingress"], ingress }, "shop");
        await cluster.applyCalico(web(allow({ selector: "app == 'client'" }, BACKEND_PORT)));
        await connections(
          ["other", SERVICE, 80, "silence"],
          ["client", SERVICE, 80, address("client")],
          ["outside", address("node"), NODE_PORT, "silence"],
        );
        await cluster.applyCalico(web(allow({ selector: "app == 'client'" }, 80)));
        await connections(["client", SERVICE, 80, "silence"]);
        await cluster.applyCalico(web(allow({ nets: [`${address("outside")}/32`] }, BACKEND_PORT)));
        await connections(
          ["outside", address("node"), NODE_PORT, address("outside")],
          ["client", SERVICE, 80, "silence"],
        );
        // The address that kube-proxy puts in comes after policy.
        await cluster.server.apply(service("Cluster"));
        await connections(["outside", address("node"), NODE_PORT, address("node")]);
        await cluster.applyCalico(web());
        await connections(["outside", address("node"), NODE_PORT, "silence"]);
        await remove("networkpolicy", "web", "shop");
        await connections(["outside", address("node"), NODE_PORT, address("node")]);
        await cluster.server.apply(service("Local"));
        await connections(["outside", address("node"), NODE_PORT, address("outside")]);
      });

      test("policy of who asks sees the backend too, by address and port, and as the Service", async () => {
        const client = (destination: object) =>
          policy(
            "client",
            {
              selector: "app == 'client'",
              types: ["Egress"],
              egress: [{ action: "Allow", protocol: "TCP", destination }],
            },
            "shop",
          );
        await cluster.applyCalico(client({ nets: [`${SERVICE}/32`] }));
        await connections(["client", SERVICE, 80, "silence"]);
        await cluster.applyCalico(client({ nets: [`${address("web")}/32`], ports: [BACKEND_PORT] }));
        await connections(["client", SERVICE, 80, address("client")]);
        const named = { egress: [{ action: "Allow", destination: { services: { name: "web", namespace: "shop" } } }] };
        await cluster.applyCalico(
          policy("client", { selector: "app == 'client'", types: ["Egress"], ...named }, "shop"),
        );
        await connections(["client", SERVICE, 80, address("client")]);
        await remove("networkpolicy", "client", "shop");
      });

      test("preDNAT policy of the node sees the NodePort, and not what is behind it", async () => {
        const early = (port: number) =>
          policy("early", {
            ...{ selector: "host-endpoint == 'yes'", preDNAT: true, applyOnForward: true, types: ["Ingress"] },
            ingress: [{ action: "Deny", protocol: "TCP", destination: { ports: [port] } }, { action: "Allow" }],
          });
        await cluster.applyCalico(
          {
            ...{ apiVersion: "projectcalico.org/v3", kind: "HostEndpoint" },
            metadata: { name: "uplink", labels: { "host-endpoint": "yes" } },
            spec: { node: cluster.node.name, interfaceName: "eth0", profiles: ["projectcalico-default-allow"] },
          },
          early(NODE_PORT),
        );
        await connections(
          ["outside", address("node"), NODE_PORT, "silence"],
          ["client", SERVICE, 80, address("client")],
        );
        await cluster.applyCalico(early(BACKEND_PORT));
        await connections(["outside", address("node"), NODE_PORT, address("outside")]);
        await remove("globalnetworkpolicy", "early");
        await remove("hostendpoint", "uplink");
        await connections(["outside", address("node"), NODE_PORT, address("outside")]);
      });

      test("what leaves the cluster gets the node's address", async () => {
        await connections(["client", address("outside"), 80, address("node")]);
      });

      test("neither touches the other's rules; marks do not overlap", async () => {
        expect((await proxy.rules()).sort()).toEqual(before);
        const own = await ours(mode);
        expect(own.length).toBeGreaterThan(20);
        const marks = own.flatMap((line) => {
          if (mode === "nftables")
            return [...line.matchAll(/mark set (?:meta |ct )?mark (?:\||or) (0x[0-9a-f]+)/g)].map(([, bits]) =>
              Number(bits),
            );
          return [...line.matchAll(/--(?:set-xmark|set-mark|or-mark) 0x[0-9a-f]+\/(0x[0-9a-f]+)/g)].map(([, mask]) =>
            Number(mask),
          );
        });
        expect(marks.length).toBeGreaterThan(0);
        expect(marks.filter((bits) => (bits & KUBE_MARKS) !== 0)).toEqual([]);
        await proxy.stop();
        proxy = await KubeProxy.start(cluster, mode, SERVICE);
        await connections(["client", SERVICE, 80, address("client")]);
        expect((await ours(mode)).filter((line) => !own.includes(line))).toEqual([]);
        expect(agent.said("somebody else changed")).toBe(0);
        await agent.crash();
        await agent.ready();
        expect((await proxy.rules()).sort()).toEqual(before);
      });
    });

    test("kube-proxy changes its mode under a running agent: that changes its dataplane, and nothing opens", async () => {
      await cluster.applyCalico(policy("closed", { selector: "app == 'web'", types: ["Ingress"] }, "shop"));
      const closed: Expected[] = [
        ["client", "web", 80, "deny"],
        ["outside", "web", 80, "deny"],
        ["client", "other", 80, "allow"],
      ];
      agent = Agent.start(cluster);
      await agent.ready();
      expect(agent.log()).toMatch(/dataplane="nftables".*no kube-proxy was found/);
      await expectPackets(places, closed, explain);
      for (const mode of ["iptables-nft", "nftables"] as const) {
        if (mode === "nftables") await proxy.stop();
        proxy = await KubeProxy.start(cluster, mode, SERVICE);
        const inForce = agent.said("policy is in force");
        const deadline = performance.now() + 60_000;
        while (agent.said("policy is in force") === inForce) {
          expect(performance.now(), agent.log()).toBeLessThan(deadline);
          await expectPackets(places, closed, explain, 0);
        }
        expect(agent.log().trimEnd().split("policy is enforced by").at(-1)).toContain(`dataplane="${mode}"`);
        await expectPackets(places, closed, explain, 0);
        await agent.ready();
        // What the choice before left is removed once the new one enforces.
        await until("the other dataplane's rules are gone", async () => {
          const tables = await cluster.node.run(["nft", "list", "tables"]);
          const legacy = (await saved(cluster.node, "iptables-nft")).some((line) => line.includes("cali"));
          return tables.includes("table ip calico") === (mode === "nftables") && legacy === (mode !== "nftables");
        });
        await connections(["client", SERVICE, 80, "silence"]);
      }
      await remove("networkpolicy", "closed", "shop");
      await connections(["client", SERVICE, 80, address("client")]);
    });
  },
  apiServerMissing() ?? kubeProxyMissing() ?? missingBuild(),
);
