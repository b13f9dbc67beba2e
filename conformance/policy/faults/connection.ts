/** A TCP connection between two places that has to live. */
import { inNamespace, openNamespace } from "../../../lib/sys/index.ts";
import type { ProbePlace } from "../prober.ts";

const ANSWER_MS = 10_000;

export class Connection {
  #heard = "";
  #said = 0;
  #ended: string | undefined;
  #socket: { write(text: string): unknown; terminate(): void } | undefined;
  #listener: { stop(force: boolean): void } | undefined;

  /** Opens it; the place it leads to sends back whatever it gets. */
  static async open(from: ProbePlace, to: ProbePlace, port: number, version: 4 | 6 = 4): Promise<Connection> {
    const connection = new Connection();
    using here = openNamespace(from.netns);
    using there = openNamespace(to.netns);
    connection.#listener = inNamespace(there, () =>
      Bun.listen({
        hostname: to.addresses[version],
        port,
        socket: { data: (socket, bytes) => void socket.write(bytes) },
      }),
    );
    // A socket belongs to the namespace that it was made in; the promise is only wrapped because one must not be awaited there.
    const { connecting } = inNamespace(here, () => ({
      connecting: Bun.connect({
        hostname: to.addresses[version],
        port,
        socket: {
          data: (_, bytes) => {
            connection.#heard += bytes.toString();
          },
          close: () => {
            connection.#ended ??= "was closed";
          },
          error: (_, error) => {
            connection.#ended = error.message;
          },
        },
      }),
    }));
    connection.#socket = await connecting;
    return connection;
  }

  /** Says something and waits until it comes back. Throws when the connection has ended, or is cut. */
  async answers(): Promise<void> {
    const word = `${++this.#said}\n`;
    this.#socket!.write(word);
    for (const deadline = performance.now() + ANSWER_MS; !this.#heard.endsWith(word); await Bun.sleep(5)) {
      if (this.#ended !== undefined) throw new Error(`the connection ${this.#ended}`);
      if (performance.now() > deadline) throw new Error(`nothing came back in ${ANSWER_MS} ms`);
    }
  }

  close(): void {
    this.#socket?.terminate();
    this.#listener?.stop(true);
  }
}
