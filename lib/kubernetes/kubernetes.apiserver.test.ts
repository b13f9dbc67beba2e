/** The transport and the reflector against a real API server. */
import type { V1ConfigMap } from "@kubernetes/client-node";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  inClusterConfig,
  type Kubernetes,
  KubernetesError,
  loadKubeconfig,
  openKubernetes,
  type ReflectorEvent,
  type ResourcePath,
  reflect,
  type Wire,
} from "./index.ts";
import { type ApiServer, apiServerMissing, startApiServer } from "./testing/index.ts";

type ConfigMap = Wire<V1ConfigMap>;

const missing = apiServerMissing();
const MAPS: ResourcePath = { group: "", version: "v1", plural: "configmaps", namespace: "default" };
const named = (name: string): ResourcePath => ({ ...MAPS, name });
const map = (name: string, data: Record<string, string> = {}) => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name },
  data,
});

async function until(condition: () => boolean, what: string): Promise<void> {
  for (const deadline = Date.now() + 30_000; !condition(); await new Promise((resolve) => setTimeout(resolve, 20)))
    if (Date.now() > deadline) throw new Error(`waited 30 s for ${what}`);
}

async function failure(work: Promise<unknown>): Promise<KubernetesError> {
  const error = await work.then(
    () => undefined,
    (one: unknown) => one,
  );
  expect(error).toBeInstanceOf(KubernetesError);
  return error as KubernetesError;
}

describe.skipIf(missing)(`against an API server${missing ? ` (skipped: ${missing})` : ""}`, () => {
  let server: ApiServer;
  let kubernetes: Kubernetes;
  beforeAll(async () => {
    server = await startApiServer({});
    kubernetes = openKubernetes(loadKubeconfig({ file: server.kubeconfig("admin") }));
  });
  afterAll(async () => {
    await kubernetes?.close();
    await server?.stop();
  });

  const opened: Kubernetes[] = [];
  const endings: { ending: AbortController; done: Promise<void> }[] = [];
  afterEach(async () => {
    for (const { ending, done } of endings.splice(0)) {
      ending.abort();
      await done;
    }
    for (const one of opened.splice(0)) await one.close();
  });
  const open = (...parameters: Parameters<typeof openKubernetes>): Kubernetes => {
    const one = openKubernetes(...parameters);
    opened.push(one);
    return one;
  };

  /** Follows the config maps of a label, and keeps what it is told. */
  function follow(label: string, using: Kubernetes = kubernetes) {
    const ending = new AbortController();
    const picture = new Map<string, ConfigMap>();
    const seen: string[] = [];
    const query = { labelSelector: `of=${label}` };
    const options = { kubernetes: using, path: MAPS, query, signal: ending.signal, backoff: { first: 50, most: 500 } };
    const note = (event: ReflectorEvent<ConfigMap>): void => {
      if (event.type === "added" || event.type === "modified") picture.set(event.key, event.object);
      if (event.type === "deleted") picture.delete(event.key);
      const about = event.type === "failed" ? event.error.code : "key" in event ? event.key : "";
      seen.push(`${event.type} ${about}`.trim());
    };
    const done = (async () => {
      for await (const event of reflect<ConfigMap>(options)) note(event);
    })();
    done.catch(() => {});
    endings.push({ ending, done });
    return { picture, seen };
  }
  const labelled = (label: string, name: string, data: Record<string, string> = {}) => ({
    ...map(name, data),
    metadata: { name, labels: { of: label } },
  });

  test("create, get, replace, patch, delete, with the conflicts they can have", async () => {
    const created = await kubernetes.create<ConfigMap>(MAPS, map("one", { a: "1" }));
    expect(await kubernetes.get<ConfigMap>(named("one"))).toEqual(created);
    expect(await failure(kubernetes.create(MAPS, map("one")))).toMatchObject({ code: "ALREADY_EXISTS", status: 409 });

    const replaced = await kubernetes.replace<ConfigMap>(named("one"), { ...created, data: { b: "2" } });
    expect(replaced.data).toEqual({ b: "2" });
    const stale = await failure(kubernetes.replace(named("one"), created));
    expect(stale).toMatchObject({ code: "CONFLICT", reason: "Conflict" });
    expect(stale.message).toContain("replace configmaps default/one: ");

    expect((await kubernetes.patch<ConfigMap>(named("one"), "merge", { data: { b: null, c: "3" } })).data).toEqual({
      c: "3",
    });
    expect((await kubernetes.patch<ConfigMap>(named("one"), "strategic", { data: { d: "4" } })).data).toMatchObject({
      c: "3",
      d: "4",
    });
    const json = [{ op: "remove", path: "/data/c" }];
    expect((await kubernetes.patch<ConfigMap>(named("one"), "json", json)).data).toEqual({ d: "4" });

    const preconditions = { uid: "00000000-0000-0000-0000-000000000000" };
    expect(await failure(kubernetes.delete(named("one"), { preconditions }))).toMatchObject({ code: "CONFLICT" });
    await kubernetes.delete(named("one"), { preconditions: { uid: created.metadata!.uid! } });
    expect(await failure(kubernetes.get(named("one")))).toMatchObject({ code: "NOT_FOUND", resourceMissing: false });
  });

  test("what the API server does not accept is named by field", async () => {
    const error = await failure(kubernetes.create(MAPS, map("Not_A_Name")));
    expect(error).toMatchObject({ code: "INVALID", status: 422 });
    expect(error.details?.causes?.[0]?.field).toBe("metadata.name");
    expect(error.message).toContain("create configmaps default/Not_A_Name");
  });

  test("a resource that is not served", async () => {
    const path = { group: "crd.projectcalico.org", version: "v1", plural: "ippools" };
    for (const work of [kubernetes.list(path), kubernetes.get({ ...path, name: "x" })])
      expect(await failure(work)).toMatchObject({ code: "NOT_FOUND", resourceMissing: true });
  });

  test("lists in pages, whole and each with its kind", async () => {
    const names = Array.from({ length: 7 }, (_, index) => `page-${index}`);
    for (const name of names) await kubernetes.create(MAPS, labelled("pages", name));
    const query = { labelSelector: "of=pages" };
    const list = await kubernetes.list<ConfigMap>(MAPS, { limit: 3, query });
    expect(list.items.map(({ metadata }) => metadata?.name)).toEqual(names);
    expect(list.items[0]).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
    const pages: number[] = [];
    for await (const page of kubernetes.listPages(MAPS, { limit: 3, query })) pages.push(page.items.length);
    expect(pages).toEqual([3, 3, 1]);
  });

  test("a continue token that etcd has compacted away: the list is whole all the same", async () => {
    const query = { labelSelector: "of=compacted" };
    for (const name of ["x", "y", "z"]) await kubernetes.create(MAPS, labelled("compacted", `compacted-${name}`));
    let restarted = 0;
    let found: string[] = [];
    for await (const page of kubernetes.listPages(MAPS, { limit: 1, query })) {
      if (page.restarted) {
        restarted++;
        found = [];
      }
      found.push(...page.items.map(({ metadata }) => metadata!.name!));
      if (found.length === 1 && restarted === 0) {
        await kubernetes.delete(named("compacted-y"));
        await server.compact();
        await server.restart();
      }
    }
    expect([found, restarted]).toEqual([["compacted-x", "compacted-z"], 1]);
  });

  test("a watch delivers what happens, and ends when it is told to", async () => {
    const { resourceVersion } = await kubernetes.list(MAPS);
    const ending = new AbortController();
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { type, object } of kubernetes.watch<ConfigMap>(MAPS, {
        resourceVersion,
        signal: ending.signal,
      })) {
        seen.push(`${type} ${object.metadata?.name}`);
        if (type === "DELETED") ending.abort();
      }
    })();
    await kubernetes.create(MAPS, map("watched", { text: "zürich 東京 🏔" }));
    await kubernetes.patch(named("watched"), "merge", { data: { more: "x".repeat(200_000) } });
    await kubernetes.delete(named("watched"));
    await watching;
    expect(seen).toEqual(["ADDED watched", "MODIFIED watched", "DELETED watched"]);
  });

  test("a watch from a revision that is gone is GONE", async () => {
    await server.compact();
    await server.restart();
    const watch = async () => {
      for await (const _ of kubernetes.watch(MAPS, { resourceVersion: "1" })) break;
    };
    expect(await failure(watch())).toMatchObject({ code: "GONE", status: 410 });
  });

  test("a reflector keeps its picture through a crash of the API server, with changes in between", async () => {
    for (const name of ["a", "b", "c"]) await kubernetes.create(MAPS, labelled("crash", `crash-${name}`));
    const { picture, seen } = follow("crash");
    await until(() => seen.includes("synced"), "the first list");
    await server.kill();
    await until(() => seen.includes("failed CONNECTION"), "the reflector to notice");
    await server.restart();
    await kubernetes.delete(named("crash-b"));
    await kubernetes.patch(named("crash-c"), "merge", { data: { changed: "yes" } });
    await kubernetes.create(MAPS, labelled("crash", "crash-d"));
    await until(() => picture.has("default/crash-d"), "what happened after the restart");
    expect([...picture.keys()].sort()).toEqual(["default/crash-a", "default/crash-c", "default/crash-d"]);
    expect(picture.get("default/crash-c")?.data).toEqual({ changed: "yes" });
  });

  test("a reflector whose revision is compacted away reports the difference", async () => {
    const name = (one: string) => `old-${one}`;
    for (const one of ["a", "b", "c"]) await kubernetes.create(MAPS, labelled("old", name(one)));
    const { picture, seen } = follow("old");
    await until(() => seen.includes("synced"), "the first list");
    await server.kill();
    await until(() => seen.includes("failed CONNECTION"), "the reflector to notice");
    // Past the API server, as another one would do it meanwhile.
    await server.writeRaw("/registry/configmaps/default/old-b", undefined);
    await server.compact();
    await server.restart();
    await until(() => !picture.has("default/old-b"), "the deletion");
    expect([...picture.keys()].sort()).toEqual(["default/old-a", "default/old-c"]);
  });

  test("a token that expired is read again from its file", async () => {
    const file = `${server.folder}/rotating-token`;
    await Bun.write(file, await server.serviceAccountToken({ namespace: "default", name: "rotating", seconds: -60 }));
    const config = {
      ...loadKubeconfig({ file: server.kubeconfig("admin") }),
      auth: { type: "tokenFile" as const, file },
    };
    const rotating = open(config);
    const refused = await failure(rotating.get(named("x")));
    expect(refused).toMatchObject({ code: "UNAUTHORIZED", status: 401 });
    expect(refused.message).toContain(`the token in ${file}`);
    await Bun.write(file, await server.serviceAccountToken({ namespace: "default", name: "rotating" }));
    const forbidden = await failure(rotating.get(named("x")));
    expect(forbidden).toMatchObject({ code: "FORBIDDEN", status: 403 });
    expect(forbidden.message).toContain('cannot get resource "configmaps"');
  });

  test("a pod's own configuration", async () => {
    const folder = `${server.folder}/serviceaccount`;
    await Bun.write(`${folder}/ca.crt`, server.ca);
    await Bun.write(`${folder}/token`, server.token("reader"));
    const env = { KUBERNETES_SERVICE_HOST: "127.0.0.1", KUBERNETES_SERVICE_PORT: String(server.port) };
    const list = await open(inClusterConfig(env, folder)).list(MAPS);
    expect(Number(list.resourceVersion)).toBeGreaterThan(0);
  });

  test("a CA that is not this cluster's", async () => {
    const other = open(loadKubeconfig({ file: server.kubeconfig("reader", { ca: "" }) }));
    expect((await failure(other.list(MAPS))).message).toContain("names no CA");
  });

  test("a server that hangs is left after the time limit, and works again after that", async () => {
    server.pause();
    try {
      const asked = async () => (await failure(kubernetes.get(named("x"), { timeout: 200 }))).message;
      // The signal stops one thread after the other, so an answer may still come.
      let message = await asked();
      for (let i = 0; i < 20 && message.includes("not found"); i++) message = await asked();
      expect(message).toContain("no answer within 0.2 s");
    } finally {
      server.resume();
    }
    expect(await failure(kubernetes.get(named("x")))).toMatchObject({ code: "NOT_FOUND" });
  });
});
