/** From what a user applies to what BIRD reads: calicoctl, the datastore, the configuration and the text, and BIRD's own parsers at the end. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, afterEach, beforeEach, describe, expect, test } from "vitest";
import { BlockAffinity, newBlockAffinity } from "../../lib/api/blockaffinity.ts";
import { EndpointSlice, Secret, Service } from "../../lib/api/kubernetes/index.ts";
import { BIRD1_FILES } from "../../lib/bgp/bird/index.ts";
import { findBird } from "../../lib/bgp/bird/testing.ts";
import { memoryIo } from "../../lib/cli/testing.ts";
import { type Client, openClient } from "../../lib/datastore/index.ts";
import { main as calicoctl } from "../calicoctl/main.ts";
import { main as calicoNode } from "./main.ts";

const folder = mkdtempSync(join(tmpdir(), "bird-config-test-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let number = 0;
let env: Record<string, string>;
let client: Client;
beforeEach(async () => {
  const file = join(folder, `${number++}.db`);
  env = { DATASTORE_TYPE: "sqlite", DATASTORE_FILE: file, NODENAME: "a" };
  client = await openClient({ type: "sqlite", file });
});
afterEach(() => client.close());

const resource = (kind: string, name: string, spec: object, labels: object = {}): object => ({
  apiVersion: "projectcalico.org/v3",
  kind,
  metadata: { name, labels },
  spec,
});
const node = (name: string, last: number, bgp: object = {}, labels: object = {}): object =>
  resource(
    "Node",
    name,
    { bgp: { ipv4Address: `10.0.0.${last}/24`, ipv6Address: `fd00::${last}/64`, ...bgp } },
    labels,
  );

async function apply(...resources: readonly object[]): Promise<void> {
  const io = memoryIo({ stdin: JSON.stringify({ apiVersion: "v1", kind: "List", items: resources }) });
  expect(await calicoctl(["apply", "-f", "-"], env, io), io.err()).toBe(0);
}

interface Written {
  readonly files: Readonly<Record<string, string>>;
  readonly out: string;
  readonly err: string;
}

async function write(style: "bird1" | "bird2" = "bird1"): Promise<Written> {
  const out = join(folder, `${number++}-${style}`);
  const io = memoryIo();
  const status = await calicoNode(["bird-config", "--style", style, "--once", "--out", out], env, io);
  expect(status, io.err()).toBe(0);
  const files = Object.fromEntries(readdirSync(out).map((name) => [name, readFileSync(join(out, name), "utf8")]));
  return { files, out, err: io.err() };
}

/** What of a file counts: neither comments nor blank lines nor indentation. */
const lines = (text = ""): string[] =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && !line.startsWith("#"));

/** From the line that begins so to the brace in column 0 that ends it. */
function block(text: string, begin: string): string[] {
  const from = text.split("\n").findIndex((line) => line.startsWith(begin));
  if (from < 0) return [];
  const rest = text.split("\n").slice(from);
  return lines(rest.slice(0, rest.indexOf("}") + 1).join("\n"));
}

/** BIRD's own opinion. */
function expectParsed({ out }: Written, style: "bird1" | "bird2"): void {
  const parsers =
    style === "bird2"
      ? [["2", "bird.cfg"] as const]
      : [["1.6", "bird.cfg"] as const, ["1.6 for IPv6", "bird6.cfg"] as const];
  for (const [version, file] of parsers) {
    const bird = findBird(version);
    if (!bird) continue;
    const program = bird.includes("/") ? resolve(bird) : bird;
    const run = spawnSync(program, ["-p", "-c", file], { cwd: out, encoding: "utf8" });
    expect(run.stdout + run.stderr, `BIRD ${version}`).toBe("");
  }
}

async function everyStyle(): Promise<{ readonly one: Written; readonly two: Written }> {
  const [one, two] = [await write("bird1"), await write("bird2")];
  expectParsed(one, "bird1");
  expectParsed(two, "bird2");
  return { one, two };
}

if (!findBird("1.6") || !findBird("1.6 for IPv6") || !findBird("2")) {
  test.skip("what is written is parsed [not every BIRD of 1.6 and 2 is here]", () => {});
}

describe("calico-node bird-config", () => {
  test("a mesh: the higher address is waited for, blocks are told as a whole", async () => {
    await apply(node("a", 1), node("b", 2), resource("IPPool", "p", { cidr: "10.65.0.0/16", natOutgoing: true }));
    await client.create(
      BlockAffinity,
      newBlockAffinity({ type: "host", node: "a", cidr: "10.65.1.0/26", state: "confirmed" }),
    );
    await client.create(
      BlockAffinity,
      newBlockAffinity({ type: "host", node: "b", cidr: "10.65.2.0/26", state: "confirmed" }),
    );
    const { one } = await everyStyle();
    expect(Object.keys(one.files).sort()).toEqual([...BIRD1_FILES].sort());
    expect(block(one.files["bird.cfg"]!, "protocol bgp Mesh_10_0_0_2")).toEqual([
      "protocol bgp Mesh_10_0_0_2 from bgp_template {",
      "neighbor 10.0.0.2 as 64512;",
      "source address 10.0.0.1;",
      "ttl security off;",
      "multihop;",
      "import filter {",
      "if (defined(bgp_local_pref)&&(bgp_local_pref > 2147482623)) then",
      "preference = 200;",
      "accept;",
      "};",
      "export filter {",
      "if (defined(source) && source = RTS_BGP && defined(bgp_local_pref)) then {",
      "krt_metric = 2147483647 - bgp_local_pref;",
      "} else {",
      "if (!defined(krt_metric)) then { krt_metric = 1024; }",
      "bgp_local_pref = 2147483647 - krt_metric;",
      "}",
      "calico_export_to_bgp_peers(true);",
      "reject;",
      "};",
      "passive on;",
      "}",
    ]);
    expect(block(one.files["bird_aggr.cfg"]!, "template static")).toEqual([
      "template static static_template {",
      "route 10.65.1.0/26 blackhole;",
      "}",
    ]);
    env.NODENAME = "b";
    const { one: other } = await everyStyle();
    expect(block(other.files["bird.cfg"]!, "protocol bgp Mesh_10_0_0_1")).not.toContain("passive on;");
    expect(block(other.files["bird6.cfg"]!, "protocol bgp Mesh_fd00__1")).toContain("neighbor fd00::1 as 64512;");
    expect(other.files["bird_aggr.cfg"]).toContain("route 10.65.2.0/26 blackhole;");
  });

  test("racks: a router for the nodes of one rack, with an AS of theirs, a filter, a password and no mesh", async () => {
    await apply(
      node("a", 1, { asNumber: 65001 }, { rack: "1" }),
      node("b", 2, { asNumber: 65002 }, { rack: "2" }),
      resource("BGPConfiguration", "default", { nodeToNodeMeshEnabled: false, asNumber: 64512 }),
      resource("BGPFilter", "no-default", {
        importV4: [{ action: "Reject", matchOperator: "Equal", cidr: "0.0.0.0/0" }],
        exportV4: [{ action: "Accept", operations: [{ prependASPath: { prefix: [65001, 65001] } }] }],
      }),
      resource("BGPPeer", "tor", {
        nodeSelector: "rack == '1'",
        peerIP: "10.0.0.254:1790",
        asNumber: 65100,
        filters: ["no-default"],
        password: { secretKeyRef: { name: "tor", key: "md5" } },
        ttlSecurity: 1,
        nextHopMode: "Self",
        maxRestartTime: "5m",
      }),
    );
    const secret = { name: "tor", namespace: "kube-system" };
    await client.create(Secret, { apiVersion: "v1", kind: "Secret", metadata: secret, data: { md5: btoa("rosebud") } });
    const { one } = await everyStyle();
    const { files, out } = one;
    const session = block(files["bird.cfg"]!, "protocol bgp Node_10_0_0_254_port_1790");
    for (const line of [
      "neighbor 10.0.0.254 port 1790 as 65100;",
      "ttl security on;",
      'password "rosebud";',
      "graceful restart time 300;",
      "'bgp_no-default_importFilterV4'();",
      "'bgp_no-default_exportFilterV4'();",
      "next hop self;",
    ])
      expect(session).toContain(line);
    expect(lines(files["bird.cfg"])).toContain("local as 65001;");
    expect(files["bird.cfg"]).not.toContain("Mesh_");
    expect(statSync(join(out, "bird.cfg")).mode & 0o777, "a password is in it").toBe(0o600);
    env.NODENAME = "b";
    const { one: other } = await everyStyle();
    expect(other.files["bird.cfg"]).not.toContain("protocol bgp ");
  });

  test("a reflector leaves the mesh, and reflects for those that peer with it", async () => {
    const cluster = { routeReflectorClusterID: "244.0.0.1" };
    await apply(
      node("a", 1, cluster, { rr: "yes" }),
      node("b", 2),
      node("c", 3),
      resource("BGPPeer", "rr", { nodeSelector: "all()", peerSelector: "rr == 'yes'" }),
    );
    const { one } = await everyStyle();
    expect(one.files["bird.cfg"]).not.toContain("Mesh_");
    for (const client of ["Node_10_0_0_2", "Node_10_0_0_3"]) {
      const session = block(one.files["bird.cfg"]!, `protocol bgp ${client}`);
      expect(session).toContain("rr client;");
      expect(session).toContain("rr cluster id 244.0.0.1;");
    }
    env.NODENAME = "b";
    const { one: other } = await everyStyle();
    const names = [...other.files["bird.cfg"]!.matchAll(/^protocol bgp (\S+)/gm)].map(([, name]) => name);
    expect(names.sort()).toEqual(["Mesh_10_0_0_3", "Node_10_0_0_1"]);
  });

  test("service addresses: the range by every node, those of Local services by nodes with an endpoint", async () => {
    await apply(
      node("a", 1),
      node("b", 2),
      resource("BGPConfiguration", "default", {
        serviceClusterIPs: [{ cidr: "10.96.0.0/12" }],
        serviceExternalIPs: [{ cidr: "80.0.0.0/24" }],
      }),
    );
    const metadata = { name: "web", namespace: "shop" };
    await client.create(Service, {
      apiVersion: "v1",
      kind: "Service",
      metadata,
      spec: {
        type: "NodePort",
        externalTrafficPolicy: "Local",
        clusterIP: "10.96.7.7",
        externalIPs: ["80.0.0.7"],
        ports: [{ port: 80 }],
      },
    } as Service);
    await client.create(EndpointSlice, {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: { ...metadata, labels: { "kubernetes.io/service-name": "web" } },
      addressType: "IPv4",
      endpoints: [{ addresses: ["10.65.1.7"], nodeName: "a", conditions: { ready: true } }],
    } as EndpointSlice);
    const statics = ({ one }: { one: Written }) => block(one.files["bird_aggr.cfg"]!, "template static").slice(1, -1);
    const shared = ["route 10.96.0.0/12 blackhole;", "route 80.0.0.0/24 blackhole;"];
    const own = ["route 10.96.7.7/32 blackhole;", "route 80.0.0.7/32 blackhole;"];
    expect(statics(await everyStyle()).sort()).toEqual([...shared, ...own].sort());
    env.NODENAME = "b";
    expect(statics(await everyStyle()).sort()).toEqual(shared.sort());
  });

  test("a node that nobody knows has no sessions, and it is said", async () => {
    await apply(node("b", 2));
    const { one } = await everyStyle();
    expect(one.err).toMatch(/Node a/);
    expect(one.files["bird.cfg"]).not.toContain("protocol bgp ");
  });

  test("what is wrong in the datastore is told, and all else is as it would be without", async () => {
    await apply(node("a", 1), node("b", 2));
    const good = await write();
    await apply(resource("BGPPeer", "gone", { peerIP: "10.0.0.9" }));
    const { one } = await everyStyle();
    expect(one.err).toContain("BGPPeer gone");
    expect(one.files["bird.cfg"]).toBe(good.files["bird.cfg"]);
  });
});
