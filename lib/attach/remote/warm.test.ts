import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { ClusterInformation } from "../../api/clusterinformation.ts";
import type { Kind } from "../../api/kind.ts";
import type { Namespace } from "../../api/kubernetes/namespace.ts";
import type { Pod } from "../../api/kubernetes/pod.ts";
import type { Resource } from "../../api/meta.ts";
import { type Client, DatastoreError, type WatchEvent, type WatchOptions } from "../../datastore/index.ts";
import { silentLogger } from "../../telemetry/index.ts";
import { WarmCluster } from "./warm.ts";

/** One kind's watch, which tells what the test has it tell. */
class Feed {
  options: WatchOptions | undefined;
  #events: WatchEvent<Resource>[] = [];
  #failure: Error | undefined;
  #wake = () => {};
  opened = 0;

  tell(...events: ["added" | "modified" | "deleted", Resource][]): void {
    for (const [type, resource] of events) this.#events.push({ type, resource, revision: "1" });
    this.#wake();
  }

  invalid(): void {
    this.#events.push({ type: "invalid", key: "/registry/…", error: new Error("not one"), revision: "1" });
    this.#wake();
  }

  fail(error: Error): void {
    this.#failure = error;
    this.#wake();
  }

  async *watch(options: WatchOptions): AsyncGenerator<WatchEvent<Resource>, void, undefined> {
    this.options = options;
    this.opened++;
    yield { type: "synced", revision: "1" };
    for (;;) {
      const event = this.#events.shift();
      if (event) {
        yield event;
        continue;
      }
      if (this.#failure) {
        const failure = this.#failure;
        this.#failure = undefined;
        throw failure;
      }
      if (options.signal?.aborted) return;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        options.signal?.addEventListener("abort", () => resolve());
      });
    }
  }
}

let feeds: Map<string, Feed>;
let warm: WarmCluster;
beforeEach(async () => {
  feeds = new Map(["Pod", "Namespace", "ClusterInformation"].map((kind) => [kind, new Feed()]));
  const watch = (kind: Kind, options: WatchOptions = {}) => feeds.get(kind.kind)!.watch(options);
  warm = new WarmCluster({ watch } as unknown as Client, "n1", silentLogger);
  await warm.inSync;
});
afterEach(() => warm.close());

const pod = (name: string, uid: string, annotations: Record<string, string> = {}): Pod => ({
  ...{ apiVersion: "v1", kind: "Pod" },
  metadata: { namespace: "a", name, uid, annotations },
  spec: { containers: [{ name: "main" }] },
});
const CONTAINER = "cni.projectcalico.org/containerID";
/** What was told is known. */
const heard = () => new Promise((resolve) => setImmediate(resolve));
const tell = async (...events: Parameters<Feed["tell"]>): Promise<void> => {
  feeds.get("Pod")!.tell(...events);
  await heard();
};

describe("a pod", () => {
  test("of this node is watched, and no other", () => expect(feeds.get("Pod")!.options?.index).toEqual({ node: "n1" }));

  test("is known by name and uid, once: what is attached after that has to read what the first left", async () => {
    await tell(["added", pod("web", "1")]);
    expect(warm.pod("a", "web", "2")).toBeUndefined();
    expect(warm.pod("b", "web", "1")).toBeUndefined();
    expect(warm.pod("a", "web", "1")?.metadata.uid).toBe("1");
    expect(warm.pod("a", "web", "1")).toBeUndefined();
    await tell(["modified", pod("web", "1")]);
    expect(warm.pod("a", "web", "1")).toBeUndefined();
  });

  test("to which something was attached is not known", async () => {
    await tell(["added", pod("web", "1", { [CONTAINER]: "c" })]);
    expect(warm.pod("a", "web", "1")).toBeUndefined();
    await tell(["added", pod("db", "2")], ["modified", pod("db", "2", { [CONTAINER]: "c" })]);
    expect(warm.pod("a", "db", "2")).toBeUndefined();
  });

  test("is known as it was told last", async () => {
    await tell(["added", pod("web", "1")], ["modified", pod("web", "1", { wish: "two" })]);
    expect(warm.pod("a", "web", "1")?.metadata.annotations).toEqual({ wish: "two" });
  });

  test("that replaces another of its name is a new one", async () => {
    await tell(["added", pod("web", "1")]);
    warm.pod("a", "web", "1");
    await tell(["deleted", pod("web", "1")], ["added", pod("web", "2")]);
    expect(warm.pod("a", "web", "1")).toBeUndefined();
    expect(warm.pod("a", "web", "2")).toBeDefined();
    await tell(["modified", pod("web", "3")]);
    expect(warm.pod("a", "web", "3")).toBeDefined();
  });

  test("that is gone is not known", async () => {
    await tell(["added", pod("web", "1")], ["deleted", pod("web", "1")]);
    expect(warm.pod("a", "web", "1")).toBeUndefined();
  });

  test("is read when one that cannot be understood may be it, and when the watch has ended", async () => {
    await tell(["added", pod("web", "1")]);
    feeds.get("Pod")!.invalid();
    await heard();
    expect(warm.pod("a", "web", "1")).toBeUndefined();
    await tell(["added", pod("db", "2")]);
    feeds.get("Pod")!.fail(new DatastoreError("UNAVAILABLE", "gone"));
    await heard();
    expect(warm.pod("a", "db", "2")).toBeUndefined();
  });
});

test("namespaces and the gate are known by name, as often as they are asked for", async () => {
  const namespace = { apiVersion: "v1", kind: "Namespace", metadata: { name: "a" }, spec: {} } as Namespace;
  feeds.get("Namespace")!.tell(["added", namespace]);
  const information = {
    ...{ apiVersion: "projectcalico.org/v3", kind: "ClusterInformation", metadata: { name: "default" } },
    spec: { datastoreReady: true },
  } as ClusterInformation;
  feeds.get("ClusterInformation")!.tell(["added", information]);
  await heard();
  for (let times = 0; times < 2; times++) {
    expect(warm.namespace("a")).toBe(namespace);
    expect(warm.information()).toBe(information);
  }
  expect(warm.namespace("b")).toBeUndefined();
  feeds.get("Namespace")!.tell(["deleted", namespace]);
  await heard();
  expect(warm.namespace("a")).toBeUndefined();
  warm.close();
  expect(warm.information()).toBeUndefined();
});

test("each watch is shared with whoever else in the process follows the same", () => {
  for (const [kind, { options }] of feeds) expect(options?.shared, kind).toBe(true);
});

test("a watch that has ended is begun anew", async () => {
  const feed = feeds.get("Namespace")!;
  feed.fail(new DatastoreError("UNAVAILABLE", "gone"));
  for (const end = Date.now() + 10_000; feed.opened < 2 && Date.now() < end; ) await Bun.sleep(20);
  expect(feed.opened).toBe(2);
});
