import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { BlockAffinity } from "../../lib/api/blockaffinity.ts";
import { IPAMBlock } from "../../lib/api/ipamblock.ts";
import { IPAMHandle } from "../../lib/api/ipamhandle.ts";
import type { Kind } from "../../lib/api/kind.ts";
import type { Resource } from "../../lib/api/meta.ts";
import { Profile } from "../../lib/api/profile.ts";
import { WorkloadEndpoint } from "../../lib/api/workloadendpoint.ts";
import { openClient } from "../../lib/datastore/index.ts";
import { type CniOutcome, missingTool, type Pod } from "../lab/index.ts";
import { describeLab } from "../lab/suite.ts";
import { type Cluster, createCluster, interfaces, kubernetesArgs } from "./cluster.ts";
import { expectError, expectNothingLeft, expectSuccess } from "./expect.ts";
import { contradictions } from "./records.ts";
import { addressesIn } from "./result.ts";

const AT_ONCE = 100;
const CONF = { ipam: { type: "calico-ipam", assign_ipv6: "true" } };

type Verb = "ADD" | "DEL" | "CHECK";

const caller =
  (cluster: () => Cluster) =>
  (pod: Pod, verb: Verb, changes: object = {}): Promise<CniOutcome> =>
    pod.cni(verb, cluster().conf({ ...CONF, ...changes }), { args: kubernetesArgs(pod), timeout: 120_000 });

describeLab("attachments by the node's agent", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await createCluster({ agent: true });
  });
  afterEach(() => cluster.clean());
  afterAll(() => cluster?.dispose());

  const node = () => cluster.nodes[0]!;
  const agent = () => cluster.agents[0]!;
  const call = caller(() => cluster);
  /** By another spelling of the same file, which the agent does not know to be its own. */
  const pastAgent = (pod: Pod, verb: Verb) =>
    call(pod, verb, { datastore_file: cluster.keys.datastore_file!.replace("/mnt/", "/proc/self/root/mnt/") });
  /** What the agent says that it has done for a pod. */
  const workFor = (pod: Pod) =>
    [
      ...agent()
        .log()
        .matchAll(/felix: (attached|checked|detached|ADD failed) pod="([^"]*)"/g),
    ].flatMap(([, what, name]) => (name === `default/${pod.name}` ? [what] : []));

  test("ADD, CHECK and DEL are the agent's work, and read like the plugin's", async () => {
    const pod = await node().pod("one");
    const added = await call(pod, "ADD");
    expectSuccess(added);
    expect(added.json).toMatchObject({ interfaces: [{}, { name: "eth0", sandbox: pod.netns }] });
    expectSuccess(await call(pod, "CHECK", { prevResult: added.json }));
    expectSuccess(await call(pod, "DEL"));
    expect(workFor(pod)).toEqual(["attached", "checked", "detached"]);
    const pluginLog = readFileSync(node().path("/var/log/calico/cni/cni.log"), "utf8");
    expect(pluginLog).toContain(`cni-plugin: attached container="${pod.containerId}" pod="default/one"`);
    await expectNothingLeft(cluster);
  });

  test("when ADD returns, the pod's policy is in the kernel", async () => {
    for (const name of ["p1", "p2", "p3"]) {
      const pod = await node().pod(name);
      const { json } = await call(pod, "ADD");
      const { interfaces: made } = json as { interfaces: { name: string }[] };
      const rules = await node().run(["nft", "list", "ruleset"]);
      expect(rules).toContain(made[0]!.name);
      expect(rules).toContain(addressesIn(json)[0]);
    }
  });

  test("a failure reads as it does without the agent", async () => {
    const pod = await node().pod("wrong");
    await node().run(["ip", "-netns", "wrong", "link", "add", "eth0", "type", "bridge"]);
    const outcome = await call(pod, "ADD");
    expectError(outcome, 106, /in the pod|the pod \/run\/netns\/wrong has an interface eth0 already/);
    expect(outcome.stderr).toMatch(/\[ERROR\].* cni-plugin: ADD failed: .*\/run\/netns\/wrong/);
    expect(outcome.stdout + outcome.stderr + agent().log()).not.toContain("/proc/self/fd");
    expect(workFor(pod)).toEqual(["ADD failed"]);
  });

  test("what is not the agent's to do the plugin does itself", async () => {
    const pod = await node().pod("elsewhere");
    const other = { datastore_file: "/mnt/share/other.db" };
    expectError(await call(pod, "ADD", other), 102);
    expectSuccess(await call(pod, "ADD", { nodename: "another" }));
    expectSuccess(await call(pod, "DEL", { nodename: "another" }));
    expect(workFor(pod)).toEqual([]);
  });

  test("100 pods at once get what they need, and nothing is left of them", async () => {
    const pods = await node().pods(Array.from({ length: AT_ONCE }, (_, index) => `m${index}`));
    const added = await Promise.all(pods.map((pod) => call(pod, "ADD")));
    for (const outcome of added) expectSuccess(outcome);
    expect(new Set(added.flatMap(({ json }) => addressesIn(json))).size).toBe(2 * AT_ONCE);
    expect(contradictions(await cluster.records())).toEqual([]);
    expect(await interfaces(node())).toHaveLength(AT_ONCE);
    const [agents, plugins] = [pods.slice(0, AT_ONCE / 2), pods.slice(AT_ONCE / 2)];
    // Half of them past the agent, at the same moment: neither has a lock that the other takes.
    const gone = await Promise.all([
      ...agents.map((pod) => call(pod, "DEL")),
      ...plugins.map((pod) => pastAgent(pod, "DEL")),
    ]);
    for (const outcome of gone) expectSuccess(outcome);
    await expectNothingLeft(cluster);
  });

  test("agent and plugins side by side never give an address twice", async () => {
    const pods = await node().pods(Array.from({ length: 40 }, (_, index) => `s${index}`));
    const added = await Promise.all(
      pods.map((pod, index) => (index % 2 === 0 ? call(pod, "ADD") : pastAgent(pod, "ADD"))),
    );
    for (const outcome of added) expectSuccess(outcome);
    expect(pods.filter((pod) => workFor(pod).includes("attached"))).toHaveLength(20);
    expect(new Set(added.flatMap(({ json }) => addressesIn(json))).size).toBe(2 * pods.length);
    expect(contradictions(await cluster.records())).toEqual([]);
  });

  test("ADD and DEL of one container are done in the order in which they come", async () => {
    const pod = await node().pod("again");
    for (let round = 0; round < 5; round++) {
      const add = call(pod, "ADD");
      const del = Bun.sleep(5).then(() => call(pod, "DEL"));
      await Promise.all([add, del]);
      expectSuccess(await call(pod, "DEL"));
      await expectNothingLeft(cluster);
    }
  });

  test("a DEL of a pod whose namespace is gone", async () => {
    const pod = await node().pod("late");
    expectSuccess(await call(pod, "ADD"));
    await node().run(["ip", "netns", "delete", "late"]);
    expectSuccess(await call(pod, "DEL"));
    expect(workFor(pod)).toEqual(["attached", "detached"]);
    await expectNothingLeft(cluster);
  });

  test("an agent that is stopped is not waited for without end, and one that ends lets nobody down", async () => {
    const pods = await node().pods(["stopped", "ended1", "ended2", "ended3"]);
    agent().stop();
    expectSuccess(await call(pods[0]!, "ADD"));
    agent().resume();
    const rest = pods.slice(1).map((pod) => call(pod, "ADD"));
    await agent().daemon.end("SIGTERM");
    for (const outcome of await Promise.all(rest)) expectSuccess(outcome);
    expect(contradictions(await cluster.records())).toEqual([]);
    for (const pod of pods) expectSuccess(await call(pod, "DEL"));
    await expectNothingLeft(cluster);
    await agent().start();
  });
});

/** What differs from run to run whoever does it. */
const VOLATILE = new Set([
  "uid",
  "resourceVersion",
  "creationTimestamp",
  "timestamp",
  "mac",
  "sequenceNumber",
  "affinityClaimTime",
]);
const masked = (value: unknown): unknown =>
  JSON.parse(
    JSON.stringify(value, (key, part: unknown) => {
      if (key === "sequenceNumberForAllocation") return Object.keys(part as object).sort();
      return VOLATILE.has(key) && part !== undefined ? "…" : part;
    }),
  );

async function dump(cluster: Cluster): Promise<unknown> {
  const client = await openClient({ type: "sqlite", file: `${cluster.lab.machineShare}/datastore.db` });
  try {
    const kinds = [WorkloadEndpoint, IPAMBlock, IPAMHandle, BlockAffinity, Profile] as unknown as Kind<Resource>[];
    return masked(await Promise.all(kinds.map(async (kind) => (await client.list<Resource>(kind)).items)));
  } finally {
    await client.close();
  }
}

/** What a pod sees, and what the host has of it. */
async function kernel(pod: Pod): Promise<unknown> {
  const links = JSON.parse(await pod.run(["ip", "-json", "address"])) as {
    addr_info: { family: string; local: string }[];
  }[];
  return {
    addresses: links.flatMap(({ addr_info: all }) =>
      all.map(({ local }) => local).filter((one) => !one.startsWith("fe80")),
    ),
    routes: await pod.run(["ip", "route"]),
    routes6: (await pod.run(["ip", "-6", "route"])).replaceAll(/^fe80.*\n/gm, "").replaceAll(/via \S+/g, "via …"),
    sysctls: await pod.run(["sh", "-c", "cd /proc/sys/net && cat ipv4/ip_forward ipv6/conf/all/disable_ipv6"]),
  };
}

describeLab("with and without the agent", () => {
  async function scenario(agent: boolean): Promise<unknown> {
    const cluster = await createCluster({ agent });
    try {
      const call = caller(() => cluster);
      const node = cluster.nodes[0]!;
      const pods = await node.pods(["a", "b", "c", "wrong"]);
      const [a, b, c, wrong] = pods as [Pod, Pod, Pod, Pod];
      await node.run(["ip", "-netns", "wrong", "link", "add", "eth0", "type", "bridge"]);
      const seen: unknown[] = [];
      const note = async ({ status, json, stdout }: CniOutcome): Promise<void> => {
        seen.push(masked({ status, said: json ?? stdout, left: await dump(cluster) }));
      };
      const fixed = { args: { ...kubernetesArgs(c), IP: "10.65.200.7" } };
      await note(await call(a, "ADD"));
      seen.push(await kernel(a));
      await note(await call(b, "ADD"));
      await note(await call(b, "ADD"));
      await note(await c.cni("ADD", cluster.conf(), fixed));
      await note(await call(wrong, "ADD"));
      await note(await call(b, "ADD", { ipam: { type: "calico-ipam", ipv4_pools: ["none"] } }));
      await note(await call(a, "DEL"));
      await note(await call(a, "DEL"));
      await note(await c.cni("ADD", cluster.conf({ name: "second-net" }), fixed));
      await note(await b.cni("ADD", cluster.conf(CONF), { containerId: "plain", ifName: "eth1" }));
      await note(await b.cni("DEL", cluster.conf(CONF), { containerId: "plain", ifName: "eth1" }));
      for (const pod of pods) await note(await call(pod, "DEL"));
      await expectNothingLeft(cluster);
      return seen;
    } finally {
      await cluster.dispose();
    }
  }

  test("the same is said, and the same objects are left, after every step", async () => {
    const [byPlugin, byAgent] = await Promise.all([scenario(false), scenario(true)]);
    expect(byAgent).toEqual(byPlugin);
  });
});

const noStrace = missingTool("strace");

describe.skipIf(noStrace !== undefined)(
  `kill -9 of the agent in the middle${noStrace ? ` [skipped: ${noStrace}]` : ""}`,
  () => {
    describeLab("the plugin ends what the agent began", () => {
      let cluster: Cluster;
      beforeAll(async () => {
        cluster = await createCluster({ agent: true });
      });
      afterEach(() => cluster.clean());
      afterAll(() => cluster?.dispose());
      const call = caller(() => cluster);
      /** More than an ADD makes of one call. */
      const MOST = 60;

      /** Has the agent killed just before the `n`th call of this name from now on. */
      async function killAt(name: string, n: number): Promise<() => Promise<void>> {
        const { pid } = cluster.agents[0]!.daemon;
        const child = Bun.spawn(
          [
            "strace",
            "-f",
            `--attach=${pid}`,
            "-o",
            "/dev/null",
            `--trace=${name}`,
            `--inject=${name}:signal=KILL:when=${n}`,
          ],
          { stdin: "ignore", stdout: "ignore", stderr: "pipe" },
        );
        const reader = child.stderr.getReader();
        let said = "";
        while (!said.includes("attached")) {
          const { done, value } = await reader.read();
          if (done) throw new Error(`strace: ${said}`);
          said += new TextDecoder().decode(value);
        }
        return async () => {
          child.kill("SIGKILL");
          await child.exited;
          await reader.cancel();
        };
      }

      describe.each(["ADD", "DEL"] as const)("%s", (verb) => {
        test.each(["pwrite64", "fsync", "sendto", "setns"])("before each %s", async (name) => {
          // The odd and the even ones differ, as each page of the datastore's log is written after its header; neighbours do not.
          const step = name === "sendto" || name === "pwrite64" ? 3 : 1;
          const agent = cluster.agents[0]!;
          for (let n = 1; n <= MOST; n += step) {
            if (!agent.alive) await agent.start();
            const pod = await cluster.nodes[0]!.pod(`k${n}`);
            if (verb === "DEL") expectSuccess(await call(pod, "ADD"));
            const detach = await killAt(name, n);
            const outcome = await call(pod, verb);
            await detach();
            const survived = agent.alive;
            const when = `agent killed before ${name} number ${n} of ${verb}`;
            expect(`${when}: ${outcome.status} ${outcome.stdout}`).toMatch(/: 0 /);
            expect(contradictions(await cluster.records()), when).toEqual([]);
            if (verb === "ADD") {
              expectSuccess(await call(pod, "CHECK", { prevResult: outcome.json }));
              expect((await cluster.records()).held).toHaveLength(2);
              expectSuccess(await call(pod, "DEL"));
            }
            await expectNothingLeft(cluster);
            if (survived) return;
          }
        });
      });
    });
  },
);
