/** A watcher on a bad network: however events are held back, swapped or cut off, it ends up knowing what the API server has. */
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { type KubernetesObject, loadKubeconfig, openKubernetes, reflect } from "../../lib/kubernetes/index.ts";
import {
  type ApiProxy,
  type ApiServer,
  type ProxyOptions,
  startApiProxy,
  startApiServer,
} from "../../lib/kubernetes/testing/index.ts";
import { pool } from "../cni/cluster.ts";
import { GROUP_VERSION, type StoredObject } from "./cluster.ts";
import { describeModes } from "./suite.ts";

const BACKOFF = { first: 20, most: 200 };

describeModes("a watcher", (mode) => {
  const root = `/apis/${GROUP_VERSION[mode]}/ippools`;
  let server: ApiServer;
  const ends: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    server = await startApiServer({ crds: mode });
  });
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
    await server.request("DELETE", root);
  });
  afterAll(() => server?.stop());

  async function proxied(options: ProxyOptions = {}): Promise<ApiProxy> {
    const proxy = await startApiProxy(server, options);
    ends.push(() => proxy.stop());
    return proxy;
  }

  /** A reflector and what it knows: name → spec.nodeSelector. */
  function mirror(kubeconfig: string) {
    const objects = new Map<string, string>();
    const counts = { synced: 0, failed: 0, faults: [] as string[] };
    const errors: string[] = [];
    const stop = new AbortController();
    const kubernetes = openKubernetes(loadKubeconfig({ file: kubeconfig }));
    const [group, version] = GROUP_VERSION[mode].split("/") as [string, string];
    const done = (async () => {
      for await (const event of reflect<KubernetesObject & StoredObject>({
        ...{ kubernetes, path: { group, version, plural: "ippools" }, signal: stop.signal, backoff: BACKOFF },
      })) {
        switch (event.type) {
          case "added":
            if (objects.has(event.key)) counts.faults.push(`added twice: ${event.key}`);
            objects.set(event.object.metadata.name, String(event.object.spec.nodeSelector));
            break;
          case "modified":
            if (!objects.has(event.object.metadata.name)) counts.faults.push(`modified before added: ${event.key}`);
            objects.set(event.object.metadata.name, String(event.object.spec.nodeSelector));
            break;
          case "deleted":
            if (!objects.delete(event.object.metadata.name)) counts.faults.push(`deleted before added: ${event.key}`);
            break;
          case "synced":
            counts.synced++;
            break;
          case "failed":
            counts.failed++;
            errors.push(event.error.message);
        }
      }
    })();
    ends.push(async () => {
      stop.abort();
      await done;
      await kubernetes.close();
    });
    return { objects, counts, errors };
  }

  async function truth(): Promise<Map<string, string>> {
    const list = await server.request<{ items: StoredObject[] }>("GET", root);
    return new Map(list.items.map(({ metadata, spec }) => [metadata.name, String(spec.nodeSelector)]));
  }

  async function until(what: string, holds: () => boolean, seconds = 60): Promise<void> {
    const deadline = performance.now() + seconds * 1000;
    while (!holds()) {
      if (performance.now() > deadline) throw new Error(`${what}: not within ${seconds} s`);
      await Bun.sleep(10);
    }
  }

  const sorted = (map: ReadonlyMap<string, string>) => [...map].sort();

  async function converges(seen: ReturnType<typeof mirror>): Promise<void> {
    const wanted = JSON.stringify(sorted(await truth()));
    await until(`it knows ${wanted}`, () => JSON.stringify(sorted(seen.objects)) === wanted).catch(() => {
      expect(sorted(seen.objects)).toEqual(JSON.parse(wanted));
    });
    expect(seen.counts.faults).toEqual([]);
  }

  const object = (name: string, octet: number) => ({
    ...pool(name, `10.${octet}.0.0/16`, { blockSize: 26, nodeSelector: "all()" }),
    apiVersion: GROUP_VERSION[mode],
  });

  /** Objects come, change and go; what they are about is decided by `seed` alone. */
  async function churn(steps: number, seed: number): Promise<void> {
    const present = new Set<string>();
    let random = seed;
    for (let step = 0; step < steps; step++) {
      random = (random * 48271) % 0x7fffffff;
      const name = `pool-${random % 12}`;
      if (!present.has(name)) {
        await server.request("POST", root, object(name, step % 250));
        present.add(name);
      } else if (random % 3 === 0) {
        await server.request("DELETE", `${root}/${name}`);
        present.delete(name);
      } else {
        const patch = { spec: { nodeSelector: `step == '${step}'` } };
        await server.request("PATCH", `${root}/${name}`, patch, "application/merge-patch+json");
      }
    }
  }

  test("through a proxy that delays and swaps events", async () => {
    const proxy = await proxied();
    Object.assign(proxy.fault, { delay: 30, reorder: 6 });
    const seen = mirror(proxy.kubeconfig("reader"));
    await until("synced", () => seen.counts.synced > 0);
    await churn(150, 11);
    await converges(seen);
  });

  test("through a proxy that cuts every watch after three events, in the middle of a line", async () => {
    const proxy = await proxied();
    proxy.fault.cutAfter = 3;
    const seen = mirror(proxy.kubeconfig("reader"));
    await until("synced", () => seen.counts.synced > 0);
    await churn(60, 12);
    await converges(seen);
    expect(proxy.requests.filter(({ watch }) => watch).length, "it did come back").toBeGreaterThan(5);
    expect(seen.counts.synced, "resumed, and not listed anew").toBe(1);
  });

  test("an answer of 410, 429, 500 and plain nonsense in place of a watch: it goes on", async () => {
    const answers = [
      Response.json(
        { kind: "Status", status: "Failure", reason: "Expired", message: "too old", code: 410 },
        { status: 410 },
      ),
      Response.json({ kind: "Status", status: "Failure", code: 429 }, { status: 429, headers: { "retry-after": "0" } }),
      new Response("boom", { status: 500 }),
      new Response("<html>not what was asked for</html>\n", { status: 200 }),
      new Response('{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old"}}\n'),
    ];
    const proxy = await proxied({
      answer: (request) => (request.url.includes("watch=") ? answers.shift() : undefined),
    });
    const seen = mirror(proxy.kubeconfig("reader"));
    await until("synced", () => seen.counts.synced > 0);
    await until("all of them were given", () => answers.length === 0);
    await churn(20, 13);
    await converges(seen);
    expect(seen.errors.join()).not.toContain(server.token("reader"));
  });

  test("the API server is killed and restarted in the middle", async () => {
    const seen = mirror(server.kubeconfig("reader"));
    await until("synced", () => seen.counts.synced > 0);
    await churn(20, 14);
    await server.kill();
    await server.restart();
    await server.request("POST", root, object("after-restart", 7));
    await converges(seen);
  });

  test("etcd was compacted while the API server was down: a new list, and the difference", async () => {
    const seen = mirror(server.kubeconfig("reader"));
    await server.request("POST", root, object("stays", 1));
    await server.request("POST", root, object("goes", 2));
    await until("both are known", () => seen.objects.size === 2);
    const proxy = await proxied();
    const late = mirror(proxy.kubeconfig("reader"));
    await until("both are known", () => late.objects.size === 2);
    proxy.fault.hold = true;
    await server.request("DELETE", `${root}/goes`);
    await churn(30, 15);
    await server.kill();
    await server.compact();
    await server.restart();
    proxy.cut();
    proxy.fault.hold = false;
    await converges(late);
    await converges(seen);
  });

  test("a token that expires, and a token file that is renewed", async () => {
    const tokenFile = `${server.folder}/renewed-${mode}`;
    const account = { namespace: "default", name: "watcher" };
    await server.apply({
      ...{ apiVersion: "rbac.authorization.k8s.io/v1", kind: "ClusterRoleBinding", metadata: { name: "watcher" } },
      roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "readers" },
      subjects: [{ kind: "ServiceAccount", ...account }],
    });
    await Bun.write(tokenFile, await server.serviceAccountToken({ ...account, seconds: -10 }));
    const seen = mirror(server.kubeconfig("reader", { tokenFile }));
    await until("it was refused", () => seen.counts.failed > 0);
    await server.request("POST", root, object("late", 3));
    await Bun.write(tokenFile, await server.serviceAccountToken(account));
    await until("synced", () => seen.counts.synced > 0);
    await converges(seen);
    expect(seen.errors.join()).toMatch(/unauthori[sz]ed|401|not let in|credential/i);
  });

  test("a CA that does not match: reported, and nothing is sent", async () => {
    const proxy = await proxied();
    const seen = mirror(server.kubeconfig("reader", { server: proxy.url }));
    await until("it was reported", () => seen.counts.failed > 0);
    expect(seen.errors[0]).toMatch(/certificate/i);
    expect(proxy.requests).toEqual([]);
  });
});
