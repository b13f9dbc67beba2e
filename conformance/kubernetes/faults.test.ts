/** What goes wrong between a node and its API server, and what people write into one by hand. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { interfaces, pool } from "../cni/cluster.ts";
import { expectError, expectSuccess } from "../cni/expect.ts";
import { addressesIn } from "../cni/result.ts";
import type { CniOutcome, Pod } from "../lab/index.ts";
import { GROUP_VERSION, KubernetesCluster, runProgram } from "./cluster.ts";
import { describeLabModes } from "./suite.ts";

/** Of an ADD that succeeded. It may have warned of what an attempt before it left behind. */
function addresses(outcome: CniOutcome): string[] {
  expect(outcome.status, outcome.stdout + outcome.stderr).toBe(0);
  return addressesIn(outcome.json as Record<string, unknown>);
}

const STACK = /^\s+at .*[:(]\d+|\$bunfs/m;

describeLabModes("faults", (mode) => {
  let cluster: KubernetesCluster;
  beforeAll(async () => {
    cluster = await KubernetesCluster.create({ mode });
  });
  afterEach(() => cluster.clean());
  afterAll(() => cluster?.dispose());

  /** With another kubeconfig for as long as `work` takes. */
  async function withKubeconfig<T>(file: string, work: () => Promise<T>): Promise<T> {
    cluster.writeKubeconfig(cluster.node, file);
    try {
      return await work();
    } finally {
      cluster.writeKubeconfig(cluster.node, cluster.server.kubeconfig("cni", { server: cluster.relay.url }));
    }
  }

  async function expectNoAddressHeld(): Promise<void> {
    expect(await cluster.held()).toEqual([]);
    expect(await cluster.stored("ipamhandles")).toEqual([]);
    expect(await interfaces(cluster.node)).toEqual([]);
  }

  describe("the API server goes away", () => {
    test("killed and restarted under load: each ADD succeeds or fails cleanly, and kubelet's retries make it good", async () => {
      const pods: Pod[] = [];
      for (let i = 0; i < 30; i++) pods.push(await cluster.pod(`storm-${i}`));
      const first = pods.map((pod) => cluster.cni("ADD", pod, cluster.conf(), "default", { timeout: 120_000 }));
      await Promise.race(first);
      await cluster.server.kill();
      await cluster.server.restart();
      const outcomes = await Promise.all(first);
      for (const outcome of outcomes) if (outcome.status !== 0) expectError(outcome, undefined);
      const given: string[] = [];
      for (const pod of pods) {
        given.push(...addresses(await cluster.cni("ADD", pod)));
      }
      expect(new Set(given).size).toBe(pods.length);
      expect(await cluster.held()).toHaveLength(pods.length);
      for (const outcome of await Promise.all(pods.map((pod) => cluster.cni("DEL", pod)))) expectSuccess(outcome);
      await expectNoAddressHeld();
    });

    test("connections cut in the middle of ADDs: nothing is lost and nothing leaks", async () => {
      const pods: Pod[] = [];
      for (let i = 0; i < 20; i++) pods.push(await cluster.pod(`cut-${i}`));
      const cutter = setInterval(() => cluster.relay.cut(), 150);
      const outcomes = await Promise.all(pods.map((pod) => cluster.cni("ADD", pod))).finally(() =>
        clearInterval(cutter),
      );
      for (const outcome of outcomes) if (outcome.status !== 0) expectError(outcome, undefined);
      for (const pod of pods) addresses(await cluster.cni("ADD", pod));
      const holders = (await cluster.held()).map(({ handle }) => handle);
      // What each said is what explains a handle with two.
      const twice = holders.filter((handle, index) => holders.indexOf(handle) !== index);
      const told = pods.flatMap((pod, i) =>
        twice.some((handle) => handle?.includes(pod.containerId)) ? [outcomes[i]!.stdout + outcomes[i]!.stderr] : [],
      );
      expect({ twice, told }).toEqual({ twice: [], told: [] });
      expect(holders).toHaveLength(pods.length);
      for (const pod of pods) expectSuccess(await cluster.cni("DEL", pod));
      await expectNoAddressHeld();
    });

    test("an API server that cannot be reached is said by its address", async () => {
      const pod = await cluster.pod("alone");
      cluster.relay.target = undefined;
      try {
        const outcome = await cluster.cni("ADD", pod);
        expectError(outcome, undefined, /172\.31\.0\.1:6443/);
      } finally {
        cluster.relay.target = cluster.server.port;
      }
      await expectNoAddressHeld();
    });
  });

  describe("credentials", () => {
    test("an expired token: unauthorized, without the token in the message", async () => {
      const token = await cluster.server.serviceAccountToken({
        ...{ namespace: "kube-system", name: "calico-cni-plugin", seconds: -10 },
      });
      const pod = await cluster.pod("late");
      const file = cluster.server.kubeconfig("cni", { server: cluster.relay.url, token });
      const outcome = await withKubeconfig(file, () => cluster.cni("ADD", pod));
      expectError(outcome, undefined, /unauthori[sz]ed|401|not let in|credential/i);
      expect(outcome.stdout + outcome.stderr).not.toContain(token);
      await expectNoAddressHeld();
    });

    test("a token file that is renewed between two calls is read anew", async () => {
      const tokenFile = join(cluster.lab.machineShare, "token");
      const seen = `${cluster.lab.share}/token`;
      const account = { namespace: "kube-system", name: "calico-cni-plugin" };
      const file = cluster.server.kubeconfig("cni", { server: cluster.relay.url, tokenFile: seen });
      await withKubeconfig(file, async () => {
        writeFileSync(tokenFile, await cluster.server.serviceAccountToken({ ...account, seconds: -10 }));
        const pod = await cluster.pod("renewed");
        expectError(await cluster.cni("ADD", pod), undefined);
        writeFileSync(tokenFile, await cluster.server.serviceAccountToken(account));
        expectSuccess(await cluster.cni("ADD", pod));
        expectSuccess(await cluster.cni("DEL", pod));
      });
      await expectNoAddressHeld();
    });

    test("a CA that does not match is said to be that", async () => {
      const { startApiProxy } = await import("../../lib/kubernetes/testing/index.ts");
      const proxy = await startApiProxy(cluster.server);
      const pod = await cluster.pod("stranger");
      try {
        const file = cluster.server.kubeconfig("cni", { server: cluster.relay.url, ca: proxy.ca });
        const outcome = await withKubeconfig(file, () => cluster.cni("ADD", pod));
        expectError(outcome, undefined, /certificate/i);
      } finally {
        await proxy.stop();
      }
      await expectNoAddressHeld();
    });

    test("a kubeconfig that is not there, or is none, is said with its path", async () => {
      const pod = await cluster.pod("lost");
      const conf = (kubeconfig: string) => cluster.conf({ kubernetes: { kubeconfig } });
      expectError(await cluster.cni("ADD", pod, conf("/etc/cni/net.d/none")), undefined, /\/etc\/cni\/net\.d\/none/);
      expectError(await cluster.cni("ADD", pod, conf("/etc/hostname")), undefined, /\/etc\/hostname/);
    });
  });

  describe("objects that nobody validated", () => {
    const key = (plural: string, name: string) => `/registry/${GROUP_VERSION[mode].split("/")[0]}/${plural}/${name}`;
    const raw = (kind: string, name: string, spec: object) => ({
      ...{ apiVersion: GROUP_VERSION[mode], kind },
      metadata: { name, uid: crypto.randomUUID(), creationTimestamp: "2026-01-01T00:00:00Z", generation: 1 },
      spec,
    });

    test("a pool whose CIDR is none: other pools give addresses, and calicoctl names object and field", async () => {
      await cluster.server.writeRaw(key("ippools", "broken"), raw("IPPool", "broken", { cidr: "10.300.0.0/16" }));
      await seen("ippools", "broken");
      try {
        const pod = await cluster.pod("unaffected");
        const outcome = await cluster.cni("ADD", pod);
        expect(outcome.stdout).toMatch(/10\.65\./);
        expect(outcome.status).toBe(0);
        expectSuccess(await cluster.cni("DEL", pod));
        const got = await cluster.calicoctl("get", "ippools");
        expect(got.stdout).toContain("pool4");
        expect(got.stderr + got.stdout).toMatch(/broken/);
        expect(got.stderr + got.stdout).toMatch(/cidr/i);
        expect(got.stderr).not.toMatch(STACK);
      } finally {
        await cluster.server.writeRaw(key("ippools", "broken"), undefined);
        await gone("ippools", "broken");
      }
    });

    test("a block with a broken allocation array: pods get addresses of other blocks, and calico-ipam check names it", async () => {
      const name = "10-65-0-0-26";
      const block = raw("IPAMBlock", name, {
        ...{ cidr: "10.65.0.0/26", affinity: "host:node1", strictAffinity: false, deleted: false },
        ...{ allocations: [7, null], unallocated: [1, 1, 90], attributes: [] },
      });
      await cluster.server.writeRaw(key("ipamblocks", name), block);
      await seen("ipamblocks", name);
      try {
        const pod = await cluster.pod("elsewhere");
        const outcome = await cluster.cni("ADD", pod);
        expect(addresses(outcome)[0]).not.toMatch(/^10\.65\.0\.([0-9]|[1-5][0-9]|6[0-3])$/);
        const check = await cluster.program("calico-ipam", ["check"]);
        expect(check.stdout + check.stderr).toMatch(/10\.65\.0\.0\/26|10-65-0-0-26/);
        expect(check.stdout + check.stderr).toMatch(/allocation/i);
        expect(check.stdout + check.stderr).not.toMatch(STACK);
        expectSuccess(await cluster.cni("DEL", pod));
      } finally {
        await cluster.server.writeRaw(key("ipamblocks", name), undefined);
        await gone("ipamblocks", name);
      }
    });

    const present = (plural: string, name: string) =>
      cluster.server.request("GET", `/apis/${GROUP_VERSION[mode]}/${plural}/${name}`).then(
        () => true,
        () => false,
      );
    /** etcd was written past the API server: it shows when its watch of etcd has delivered it. */
    async function poll(plural: string, name: string, wanted: boolean): Promise<void> {
      const deadline = performance.now() + 10_000;
      while ((await present(plural, name)) !== wanted) {
        if (performance.now() > deadline) throw new Error(`${plural} ${name}: ${wanted ? "not seen" : "still there"}`);
        await Bun.sleep(20);
      }
    }
    const seen = (plural: string, name: string) => poll(plural, name, true);
    const gone = (plural: string, name: string) => poll(plural, name, false);
  });

  // The last: the definition takes all objects of its kind with it.
  describe("a definition that is missing", () => {
    test("is named, with what to apply; the others go on", async () => {
      const crd = mode === "v1" ? "ipamhandles.crd.projectcalico.org" : "ipamhandles.projectcalico.org";
      await cluster.applyCalico(pool("kept", "10.66.0.0/16"));
      await cluster.server.request("DELETE", `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${crd}`);
      await vanished("ipamhandles");
      const pod = await cluster.pod("unhandled");
      expectError(await cluster.cni("ADD", pod), undefined, /ipamhandles?/i);
      const admin = cluster.server.kubeconfig("admin");
      const got = await runProgram("calicoctl", ["get", "ippools"], admin);
      expect(got.status, got.stderr).toBe(0);
      expect(got.stdout).toContain("kept");
      await cluster.server.installCrds(mode);
      expectSuccess(await cluster.cni("ADD", pod));
      expectSuccess(await cluster.cni("DEL", pod));
      await expectNoAddressHeld();
    });

    async function vanished(plural: string): Promise<void> {
      const deadline = performance.now() + 20_000;
      for (;;) {
        const there = await cluster.stored(plural).then(
          () => true,
          () => false,
        );
        if (!there) return;
        if (performance.now() > deadline) throw new Error(`${plural} are still served`);
        await Bun.sleep(50);
      }
    }
  });
});
