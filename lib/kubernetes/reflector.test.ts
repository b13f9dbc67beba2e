import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from "vitest";
import { type Kubernetes, openKubernetes } from "./client.ts";
import { KubernetesError } from "./errors.ts";
import {
  type Answer,
  type Asked,
  type FaultServer,
  makeTestCertificates,
  startFaultServer,
  status,
  type TestCertificates,
  until,
} from "./fault-server.ts";
import { type ReflectOptions, type ReflectorEvent, reflect } from "./index.ts";
import type { KubernetesObject } from "./wire.ts";

const PATH = { group: "crd.projectcalico.org", version: "v1", plural: "ippools" };

interface Pool extends KubernetesObject {
  spec?: { cidr: string };
}

const pool = (name: string, version: number, cidr = "10.0.0.0/16", uid = `u-${name}`): Pool => ({
  metadata: { name, uid, resourceVersion: String(version) },
  spec: { cidr },
});
const listed = (version: number, ...items: Pool[]) => ({
  apiVersion: "crd.projectcalico.org/v1",
  kind: "IPPoolList",
  metadata: { resourceVersion: String(version) },
  items,
});

let certificates: TestCertificates;
let server: FaultServer;
beforeAll(() => {
  certificates = makeTestCertificates();
});
afterAll(() => certificates?.remove());
// One a test: what an earlier test's reflector had sent must not be answered from the next one's script.
beforeEach(async () => {
  server = await startFaultServer(certificates);
});

const running: { ending: AbortController; done: Promise<void>; kubernetes: Kubernetes }[] = [];
afterEach(async () => {
  for (const { ending, done, kubernetes } of running.splice(0)) {
    ending.abort();
    await done;
    await kubernetes.close();
  }
  await server.close();
});

type Options<T> = Partial<ReflectOptions<Pool, T>> & { readonly token?: string };

/** What a reflector reports, as lines, and the picture that a reader of its events has. */
function start<T = Pool>(options: Options<T> = {}) {
  const { token, ...rest } = options;
  const auth = token ? ({ type: "tokenFile", file: token } as const) : server.config.auth;
  const kubernetes = openKubernetes({ ...server.config, auth });
  const ending = new AbortController();
  const seen: string[] = [];
  const failures: string[] = [];
  const picture = new Map<string, T>();
  const line = (event: ReflectorEvent<T>): string => {
    switch (event.type) {
      case "added":
      case "modified":
        picture.set(event.key, event.object);
        return `${event.type} ${event.key}@${event.resourceVersion}`;
      case "deleted":
        picture.delete(event.key);
        return `deleted ${event.key}`;
      case "failed":
        failures.push(event.error.message);
        return `failed ${event.error.code}`;
      default:
        return `${event.type} ${event.resourceVersion}`;
    }
  };
  const done = (async () => {
    const backoff = { first: 2, most: 20 };
    for await (const event of reflect<Pool, T>({ kubernetes, path: PATH, signal: ending.signal, backoff, ...rest }))
      seen.push(line(event));
  })();
  done.catch(() => {});
  running.push({ ending, done, kubernetes });
  return { seen, failures, picture, ending, done, sees: (what: string) => until(() => seen.includes(what), what) };
}

/** Answers lists and watches one after the other; the last of each again and again. */
function script(
  lists: ((answer: Answer, asked: Asked) => void)[],
  watches: ((answer: Answer, asked: Asked) => void)[],
) {
  const asked: string[] = [];
  server.handler = (one, answer) => {
    const isWatch = one.query.has("watch");
    const from = one.query.get("resourceVersion");
    asked.push(`${isWatch ? "watch" : "list"}${from === null ? "" : ` ${from}`}`);
    const steps = isWatch ? watches : lists;
    const step = steps.length > 1 ? steps.shift()! : steps[0]!;
    step(answer, one);
  };
  return asked;
}
const silent = (answer: Answer) => void answer.stream();

describe("a reflector", () => {
  test("lists, then watches from there", async () => {
    const asked = script(
      [(answer) => answer.json(listed(10, pool("a", 3), pool("b", 7)))],
      [
        (answer) => {
          const stream = answer.stream();
          stream.event("MODIFIED", pool("a", 11));
          stream.event("ADDED", pool("c", 12));
          stream.event("DELETED", pool("b", 13));
          stream.event("BOOKMARK", { metadata: { resourceVersion: "20" } });
        },
      ],
    );
    const { seen, sees, picture } = start();
    await sees("bookmark 20");
    expect(seen).toEqual([
      "added a@3",
      "added b@7",
      "synced 10",
      "modified a@11",
      "added c@12",
      "deleted b",
      "bookmark 20",
    ]);
    expect([...picture.keys()]).toEqual(["a", "c"]);
    expect(asked).toEqual(["list", "watch 10"]);
  });

  test("resumes where it was when the API server ends the watch, without listing", async () => {
    const asked = script(
      [(answer) => answer.json(listed(10))],
      [
        (answer) => {
          const stream = answer.stream();
          stream.event("ADDED", pool("a", 11));
          stream.end();
        },
        (answer) => {
          const stream = answer.stream();
          stream.event("BOOKMARK", { metadata: { resourceVersion: "30" } });
          stream.end();
        },
        silent,
      ],
    );
    const { seen } = start();
    await until(() => asked.length === 4);
    expect(asked).toEqual(["list", "watch 10", "watch 11", "watch 30"]);
    expect(seen).toEqual(["synced 10", "added a@11", "bookmark 30"]);
  });

  test("resumes after a disconnect, and does not repeat what it delivered", async () => {
    const asked = script(
      [(answer) => answer.json(listed(10, pool("a", 5)))],
      [
        (answer) => {
          const stream = answer.stream();
          stream.event("MODIFIED", pool("a", 11));
          setTimeout(() => stream.drop(), 20);
        },
        (answer) => {
          const stream = answer.stream();
          stream.event("MODIFIED", pool("a", 11));
          stream.event("MODIFIED", pool("a", 12));
        },
      ],
    );
    const { seen, sees } = start();
    await sees("modified a@12");
    expect(seen).toEqual(["added a@5", "synced 10", "modified a@11", "failed CONNECTION", "modified a@12"]);
    expect(asked).toEqual(["list", "watch 10", "watch 11"]);
  });

  test.each(["an ERROR event", "an answer"])(
    "a lost revision, told by %s: lists again and reports the difference",
    async (how) => {
      const gone = status(410, "Expired", "too old resource version");
      const lists = [
        listed(10, pool("same", 1), pool("changed", 2), pool("gone", 3), pool("remade", 4)),
        listed(50, pool("same", 1), pool("changed", 40, "10.9.0.0/16"), pool("new", 41), pool("remade", 42, "", "u-2")),
      ];
      script(
        lists.map((list) => (answer: Answer) => answer.json(list)),
        [(answer) => (how === "an answer" ? answer.json(gone, 410) : answer.stream().event("ERROR", gone)), silent],
      );
      const { seen, sees, picture } = start();
      await sees("synced 50");
      expect(seen.slice(5)).toEqual([
        "modified changed@40",
        "added new@41",
        "deleted remade",
        "added remade@42",
        "deleted gone",
        "synced 50",
      ]);
      expect([...picture.keys()].sort()).toEqual(["changed", "new", "remade", "same"]);
    },
  );

  test("a list that loses its continue token in the middle still tells what is there", async () => {
    const first = { ...listed(10, pool("a", 1), pool("b", 2)), metadata: { resourceVersion: "10", continue: "x" } };
    script(
      [
        (answer) => answer.json(first),
        (answer) => answer.json(status(410, "Expired", "old token"), 410),
        (answer) => answer.json(listed(20, pool("b", 2), pool("c", 15))),
      ],
      [silent],
    );
    const { seen, sees } = start();
    await sees("synced 20");
    expect(seen).toEqual(["added a@1", "added b@2", "added c@15", "deleted a", "synced 20"]);
  });

  test("goes on through refusals and nonsense, waiting longer each time", async () => {
    script(
      [
        (answer) => answer.json(status(403, "Forbidden", "no"), 403),
        (answer) => answer.text("<html>", 200),
        (answer) => answer.json(status(500, "InternalError", "no"), 500),
        (answer) => answer.json(listed(10, pool("a", 1))),
      ],
      [silent],
    );
    const { seen, sees } = start({ random: () => 0 });
    await sees("synced 10");
    expect(seen).toEqual(["failed FORBIDDEN", "failed SERVER", "failed SERVER", "added a@1", "synced 10"]);
  });

  test("waits between first and most, doubled and with jitter", async () => {
    script([(answer) => answer.json(status(500, "InternalError", "no"), 500)], [silent]);
    const waits: number[] = [];
    const kubernetes = openKubernetes(server.config);
    const options = { kubernetes, path: PATH, backoff: { first: 1, most: 5 }, random: () => 0.5 };
    for await (const event of reflect(options)) {
      if (event.type === "failed") waits.push(event.wait);
      if (waits.length === 5) break;
    }
    await kubernetes.close();
    expect(waits).toEqual([1.5, 3, 6, 7.5, 7.5]);
  });

  test("survives a restart of the API server", async () => {
    const watches = [silent, (answer: Answer) => answer.stream().event("ADDED", pool("b", 11))];
    const asked = script([(answer) => answer.json(listed(10, pool("a", 1)))], watches);
    const { seen, sees, failures } = start();
    await until(() => asked.length === 2);
    await server.close();
    await until(() => failures.some((one) => one.includes("connection refused")));
    await server.open();
    await sees("added b@11");
    expect(asked).toEqual(["list", "watch 10", "watch 10"]);
    expect(seen.slice(0, 2)).toEqual(["added a@1", "synced 10"]);
  });

  test("goes on with a token that was rotated while it watched", async () => {
    const token = certificates.write("reflector-token", "one");
    let good = "one";
    server.handler = (asked, answer) => {
      if (asked.headers.authorization !== `Bearer ${good}`)
        answer.json(status(401, "Unauthorized", "Unauthorized"), 401);
      else if (!asked.query.has("watch")) answer.json(listed(10, pool("a", 1)));
      else if (good === "one") {
        const stream = answer.stream();
        good = "two";
        certificates.write("reflector-token", good);
        setTimeout(() => stream.drop(), 20);
      } else answer.stream().event("ADDED", pool("b", 11));
    };
    const { seen, sees } = start({ token });
    await sees("added b@11");
    expect(seen).toEqual(["added a@1", "synced 10", "failed CONNECTION", "added b@11"]);
  });

  test("opens a silent stream anew", async () => {
    const asked = script(
      [(answer) => answer.json(listed(10))],
      [silent, (answer) => answer.stream().event("ADDED", pool("a", 11))],
    );
    const { sees, failures } = start({ idleTimeout: 40 });
    await sees("added a@11");
    expect(failures[0]).toContain("silent for 0.04 s");
    expect(asked.slice(0, 3)).toEqual(["list", "watch 10", "watch 10"]);
  });

  test("events out of order are not believed: the list is", async () => {
    const asked = script(
      [
        (answer) => answer.json(listed(10, pool("a", 1))),
        (answer) => answer.json(listed(13, pool("b", 12, "10.2.0.0/16"))),
      ],
      [
        (answer) => {
          const stream = answer.stream();
          stream.event("DELETED", pool("a", 13));
          stream.event("ADDED", pool("b", 11, "10.1.0.0/16"));
          stream.event("MODIFIED", pool("a", 9));
        },
        silent,
      ],
    );
    const { seen, picture } = start();
    await until(() => asked.length === 4);
    expect(seen).toEqual(["added a@1", "synced 10", "deleted a", "failed SERVER", "added b@12", "synced 13"]);
    expect(picture.get("b")?.spec?.cidr).toBe("10.2.0.0/16");
    expect(asked).toEqual(["list", "watch 10", "list", "watch 13"]);
  });

  test("a resource that is not there yet, and one that goes away", async () => {
    const missing = (answer: Answer) => answer.text("404 page not found", 404);
    script(
      [missing, (answer) => answer.json(listed(10, pool("a", 1))), missing, (answer) => answer.json(listed(30))],
      [missing, silent],
    );
    const { seen, sees } = start();
    await sees("synced 30");
    expect(seen).toEqual([
      "failed NOT_FOUND",
      "added a@1",
      "synced 10",
      "failed NOT_FOUND",
      "failed NOT_FOUND",
      "deleted a",
      "synced 30",
    ]);
  });

  test("an API server whose revisions began again further back", async () => {
    const tooLarge = status(504, "Timeout", "Too large resource version: 1000, current: 10", {
      causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    });
    script(
      [
        (answer) => answer.json(listed(1000, pool("a", 900), pool("b", 901))),
        (answer) => answer.json(tooLarge, 504),
        (answer) => answer.json(listed(10, pool("a", 5, "10.5.0.0/16", "older"))),
      ],
      [(answer) => answer.json(tooLarge, 504), silent],
    );
    const { sees, picture } = start({ fromCache: true });
    await sees("synced 10");
    expect([...picture].map(([key, { spec }]) => [key, spec?.cidr])).toEqual([["a", "10.5.0.0/16"]]);
  });

  test("after etcd was restored from a backup, objects go back to what they were, and forward again", async () => {
    const asked = script(
      [
        (answer) => answer.json(listed(100, pool("a", 90, "10.9.0.0/16"), pool("b", 40))),
        (answer) => answer.json(listed(50, pool("a", 30, "10.3.0.0/16"), pool("b", 40))),
      ],
      [
        // Where the API server stands now: behind what is known.
        (answer) => answer.stream().event("BOOKMARK", { metadata: { resourceVersion: "50" } }),
        (answer) => answer.stream().event("MODIFIED", pool("a", 51, "10.5.0.0/16")),
      ],
    );
    const { seen, sees, picture } = start();
    await sees("modified a@51");
    expect(seen).toEqual([
      "added a@90",
      "added b@40",
      "synced 100",
      "failed SERVER",
      "modified a@30",
      "synced 50",
      "modified a@51",
    ]);
    expect(picture.get("a")?.spec?.cidr).toBe("10.5.0.0/16");
    expect(asked).toEqual(["list", "watch 100", "list", "watch 50"]);
  });

  test("a watch that fails at the same place again and again gives way to a list", async () => {
    const broken = (answer: Answer) =>
      answer.stream().event("ERROR", status(500, "InternalError", "unable to transform key"));
    const asked = script(
      [(answer) => answer.json(listed(10)), (answer) => answer.json(listed(30, pool("a", 25)))],
      [broken, broken, broken, silent],
    );
    const { seen, sees } = start();
    await sees("synced 30");
    await until(() => asked.length === 6);
    expect(asked).toEqual(["list", "watch 10", "watch 10", "watch 10", "list", "watch 30"]);
    expect(seen.filter((one) => one.startsWith("failed"))).toEqual(Array(3).fill("failed SERVER"));
  });

  test("a cache that lags behind what was watched is not asked to list; where revisions went back, etcd is", async () => {
    const tooLarge = status(504, "Timeout", "Too large resource version: 20, current: 15", {
      causes: [{ reason: "ResourceVersionTooLarge", message: "Too large resource version" }],
    });
    const asked = script(
      [
        (answer) => answer.json(listed(10)),
        (answer) => answer.json(tooLarge, 504),
        (answer) => answer.json(listed(21, pool("a", 20))),
      ],
      [
        (answer) => {
          const stream = answer.stream();
          stream.event("ADDED", pool("a", 20));
          stream.event("ERROR", status(410, "Expired", "compacted"));
        },
        silent,
      ],
    );
    const { sees } = start({ fromCache: true });
    await sees("synced 21");
    expect(asked.slice(0, 4)).toEqual(["list 0", "watch 10", "list 20", "list"]);
  });

  test.each<["list" | "watch"]>([["list"], ["watch"]])(
    "a %s that only ever times out is tried less and less often",
    async (what) => {
      let now = 0;
      const clock = vi.spyOn(performance, "now").mockImplementation(() => now);
      const timeout = () => {
        now += 30_000;
        throw new KubernetesError("CONNECTION", "no answer within 30 s");
      };
      const kubernetes = {
        name: "kubernetes",
        async *listPages() {
          if (what === "list") timeout();
          yield { items: [], resourceVersion: "1", restarted: false, last: true };
        },
        watch: () => ({ [Symbol.asyncIterator]: () => ({ next: async () => timeout() }) }),
      } as unknown as Kubernetes;
      const waits: number[] = [];
      const options = { kubernetes, path: PATH, backoff: { first: 1, most: 8 }, random: () => 0 };
      try {
        for await (const event of reflect(options)) {
          if (event.type === "failed") waits.push(event.wait);
          if (waits.length === 5) break;
        }
      } finally {
        clock.mockRestore();
      }
      expect(waits).toEqual([1, 2, 4, 8, 8]);
    },
  );

  test("keeps what it is told to, and reports what stops counting as deleted", async () => {
    script(
      [(answer) => answer.json(listed(10, pool("a", 1, "keep 1"), pool("b", 2, "drop")))],
      [
        (answer) => {
          const stream = answer.stream();
          stream.event("MODIFIED", pool("b", 11, "keep 2"));
          stream.event("MODIFIED", pool("a", 12, "drop"));
          stream.event("DELETED", pool("a", 13, "drop"));
          stream.event("MODIFIED", pool("b", 14, "keep 3"));
        },
      ],
    );
    const transform = ({ spec }: Pool) => (spec?.cidr.startsWith("keep") ? spec.cidr : undefined);
    const { seen, sees, picture } = start({ transform });
    await sees("modified b@14");
    expect(seen).toEqual(["added a@1", "synced 10", "added b@11", "deleted a", "modified b@14"]);
    expect([...picture]).toEqual([["b", "keep 3"]]);
  });

  test("may begin at a revision: changes and deletions of what it never saw are told as such", async () => {
    const asked = script(
      [],
      [
        (answer) => {
          const stream = answer.stream();
          stream.event("MODIFIED", pool("a", 11));
          stream.event("DELETED", pool("b", 12));
          stream.event("ADDED", pool("c", 13));
        },
      ],
    );
    const { seen, sees } = start({ resourceVersion: "10" });
    await sees("added c@13");
    expect(seen).toEqual(["modified a@11", "deleted b", "added c@13"]);
    expect(asked).toEqual(["watch 10"]);
  });

  test("from the cache at first, and never further back than it was", async () => {
    const queries: Record<string, string>[] = [];
    script(
      [
        (answer, { query }) => {
          queries.push(Object.fromEntries(query));
          answer.json(listed(10));
        },
      ],
      [(answer) => answer.json(status(410, "Gone", "gone"), 410), silent],
    );
    const { seen } = start({ fromCache: true });
    await until(() => seen.length === 2);
    expect(queries).toEqual([
      { resourceVersion: "0", resourceVersionMatch: "NotOlderThan", limit: "500" },
      { resourceVersion: "10", resourceVersionMatch: "NotOlderThan", limit: "500" },
    ]);
  });
});

describe("ends at once when the signal aborts", () => {
  test.each<[string, (answer: Answer) => void, (answer: Answer) => void]>([
    ["while it lists", () => {}, silent],
    ["while it watches", (answer) => answer.json(listed(1)), silent],
    ["while it opens a watch", (answer) => answer.json(listed(1)), () => {}],
    ["while it waits to try again", (answer) => answer.text("no", 500), silent],
  ])("%s", async (_name, list, watch) => {
    const asked = script([list], [watch]);
    const { ending, done, seen } = start({ backoff: { first: 600_000, most: 600_000 } });
    await until(
      () => asked.length === 2 || (asked.length === 1 && _name.includes("lists")) || seen.includes("failed SERVER"),
    );
    ending.abort();
    await done;
  });

  test("before it begins", async () => {
    const asked = script([silent], [silent]);
    const kubernetes = openKubernetes(server.config);
    for await (const _ of reflect({ kubernetes, path: PATH, signal: AbortSignal.abort() })) throw new Error("an event");
    expect(asked).toEqual([]);
    await kubernetes.close();
  });
});

/** A change of the world, or a fault. */
type Step =
  | { readonly do: "put" | "delete"; readonly name: string }
  | { readonly do: "end" | "drop" | "compact" | "restart" };

describe("whatever happens, the picture is in the end what is there", () => {
  test("random changes and faults", async () => {
    const name = fc.constantFrom("a", "b", "c", "d");
    const step: fc.Arbitrary<Step> = fc.oneof(
      { weight: 5, arbitrary: fc.record({ do: fc.constantFrom("put", "delete"), name }) },
      { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("end", "drop", "compact") }) },
    );
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 25 }), fc.integer({ min: 1, max: 3 }), async (steps, limit) => {
        const world = new World();
        server.handler = (asked, answer) => world.answer(asked, answer);
        const { picture, ending, done } = start({ limit });
        for (const one of steps) {
          world.apply(one);
          await new Promise((resolve) => setImmediate(resolve));
        }
        world.apply({ do: "put", name: "last" });
        const wanted = () => JSON.stringify([...world.objects].map(([key, { metadata }]) => [key, metadata]).sort());
        const have = () => JSON.stringify([...picture].map(([key, { metadata }]) => [key, metadata]).sort());
        await until(() => have() === wanted(), `the picture ${wanted()}`);
        ending.abort();
        await done;
      }),
      { numRuns: 40 },
    );
  });
});

/** A small API server for one resource: history, pages, compaction. */
class World {
  readonly objects = new Map<string, Pool>();
  #revision = 100;
  #oldest = 100;
  readonly #history: { revision: number; type: string; object: Pool }[] = [];
  readonly #streams = new Set<ReturnType<Answer["stream"]>>();

  apply(step: Step): void {
    switch (step.do) {
      case "put":
      case "delete": {
        const before = this.objects.get(step.name);
        if (step.do === "delete" && !before) return;
        this.#revision++;
        const uid = before?.metadata?.uid ?? `u${this.#revision}`;
        const object = pool(step.name, this.#revision, "10.0.0.0/16", uid);
        if (step.do === "put") this.objects.set(step.name, object);
        else this.objects.delete(step.name);
        const type = step.do === "delete" ? "DELETED" : before ? "MODIFIED" : "ADDED";
        this.#history.push({ revision: this.#revision, type, object });
        for (const stream of this.#streams) stream.event(type, object);
        return;
      }
      case "compact":
        this.#oldest = this.#revision;
        for (const stream of this.#streams) stream.event("ERROR", status(410, "Expired", "compacted"));
        break;
      case "end":
        for (const stream of this.#streams) stream.end();
        break;
      default:
        for (const stream of this.#streams) stream.drop();
    }
    this.#streams.clear();
  }

  answer(asked: Asked, answer: Answer): void {
    const from = Number(asked.query.get("resourceVersion"));
    if (!asked.query.has("watch")) this.#list(asked, answer);
    else if (from < this.#oldest) answer.json(status(410, "Expired", "too old"), 410);
    else this.#watch(from, asked, answer);
  }

  #watch(from: number, asked: Asked, answer: Answer): void {
    const stream = answer.stream();
    for (const { revision, type, object } of this.#history) if (revision > from) stream.event(type, object);
    this.#streams.add(stream);
    asked.socket.on("close", () => this.#streams.delete(stream));
  }

  /** The continue token holds the list's revision and snapshot's place. */
  readonly #snapshots = new Map<string, { revision: number; rest: Pool[] }>();
  #list(asked: Asked, answer: Answer): void {
    const token = asked.query.get("continue");
    const snapshot = token
      ? this.#snapshots.get(token)!
      : { revision: this.#revision, rest: [...this.objects.values()] };
    if (snapshot.revision < this.#oldest) {
      answer.json(status(410, "Expired", "the token is too old"), 410);
      return;
    }
    const limit = Number(asked.query.get("limit") ?? snapshot.rest.length);
    const rest = snapshot.rest.slice(limit);
    const next = rest.length === 0 ? undefined : `${snapshot.revision}-${rest.length}-${this.#snapshots.size}`;
    if (next) this.#snapshots.set(next, { revision: snapshot.revision, rest });
    const list = listed(snapshot.revision, ...snapshot.rest.slice(0, limit));
    answer.json({ ...list, metadata: { ...list.metadata, ...(next ? { continue: next } : {}) } });
  }
}
