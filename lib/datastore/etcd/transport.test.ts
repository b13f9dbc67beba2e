import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import { createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import type { EtcdConfig } from "../config.ts";
import { DatastoreError } from "../errors.ts";
import type { StoreEvent } from "../store.ts";
import { codeOf } from "../suite/index.ts";
import { openEtcd } from "./store.ts";

/** A member of a cluster as a client sees it. */
interface Member {
  readonly endpoint: string;
  /** The paths that were asked for. */
  readonly asked: string[];
}

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

const listening = async (server: Server, asked: string[]): Promise<Member> => {
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
  });
  closing.push(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { endpoint: `http://127.0.0.1:${(server.address() as { port: number }).port}`, asked };
};

/** Takes connections and requests, and says nothing. */
const silent = (): Promise<Member> => {
  const asked: string[] = [];
  const server = createServer((socket) => {
    socket.on("error", () => {});
    socket.on("data", (data) => {
      const path = /^POST (\S+)/.exec(data.toString())?.[1];
      if (path) asked.push(path);
    });
  });
  return listening(server, asked);
};

/** Answers as a gateway does; refuses who has no token when `users` may log in. */
const live = (users = false): Promise<Member> => {
  const asked: string[] = [];
  const answers: Record<string, object> = {
    "/v3/auth/authenticate": { token: "t" },
    "/v3/kv/txn": { header: { revision: "7" }, succeeded: true, responses: [] },
  };
  const server = createHttpServer((request: IncomingMessage, response) => {
    const path = request.url ?? "";
    asked.push(path);
    request.resume();
    if (path === "/v3/watch") {
      const created = { result: { header: { revision: "7", cluster_id: "1" }, created: true } };
      const kv = { key: btoa("/a"), value: btoa("1"), create_revision: "8", mod_revision: "8" };
      const put = { result: { header: { revision: "8", cluster_id: "1" }, events: [{ kv }] } };
      response.write(`${JSON.stringify(created)}\n${JSON.stringify(put)}\n`);
    } else if (users && path !== "/v3/auth/authenticate" && request.headers.authorization !== "t")
      response.writeHead(401).end(JSON.stringify({ code: 16, message: "etcdserver: invalid auth token" }));
    else response.end(JSON.stringify(answers[path] ?? {}));
  });
  return listening(server, asked);
};

const open = (members: readonly Member[], options: Partial<EtcdConfig> = {}) =>
  openEtcd({ type: "etcdv3", endpoints: members.map(({ endpoint }) => endpoint), timeout: 1500, ...options });
const writes = [{ key: "/a", value: "1" }];

describe("a silent member before a live one", () => {
  test("is given up for a read, and is not asked again", async () => {
    const members = [await silent(), await live()] as const;
    const store = await open(members);
    expect((await store.read([{ key: "/a" }])).revision).toBe(7);
    expect((await store.transact([], writes)).succeeded).toBe(true);
    expect((await store.read([{ key: "/a" }])).revision).toBe(7);
    expect(members.map(({ asked }) => asked.length)).toEqual([1, 3]);
    await store.close();
  });

  test("is one of several, and each leaves time for the next", async () => {
    const members = await Promise.all([silent(), silent(), silent(), live()]);
    const store = await open(members);
    expect((await store.read([{ key: "/a" }])).revision).toBe(7);
    expect(members.map(({ asked }) => asked.length)).toEqual([1, 1, 1, 1]);
    await store.close();
  });

  test("does not make a write be carried out twice, but the next one goes elsewhere", async () => {
    const members = [await silent(), await live()] as const;
    const store = await open(members, { timeout: 300 });
    const write = store.transact([], writes);
    expect(await codeOf(write)).toBe("UNAVAILABLE");
    await expect(write).rejects.toThrow("may or may not have been carried out");
    expect(members.map(({ asked }) => asked.length)).toEqual([1, 0]);
    expect((await store.transact([], writes)).succeeded).toBe(true);
    expect(members.map(({ asked }) => asked.length)).toEqual([1, 1]);
    await store.close();
  });

  test("does not hold up a log-in, nor the write that waits for it", async () => {
    const members = [await silent(), await live(true)] as const;
    const store = await open(members, { username: "u", password: "p" });
    expect((await store.transact([], writes)).succeeded).toBe(true);
    expect(members.map(({ asked }) => asked)).toEqual([
      ["/v3/auth/authenticate"],
      ["/v3/auth/authenticate", "/v3/kv/txn"],
    ]);
    await store.close();
  });

  test("does not hold up operations that begin together", async () => {
    const members = [await silent(), await live(true)] as const;
    const store = await open(members, { username: "u", password: "p" });
    const results = await Promise.all([store.read([{ key: "/a" }]), store.transact([], writes), store.read([])]);
    expect(results.map(({ revision }) => revision)).toEqual([7, 7, 7]);
    expect(members[1].asked.filter((path) => path === "/v3/kv/txn").length).toBe(3);
    await store.close();
  });

  test("does not hold up a watch", async () => {
    const members = [await silent(), await live()] as const;
    const store = await open(members);
    const abort = new AbortController();
    const events: StoreEvent[] = [];
    for await (const batch of store.watch({ key: "/a" }, 7, abort.signal)) {
      events.push(...batch);
      abort.abort();
    }
    expect(events).toMatchObject([{ type: "put", stored: { key: "/a", value: "1", modRevision: 8 } }]);
    expect(members.map(({ asked }) => asked.length)).toEqual([1, 1]);
    await store.close();
  });
});

test("a member that answers errors is left for the next one, and a wrong password is not tried elsewhere", async () => {
  let asked = 0;
  const refusing = createHttpServer((_request, response) => {
    asked++;
    response.writeHead(503).end(JSON.stringify({ code: 14, message: "etcdserver: no leader" }));
  });
  const first = await listening(refusing, []);
  const second = await live();
  const store = await open([first, second]);
  expect((await store.read([{ key: "/a" }])).revision).toBe(7);
  expect((await store.read([{ key: "/a" }])).revision).toBe(7);
  expect([asked, second.asked.length]).toEqual([1, 2]);
  await store.close();

  const unwilling = createHttpServer((_request, response) => {
    response
      .writeHead(400)
      .end(JSON.stringify({ code: 3, message: "etcdserver: authentication failed, invalid user ID or password" }));
  });
  const third = await listening(unwilling, []);
  const before = second.asked.length;
  const wrong = await open([third, second], { username: "u", password: "p" });
  expect(await codeOf(wrong.read([{ key: "/a" }]))).toBe("UNAUTHORIZED");
  expect(second.asked.length).toBe(before);
  await wrong.close();
});

test("a write that a member could not finish says that it may have been carried out", async () => {
  const refusing = createHttpServer((_request, response) =>
    response.writeHead(503).end(JSON.stringify({ code: 14, message: "etcdserver: request timed out" })),
  );
  const second = await live();
  const store = await open([await listening(refusing, []), second]);
  const write = store.transact([], writes);
  await expect(write).rejects.toThrow(DatastoreError);
  await expect(write).rejects.toThrow("may or may not have been carried out");
  expect(second.asked).toEqual([]);
  await store.close();
});
