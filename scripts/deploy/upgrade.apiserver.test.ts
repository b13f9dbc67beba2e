/** The commands of docs/upgrade.md and docs/install.md, on a real API server that has what another Calico's manifest makes. */
import { spawnSync } from "node:child_process";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { datastoreConfigFromEnv, openClient } from "../../lib/datastore/index.ts";
import { type ApiServer, apiServerMissing, kubectl, startApiServer } from "../../lib/kubernetes/testing/index.ts";
import { watchInputs } from "../../lib/policy-agent/intake/index.ts";
import { imageOf } from "./manifest.ts";

const missing =
  apiServerMissing() ?? (kubectl() === undefined ? "no kubectl: scripts/setup-kubernetes builds it" : undefined);
const ROOT = join(import.meta.dirname, "../..");

/** The n-th block for a shell below a heading. */
function commands(document: string, heading: string, nth = 0): string {
  const text = readFileSync(join(ROOT, "docs", document), "utf8");
  const section = text.slice(text.indexOf(`\n## ${heading}`)).split(/\n## /)[1]!;
  return [...section.matchAll(/```sh\n(.*?)```/gs)][nth]![1]!;
}

/** What the manifest of Calico v3.31 has otherwise than ours: image, arguments, and a role that names no ClusterNetworkPolicy. */
const workload = (kind: "DaemonSet" | "Deployment", name: string) => ({
  ...{ apiVersion: "apps/v1", kind, metadata: { name, namespace: "kube-system", labels: { "k8s-app": name } } },
  spec: {
    selector: { matchLabels: { "k8s-app": name } },
    template: {
      metadata: { labels: { "k8s-app": name } },
      spec: {
        serviceAccountName: name,
        containers: [{ name, image: `docker.io/calico/${name}:v3.31.0`, args: ["component", name] }],
      },
    },
  },
});
const THEIRS = [
  workload("DaemonSet", "calico-node"),
  workload("Deployment", "calico-kube-controllers"),
  {
    ...{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "calico-config", namespace: "kube-system" } },
    data: { veth_mtu: "1440", typha_service_name: "none" },
  },
];
type Role = { readonly rules: readonly { readonly resources: readonly string[] }[] };
const ROLE = "/apis/rbac.authorization.k8s.io/v1/clusterroles/calico-node";

describe.skipIf(missing !== undefined)(
  missing ? `from another Calico (skipped: ${missing})` : "from another Calico",
  () => {
    let server: ApiServer;
    let rules: Role["rules"];
    const folder = mkdtempSync(join(tmpdir(), "upgrade-test-"));
    beforeAll(async () => {
      server = await startApiServer({ crds: "v1" });
      mkdirSync(join(folder, "bin"));
      mkdirSync(join(folder, "deploy"));
      symlinkSync(kubectl()!, join(folder, "bin/kubectl"));
      copyFileSync(join(ROOT, "deploy/calico.yaml"), join(folder, "calico.yaml"));
      copyFileSync(join(ROOT, "deploy/upgrade-access.yaml"), join(folder, "deploy/upgrade-access.yaml"));
      await server.apply({ apiVersion: "v1", kind: "Node", metadata: { name: "n1" } });
      const role = await server.request<Role>("GET", ROLE);
      rules = role.rules.filter(({ resources }) => !resources.includes("clusternetworkpolicies"));
      expect(rules.length).toBe(role.rules.length - 1);
      await server.request("PUT", ROLE, { ...role, rules });
      writeFileSync(join(folder, "theirs.json"), JSON.stringify({ apiVersion: "v1", kind: "List", items: THEIRS }));
      sh("kubectl create -f theirs.json");
    });
    afterAll(async () => {
      await server?.stop();
      rmSync(folder, { recursive: true, force: true });
    });

    /** Without what needs controllers and kubelets: here nobody orphans pods, and none run. */
    function sh(script: string): string {
      const lines = script
        .split("\n")
        .filter((line) => !/rollout status|^dist\/|delete pod|^until|get pods/.test(line))
        .join("\n")
        .replaceAll("--cascade=orphan", "--cascade=background");
      const { status, stdout, stderr } = spawnSync("sh", ["-ec", lines], {
        ...{ cwd: folder, encoding: "utf8" },
        env: { PATH: `${folder}/bin:${process.env.PATH}`, KUBECONFIG: server.kubeconfig("admin"), HOME: folder },
      });
      expect({ status, stderr: stderr.replace(/^Warning: .*\n/gm, "") }, lines).toEqual({ status: 0, stderr: "" });
      return stdout;
    }
    const images = (): string =>
      sh("kubectl --namespace kube-system get daemonsets,deployments --output=jsonpath='{..containers[*].image}'");
    const THEIR_IMAGES = "docker.io/calico/calico-node:v3.31.0 docker.io/calico/calico-kube-controllers:v3.31.0";

    /** What the agent on a changed node cannot read of what policy depends on, or undefined once it has read all. */
    async function unread(
      until: (why: readonly string[] | undefined) => boolean,
    ): Promise<readonly string[] | undefined> {
      const env = { DATASTORE_TYPE: "kubernetes", KUBECONFIG: server.kubeconfig("node"), NODENAME: "n1" };
      const client = await openClient(datastoreConfigFromEnv({ ...env, CALICO_API_GROUP: "crd.projectcalico.org/v1" }));
      const stop = new AbortController();
      const troubles = new Map<string, string>();
      let isInSync = false;
      const inputs = watchInputs({
        ...{ client, signal: stop.signal, sink: () => {}, onProblem: () => {}, onInSync: () => (isInSync = true) },
        onTrouble: (kind, why) => void (why === undefined ? troubles.delete(kind) : troubles.set(kind, why)),
      });
      const now = () => (isInSync ? undefined : [...troubles.values()]);
      const deadline = performance.now() + 60_000;
      while (!until(now()) && performance.now() < deadline) await Bun.sleep(20);
      const seen = now();
      stop.abort();
      await inputs.done;
      await client.close();
      return seen;
    }

    test("with its role alone the agent waits, for a policy that may not be read is not none", async () => {
      const seen = await unread((why) => why === undefined || why.length > 0);
      expect(seen).toEqual([expect.stringMatching(/clusternetworkpolicies.* is forbidden/)]);
    });

    test("steps 0 and 1 let it read all, and touch neither roles nor controllers", async () => {
      sh(commands("upgrade.md", "0. ").slice(commands("upgrade.md", "0. ").indexOf("save()")));
      sh(commands("upgrade.md", "1. "));
      expect(images()).toBe(`${imageOf(VERSION)} ${THEIR_IMAGES.split(" ")[1]}`);
      expect(await unread((why) => why === undefined)).toBeUndefined();
    });

    test("the way back before step 3 applies what was saved, and changes no pod by itself until that is wanted", () => {
      const strategy = "kubectl --namespace kube-system get daemonset --output=jsonpath='{..updateStrategy.type}'";
      sh(commands("upgrade.md", "Back"));
      expect(images()).toBe(THEIR_IMAGES);
      expect(sh(strategy)).toBe("OnDelete");
      const text = readFileSync(join(ROOT, "docs/upgrade.md"), "utf8");
      sh(/wanted at the end, `(kubectl apply [^`]*)`/.exec(text)![1]!);
      expect(images()).toBe(THEIR_IMAGES);
      expect(sh(strategy)).toBe("RollingUpdate");
      const mtu = "kubectl --namespace kube-system get configmap calico-config --output=jsonpath='{.data.veth_mtu}'";
      expect(sh(mtu)).toBe("1440");
    });

    test("step 3 leaves nothing of the other's controllers in ours, and takes the roles of the upgrade away", () => {
      sh(commands("upgrade.md", "1. "));
      sh(commands("upgrade.md", "3. "));
      const args = "kubectl --namespace kube-system get deployments --output=jsonpath='{..containers[*].args}'";
      expect(sh(args)).toBe("");
      expect(sh("kubectl get clusterroles,clusterrolebindings --output=name")).not.toContain("-more");
      expect(sh("kubectl --namespace kube-system get daemonset --output=jsonpath='{..updateStrategy.type}'")).toBe(
        "RollingUpdate",
      );
    });

    test("and back from there", async () => {
      const [first, ...rest] = commands("upgrade.md", "Back", 1).trim().split("\n");
      sh(first!);
      sh(commands("upgrade.md", "Back"));
      sh(rest.join("\n"));
      expect(images()).toBe(THEIR_IMAGES);
      expect((await server.request<Role>("GET", ROLE)).rules).toEqual(rules);
    });

    test("docs/install.md takes everything away again, the agents first", () => {
      sh("kubectl --namespace kube-system delete daemonset,deployment --all");
      sh("kubectl apply --server-side --force-conflicts -f calico.yaml");
      sh(commands("install.md", "Away with it"));
      expect(sh("kubectl get crds,clusterroles --output=name")).not.toMatch(/calico/);
    });

    test("and the condition that an agent left, by which Kubernetes keeps pods away", () => {
      const conditions = "kubectl get node n1 --output=jsonpath='{.status.conditions[*].reason}'";
      const set = (reason: string): string =>
        `'{"status": {"conditions": [{"type": "NetworkUnavailable", "status": "True", "reason": "${reason}"}]}}'`;
      sh(`kubectl patch node n1 --subresource=status --type=strategic --patch=${set("CalicoIsDown")}`);
      expect(sh(conditions)).toBe("CalicoIsDown");
      const text = readFileSync(join(ROOT, "docs/install.md"), "utf8");
      sh(/`(kubectl patch node node1 [^`]*)`/.exec(text)![1]!.replace("node1", "n1"));
      expect(sh(conditions)).toBe("");
    });
  },
);

const { version: VERSION } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8")) as { version: string };
