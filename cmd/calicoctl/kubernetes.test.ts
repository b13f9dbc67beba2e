import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, test } from "vitest";
import { memoryIo } from "../../lib/cli/testing.ts";
import { main } from "./main.ts";

/** Kubernetes' own objects in the embedded datastore, as people apply and see them. */
const folder = mkdtempSync(join(tmpdir(), "calicoctl-kubernetes-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let number = 0;
let config: string;
beforeEach(() => {
  config = join(folder, `${++number}.cfg`);
  const spec = `spec: {datastoreType: sqlite, datastoreFile: ${join(folder, `${number}.db`)}}\n`;
  writeFileSync(config, `apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata:\n${spec}`);
});

async function ctl(argv: string, stdin?: string): Promise<{ status: number; out: string; err: string }> {
  const io = memoryIo(stdin === undefined ? {} : { stdin });
  const status = await main([...argv.split(" "), "-c", config], {}, io);
  expect(io.err()).not.toContain("    at ");
  return { status, out: io.out(), err: io.err() };
}

const done = (out: string) => ({ status: 0, out, err: "" });
const failed = (err: string) => ({ status: 1, out: "", err });

const FILE = `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: x}}
---
apiVersion: v1
kind: List
items:
- apiVersion: v1
  kind: ServiceAccount
  metadata: {name: web, namespace: shop, labels: {role: front}}
  automountServiceAccountToken: false
- apiVersion: v1
  kind: Service
  metadata: {name: web, namespace: shop}
  spec:
    selector: {app: web}
    clusterIP: 10.96.0.7
    ports: [{name: http, port: 80, targetPort: 8080, nodePort: 30080}, {name: dns, port: 53, protocol: UDP}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.65.0.1]}, {addresses: [10.65.0.2]}]
ports: [{name: http, port: 8080}]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: allow-web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}, matchExpressions: [{key: tier, operator: NotIn, values: [a, b]}]}
  ingress: [{from: [{namespaceSelector: {}}]}]
---
apiVersion: projectcalico.org/v3
kind: NetworkPolicy
metadata: {name: allow-web, namespace: shop}
spec: {selector: all()}
---
apiVersion: policy.networking.k8s.io/v1alpha2
kind: ClusterNetworkPolicy
metadata: {name: no-metadata}
spec:
  tier: Admin
  priority: 5
  subject: {namespaces: {}}
  egress: [{action: Deny, to: [{networks: [169.254.169.254/32]}]}]
---
apiVersion: v1
kind: Secret
metadata: {name: bgp, namespace: shop}
stringData: {password: hunter2}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop}
spec: {nodeName: n1, containers: [{name: web, image: nginx}]}
status: {phase: Running, podIP: 10.65.0.1}
`;

test("one file of them is applied, shown and deleted", async () => {
  expect(await ctl("create -f -", FILE)).toEqual(done("Successfully created 9 resource(s)\n"));
  expect(await ctl("apply -f -", FILE)).toEqual(done("Successfully applied 9 resource(s)\n"));
  const tables = [
    [
      "get ns -o wide",
      "NAME   LABELS                                    \nshop   kubernetes.io/metadata.name=shop,team=x   \n\n",
    ],
    ["get sa -n shop", "NAMESPACE   NAME   \nshop        web    \n\n"],
    [
      "get svc -n shop -o wide",
      "NAMESPACE   NAME   TYPE        CLUSTER-IP   EXTERNAL-IP   PORT(S)               SELECTOR   \n" +
        "shop        web    ClusterIP   10.96.0.7    <none>        80:30080/TCP,53/UDP   app=web    \n\n",
    ],
    [
      "get endpointslices -A",
      "NAMESPACE   NAME    ADDRESSTYPE   PORTS   ENDPOINTS             \n" +
        "shop        web-1   IPv4          8080    10.65.0.1,10.65.0.2   \n\n",
    ],
    [
      "get knp -n shop",
      "NAMESPACE   NAME        POD-SELECTOR                   \n" +
        "shop        allow-web   app=web,tier notin (a,b)       \n\n",
    ],
    ["get cnp", "NAME          TIER    PRIORITY   \nno-metadata   Admin   5          \n\n"],
    ["get secrets -n shop", "NAMESPACE   NAME   TYPE     DATA   \nshop        bgp    Opaque   1      \n\n"],
    [
      "get pods -n shop -o wide",
      "NAMESPACE   NAME    STATUS    IP          NODE   \nshop        web-1   Running   10.65.0.1   n1     \n\n",
    ],
  ] as const;
  for (const [command, table] of tables) {
    const squeezed = (text: string) => text.replaceAll(/ +/g, " ");
    const outcome = await ctl(command);
    expect({ ...outcome, out: squeezed(outcome.out) }, command).toEqual(done(squeezed(table)));
  }
  expect(await ctl("delete -f -", FILE)).toEqual(done("Successfully deleted 9 resource(s)\n"));
  expect((await ctl("get ns")).out).toBe("NAME   \n\n");
});

test("the two kinds called NetworkPolicy do not meet", async () => {
  await ctl("apply -f -", FILE);
  const own = await ctl("get networkpolicy -n shop -o json");
  expect(JSON.parse(own.out)).toMatchObject({ apiVersion: "projectcalico.org/v3", kind: "NetworkPolicyList" });
  const theirs = await ctl("get networkpolicies.networking.k8s.io -n shop -o json");
  const list = JSON.parse(theirs.out);
  expect(list).toMatchObject({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicyList" });
  expect(list.items).toHaveLength(1);
  expect(await ctl("delete k8snetworkpolicy allow-web -n shop")).toEqual(
    done("Successfully deleted 1 'NetworkPolicy' resource(s)\n"),
  );
  expect((await ctl("get knp allow-web -n shop")).err).toBe(
    "resource does not exist: NetworkPolicy.networking.k8s.io(shop/allow-web)\n",
  );
  expect((await ctl("get networkpolicies -n shop -o json")).out).toContain("all()");
  expect(await ctl("apply -f -", theirs.out)).toEqual(done("Successfully applied 1 'NetworkPolicy' resource(s)\n"));
  expect((await ctl("get knp allow-web -n shop")).status).toBe(0);
});

test("what is printed is what was given, with fields nobody knows, and can be fed back", async () => {
  const given = {
    kind: "ServiceAccount",
    apiVersion: "v1",
    metadata: { name: "sa", namespace: "shop", finalizers: ["example.com/x"] },
    secrets: [{ name: "a", future: { x: [1, null] } }],
    automountServiceAccountToken: true,
    later: "on",
  };
  await ctl("apply -f -", JSON.stringify(given));
  for (const format of ["json", "yaml"]) {
    const { out } = await ctl(`get sa sa -n shop -o ${format}`);
    expect(await ctl("apply -f -", out)).toEqual(done("Successfully applied 1 'ServiceAccount' resource(s)\n"));
  }
  const shown = JSON.parse((await ctl("get sa sa -n shop -o json")).out);
  const { uid, creationTimestamp, resourceVersion, ...metadata } = shown.metadata;
  expect({ ...shown, metadata }).toEqual(given);
  expect([uid, creationTimestamp, resourceVersion]).not.toContain(undefined);
  const changed = { ...given, metadata: { name: "sa", namespace: "shop" } };
  await ctl("apply -f -", JSON.stringify(changed));
  const after = JSON.parse((await ctl("get sa sa -n shop -o json")).out);
  expect(after.metadata).toMatchObject({ uid, creationTimestamp });
  expect(after.metadata.finalizers).toBeUndefined();
});

test("secrets are printed as kubectl does, and kept out of tables and messages", async () => {
  const secret = (rest: string) => `{apiVersion: v1, kind: Secret, metadata: {name: s}, ${rest}}`;
  for (const rest of ["data: {p: hunter2}", "stringData: {p: [hunter2]}", "data: hunter2"]) {
    const { status, out, err } = await ctl("apply -f -", secret(rest));
    expect(status).toBe(1);
    expect(out + err).not.toContain("hunter2");
  }
  expect(await ctl("apply -f -", secret("data: {p: hunter2}"))).toEqual(
    failed(
      'failed to apply \'Secret\' resource: standard input: document 1 (Secret "s"): data["p"]: must be base64; put a text under stringData instead\n',
    ),
  );
  await ctl("apply -f -", secret("stringData: {p: hunter2}"));
  expect((await ctl("get secret s -o wide")).out).toBe("NAME   TYPE     DATA   \ns      Opaque   1      \n\n");
  const { out } = await ctl("get secret s -o yaml");
  expect(out).toMatch(
    /^apiVersion: v1\ndata:\n {2}p: aHVudGVyMg==\nkind: Secret\nmetadata:\n(?: .*\n)+type: Opaque\n$/,
  );
  expect(out).not.toContain("stringData");
  expect((await ctl("apply -f -", secret("type: a/b"))).err).toContain('type: "a/b": cannot change from Opaque');
});

test("profiles are made of namespaces and service accounts, and say so when they are written", async () => {
  await ctl("apply -f -", FILE);
  expect((await ctl("get profiles -o custom-columns=NAME")).out).toBe(
    "NAME                          \nkns.shop                      \nksa.shop.web                  \nprojectcalico-default-allow   \n\n",
  );
  const { out } = await ctl("get profile kns.shop -o yaml");
  expect(out).toContain("pcns.team: x\n");
  expect((await ctl("apply -f -", out)).err).toBe(
    "failed to apply 'Profile' resource: standard input: document 1 (Profile \"kns.shop\"): Profile kns.shop is made of the Namespace shop: update that instead\n",
  );
  expect((await ctl("delete profile ksa.shop.web")).err).toBe(
    "Failed to delete 'Profile' resource: Profile ksa.shop.web is made of the ServiceAccount shop/web: delete that instead\n",
  );
});

test("kinds that nobody knows are named with those there are", async () => {
  expect((await ctl("get serivce")).err).toContain('did you mean "service"');
  expect((await ctl("get deployments")).err).toContain("k8snetworkpolicy");
  const help = (await ctl("get --help")).out;
  expect(help).toContain("  k8snetworkpolicy (k8snetworkpolicies, knp)\n");
  expect(help).toContain("  networkpolicy (policy, np, policies, pol, pols)\n");
});
