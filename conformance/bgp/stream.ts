/** A TCP connection that says something all the time, and what became of each word: nothing may be lost, cut, or sent a second time. */
import { readFileSync } from "node:fs";
import { inNamespace, openNamespace } from "../../lib/sys/index.ts";

/** An end of it. */
export interface StreamEnd {
  readonly name: string;
  /** Path of its network namespace, for the machine. */
  readonly netns: string;
  readonly address: string;
}

export interface StreamReport {
  readonly name: string;
  readonly sent: number;
  readonly returned: number;
  /** Between two answers, in milliseconds. */
  readonly longestGap: number;
  /** How it ended before it was told to; undefined: it did not. */
  readonly ended: string | undefined;
}

const PERIOD_MS = 10;
const WORD = 16;
const LAST_MS = 10_000;

/** Goes from one end to the other, which sends everything back. */
export class Stream {
  readonly name: string;
  #sent = 0;
  #returned = 0;
  #rest = "";
  #last = 0;
  #longestGap = 0;
  #ended: string | undefined;
  #stopped = false;
  #timer: ReturnType<typeof setInterval> | undefined;
  #socket: { write(text: string): unknown; terminate(): void } | undefined;
  #listener: { stop(force: boolean): void } | undefined;

  private constructor(name: string) {
    this.name = name;
  }

  static async open(from: StreamEnd, to: StreamEnd, port: number): Promise<Stream> {
    const stream = new Stream(`${from.name} > ${to.name}`);
    using here = openNamespace(from.netns);
    using there = openNamespace(to.netns);
    stream.#listener = inNamespace(there, () =>
      Bun.listen({ hostname: to.address, port, socket: { data: (socket, bytes) => void socket.write(bytes) } }),
    );
    // A socket belongs to the namespace that it was made in; the promise is only wrapped because one must not be awaited there.
    const { connecting } = inNamespace(here, () => ({
      connecting: Bun.connect({
        hostname: to.address,
        port,
        socket: {
          data: (_, bytes) => stream.#hear(bytes.toString()),
          close: () => stream.#end("was closed"),
          error: (_, error) => stream.#end(error.message),
        },
      }),
    }));
    stream.#socket = await connecting;
    stream.#last = performance.now();
    stream.#timer = setInterval(() => {
      stream.#socket!.write(String(stream.#sent++).padStart(WORD));
    }, PERIOD_MS);
    return stream;
  }

  #end(how: string): void {
    if (!this.#stopped) this.#ended ??= how;
  }

  #hear(text: string): void {
    const now = performance.now();
    this.#longestGap = Math.max(this.#longestGap, now - this.#last);
    this.#last = now;
    this.#rest += text;
    for (; this.#rest.length >= WORD; this.#rest = this.#rest.slice(WORD)) {
      const word = Number(this.#rest.slice(0, WORD));
      if (word !== this.#returned++) this.#end(`said ${word} where ${this.#returned - 1} was to come`);
    }
  }

  /** Ends it, when all that was said has come back or ought to have. */
  async stop(): Promise<StreamReport> {
    clearInterval(this.#timer);
    const deadline = performance.now() + LAST_MS;
    while (this.#returned < this.#sent && this.#ended === undefined && performance.now() < deadline)
      await Bun.sleep(10);
    this.close();
    const { name } = this;
    const [sent, returned, longestGap, ended] = [this.#sent, this.#returned, this.#longestGap, this.#ended];
    return { name, sent, returned, longestGap, ended };
  }

  close(): void {
    clearInterval(this.#timer);
    this.#stopped = true;
    this.#socket?.terminate();
    this.#listener?.stop(true);
  }
}

/** What the kernel counted of TCP in an end's network so far: segments that it sent again, and resets. */
export function tcpTroubles(end: StreamEnd): { readonly retransmitted: number; readonly resets: number } {
  using there = openNamespace(end.netns);
  // /proc/net is that of the thread's network, and a read of it in a namespace must not be awaited.
  const text = inNamespace(there, () => readFileSync("/proc/thread-self/net/snmp", "utf8"));
  const [head = "", values = ""] = text.split("\n").filter((line) => line.startsWith("Tcp:"));
  const of = (name: string): number => Number(values.split(" ")[head.split(" ").indexOf(name)]);
  return { retransmitted: of("RetransSegs"), resets: of("OutRsts") + of("EstabResets") };
}
