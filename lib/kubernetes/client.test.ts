import { describe, expect, test } from "vitest";
import { failure, POD, PODS, POOLS, SECRET, useFaultServer } from "./fault-bench.ts";
import { type Handler, status, until } from "./fault-server.ts";
import type { KubernetesObject } from "./wire.ts";

const bench = useFaultServer();

describe("requests", () => {
  test("say what they are about, and carry what they are given", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => answer.json({ metadata: { name: "x" } }));
    await kubernetes.get(POD);
    await kubernetes.get({ ...POOLS, name: "a/b?c" }, { query: { a: 1, b: undefined, c: "d&e" } });
    await kubernetes.create(POOLS, { metadata: { name: "p" } });
    await kubernetes.replace({ ...POD, subresource: "status" }, { kind: "Pod" });
    await kubernetes.patch(POD, "merge", { a: null });
    await kubernetes.patch(POD, "strategic", {});
    await kubernetes.patch(POD, "json", '[{"op":"remove","path":"/a"}]');
    await kubernetes.delete(POD);
    await kubernetes.delete(POD, { preconditions: { uid: "u", resourceVersion: "7" }, gracePeriodSeconds: 0 });
    await kubernetes.request("GET", "/version");
    const options =
      '{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"u","resourceVersion":"7"},"gracePeriodSeconds":0}';
    expect(bench.server.asked.map((one) => [one.method, one.url, one.headers["content-type"], one.body])).toEqual([
      ["GET", "/api/v1/namespaces/default/pods/web-0", undefined, ""],
      ["GET", "/apis/crd.projectcalico.org/v1/ippools/a%2Fb%3Fc?a=1&c=d%26e", undefined, ""],
      ["POST", "/apis/crd.projectcalico.org/v1/ippools", "application/json", '{"metadata":{"name":"p"}}'],
      ["PUT", "/api/v1/namespaces/default/pods/web-0/status", "application/json", '{"kind":"Pod"}'],
      ["PATCH", "/api/v1/namespaces/default/pods/web-0", "application/merge-patch+json", '{"a":null}'],
      ["PATCH", "/api/v1/namespaces/default/pods/web-0", "application/strategic-merge-patch+json", "{}"],
      [
        "PATCH",
        "/api/v1/namespaces/default/pods/web-0",
        "application/json-patch+json",
        '[{"op":"remove","path":"/a"}]',
      ],
      ["DELETE", "/api/v1/namespaces/default/pods/web-0", undefined, ""],
      ["DELETE", "/api/v1/namespaces/default/pods/web-0", "application/json", options],
      ["GET", "/version", undefined, ""],
    ]);
  });

  test("go over one connection, kept open", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => answer.json({}));
    const before = bench.server.connections();
    for (let i = 0; i < 5; i++) await kubernetes.get(POD);
    expect(bench.server.connections() - before).toBe(1);
  });

  test("do not go through the environment's proxy", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => answer.json({}));
    const before = process.env.HTTPS_PROXY;
    process.env.HTTPS_PROXY = "http://127.0.0.1:1";
    try {
      await kubernetes.get(POD);
    } finally {
      if (before === undefined) delete process.env.HTTPS_PROXY;
      else process.env.HTTPS_PROXY = before;
    }
  });

  test("are parsed as the caller wants", async () => {
    const text = '{"spec":{"sequenceNumber":1767225600123456789}}';
    const kubernetes = bench.open({}, (_asked, answer) => answer.text(text), { parse: (one: string) => one });
    expect(await kubernetes.get(POD)).toBe(text);
    expect(await kubernetes.get(POD, { parse: (one) => one.length })).toBe(text.length);
  });

  test("stop when the caller's signal aborts, with its reason", async () => {
    const kubernetes = bench.open({}, () => {});
    const ending = new AbortController();
    const work = kubernetes.get(POD, { signal: ending.signal });
    await until(() => bench.server.asked.length === 1);
    ending.abort(new Error("no longer wanted"));
    await expect(work).rejects.toThrow("no longer wanted");
    await expect(kubernetes.get(POD, { signal: ending.signal })).rejects.toThrow("no longer wanted");
  });

  test("stop when the client is closed", async () => {
    const kubernetes = bench.open({}, () => {});
    const work = failure(kubernetes.get(POD));
    await until(() => bench.server.asked.length === 1);
    await kubernetes.close();
    expect(await work).toMatchObject({ code: "CONNECTION" });
    expect((await failure(kubernetes.get(POD))).message).toContain("this connection is closed");
  });

  test("warnings are handed on", async () => {
    const warnings: string[] = [];
    const warning = '299 - "v1 is deprecated", 299 - "unknown field \\"a, b\\""';
    const kubernetes = bench.open({}, (_asked, answer) => answer.json({}, 200, { warning }), {
      onWarning: (text: string) => warnings.push(text),
    });
    await kubernetes.get(POD);
    expect(warnings).toEqual(["v1 is deprecated", 'unknown field \\"a, b\\"']);
  });
});

describe("errors", () => {
  test.each<[number, string, string, object]>([
    [400, "BadRequest", "INVALID", {}],
    [401, "Unauthorized", "UNAUTHORIZED", {}],
    [403, "Forbidden", "FORBIDDEN", {}],
    [404, "NotFound", "NOT_FOUND", { resourceMissing: false }],
    [409, "Conflict", "CONFLICT", {}],
    [409, "AlreadyExists", "ALREADY_EXISTS", {}],
    [410, "Expired", "GONE", {}],
    [422, "Invalid", "INVALID", {}],
    [500, "InternalError", "SERVER", {}],
  ])("%d %s is %s", async (code, reason, expected, more) => {
    const details = { name: "web-0", kind: "pods" };
    const kubernetes = bench.open({}, (_asked, answer) =>
      answer.json(status(code, reason, `said ${reason}`, details), code),
    );
    const error = await failure(kubernetes.get(POD));
    expect(error).toMatchObject({ code: expected, status: code, reason, details, doubtful: false, ...more });
    expect(error.message).toContain(`${bench.server.url}: get pods default/web-0: said ${reason}`);
  });

  test("a resource that is not served is told from an object that is not there", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => answer.text("404 page not found\n", 404));
    const error = await failure(kubernetes.list(POOLS));
    expect(error).toMatchObject({ code: "NOT_FOUND", resourceMissing: true });
    expect(error.message).toContain("list ippools.crd.projectcalico.org: 404 page not found (HTTP status 404)");
    expect(error.message).toContain("is its CustomResourceDefinition installed?");
  });

  test("what is not an API server is named so", async () => {
    const html: Handler = (_asked, answer) => answer.text("<html>Not here</html>", 502);
    expect((await failure(bench.open({}, html).get(POD))).message).toContain("is this a Kubernetes API server?");
    const page: Handler = (_asked, answer) => answer.text("<html>Welcome</html>", 200);
    expect(await failure(bench.open({}, page).get(POD))).toMatchObject({ code: "SERVER" });
    expect((await failure(bench.open({}, (_asked, answer) => answer.json({})).list(PODS))).message).toContain(
      "not a list",
    );
    const elsewhere: Handler = (_asked, answer) => answer.text("", 302, { location: `${bench.server.url}/login` });
    expect(await failure(bench.open({}, elsewhere).get(POD))).toMatchObject({ code: "SERVER", status: 302 });
    expect(bench.server.asked).toHaveLength(1);
  });

  test("a token does not come back in a message", async () => {
    const echo: Handler = (asked, answer) => answer.text(`bad header ${asked.headers.authorization}`, 400);
    const error = await failure(bench.open({ auth: { type: "token", token: SECRET } }, echo).get(POD));
    expect(error.message).toContain("bad header Bearer …");
  });

  test("a write that a gateway gave up on is doubtful, one that was refused is not", async () => {
    const answering = (code: number) => bench.open({}, (_asked, answer) => answer.text("no", code)).create(PODS, {});
    const error = await failure(answering(504));
    expect(error.doubtful).toBe(true);
    expect(error.message).toContain("may or may not have been carried out");
    expect((await failure(answering(403))).doubtful).toBe(false);
  });
});

describe("overload", () => {
  const busy = (code: number, times: number, headers: Record<string, string> = { "retry-after": "0" }): Handler => {
    let left = times;
    return (_asked, answer) =>
      left-- > 0 ? answer.json(status(code, "TooManyRequests", "busy"), code, headers) : answer.json({});
  };

  test.each([429, 503])("%d: asked again when the API server says so, writes too", async (code) => {
    const kubernetes = bench.open({}, busy(code, 2));
    await kubernetes.create(PODS, {});
    expect(bench.server.asked).toHaveLength(3);
  });

  test("only so often, and not beyond the time limit", async () => {
    expect(await failure(bench.open({}, busy(429, 99)).get(POD))).toMatchObject({ code: "TOO_MANY_REQUESTS" });
    expect(bench.server.asked).toHaveLength(10);
    expect(await failure(bench.open({ timeout: 1000 }, busy(429, 99, { "retry-after": "60" })).get(POD))).toMatchObject(
      {
        code: "TOO_MANY_REQUESTS",
        status: 429,
      },
    );
    expect(bench.server.asked).toHaveLength(1);
  });

  test("a 500 is tried again for reads that are told to, never for writes", async () => {
    await bench.open({}, busy(500, 1)).get(POD);
    expect(await failure(bench.open({}, busy(500, 1)).create(PODS, {}))).toMatchObject({
      code: "SERVER",
      doubtful: true,
    });
    expect(await failure(bench.open({}, busy(503, 1, {})).get(POD))).toMatchObject({ code: "SERVER", status: 503 });
  });

  test("the rate of this process is held, and what cannot be sent in time is refused", async () => {
    const kubernetes = bench.open({ qps: 0.01, burst: 2, timeout: 5000 }, busy(0, 0));
    await kubernetes.get(POD);
    await kubernetes.get(POD);
    const error = await failure(kubernetes.get(POD));
    expect(error).toMatchObject({ code: "TOO_MANY_REQUESTS", status: undefined });
    expect(error.message).toContain("this process may send 0.01 requests a second");
    expect(bench.server.asked).toHaveLength(2);
  });
});

describe("lists", () => {
  const object = (name: string): KubernetesObject => ({ metadata: { name, resourceVersion: "1" } });
  const page = (names: readonly string[], next?: string) => ({
    apiVersion: "v1",
    kind: "PodList",
    metadata: { resourceVersion: "100", ...(next ? { continue: next } : {}) },
    items: names.map(object),
  });
  const namesOf = (list: { items: KubernetesObject[] }) => list.items.map(({ metadata }) => metadata?.name);

  test("all pages, and the kind that the API server leaves out of the items", async () => {
    const kubernetes = bench.open({}, (asked, answer) =>
      answer.json(asked.query.has("continue") ? page(["c"]) : page(["a", "b"], "more of it")),
    );
    const query = { labelSelector: "a in (b,c)", resourceVersion: 0 };
    const list = await kubernetes.list(PODS, { limit: 2, query });
    expect(namesOf(list)).toEqual(["a", "b", "c"]);
    expect(list.resourceVersion).toBe("100");
    expect(list.items[2]).toMatchObject({ apiVersion: "v1", kind: "Pod" });
    expect(bench.server.asked.map(({ query }) => Object.fromEntries(query))).toEqual([
      { labelSelector: "a in (b,c)", resourceVersion: "0", limit: "2" },
      { labelSelector: "a in (b,c)", limit: "2", continue: "more of it" },
    ]);
  });

  test("a continue token that expires in the middle: begun again, all at once, and nothing twice", async () => {
    const kubernetes = bench.open({}, (asked, answer) => {
      if (!asked.query.has("limit")) answer.json(page(["b", "c"]));
      else if (asked.query.has("continue")) answer.json(status(410, "Expired", "too old"), 410);
      else answer.json(page(["a", "b"], "old"));
    });
    expect(namesOf(await kubernetes.list(PODS))).toEqual(["b", "c"]);
  });

  test("a 410 that is not about a continue token is GONE", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => answer.json(status(410, "Expired", "too old"), 410));
    expect(await failure(kubernetes.list(PODS))).toMatchObject({ code: "GONE" });
  });

  test("an empty list", async () => {
    const kubernetes = bench.open({}, (_asked, answer) => answer.json({ kind: "PodList", metadata: {}, items: null }));
    expect(await kubernetes.list(PODS)).toEqual({ items: [], resourceVersion: "" });
  });
});
