/** Where text goes. */
export interface Sink {
  write(text: string): void;
  readonly isTerminal: boolean;
  /** Width of the terminal in columns, when it is one. */
  readonly columns?: number;
}

/** The streams of one run. Programs use nothing else, so a test runs them in-process and reads what they wrote. */
export interface Io {
  readonly stdout: Sink;
  readonly stderr: Sink;
  /** All of standard input, once it ends. */
  stdin(): Promise<string>;
}

/**
 * The streams of this process. A reader that goes away (`calicoctl get ippools | head -1`) ends the output silently, as
 * it does for every other tool, instead of with an EPIPE error.
 */
export function processIo(): Io {
  return { stdout: sinkOf(process.stdout), stderr: sinkOf(process.stderr), stdin: readStdin };
}

function sinkOf(stream: NodeJS.WriteStream): Sink {
  let open = true;
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    open = false;
  });
  return {
    write(text) {
      if (open) stream.write(text);
    },
    isTerminal: stream.isTTY === true,
    ...(stream.columns ? { columns: stream.columns } : {}),
  };
}

async function readStdin(): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString("utf8");
}
