import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { memoryIo } from "../../lib/cli/testing.ts";
import type { Explanation } from "../../lib/explain/index.ts";
import { main } from "./main.ts";

const folder = mkdtempSync(join(tmpdir(), "calicoctl-explain-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function ctl(...argv: string[]): Promise<{ status: number; out: string; err: string }> {
  const io = memoryIo();
  const status = await main(argv, {}, io);
  expect(io.err()).not.toContain("    at ");
  return { status, out: io.out(), err: io.err() };
}

const CLUSTER = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: sales}}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: robot, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, labels: {app: web}}
spec: {nodeName: node-a, serviceAccountName: robot, containers: [{name: c}]}
status: {podIP: 10.65.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: db, namespace: shop, labels: {app: db}}
spec: {nodeName: node-b, containers: [{name: c, ports: [{name: pg, containerPort: 5432}]}]}
status: {podIP: 10.65.1.2}
---
apiVersion: v1
kind: Pod
metadata: {name: planned, labels: {app: web}}
spec: {containers: [{name: c}]}
`;
const KUBERNETES_POLICY = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: db, namespace: shop}
spec:
  podSelector: {matchLabels: {app: db}}
  policyTypes: [Ingress]
  ingress:
  - from: [{podSelector: {matchLabels: {app: web}}}]
    ports: [{protocol: TCP, port: pg}]
`;
const CALICO_POLICY = `
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: gate, namespace: shop}
spec:
  order: 1
  selector: app == 'db'
  ingress:
  - {action: Allow, protocol: TCP, source: {serviceAccounts: {names: [robot]}}, http: {methods: [GET]}}
`;
const CLUSTER_POLICY = `
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: no-egress}
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {}}
  egress:
  - {action: Deny, to: [{networks: [203.0.113.0/24]}]}
`;
const SLICE = `
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: db-1, namespace: shop, labels: {kubernetes.io/service-name: db}}
addressType: IPv4
endpoints: [{addresses: [10.65.1.2]}]
ports: [{port: 5432, protocol: TCP}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: only-db, namespace: shop}
spec: {selector: app == 'web', types: [Egress], egress: [{action: Allow, destination: {services: {name: db}}}]}
`;

function files(name: string, ...texts: string[]): string {
  const path = join(folder, name);
  mkdirSync(path, { recursive: true });
  for (const [i, text] of texts.entries()) writeFileSync(join(path, `${i}.yaml`), text);
  return path;
}

async function verdict(path: string, ...argv: string[]): Promise<string> {
  const { out, status, err } = await ctl("explain", ...argv, "-f", path, "-o", "json");
  expect([status, err]).toEqual([0, ""]);
  const { verdict, steps } = JSON.parse(out) as Explanation;
  return `${verdict}: ${steps.at(-1)?.decision.words}`;
}

describe("calicoctl explain, of files", () => {
  test("Kubernetes' own kinds", async () => {
    const path = files("kubernetes", CLUSTER, KUBERNETES_POLICY, CLUSTER_POLICY);
    expect(await verdict(path, "shop/web", "shop/db", "--port", "5432")).toBe(
      "allow: Kubernetes NetworkPolicy shop/db, ingress[0]",
    );
    expect(await verdict(path, "shop/web", "shop/db", "--port", "80")).toBe(
      "deny: the default action of tier default, as no rule matched",
    );
    expect(await verdict(path, "web", "203.0.113.7", "--protocol", "ICMP")).toBe(
      "deny: ClusterNetworkPolicy no-egress, egress[0]",
    );
    expect(await verdict(path, "web", "198.51.100.7")).toBe("allow: profile kns.shop, egress[0]");
  });

  test("FelixConfiguration says what becomes of what a pod sends to its own host: the node's, a selected one, the default", async () => {
    const hosts = `
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node-a, labels: {pool: edge}}
spec: {bgp: {ipv4Address: 192.0.2.11/24}}
`;
    const felix = (name: string, spec: string) => `
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: ${name}}
spec: {${spec}}
`;
    const fallback = felix("default", "defaultEndpointToHostAction: Accept");
    const selected = felix("edge", "nodeSelector: pool == 'edge', defaultEndpointToHostAction: Return");
    const own = felix("node.node-a", "defaultEndpointToHostAction: Drop");
    const say = (name: string, ...more: string[]) =>
      verdict(files(name, CLUSTER, hosts, ...more), "shop/web", "192.0.2.11");
    const action = "DefaultEndpointToHostAction";
    expect(await say("felix-none")).toBe(`deny: ${action} DROP (the default; FelixConfiguration may say otherwise)`);
    expect(await say("felix-default", fallback)).toBe(`allow: ${action} ACCEPT`);
    expect(await say("felix-selected", fallback, selected)).toBe(`allow: ${action} RETURN`);
    expect(await say("felix-own", fallback, selected, own)).toBe(`deny: ${action} DROP`);
    expect(await say("felix-other", felix("node.node-b", "defaultEndpointToHostAction: Accept"))).toMatch(/^deny/);
  });

  test("EndpointSlices, and several -f", async () => {
    const [one, two] = [files("one", CLUSTER), files("two", SLICE)];
    const { out } = await ctl("explain", "web", "db", "--port", "5432", "-f", one, "-f", two);
    expect(out).toContain("Egress from shop/web (on node-a): ALLOWED by NetworkPolicy shop/only-db, egress[0]");
    const other = await ctl("explain", "web", "db", "--port", "80", "-f", one, "-f", two);
    expect(other.out).toContain("no: destination 10.65.1.2 port 80/tcp is not behind the service db");
  });

  test("warns of http clauses, and of what was assumed about who is asked for", async () => {
    const path = files("warnings", CLUSTER, CALICO_POLICY);
    expect((await ctl("explain", "web", "db", "-f", path)).out).toMatch(
      /Warnings\n {2}! NetworkPolicy shop\/gate, ingress\[0\] has an http clause.*\n$/,
    );
    const { out } = await ctl("explain", "planned", "db", "-f", path);
    expect(out).toContain("! Pod default/planned has no address in the files: 198.18.0.");
    expect(out).toContain("! there is no Namespace default in the files");
  });

  test("--expect makes the exit status the answer", async () => {
    const path = files("expect", CLUSTER, KUBERNETES_POLICY);
    const ask = ["explain", "web", "db", "--port", "5432", "-f", path];
    expect((await ctl(...ask)).status).toBe(0);
    expect((await ctl(...ask, "--expect", "allow")).status).toBe(0);
    expect(await ctl(...ask, "--expect", "deny")).toMatchObject({
      status: 1,
      err: "expected deny, but the answer is allow\n",
    });
  });

  test.each([
    [["web"], "say from where to where: SOURCE DESTINATION"],
    [["web", "db", "--protocol", "XYZ"], "'XYZ' is no protocol"],
    [["web", "db", "--port", "0"], "--port must be a number from 1 to 65535, not '0'"],
    [["web", "db", "--protocol", "ICMP", "--port", "8"], "ICMP has no ports"],
    [["web", "db", "--protocol", "47", "--source-port", "8"], "47 has no ports"],
    [["web", "db", "--protocol", "ICMPv6", "--ip-version", "4"], "ICMPv6 is of IPv6"],
    [["web", "db", "--protocol", "ICMPv6"], "the two ends need addresses of IPv6"],
    [["web", "db", "-o", "xml"], "unrecognized output format 'xml'"],
    [["web", "db", "--expect", "maybe"], "--expect must be allow or deny, not 'maybe'"],
    [["web", "nobody"], "there is no endpoint or address nobody"],
  ])("%j is refused", async (argv, message) => {
    const { status, err, out } = await ctl("explain", ...argv, "-f", files("refused", CLUSTER));
    expect([status, out]).toEqual([1, ""]);
    expect(err).toContain(message);
  });
});

describe("calicoctl explain, of a datastore", () => {
  const config = join(folder, "calicoctl.cfg");
  const path = join(folder, "datastore.db");
  writeFileSync(
    config,
    `apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\nspec:\n  datastoreType: sqlite\n  datastoreFile: ${path}\n`,
  );

  const endpoint = (pod: string, address: string) => `
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata:
  namespace: shop
  labels: {app: ${pod}, projectcalico.org/namespace: shop, projectcalico.org/orchestrator: k8s}
spec:
  {node: node-a, orchestrator: k8s, pod: ${pod}, endpoint: eth0, containerID: c, serviceAccountName: robot,
   interfaceName: cali${pod}, ipNetworks: [${address}/32], profiles: [kns.shop, ksa.shop.robot]}
`;

  test("the same answer; and who applies an http clause is told that it is not enforced", async () => {
    const namespaces = CLUSTER.split("---").slice(0, 2).join("---");
    const source = files(
      "datastore",
      namespaces,
      endpoint("web", "10.65.0.2"),
      endpoint("db", "10.65.0.3"),
      CALICO_POLICY,
    );
    const applied = await ctl("apply", "-f", source, "-c", config);
    expect(applied).toEqual({
      status: 0,
      out: "Successfully applied 5 resource(s)\n",
      err: "Warning: NetworkPolicy shop/gate: spec.ingress[0].http is not enforced in the kernel: the rest of the rule decides, whatever the HTTP request\n",
    });
    const { out, status, err } = await ctl("explain", "shop/web", "shop/db", "-c", config, "-o", "json");
    expect([status, err]).toEqual([0, ""]);
    const { verdict, steps } = JSON.parse(out) as Explanation;
    expect([verdict, steps.at(-1)?.decision.words]).toEqual(["allow", "NetworkPolicy shop/gate, ingress[0]"]);

    const more = `
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: node-a}
spec: {bgp: {ipv4Address: 192.0.2.11/24}}
---
apiVersion: projectcalico.org/v3
kind: FelixConfiguration
metadata: {name: default}
spec: {defaultEndpointToHostAction: Accept}
`;
    expect((await ctl("apply", "-f", files("datastore-more", more), "-c", config)).status).toBe(0);
    expect((await ctl("explain", "shop/web", "192.0.2.11", "-c", config)).out).toContain(
      "From shop/web to its host (on node-a): ALLOWED by DefaultEndpointToHostAction ACCEPT\n",
    );
  });
});
