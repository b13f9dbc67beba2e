/**
 * A program: the way from the API server, which is in the machine's network namespace, to kubelets and webhooks, which are in the lab's. Runs in
 * the underlay's namespace, listens on the unix socket that its argument names, and connects to where it is told to:
 * HTTP CONNECT (RFC 9110 9.3.6), as an API server's EgressSelectorConfiguration wants it.
 */
import { rmSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";

const HEADER_LIMIT = 16_384;

function serve(client: Socket): void {
  let head = Buffer.alloc(0);
  const onData = (chunk: Buffer): void => {
    head = Buffer.concat([head, chunk]);
    const end = head.indexOf("\r\n\r\n");
    if (end < 0 && head.length < HEADER_LIMIT) return;
    client.off("data", onData);
    client.pause();
    const target = /^CONNECT \[?([^\s\]]+)\]?:(\d+) HTTP\/1\.1\r\n/.exec(head.subarray(0, end + 2).toString("latin1"));
    if (target === null) {
      client.end("HTTP/1.1 400 Bad Request\r\n\r\n");
      return;
    }
    const server = connect(Number(target[2]), target[1]);
    const hangUp = (): void => {
      client.destroy();
      server.destroy();
    };
    server.once("connect", () => {
      client.write("HTTP/1.1 200 OK\r\n\r\n");
      const early = head.subarray(end + 4);
      if (early.length > 0) server.write(early);
      client.pipe(server);
      server.pipe(client);
    });
    for (const socket of [client, server]) {
      socket.on("error", hangUp);
      socket.on("close", hangUp);
    }
  };
  client.on("data", onData);
  client.on("error", () => client.destroy());
}

const path = process.argv[2]!;
rmSync(path, { force: true });
createServer(serve).listen(path);
