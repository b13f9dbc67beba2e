import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { CniVerb, Pod } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Cluster, createCluster, interfaces, kubernetesArgs } from "./cluster.ts";
import { expectNothingLeft } from "./expect.ts";
import { remains } from "./records.ts";
import { errorFaults } from "./result.ts";

const RUNS = 250;
const VERBS: readonly CniVerb[] = ["ADD", "DEL", "CHECK", "GC", "STATUS"];

/** Every key that means something to the plugin, so that mutations hit more than the unknown ones, which are ignored. */
const BASE = {
  cniVersion: "1.1.0",
  name: "calico-net",
  type: "calico",
  mtu: 1400,
  num_queues: 1,
  nodename: "node1",
  nodename_file: "/var/lib/calico/nodename",
  nodename_file_optional: false,
  ipam_lock_file: "/run/calico/ipam.lock",
  log_level: "info",
  log_file_path: "/var/log/calico/cni/cni.log",
  log_file_max_size: 100,
  include_default_routes: false,
  container_settings: { allow_ip_forwarding: false },
  feature_control: { floating_ips: false, ip_addrs_no_ipam: false },
  device_type: "veth",
  policy: { type: "k8s" },
  runtimeConfig: { dns: { servers: ["10.0.0.10"], searches: ["a.b"] } },
  args: { "org.apache.mesos": { network_info: { labels: { labels: [{ key: "a", value: "b" }] } } } },
  endpoint_status_dir: "/run/calico/endpoint-status",
  "cni.dev/valid-attachments": [{ containerID: "abc", ifname: "eth0" }],
  prevResult: {
    cniVersion: "1.1.0",
    interfaces: [{ name: "cali0" }, { name: "eth0", mac: "02:00:00:00:00:01", sandbox: "/run/netns/mutant" }],
    ips: [{ address: "10.65.0.1/32", interface: 1 }],
    routes: [],
  },
};
const IPAM = { type: "calico-ipam", assign_ipv4: "true", assign_ipv6: "false", ipv4_pools: ["pool4"], subnet: "" };

const weird = fc.oneof(
  fc.constantFrom<unknown>(
    null,
    true,
    false,
    0,
    -1,
    1.5,
    2 ** 53,
    "",
    " ",
    "a/b",
    "../..",
    "\u0000",
    "é",
    "0",
    [],
    {},
    [[]],
    [null],
    { a: { b: {} } },
  ),
  fc.string({ maxLength: 300 }),
  fc.integer(),
  fc.json({ maxDepth: 2 }).map((text) => JSON.parse(text) as unknown),
);

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** Paths of all values in a document, the root's own excepted. */
function paths(value: Json, prefix: readonly (string | number)[] = []): (string | number)[][] {
  if (typeof value !== "object" || value === null) return [];
  return (Array.isArray(value) ? value.map((item, index) => [index, item] as const) : Object.entries(value)).flatMap(
    ([key, item]) => [[...prefix, key], ...paths(item, [...prefix, key])],
  );
}

function mutate(document: Json, path: readonly (string | number)[], replacement: unknown): void {
  let at = document as Record<string | number, Json>;
  for (const key of path.slice(0, -1)) {
    const next = at[key];
    if (typeof next !== "object" || next === null) return;
    at = next as Record<string | number, Json>;
  }
  const last = path.at(-1)!;
  if (replacement === undefined) delete at[last];
  else at[last] = replacement as Json;
}

describeLab("mutated configurations", () => {
  let cluster: Cluster;
  let pod: Pod;
  beforeAll(async () => {
    cluster = await createCluster();
    pod = await cluster.nodes[0]!.pod("mutant");
  });
  afterAll(() => cluster?.dispose());

  const document = fc.record({
    picks: fc.array(
      fc.tuple(fc.nat(), fc.oneof({ arbitrary: weird, weight: 4 }, { arbitrary: fc.constant(undefined), weight: 1 })),
      { minLength: 0, maxLength: 3 },
    ),
    // Sometimes the text itself is hurt: cut short, or a byte changed.
    wound: fc.option(fc.record({ at: fc.nat(), by: fc.constantFrom("", "\0", '"', "}", "[", ",", "\\", "\ud800") }), {
      freq: 6,
      nil: undefined,
    }),
    verb: fc.constantFrom(...VERBS),
    environment: fc.option(
      fc.tuple(
        fc.constantFrom("CNI_ARGS", "CNI_IFNAME", "CNI_CONTAINERID", "CNI_NETNS", "CNI_PATH", "CNI_COMMAND"),
        fc.string({ maxLength: 40 }).map((text) => text.replaceAll("\0", "")),
      ),
      { freq: 5, nil: undefined },
    ),
  });

  test(`${RUNS} of them never crash it and never leave anything`, async () => {
    const nothing = remains(await cluster.records());
    const args = kubernetesArgs(pod);
    await fc.assert(
      fc.asyncProperty(document, async ({ picks, wound, verb, environment }) => {
        const mutant = structuredClone({ ...BASE, ...cluster.keys, ipam: IPAM }) as unknown as Json;
        const all = paths(mutant);
        for (const [pick, replacement] of picks) mutate(mutant, all[pick % all.length]!, replacement);
        let text = JSON.stringify(mutant);
        if (wound) {
          const at = wound.at % text.length;
          text = text.slice(0, at) + wound.by + (wound.by === "" ? "" : text.slice(at + 1));
        }
        const env: Record<string, string> = environment ? { [environment[0]]: environment[1] } : {};
        const outcome = await pod.cni(verb, text, { args, env, timeout: 30_000 });

        expect(outcome.signal, outcome.stderr).toBeNull();
        expect(outcome.stdout + outcome.stderr).not.toMatch(/^\s+at .*[:(]\d+|\$bunfs|panic|Segmentation/m);
        if (outcome.status === 0) {
          if (verb === "ADD" && env.CNI_COMMAND === undefined) {
            const undone = await pod.cni("DEL", text, { args, env, timeout: 30_000 });
            expect(undone.status, undone.stdout).toBe(0);
          }
        } else {
          expect(outcome.status).toBe(1);
          expect(errorFaults(outcome.json), outcome.stdout).toEqual([]);
        }
        expect(remains(await cluster.records())).toEqual(nothing);
        expect(await interfaces(pod.node)).toEqual([]);
      }),
      // A failure prints its seed and path; vitest's --seed does not reach here.
      { numRuns: RUNS, interruptAfterTimeLimit: 120_000 },
    );
    expect(await pod.run(["ip", "-brief", "link"])).toMatch(/^lo\s.*\n$/);
    await expectNothingLeft(cluster);
  });
});
