/**
 * BIRD's control socket: a line goes in, lines come out. `1002-text` begins or goes on, a line that begins with a space goes on with the code before it,
 * `0013 text` is the last of a reply, `+text` is spoken without being asked. Codes (BIRD's doc/reply_codes): 0xxx done, 1xxx table entries, 2xxx
 * headings, 8xxx failed, 9xxx not understood.
 */
import { createConnection, type Socket } from "node:net";
import { BirdError } from "./errors.ts";

export interface ReplyLine {
  readonly code: number;
  readonly text: string;
}

export interface Reply {
  /** Of the last line. */
  readonly code: number;
  /** Of the last line. */
  readonly text: string;
  readonly lines: readonly ReplyLine[];
}

/** Reads replies from whatever comes, in whatever pieces; what is no reply is passed over. */
export class ReplyParser {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #lines: ReplyLine[] = [];
  #code = 0;
  #size = 0;

  /** Throws a {@link BirdError} `BIRD_CONTROL` when a reply has more than `limit` characters. */
  constructor(private readonly limit = 64 * 1024 * 1024) {}

  push(chunk: Uint8Array): Reply[] {
    const text = this.#rest + this.#decoder.decode(chunk, { stream: true });
    const lines = text.split("\n");
    this.#rest = lines.pop() ?? "";
    this.#size += chunk.length;
    const replies = lines.flatMap((line) => this.#line(line.endsWith("\r") ? line.slice(0, -1) : line));
    if (this.#size > this.limit) throw new BirdError("BIRD_CONTROL", `BIRD's reply has more than ${this.limit} bytes`);
    return replies;
  }

  #line(line: string): Reply[] {
    if (line.startsWith("+")) return [];
    const coded = /^(\d{4})([- ])/.exec(line);
    if (!coded) {
      this.#lines.push({ code: this.#code, text: line.startsWith(" ") ? line.slice(1) : line });
      return [];
    }
    this.#code = Number(coded[1]);
    const text = line.slice(5);
    this.#lines.push({ code: this.#code, text });
    if (coded[2] === "-") return [];
    const reply = { code: this.#code, text, lines: this.#lines };
    this.#lines = [];
    this.#size = 0;
    return [reply];
  }
}

export interface ControlOptions {
  /** Longest wait for a connection and for each reply, in milliseconds. */
  readonly timeoutMs: number;
}

/** A connection to a running BIRD. One command at a time, in the order in which they are asked. */
export interface Control extends AsyncDisposable {
  /** BIRD's welcome: `BIRD 2.0.12 ready.` */
  readonly welcome: string;
  /** The reply, whatever its code. Throws a {@link BirdError} `BIRD_CONTROL` when there is none in time or the connection ends; then it cannot be used any more. */
  ask(command: string): Promise<Reply>;
  /** Resolves when BIRD, or `close`, ended the connection. */
  readonly closed: Promise<void>;
  close(): void;
}

/** Throws a {@link BirdError} `BIRD_CONTROL`. */
export async function connectControl(path: string, options: ControlOptions): Promise<Control> {
  const connection = new Connection(path, options.timeoutMs);
  const welcome = await connection.reply("the connection");
  if (welcome.code !== 1) {
    connection.close();
    throw new BirdError(
      "BIRD_CONTROL",
      `${path} answers, but not as BIRD does: ${JSON.stringify(welcome.text.slice(0, 80))}`,
    );
  }
  let queue: Promise<unknown> = Promise.resolve();
  return {
    welcome: welcome.text,
    closed: connection.closed,
    ask(command) {
      if (/[\r\n]/.test(command)) throw new RangeError("a command is one line");
      const answer = queue.then(() => {
        connection.write(`${command}\n`);
        return connection.reply(`"${command}"`);
      });
      queue = answer.catch(() => {});
      return answer;
    },
    close: () => connection.close(),
    [Symbol.asyncDispose]: async () => connection.close(),
  };
}

/** The socket, as replies that are waited for. */
class Connection {
  readonly #socket: Socket;
  readonly #parser = new ReplyParser();
  readonly #replies: Reply[] = [];
  #waiting: { resolve(reply: Reply): void; reject(error: Error): void } | undefined;
  #failed: Error | undefined;
  readonly closed: Promise<void>;

  constructor(
    private readonly path: string,
    private readonly timeoutMs: number,
  ) {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#socket = createConnection({ path });
    this.#socket.on("data", (chunk: Buffer) => this.#data(chunk));
    this.#socket.on("error", (error: NodeJS.ErrnoException) => this.#fail(error.code ?? error.message));
    this.#socket.on("close", () => {
      this.#fail("the connection was closed");
      resolve();
    });
  }

  write(text: string): void {
    if (!this.#failed) this.#socket.write(text);
  }

  reply(to: string): Promise<Reply> {
    const ready = this.#replies.shift();
    if (ready) return Promise.resolve(ready);
    if (this.#failed) return Promise.reject(this.#failed);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(`no answer to ${to} within ${this.timeoutMs} ms`), this.timeoutMs);
      const settle = (): void => {
        clearTimeout(timer);
        this.#waiting = undefined;
      };
      this.#waiting = {
        resolve: (reply) => {
          settle();
          resolve(reply);
        },
        reject: (error) => {
          settle();
          reject(error);
        },
      };
    });
  }

  close(): void {
    this.#fail("it was closed");
  }

  #data(chunk: Buffer): void {
    try {
      for (const reply of this.#parser.push(chunk)) {
        if (this.#waiting) this.#waiting.resolve(reply);
        else this.#replies.push(reply);
      }
    } catch (error) {
      this.#fail(error instanceof Error ? error.message : String(error));
    }
  }

  #fail(why: string): void {
    this.#failed ??= new BirdError("BIRD_CONTROL", `control socket ${this.path}: ${why}; is BIRD running?`);
    this.#waiting?.reject(this.#failed);
    this.#socket.destroy();
  }
}
