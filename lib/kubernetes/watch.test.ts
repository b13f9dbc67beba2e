import { describe, expect, test } from "vitest";
import { failure, PODS, useFaultServer } from "./fault-bench.ts";
import { status, until } from "./fault-server.ts";
import type { KubernetesObject } from "./wire.ts";

const bench = useFaultServer();

describe("watches", () => {
  const pod = (name: string, resourceVersion = "1") => ({ metadata: { name, resourceVersion } });
  const collect = async (watch: AsyncIterable<{ type: string; object: KubernetesObject }>) => {
    const seen: string[] = [];
    for await (const { type, object } of watch) seen.push(`${type} ${object.metadata?.name}`);
    return seen;
  };

  test("deliver events as they come, and end when the API server ends them", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => {
      const stream = answer.stream();
      stream.event("ADDED", pod("a"));
      stream.event("BOOKMARK", pod("-"));
      stream.event("DELETED", pod("a"));
      stream.end();
    });
    const watch = kubernetes.watch(PODS, {
      resourceVersion: "7",
      timeoutSeconds: 300,
      query: { fieldSelector: "a=b" },
    });
    expect(await collect(watch)).toEqual(["ADDED a", "BOOKMARK -", "DELETED a"]);
    expect(Object.fromEntries(bench.server.asked[0]!.query)).toEqual({
      watch: "true",
      allowWatchBookmarks: "true",
      resourceVersion: "7",
      timeoutSeconds: "300",
      fieldSelector: "a=b",
    });
  });

  test("hold through chunks of one byte, within characters too, and keep integers for those who want them", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => {
      const stream = answer.stream();
      const bytes = new TextEncoder().encode(
        '{"type":"ADDED","object":{"metadata":{"name":"zürich-東京"},"n":1767225600123456789}}\n',
      );
      void (async () => {
        for (const byte of bytes) {
          stream.write(Uint8Array.of(byte));
          await new Promise((resolve) => setImmediate(resolve));
        }
        stream.end();
      })();
    });
    const seen: unknown[] = [];
    for await (const { object } of kubernetes.watch(PODS, {
      parse: (text) => JSON.parse(text.replace(/\d{19}/, '"$&"')),
    }))
      seen.push(object);
    expect(seen).toEqual([{ metadata: { name: "zürich-東京" }, n: "1767225600123456789" }]);
  });

  test("end at once when the signal aborts, also while nothing comes, and close their connection", async () => {
    let closed = false;
    const kubernetes = bench.open({}, (asked, answer) => {
      asked.socket.on("close", () => {
        closed = true;
      });
      answer.stream().event("ADDED", pod("a"));
    });
    const ending = new AbortController();
    const seen: string[] = [];
    for await (const { type } of kubernetes.watch(PODS, { signal: ending.signal })) {
      seen.push(type);
      setTimeout(() => ending.abort(), 5);
    }
    expect(seen).toEqual(["ADDED"]);
    await until(() => closed, "the connection to be closed");
    expect(await collect(kubernetes.watch(PODS, { signal: ending.signal }))).toEqual([]);
  });

  test("close their connection when the reader leaves", async () => {
    let closed = false;
    const kubernetes = bench.open({}, (asked, answer) => {
      asked.socket.on("close", () => {
        closed = true;
      });
      answer.stream().event("ADDED", pod("a"));
    });
    for await (const _ of kubernetes.watch(PODS)) break;
    await until(() => closed, "the connection to be closed");
  });

  test("an ERROR event is thrown as what it stands for", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => {
      const stream = answer.stream();
      stream.event("ERROR", status(410, "Expired", "too old resource version: 5 (9)"));
    });
    const error = await failure(collect(kubernetes.watch(PODS)));
    expect(error).toMatchObject({ code: "GONE", status: 410 });
    expect(error.message).toContain("watch pods in namespace default: too old resource version: 5 (9)");
  });

  test("a refusal is thrown", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => answer.json(status(403, "Forbidden", "no"), 403));
    expect(await failure(collect(kubernetes.watch(PODS)))).toMatchObject({ code: "FORBIDDEN" });
  });

  test("a stream that breaks off is CONNECTION, in the middle of an event or between two", async () => {
    for (const rest of ["", '{"type":"ADD']) {
      const kubernetes = bench.open({}, (_asked, answer) => {
        const stream = answer.stream();
        stream.event("ADDED", pod("a"));
        stream.write(rest);
        setTimeout(() => stream.drop(), 20);
      });
      expect(await failure(collect(kubernetes.watch(PODS)))).toMatchObject({ code: "CONNECTION" });
    }
    const kubernetes = bench.open({}, (_asked, answer) => {
      const stream = answer.stream();
      stream.write('{"type":"ADD');
      stream.end();
    });
    expect((await failure(collect(kubernetes.watch(PODS)))).message).toContain("in the middle of an event");
  });

  test("what is not an event is SERVER", async () => {
    for (const line of ["no", "{}", '{"type":"OTHER","object":{}}', '{"type":"ADDED"}', "5", "null"]) {
      const kubernetes = bench.open({}, (_asked, answer) => answer.stream().write(`${line}\n`));
      expect(await failure(collect(kubernetes.watch(PODS)))).toMatchObject({ code: "SERVER" });
    }
  });

  test("silence is noticed when a limit is given; a slow reader is not silence", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => {
      const stream = answer.stream();
      stream.event("ADDED", pod("a"));
    });
    const seen: string[] = [];
    const work = (async () => {
      for await (const { type } of kubernetes.watch(PODS, { idleTimeout: 60 })) {
        await new Promise((resolve) => setTimeout(resolve, 120));
        seen.push(type);
      }
    })();
    expect((await failure(work)).message).toContain("the stream was silent for 0.06 s");
    expect(seen).toEqual(["ADDED"]);
  });

  test("a server that takes the request and says nothing is noticed", async () => {
    const kubernetes = bench.open({ timeout: 60 }, () => {});
    expect((await failure(collect(kubernetes.watch(PODS)))).message).toContain("no answer within 0.06 s");
  });

  test("the time limit of a request does not end a stream", async () => {
    const kubernetes = bench.open({ timeout: 40 }, (_asked, answer) => {
      const stream = answer.stream();
      setTimeout(() => {
        stream.event("ADDED", pod("late"));
        stream.end();
      }, 120);
    });
    expect(await collect(kubernetes.watch(PODS))).toEqual(["ADDED late"]);
  });
});
