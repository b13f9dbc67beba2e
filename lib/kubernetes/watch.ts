import type { WatchEvent } from "./client.ts";
import { KubernetesError } from "./errors.ts";
import { connectionError, eventError, type Subject } from "./failure.ts";
import { LineSplitter, LineTooLong } from "./lines.ts";
import type { OpenStream } from "./transport.ts";

const TYPES: readonly string[] = ["ADDED", "MODIFIED", "DELETED", "BOOKMARK"];

export interface EventsOptions {
  readonly subject: Subject;
  readonly parse: (text: string) => unknown;
  readonly signal: AbortSignal | undefined;
  /** Milliseconds. */
  readonly idleTimeout: number | undefined;
}

/** The events of a watch that is open, as they come. Ends when the stream ends or `signal` aborts. */
export async function* events<T>(
  stream: OpenStream,
  options: EventsOptions,
): AsyncGenerator<WatchEvent<T>, void, undefined> {
  const { subject, signal } = options;
  const reader = stream.body.getReader();
  const lines = new LineSplitter();
  try {
    for (;;) {
      const chunk = await next(reader, options);
      if (chunk === "aborted") return;
      if (!chunk) {
        if (lines.rest() !== "") throw broken(subject, "the stream broke off in the middle of an event");
        return;
      }
      for (const line of lines.push(chunk)) {
        const event = parseEvent(line, options);
        if (event.type === "ERROR") throw eventError(subject, event.object, stream.credentials);
        yield event as WatchEvent<T>;
        if (signal?.aborted) return;
      }
    }
  } catch (error) {
    if (error instanceof LineTooLong) throw broken(subject, "an event is larger than any object can be");
    throw error;
  } finally {
    stream.end();
    reader.cancel().catch(() => {});
  }
}

interface Reader {
  read(): Promise<{ readonly value?: Uint8Array | undefined }>;
}

/** What comes next; undefined at the end of the stream. The clock runs only while this waits, not while the reader works. */
function next(
  reader: Reader,
  { subject, signal, idleTimeout }: EventsOptions,
): Promise<Uint8Array | "aborted" | undefined> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return resolve("aborted");
    const settle = (how: () => void) => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      how();
    };
    const abort = () => settle(() => resolve("aborted"));
    const timer =
      idleTimeout === undefined
        ? undefined
        : setTimeout(
            () => settle(() => reject(broken(subject, `the stream was silent for ${idleTimeout / 1000} s`))),
            idleTimeout,
          );
    signal?.addEventListener("abort", abort);
    reader.read().then(
      ({ value }) => settle(() => resolve(value)),
      (error: unknown) => settle(() => reject(streamError(subject, error))),
    );
  });
}

function parseEvent(line: string, { subject, parse }: EventsOptions): { type: string; object: unknown } {
  let event: { type?: unknown; object?: unknown } | null;
  try {
    event = parse(line) as typeof event;
  } catch {
    event = null;
  }
  const type = event?.type;
  if (typeof type === "string" && (type === "ERROR" || TYPES.includes(type)) && typeof event?.object === "object")
    return { type, object: event.object };
  throw new KubernetesError(
    "SERVER",
    `${subject.name}: ${subject.what}: the stream holds something that is not an event`,
  );
}

const broken = (subject: Subject, problem: string): KubernetesError =>
  new KubernetesError("CONNECTION", `${subject.name}: ${subject.what}: ${problem}`);

function streamError(subject: Subject, error: unknown): KubernetesError {
  if (error instanceof KubernetesError) return error;
  const trust = { host: "", hasCa: true, caFile: undefined, serverName: undefined, unusable: undefined };
  return connectionError(subject, error, trust);
}
