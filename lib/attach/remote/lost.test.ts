import { join } from "node:path";
import type { Socket } from "bun";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { createIpam, type Ipam } from "../../ipam/index.ts";
import { allocate, closeFd, currentNamespace, OPEN, openFile } from "../../sys/index.ts";
import { describeAsRoot } from "../../sys/testing.ts";
import { sendFd } from "../../sys/unix.ts";
import { makeSite, type Site } from "../testing.ts";
import { Connection, PluginLost } from "./connection.ts";
import { PROTOCOL_VERSION, socketsIn } from "./protocol.ts";
import { type AttachServer, type AttachServerOptions, serveAttachments } from "./server.ts";

const COOKIE = "0123456789abcdef0123456789abcdef";
const PLAN = { containerInterface: "eth0", hostInterface: "cali0123456789a", owner: "o", recorded: [] };

describe("a plugin that is to remove an interface", () => {
  const connectionTo = (write: () => number) =>
    new Connection({ write, end() {} } as unknown as Socket<Connection | undefined>, () => {});

  test("and has gone before it is asked, is lost; its end, seen later, breaks nothing", async () => {
    const connection = connectionTo(() => -1);
    await expect(connection.remove(PLAN)).rejects.toThrow(PluginLost);
    connection.onClose();
    // What nobody awaits would end the process in the next round.
    await new Promise((resolve) => setImmediate(resolve));
  });

  test("and neither answers nor goes is waited for only so long, and what it says later is not heard", async () => {
    const connection = connectionTo(() => 100);
    connection.onData(Buffer.from("asked\n"));
    await expect(connection.remove(PLAN, 1)).rejects.toThrow("does not answer");
    connection.onData(Buffer.from('{"message":"late"}\n'));
    const again = connection.remove(PLAN);
    connection.onData(Buffer.from('{"outcome":{"result":"removed","notes":[]}}\n'));
    expect(await again).toEqual({ result: "removed", notes: [] });
  });
});

describeAsRoot("a call that was taken", () => {
  let site: Site;
  let server: AttachServer;
  let ended = Promise.withResolvers<string>();
  beforeEach(async () => {
    ended = Promise.withResolvers();
    site = await makeSite("sqlite");
    await site.makePool("pool", "10.77.0.0/24");
  });
  afterEach(async () => {
    await server.close();
    site[Symbol.dispose]();
  });

  function serve(changes: Partial<AttachServerOptions> = {}): void {
    const { env, log, openClient, ...host } = site.machine;
    server = serveAttachments({
      sockets: socketsIn(site.folder),
      nodeName: "node-1",
      datastore: { type: "sqlite", file: join(site.folder, "datastore.db") },
      client: site.client,
      allocator: createIpam(site.client),
      whenInForce: async () => {},
      log,
      onRequest: (verb, outcome) => ended.resolve(`${verb} ${outcome}`),
      closeMs: 1,
      host,
      ...changes,
    });
  }

  /** Asks as the plugin does; `answers` resolves with all of them when the connection has ended. */
  async function ask(command: string): Promise<{ answers: Promise<object[]>; kill(): void }> {
    const { env, stdin } = site.call(command);
    const cookie = allocate(COOKIE.length);
    cookie.set(Buffer.from(COOKIE));
    const netns = openFile(site.pod.path, OPEN.READ, "open the namespace");
    sendFd(socketsIn(site.folder).descriptors, cookie, netns, 1000);
    closeFd(netns);
    using own = currentNamespace();
    const answers = Promise.withResolvers<object[]>();
    let said = "";
    const socket = await Bun.connect({
      unix: socketsIn(site.folder).stream,
      socket: {
        data: (socket, data) => {
          said += new TextDecoder().decode(data);
          if (said.endsWith("}\n") && said.includes('"remove"'))
            socket.write('{"outcome":{"result":"absent","notes":[]}}\n');
        },
        close: () => answers.resolve(said.split("\n").flatMap((line) => (line ? [JSON.parse(line) as object] : []))),
      },
    });
    const request = { version: PROTOCOL_VERSION, cookie: COOKIE, namespace: own.inode, env, stdin };
    socket.write(`${JSON.stringify(request)}\n`);
    return { answers: answers.promise, kill: () => socket.terminate() };
  }

  test("is answered also when it takes longer than the agent's end is waited for", async () => {
    const [gate, reached] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const ipam = createIpam(site.client);
    const allocator: Ipam = {
      ...ipam,
      releaseByHandle: async (...parameters) => {
        reached.resolve();
        await gate.promise;
        return ipam.releaseByHandle(...parameters);
      },
    };
    serve({ allocator });
    const { answers } = await ask("DEL");
    await reached.promise;
    await server.close();
    gate.resolve();
    expect((await answers).map((answer) => (answer as { type: string }).type)).toEqual(["taken", "remove", "done"]);
  });

  test("leaves nothing of an ADD whose plugin was killed meanwhile", async () => {
    const [policy, waits] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    serve({
      whenInForce: () => {
        waits.resolve();
        return policy.promise;
      },
    });
    const { kill } = await ask("ADD");
    await waits.promise;
    expect(await site.traces()).toHaveLength(4);
    kill();
    policy.resolve();
    expect(await ended.promise).toBe("ADD failed");
    expect(await site.traces()).toEqual([]);
  });
});
