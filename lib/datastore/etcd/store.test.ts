import { createServer, type Server } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { IPAMHandle, newIPAMHandle } from "../../api/ipamhandle.ts";
import type { Kind } from "../../api/kind.ts";
import { DatastoreError } from "../errors.ts";
import { KeyValueClient } from "../key-value-client.ts";
import { prefixRange, type StoreEvent } from "../store.ts";
import { codeOf, datastoreSuite, Watcher } from "../suite/index.ts";
import { type EtcdServer, findEtcd, startEtcd } from "./server.ts";
import { openEtcd } from "./store.ts";

const missing = findEtcd() ? undefined : "no etcd binary: install Debian's etcd-server, or name one in ETCD_BINARY";

for (const tls of [false, true]) {
  const name = tls ? "etcd with TLS" : "etcd";
  if (missing) {
    describe(name, () => test.skip(`skipped: ${missing}`, () => {}));
    continue;
  }
  datastoreSuite(name, async () => {
    const server = await startEtcd({ tls });
    return {
      open: () => openEtcd(server.config),
      compact: () => server.compact(),
      restart: async () => {
        await server.kill();
        await server.start();
      },
      remove: () => server.stop(),
    };
  });
}

/** What `work` fails with. */
async function failure(work: Promise<unknown>): Promise<DatastoreError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof DatastoreError) return error;
    throw error;
  }
  throw new Error("no error");
}

const listening = (server: { listen(port: number, host: string, done: () => void): unknown; address(): unknown }) =>
  new Promise<string>((resolve) =>
    server.listen(0, "127.0.0.1", () => resolve(`http://127.0.0.1:${(server.address() as { port: number }).port}`)),
  );

describe("a server that is not there", () => {
  test("is UNAVAILABLE at once when it refuses", async () => {
    const gone = createTcpServer();
    const endpoint = await listening(gone);
    await new Promise((resolve) => gone.close(resolve));
    const store = await openEtcd({ type: "etcdv3", endpoints: [endpoint] });
    const before = performance.now();
    const error = await failure(store.read([{ key: "/a" }]));
    expect(error.code).toBe("UNAVAILABLE");
    expect(error.message).toContain(endpoint);
    // Far below the limit of five seconds; no measurement of speed.
    expect(performance.now() - before).toBeLessThan(2500);
    await store.close();
  });

  test("is UNAVAILABLE in time when it is silent, also in the middle of an answer", async () => {
    const silent = createServer((request, response) => {
      if (request.url === "/v3/kv/range") response.end();
      else response.writeHead(200).write('{"header":');
    });
    const endpoint = await listening(silent);
    const store = await openEtcd({ type: "etcdv3", endpoints: [endpoint], timeout: 200 });
    expect((await failure(store.read([{ key: "/a" }]))).code).toBe("UNAVAILABLE");
    const error = await failure(store.transact([], [{ key: "/a", value: "1" }]));
    expect(error.message).toContain("may or may not have been carried out");
    await store.close();
    silent.closeAllConnections();
    silent.close();
  });

  test("is not taken for etcd when it answers something else", async () => {
    const answers = ["<html>", "[]", "7", '{"header":{"revision":"x"}}', '{"responses":7}', ""];
    let next = 0;
    const other: Server = createServer((_request, response) => response.end(answers[next++ % answers.length]));
    const endpoint = await listening(other);
    const store = await openEtcd({ type: "etcdv3", endpoints: [endpoint] });
    for (const _ of answers) expect((await failure(store.read([{ key: "/a" }]))).code).toBe("UNAVAILABLE");
    await store.close();
    other.closeAllConnections();
    other.close();
  });
});

describe.skipIf(missing)("etcd", () => {
  let server: EtcdServer;
  beforeAll(async () => {
    server = await startEtcd();
  });
  afterAll(() => server?.stop());

  test("is found among several endpoints", async () => {
    const store = await openEtcd({ type: "etcdv3", endpoints: ["http://127.0.0.1:1", server.endpoint] });
    expect((await store.transact([], [{ key: "/a", value: "1" }])).succeeded).toBe(true);
    expect((await store.read([{ key: "/a" }])).results[0]).toMatchObject([{ value: "1" }]);
    await store.close();
  });

  test("takes a batch up to its limit, and larger ones are refused whole", async () => {
    const client = new KeyValueClient(await openEtcd(server.config));
    const operations = (count: number) =>
      Array.from({ length: count }, (_, i) => ({
        op: "create" as const,
        kind: IPAMHandle as unknown as Kind,
        resource: newIPAMHandle(`batch-${i}`, {}),
      }));
    expect(await codeOf(client.batch(operations(129)))).toBe("INVALID");
    expect((await client.list(IPAMHandle)).items).toEqual([]);
    expect((await client.batch(operations(128))).length).toBe(128);
    await client.close();
  });

  test("watches that close end", async () => {
    const client = new KeyValueClient(await openEtcd(server.config));
    const watcher = new Watcher(client, IPAMHandle);
    await watcher.until((told) => told.includes("synced"));
    await client.close();
    await watcher.stop();
  });

  test("with other data than before makes a watch list again", async () => {
    const { port } = new URL(server.endpoint);
    const store = await openEtcd(server.config);
    const ahead = (await store.read([])).revision + 1000;
    const watch = store.watch(prefixRange("/"), ahead, new AbortController().signal)[Symbol.asyncIterator]();
    await expect(watch.next() as Promise<IteratorResult<readonly StoreEvent[]>>).rejects.toThrow(`${ahead} was seen`);
    expect(port).toBeTruthy();
    await store.close();
  });
});

describe.skipIf(missing)("etcd with users", () => {
  let server: EtcdServer;
  beforeAll(async () => {
    server = await startEtcd({ auth: true, arguments: ["--auth-token-ttl", "1"] });
    await server.call("/v3/auth/user/add", { name: "reader", password: "reader's" });
    await server.call("/v3/auth/role/add", { name: "reading" });
    const permission = { permType: "READ", key: btoa("/calico/"), range_end: btoa("/calico0") };
    await server.call("/v3/auth/role/grant", { name: "reading", perm: permission });
    await server.call("/v3/auth/user/grant", { user: "reader", role: "reading" });
  });
  afterAll(() => server?.stop());

  const as = (username: string, password: string) =>
    openEtcd({ type: "etcdv3", endpoints: [server.endpoint], username, password });

  test("lets in who has the password, and logs in again when the token has expired", async () => {
    const store = await openEtcd(server.config);
    expect((await store.transact([], [{ key: "/calico/a", value: "1" }])).succeeded).toBe(true);
    // The token lives a second, and users and roles change meanwhile: both make etcd refuse the old one.
    await server.call("/v3/auth/role/add", { name: "another" });
    const expired = Date.now() + 2500;
    while (Date.now() < expired) await new Promise((resolve) => setTimeout(resolve, 100));
    expect((await store.read([{ key: "/calico/a" }])).results[0]).toMatchObject([{ value: "1" }]);
    await store.close();
  });

  test("answers UNAUTHORIZED to others, and no message holds the password", async () => {
    const wrong = await as("root", "wr0ng-passw0rd");
    const error = await failure(wrong.read([{ key: "/calico/a" }]));
    expect(error.code).toBe("UNAUTHORIZED");
    expect(`${error.stack} ${Bun.inspect(error)}`).not.toContain("wr0ng");

    const nobody = await openEtcd({ type: "etcdv3", endpoints: [server.endpoint] });
    expect((await failure(nobody.read([{ key: "/calico/a" }]))).code).toBe("UNAUTHORIZED");

    const reader = await as("reader", "reader's");
    expect((await reader.read([prefixRange("/calico/")])).results.length).toBe(1);
    expect((await failure(reader.transact([], [{ key: "/calico/b", value: "1" }]))).code).toBe("UNAUTHORIZED");
    expect((await failure(reader.read([{ key: "/other" }]))).code).toBe("UNAUTHORIZED");
    const watch = nobody.watch(prefixRange("/calico/"), 1, new AbortController().signal)[Symbol.asyncIterator]();
    expect((await failure(watch.next())).code).toBe("UNAUTHORIZED");
    const forbidden = reader.watch(prefixRange("/other/"), 1, new AbortController().signal)[Symbol.asyncIterator]();
    expect((await failure(forbidden.next())).code).toBe("UNAUTHORIZED");
    await Promise.all([wrong, nobody, reader].map((store) => store.close()));
  });
});

describe.skipIf(missing)("etcd with TLS", () => {
  test("is not trusted without its CA, and does not trust a client without a certificate", async () => {
    const server = await startEtcd({ tls: true });
    try {
      const { caCertFile, ...withoutCa } = server.config;
      const untrusted = await openEtcd(withoutCa);
      expect((await failure(untrusted.read([]))).message).toContain("TLS");
      const { certFile: _c, keyFile: _k, ...withoutCertificate } = server.config;
      const anonymous = await openEtcd(withoutCertificate);
      expect((await failure(anonymous.read([]))).code).toBe("UNAVAILABLE");
      const byName = await openEtcd({
        ...server.config,
        endpoints: [server.endpoint.replace("127.0.0.1", "localhost")],
      });
      expect((await byName.read([])).revision).toBeGreaterThan(0);
      expect((await failure(openEtcd({ ...server.config, caCertFile: "/none/ca.crt" }))).code).toBe("CONFIG");
      const inline = await openEtcd({
        type: "etcdv3",
        endpoints: server.config.endpoints,
        caCert: await Bun.file(caCertFile!).text(),
        cert: await Bun.file(server.config.certFile!).text(),
        key: await Bun.file(server.config.keyFile!).text(),
      });
      expect((await inline.read([])).revision).toBeGreaterThan(0);
      await Promise.all([untrusted, anonymous, byName, inline].map((store) => store.close()));
    } finally {
      await server.stop();
    }
  });
});

describe.skipIf(missing)("etcd without room", () => {
  test("is FULL", async () => {
    const server = await startEtcd({ arguments: ["--quota-backend-bytes", String(512 * 1024)] });
    try {
      const store = await openEtcd(server.config);
      const fill = async () => {
        for (let i = 0; i < 200; i++) await store.transact([], [{ key: `/${i}`, value: "x".repeat(50_000) }]);
      };
      const error = await failure(fill());
      expect(error.code).toBe("FULL");
      expect((await store.read([{ key: "/0" }])).results[0]!.length).toBe(1);
      await store.close();
    } finally {
      await server.stop();
    }
  });
});
