/**
 * Joins the lab's underlay and this process's network: an address of the underlay leads to a server on the loopback here, whose
 * nodes have no other way to it. Bytes are passed on as they are, so TLS is between the node and the server.
 */
import { connect, type Socket } from "node:net";
import { inNamespace, openNamespace } from "../../lib/sys/index.ts";
import type { Lab } from "../lab/index.ts";

export interface Relay {
  readonly url: string;
  /** Where connections lead that are made from now on; undefined refuses them. */
  target: number | undefined;
  /** Breaks all connections that are open. */
  cut(): void;
  stop(): void;
}

interface Pair {
  readonly server: Socket;
}

/** `host`: where the server is, if not on the loopback here. `family`: of the underlay's address. */
export function startRelay(lab: Lab, port: number, host = "127.0.0.1", family: 4 | 6 = 4): Relay {
  const hostname = family === 4 ? lab.underlay4 : lab.underlay6;
  const open = new Set<{ end(): void }>();
  const relay: { target: number | undefined } = { target: port };
  using underlay = openNamespace(lab.underlayNamespace);
  // A socket stays in the namespace that it was made in; what happens to it later happens here.
  const listener = inNamespace(underlay, () =>
    Bun.listen<Pair | undefined>({
      hostname,
      port: 6443,
      socket: {
        open(client) {
          if (relay.target === undefined) {
            client.terminate();
            return;
          }
          const server = connect(relay.target, host);
          const both = {
            end: () => {
              server.destroy();
              client.terminate();
              open.delete(both);
            },
          };
          open.add(both);
          client.data = { server };
          const queue: Buffer[] = [];
          const flush = (): void => {
            while (queue.length > 0) {
              const head = queue[0]!;
              const written = client.write(head);
              if (written < head.length) {
                queue[0] = head.subarray(Math.max(written, 0));
                server.pause();
                return;
              }
              queue.shift();
            }
            server.resume();
          };
          flushes.set(client, flush);
          server.on("data", (chunk: Buffer) => {
            queue.push(chunk);
            flush();
          });
          server.on("error", () => both.end());
          server.on("close", () => {
            flush();
            client.end();
            open.delete(both);
          });
        },
        data: (client, chunk) => void client.data?.server.write(chunk),
        drain: (client) => flushes.get(client)?.(),
        close: (client) => void client.data?.server.end(),
        error: (client) => void client.data?.server.destroy(),
      },
    }),
  );
  return Object.assign(relay, {
    url: `https://${family === 4 ? hostname : `[${hostname}]`}:6443`,
    cut: () => {
      for (const both of [...open]) both.end();
    },
    stop: () => {
      for (const both of [...open]) both.end();
      listener.stop(true);
    },
  });
}

const flushes = new WeakMap<object, () => void>();
