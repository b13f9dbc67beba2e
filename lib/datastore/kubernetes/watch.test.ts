import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { IPPool } from "../../api/ippool.ts";
import { Namespace } from "../../api/kubernetes/index.ts";
import { Node } from "../../api/node.ts";
import { type Kubernetes, KubernetesError, type KubernetesObject } from "../../kubernetes/index.ts";
import type { WatchEvent } from "../client.ts";
import { Watcher } from "../suite/support.ts";
import { KubernetesClient } from "./client.ts";

type Event = { readonly type: "ADDED" | "MODIFIED" | "DELETED" | "BOOKMARK"; readonly object: KubernetesObject };

const uidOf = (text: string): string =>
  `00000000-0000-4000-8000-${Buffer.from(text).toString("hex").padStart(12, "0").slice(-12)}`;

/** One collection of an API server, which tells what the test has it tell. */
class Server {
  lists = 0;
  /** Streams that are open. */
  open = 0;
  opened = 0;
  /** Events that were taken from it. */
  read = 0;
  refusal: KubernetesError | undefined;
  /** What a list waits for before its last object. */
  gate = Promise.resolve();
  readonly #objects = new Map<string, KubernetesObject>();
  #version = 1;
  #events: Event[] = [];
  readonly #wakes = new Set<() => void>();
  #break: KubernetesError | undefined;

  readonly kubernetes = {
    name: "kubernetes https://test",
    listPages: () => this.#pages(),
    watch: (_: object, options: { signal: AbortSignal; onOpen?: () => void }) => this.#stream(options),
    close: async () => {},
  } as unknown as Kubernetes;

  /** Changes an object; `uid` tells one from the next of its name. */
  put(name: string, value = "", uid = name): void {
    const type = this.#objects.has(name) ? "MODIFIED" : "ADDED";
    const metadata = { name, uid: uidOf(uid), resourceVersion: String(++this.#version), labels: { value } };
    this.#objects.set(name, {
      apiVersion: "v1",
      kind: "Namespace",
      metadata,
      spec: { cidr: "10.0.0.0/16" },
    } as KubernetesObject);
    this.#say({ type, object: this.#objects.get(name)! });
  }

  /** Changes a pool so that it cannot be read. */
  spoil(name: string): void {
    const metadata = { name, uid: uidOf(name), resourceVersion: String(++this.#version) };
    this.#say({ type: "MODIFIED", object: { metadata, spec: { cidr: 3 } } as KubernetesObject });
  }

  delete(name: string): void {
    const { metadata } = this.#objects.get(name)!;
    this.#objects.delete(name);
    this.#say({ type: "DELETED", object: { metadata: { ...metadata, resourceVersion: String(++this.#version) } } });
  }

  bookmark(): void {
    this.#say({ type: "BOOKMARK", object: { metadata: { resourceVersion: String(this.#version) } } });
  }

  /** Breaks the stream off. What happened meanwhile is not told when it is opened again. */
  break(error = new KubernetesError("CONNECTION", "it broke off")): void {
    this.#break = error;
    this.#wake();
  }

  #wake(): void {
    for (const wake of this.#wakes) wake();
    this.#wakes.clear();
  }

  #say(event: Event): void {
    this.#events.push(event);
    this.#wake();
  }

  async *#pages() {
    this.lists++;
    if (this.refusal) throw this.refusal;
    const items = [...this.#objects.values()];
    const metadata = { resourceVersion: String(this.#version) };
    this.#events = [];
    yield { items: items.slice(0, -1), resourceVersion: metadata.resourceVersion, restarted: false, last: false };
    await this.gate;
    yield { items: items.slice(-1), resourceVersion: metadata.resourceVersion, restarted: false, last: true };
  }

  async *#stream({ signal, onOpen }: { signal: AbortSignal; onOpen?: () => void }) {
    onOpen?.();
    this.open++;
    this.opened++;
    signal.addEventListener("abort", () => this.#wake());
    try {
      while (!signal.aborted) {
        const broken = this.#break;
        this.#break = undefined;
        if (broken) throw broken;
        const event = this.#events.shift();
        if (event) {
          this.read++;
          yield event;
          continue;
        }
        await new Promise<void>((resolve) => this.#wakes.add(resolve));
      }
    } finally {
      this.open--;
    }
  }
}

let server: Server;
let client: KubernetesClient;
let watchers: Watcher<Namespace>[];
beforeEach(() => {
  server = new Server();
  client = new KubernetesClient(server.kubernetes, { group: "v1" });
  watchers = [];
});
afterEach(async () => {
  await Promise.all(watchers.map((watcher) => watcher.stop().catch(() => undefined)));
  await until("nothing is open", () => server.open === 0);
});

const GONE = new KubernetesError("GONE", "too old resource version");
const SHARED = { shared: true } as const;
function follow(options: { readonly shared?: boolean; readonly from?: string } = SHARED): Watcher<Namespace> {
  const watcher = new Watcher(client, Namespace, options);
  watchers.push(watcher);
  return watcher;
}
const last = (told: string[], event: string): boolean => told.at(-1) === event;
const value = (event: WatchEvent<Namespace> | undefined): string | undefined =>
  event && "resource" in event ? event.resource.metadata.labels?.value : undefined;
async function until(what: string, holds: () => boolean): Promise<void> {
  for (const deadline = performance.now() + 20_000; !holds(); await Bun.sleep(5))
    if (performance.now() > deadline) throw new Error(`${what}: not within 20 s`);
}

describe("one watch for all who share it", () => {
  test("who comes later is told what is known, that it is all, and then what the others are told", async () => {
    server.put("a");
    server.put("b");
    const first = follow();
    await first.until((told) => last(told, "synced"));
    server.put("b", "two");
    server.delete("a");
    server.put("c");
    await first.until((told) => last(told, "added c"));
    const second = follow();
    expect(await second.until((told) => last(told, "synced"))).toEqual(["added b", "added c", "synced"]);
    expect(second.events.map(value)).toEqual(["two", "", undefined]);
    server.put("c", "two");
    server.delete("b");
    for (const watcher of [first, second]) await watcher.until((told) => last(told, "deleted b"));
    expect(second.told(3)).toEqual(["modified c", "deleted b"]);
    expect(first.told(6)).toEqual(["modified c", "deleted b"]);
    expect([server.lists, server.opened]).toEqual([1, 1]);
  });

  test("each has objects of its own", async () => {
    server.put("a", "one");
    const [first, second] = [follow(), follow()];
    for (const watcher of [first, second]) await watcher.until((told) => last(told, "synced"));
    const event = first.events[0]!;
    if ("resource" in event) event.resource.metadata.labels!.value = "changed";
    expect(value(second.events[0])).toBe("one");
    const third = follow();
    await third.count(1);
    expect(value(third.events[0])).toBe("one");
  });

  test("who comes in the middle of the first list is synced when that is over", async () => {
    server.put("a");
    server.put("b");
    const gate = Promise.withResolvers<void>();
    server.gate = gate.promise;
    const first = follow();
    await first.count(1);
    const second = follow();
    await second.count(1);
    expect(second.told()).toEqual(["added a"]);
    gate.resolve();
    for (const watcher of [first, second]) expect(await watcher.count(3)).toEqual(["added a", "added b", "synced"]);
    expect(server.lists).toBe(1);
  });

  test("what cannot be read is told to who comes later as well; what it was stays in force for both", async () => {
    const pools = () => new Watcher(client, IPPool, SHARED);
    server.put("a");
    const first = pools();
    await first.count(2);
    server.spoil("a");
    const [, , invalid] = await first.count(3);
    expect(invalid).toMatch(/^invalid ippools.* a$/);
    const second = pools();
    expect(await second.count(3)).toEqual(["added a", invalid, "synced"]);
    server.put("a");
    for (const watcher of [first, second]) await watcher.until((told) => last(told, "modified a"));
    const third = pools();
    expect(await third.count(2)).toEqual(["added a", "synced"]);
    await Promise.all([first, second, third].map((watcher) => watcher.stop()));
  });

  test("another index, a revision, and who does not say so have watches of their own", async () => {
    follow();
    follow({});
    follow({ from: "1" });
    const [all, one] = [
      new Watcher(client, Node, SHARED),
      new Watcher(client, Node, { ...SHARED, index: { node: "a" } }),
    ];
    await until("all are open", () => server.open === 5);
    await Promise.all([all.stop(), one.stop()]);
    expect(server.lists).toBe(4);
  });

  test("ends with the last; who comes then begins anew", async () => {
    server.put("a");
    const [first, second] = [follow(), follow()];
    for (const watcher of [first, second]) await watcher.until((told) => last(told, "synced"));
    await first.stop();
    server.put("b");
    await second.until((told) => last(told, "added b"));
    expect([server.lists, server.open]).toEqual([1, 1]);
    await second.stop();
    await until("it is closed", () => server.open === 0);
    expect(await follow().count(3)).toEqual(["added a", "added b", "synced"]);
    expect(server.lists).toBe(2);
  });

  test("who throws leaves the others their watch", async () => {
    const other = follow();
    const thrown = (async () => {
      for await (const event of client.watch(Namespace, SHARED)) if (event.type === "added") throw new Error("mine");
    })();
    await other.count(1);
    server.put("a");
    await expect(thrown).rejects.toThrow("mine");
    server.put("b");
    await other.until((told) => last(told, "added b"));
    expect(server.lists).toBe(1);
  });

  test("who takes nothing keeps nobody waiting, and is told later what it comes to", async () => {
    server.put("a");
    server.put("gone");
    server.put("replaced");
    const stop = new AbortController();
    const slow = client.watch(Namespace, { ...SHARED, signal: stop.signal })[Symbol.asyncIterator]();
    const told: string[] = [];
    const next = async (): Promise<void> => {
      const { value: event } = (await slow.next()) as { value: WatchEvent<Namespace> };
      told.push(`${event.type}${"resource" in event ? ` ${event.resource.metadata.name} ${value(event)}` : ""}`);
    };
    for (let i = 0; i < 4; i++) await next();
    const quick = follow();
    await quick.count(4);
    told.length = 0;
    const many = 5_000;
    server.delete("gone");
    server.delete("replaced");
    server.put("replaced", "new", "another");
    for (let i = 1; i <= many; i++) server.put("a", String(i));
    server.put("brief");
    server.delete("brief");
    server.put("end");
    await quick.until((events) => last(events, "added end"));
    // None of them was made one with another for who takes them.
    expect(quick.events.filter(({ type }) => type === "modified")).toHaveLength(many);
    while (told.at(-1) !== "added end ") await next();
    expect(told.length).toBeLessThan(many / 2);
    expect(told.slice(0, 3)).toEqual(["deleted gone ", "deleted replaced ", "added replaced new"]);
    expect(told.filter((event) => event.startsWith("modified a")).at(-1)).toBe(`modified a ${many}`);
    server.put("a", "after");
    await next();
    expect(told.at(-1)).toBe("modified a after");
    stop.abort();
    expect((await slow.next()).done).toBe(true);
  });

  test("while nobody takes more, nothing is read", async () => {
    const slow = client.watch(Namespace, SHARED)[Symbol.asyncIterator]();
    await slow.next();
    for (let i = 0; i < 100; i++) server.put(`n${i}`);
    for (let i = 0; i < 10; i++) await Bun.sleep(0);
    expect(server.read).toBeLessThan(5);
    for (let i = 0; i < 100; i++) await slow.next();
    await slow.return?.();
    await until("it is closed", () => server.open === 0);
  });

  test("what ends it ends it for all, and they begin anew together", async () => {
    server.refusal = new KubernetesError("FORBIDDEN", "namespaces is forbidden");
    const refused = [follow(), follow()];
    for (const watcher of refused)
      await expect(watcher.until(() => false)).rejects.toMatchObject({ code: "UNAUTHORIZED" });
    expect(server.lists).toBe(1);
    server.refusal = undefined;
    const both = [follow(), follow()];
    for (const watcher of both) await watcher.until((told) => last(told, "synced"));
    expect(server.lists).toBe(2);
  });

  test("who stops is out of it at once, also when it takes nothing", async () => {
    const stop = new AbortController();
    const events = client.watch(Namespace, { ...SHARED, signal: stop.signal })[Symbol.asyncIterator]();
    await events.next();
    server.put("a");
    await until("it is open", () => server.open === 1);
    stop.abort();
    await until("it is closed", () => server.open === 0);
    expect((await events.next()).done).toBe(true);
  });

  test("who comes while the others take nothing, and nothing is there, need not wait for them", async () => {
    server.put("a");
    const stop = new AbortController();
    const slow = client.watch(Namespace, { ...SHARED, signal: stop.signal })[Symbol.asyncIterator]();
    await slow.next();
    await slow.next();
    const quick = follow();
    await quick.count(2);
    server.delete("a");
    await quick.until((told) => last(told, "deleted a"));
    stop.abort();
  });

  test("who comes while it is listed anew lists for himself, and who comes after him with him", async () => {
    server.put("a");
    server.put("z");
    const first = follow();
    await first.count(3);
    const gate = Promise.withResolvers<void>();
    server.gate = gate.promise;
    server.break(GONE);
    await until("it is listed", () => server.lists === 2);
    server.put("b");
    const late = [follow(), follow()];
    for (const watcher of late) expect(await watcher.count(2)).toEqual(["added a", "added z"]);
    expect(server.lists).toBe(3);
    gate.resolve();
    for (const watcher of late)
      expect(await watcher.until((told) => told.includes("synced"))).toEqual([
        "added a",
        "added z",
        "added b",
        "synced",
      ]);
  });

  test("who comes while the server refuses is told so at once; who was there before goes on", async () => {
    server.put("a");
    const first = follow();
    await first.count(2);
    server.refusal = new KubernetesError("FORBIDDEN", "namespaces is forbidden");
    server.break(GONE);
    await until("it is refused", () => server.lists === 2);
    const late = follow();
    await expect(late.until(() => false)).rejects.toMatchObject({ code: "UNAUTHORIZED" });
    expect([late.told(), server.lists]).toEqual([[], 3]);
    server.refusal = undefined;
    server.put("b");
    expect(await follow().count(3)).toEqual(["added a", "added b", "synced"]);
    await first.until((told) => last(told, "synced") && told.includes("added b"));
  });

  test("who comes after the stream broke off need not wait for the next event", async () => {
    server.put("a");
    const first = follow();
    await first.count(2);
    server.break();
    await until("it is noticed", () => server.open === 0);
    const [late, later] = [follow(), follow()];
    for (const watcher of [late, later]) expect(await watcher.count(2)).toEqual(["added a", "synced"]);
    expect(server.lists).toBe(2);
    expect(first.told()).toEqual(["added a", "synced"]);
  });
});
