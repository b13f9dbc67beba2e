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

/** Longest line: those of BIRD are cut at 1 KiB or so (CLI_MSG_SIZE). */
const LINE_LIMIT = 1024 * 1024;

/** Reads lines from whatever comes, in whatever pieces; what is no reply is passed over. */
export class LineParser {
  readonly #decoder = new TextDecoder();
  #rest = "";
  #code = 0;

  /** Throws a {@link BirdError} `BIRD_CONTROL` where a line has no end. */
  push(chunk: Uint8Array): (ReplyLine & { readonly isLast: boolean })[] {
    const lines = (this.#rest + this.#decoder.decode(chunk, { stream: true })).split("\n");
    this.#rest = lines.pop() ?? "";
    if (this.#rest.length > LINE_LIMIT) throw new BirdError("BIRD_CONTROL", "BIRD sent a line without an end");
    return lines.flatMap((line) => this.#line(line.endsWith("\r") ? line.slice(0, -1) : line));
  }

  #line(line: string): (ReplyLine & { readonly isLast: boolean })[] {
    if (line.startsWith("+")) return [];
    const coded = /^(\d{4})([- ])/.exec(line);
    if (!coded) return [{ code: this.#code, text: line.startsWith(" ") ? line.slice(1) : line, isLast: false }];
    this.#code = Number(coded[1]);
    return [{ code: this.#code, text: line.slice(5), isLast: coded[2] === " " }];
  }
}

/** Whole replies. */
export class ReplyParser {
  readonly #parser = new LineParser();
  #lines: ReplyLine[] = [];
  #size = 0;

  /** Throws a {@link BirdError} `BIRD_CONTROL` when a reply has more than `limit` characters. */
  constructor(private readonly limit = 64 * 1024 * 1024) {}

  push(chunk: Uint8Array): Reply[] {
    this.#size += chunk.length;
    const replies: Reply[] = [];
    for (const { code, text, isLast } of this.#parser.push(chunk)) {
      this.#lines.push({ code, text });
      if (!isLast) continue;
      replies.push({ code, text, lines: this.#lines });
      this.#lines = [];
      this.#size = 0;
    }
    if (this.#size > this.limit) throw new BirdError("BIRD_CONTROL", `BIRD's reply has more than ${this.limit} bytes`);
    return replies;
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

/**
 * The lines of a reply as they come, of whatever length: BIRD waits for whoever reads. Over a connection of its own, which ends with the reply, or when the
 * reader has enough. The last line is among them. Throws a {@link BirdError} `BIRD_CONTROL`, also where nothing comes, or nothing is taken, for so long.
 */
export async function* streamReply(
  path: string,
  command: string,
  { timeoutMs }: ControlOptions,
): AsyncGenerator<ReplyLine> {
  if (/[\r\n]/.test(command)) throw new RangeError("a command is one line");
  const socket = createConnection({ path });
  const late = (): void => void socket.destroy(new Error(`nothing for ${timeoutMs} ms`));
  socket.setTimeout(timeoutMs, late);
  const parser = new LineParser();
  let welcomed = false;
  try {
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      for (const { isLast, ...line } of parser.push(chunk)) {
        if (welcomed) {
          yield line;
          if (isLast) return;
        } else if (isLast) {
          if (line.code !== 1) throw new Error("it answers, but not as BIRD does");
          welcomed = true;
          socket.write(`${command}\n`);
        }
      }
    }
    throw new Error("the connection was closed");
  } catch (error) {
    if (error instanceof BirdError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new BirdError("BIRD_CONTROL", `control socket ${path}: ${code ?? message}; is BIRD running?`);
  } finally {
    socket.destroy();
  }
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
