import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type ApiServer, apiServerMissing, RequestFailed, startApiProxy, startApiServer, summarise } from "./index.ts";

const missing = apiServerMissing();

describe.skipIf(missing !== undefined)(
  missing ? `the API server of tests (skipped: ${missing})` : "the API server of tests",
  () => {
    let server: ApiServer;
    beforeAll(async () => {
      server = await startApiServer({ audit: true });
    });
    afterAll(() => server?.stop());

    const configMaps = "/api/v1/namespaces/default/configmaps";
    const configMap = (name: string) => ({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name, namespace: "default" },
    });

    /** The status of a GET with a user's token. */
    async function status(path: string, token: string): Promise<number> {
      const answer = await fetch(server.url + path, {
        tls: { ca: server.ca },
        headers: { authorization: `Bearer ${token}` },
      });
      await answer.arrayBuffer();
      return answer.status;
    }

    test("users may do what their roles say: the plugin may get pods, and not list them", async () => {
      expect(await status("/api/v1/pods", server.token("admin-token"))).toBe(200);
      expect(await status("/api/v1/pods", server.token("reader"))).toBe(200);
      expect(await status("/api/v1/pods", server.token("node"))).toBe(200);
      expect(await status("/api/v1/pods", server.token("cni"))).toBe(403);
      expect(await status("/api/v1/namespaces/default/pods/none", server.token("cni"))).toBe(404);
      expect(await status("/api/v1/pods", server.token("nobody"))).toBe(403);
      expect(await status("/api/v1/pods", "made-up")).toBe(401);
    });

    test("tokens of service accounts expire", async () => {
      const account = { namespace: "default", name: "a" };
      expect(await status("/api", await server.serviceAccountToken(account))).toBe(200);
      expect(await status("/api", await server.serviceAccountToken({ ...account, seconds: -5 }))).toBe(401);
    });

    test("a crash loses nothing, and the address stays", async () => {
      await server.apply(configMap("survivor"));
      const [before] = server.pids;
      await server.kill();
      await expect(server.request("GET", configMaps)).rejects.toThrow();
      await server.restart();
      expect(server.pids[0]).not.toBe(before);
      expect(await server.request("GET", `${configMaps}/survivor`)).toMatchObject({ metadata: { name: "survivor" } });
    });

    test("strict validation, and what the server says, are the caller's to see", async () => {
      const wrong = { ...configMap("wrong"), dada: {} };
      await expect(server.apply(wrong)).rejects.toThrow("dada");
      await expect(server.apply(wrong)).rejects.toBeInstanceOf(RequestFailed);
    });

    test("a revision from before a compaction is gone for a list", async () => {
      const list = await server.request<{ metadata: { resourceVersion: string } }>("GET", configMaps);
      for (const name of ["one", "two", "three"]) await server.apply(configMap(name));
      await server.compact();
      // What the server itself remembers of the past ends with the process.
      await server.restart();
      const old = `${configMaps}?resourceVersionMatch=Exact&limit=1&resourceVersion=${list.metadata.resourceVersion}`;
      await expect(server.request("GET", old)).rejects.toMatchObject({ status: 410 });
    });

    test("an object may be written past all validation", async () => {
      // Of a kind that no other test here watches: the server cannot read it either, and begins its cache anew.
      const secret = "/api/v1/namespaces/default/secrets/raw";
      const raw = { apiVersion: "v1", kind: "Secret", metadata: { name: "raw", namespace: "default" }, data: 7 };
      await server.writeRaw("/registry/secrets/default/raw", raw);
      await expect(server.request("GET", secret)).rejects.toMatchObject({ status: 500 });
      await server.writeRaw("/registry/secrets/default/raw", undefined);
      await expect(server.request("GET", secret)).rejects.toMatchObject({ status: 404 });
    });

    test("the audit log counts requests and writes, watches when they begin", async () => {
      const token = server.token("reader");
      const count = (await server.audit()).length;
      await status(configMaps, token);
      await status(`${configMaps}/none`, token);
      const stop = new AbortController();
      const watch = await fetch(`${server.url}${configMaps}?watch=1`, {
        ...{ tls: { ca: server.ca }, headers: { authorization: `Bearer ${token}` }, signal: stop.signal },
      });
      const events = (await server.audit()).slice(count).filter(({ user }) => user === "reader");
      expect(summarise(events)).toMatchObject({
        requests: 3,
        writes: 0,
        byVerb: new Map([
          ["list configmaps", 1],
          ["get configmaps", 1],
          ["watch configmaps", 1],
        ]),
      });
      expect(watch.ok).toBe(true);
      stop.abort();
    });

    describe("the proxy", () => {
      /** Names of the objects in a watch of config maps through a proxy, until it ends or there are `count`. */
      async function watched(url: string, ca: string, count: number, started: () => Promise<void>): Promise<string[]> {
        const stop = new AbortController();
        const headers = { authorization: `Bearer ${server.token("reader")}` };
        const list = await server.request<{ metadata: { resourceVersion: string } }>("GET", configMaps);
        const path = `${configMaps}?watch=1&resourceVersion=${list.metadata.resourceVersion}`;
        setTimeout(() => stop.abort(), 20_000).unref();
        const watch = await fetch(url + path, { tls: { ca }, headers, signal: stop.signal });
        // Beside the reading: a connection that breaks takes along what was not read yet.
        const start = started();
        const names: string[] = [];
        let rest = "";
        try {
          for await (const chunk of watch.body!) {
            rest += new TextDecoder().decode(chunk);
            const lines = rest.split("\n");
            rest = lines.pop()!;
            names.push(
              ...lines.map(
                (line) => (JSON.parse(line) as { object: { metadata: { name: string } } }).object.metadata.name,
              ),
            );
            if (names.length >= count) break;
          }
        } catch {
          names.push(`cut after ${rest === "" ? "a line" : "half a line"}`);
        }
        await start;
        stop.abort();
        return names;
      }
      const many = Array.from({ length: 12 }, (_, i) => `p${i + 10}`);
      const make = async (prefix: string) => {
        for (const name of many) await server.apply(configMap(prefix + name));
      };

      test("passes everything on, also what is held back for a while", async () => {
        await using proxy = disposable(await startApiProxy(server));
        proxy.fault.hold = true;
        const names = await watched(proxy.url, proxy.ca, 12, async () => {
          await make("held-");
          proxy.fault.hold = false;
        });
        expect(names).toEqual(many.map((name) => `held-${name}`));
      });

      test("swaps events of different objects", async () => {
        await using proxy = disposable(await startApiProxy(server));
        proxy.fault.reorder = 12;
        const names = await watched(proxy.url, proxy.ca, 12, () => make("swapped-"));
        expect(names).not.toEqual(many.map((name) => `swapped-${name}`));
        expect(names.sort()).toEqual(many.map((name) => `swapped-${name}`));
      });

      test("cuts a watch in the middle of a line", async () => {
        await using proxy = disposable(await startApiProxy(server));
        proxy.fault.cutAfter = 2;
        const names = await watched(proxy.url, proxy.ca, 12, () => make("cut-"));
        expect(names).toEqual(["cut-p10", "cut-p11", "cut after half a line"]);
        expect(proxy.requests.map(({ watch, status }) => ({ watch, status }))).toEqual([{ watch: true, status: 200 }]);
      });

      test("answers in the server's place", async () => {
        await using proxy = disposable(
          await startApiProxy(server, { answer: () => new Response("no", { status: 503 }) }),
        );
        const answer = await fetch(`${proxy.url}/version`, { tls: { ca: proxy.ca } });
        expect(answer.status).toBe(503);
      });
    });

    test("nothing is left of it", async () => {
      const other = await startApiServer();
      const { pids, folder } = other;
      await other.stop();
      expect(existsSync(folder)).toBe(false);
      for (const pid of pids) expect(() => process.kill(pid, 0)).toThrow();
    });
  },
);

const disposable = <T extends { stop(): Promise<void> }>(stoppable: T): T & AsyncDisposable =>
  Object.assign(stoppable, { [Symbol.asyncDispose]: () => stoppable.stop() });
