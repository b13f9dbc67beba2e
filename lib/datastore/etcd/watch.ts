import { pause } from "../../wait/index.ts";
import { DatastoreError } from "../errors.ts";
import { Gap, type Range, type StoreEvent } from "../store.ts";
import { etcdError, GatewayError } from "./errors.ts";
import type { Transport } from "./transport.ts";
import { eventsOf, rangeFields, revisionOf, type WatchMessage } from "./wire.ts";

/** Waits before connecting again, in milliseconds. */
const RETRY = { first: 50, most: 5000 };
/**
 * A stream that is silent for so long is opened anew, in milliseconds: a server that vanished without a word would otherwise go
 * unnoticed. Nothing is lost, because the new one begins at the same revision.
 */
const SILENCE = 120_000;

/**
 * A watch over the gateway's streaming `/v3/watch`: one JSON message a line. After a disconnect it begins again where it was; Gap
 * when that is no longer possible. With progress notifications it moves on also when nothing happens in its range, so that
 * compaction does not overtake it.
 */
export async function* watchRange(
  transport: Transport,
  range: Range,
  from: number,
  signal: AbortSignal,
): AsyncGenerator<readonly StoreEvent[], void, undefined> {
  let seen = from;
  let wait = RETRY.first;
  let cluster: string | undefined;
  while (!signal.aborted) {
    const connection = new AbortController();
    const either = AbortSignal.any([signal, connection.signal]);
    try {
      const request = {
        create_request: {
          ...rangeFields(range),
          start_revision: String(seen + 1),
          progress_notify: true,
          prev_kv: true,
        },
      };
      const stream = await transport.stream("/v3/watch", request, either);
      for await (const message of messages(stream, either)) {
        if (message.error)
          throw new GatewayError(
            message.error.http_code ?? 500,
            message.error.grpc_code,
            message.error.message ?? "watch failed",
          );
        const { result } = message;
        if (!result) continue;
        const header = result.header;
        if (result.canceled) {
          if (result.compact_revision) throw new Gap(`changes after revision ${seen} were compacted`);
          throw etcdError(
            transport.name,
            new GatewayError(200, undefined, result.cancel_reason ?? "the watch was cancelled"),
          );
        }
        const revision = revisionOf(header?.revision);
        if (result.created) {
          // The store was restored from a copy, or it is another one: what comes next would not follow what was seen.
          if (revision < seen || (cluster !== undefined && header?.cluster_id !== cluster))
            throw new Gap(`etcd is at revision ${revision}, but ${seen} was seen`);
          cluster = header?.cluster_id;
          wait = RETRY.first;
          continue;
        }
        const events = eventsOf(result);
        if (events.length > 0) yield events;
        const last = events.at(-1);
        // Without events it is a progress notification: everything up to its revision has been sent.
        seen = last ? (last.type === "put" ? last.stored.modRevision : last.revision) : Math.max(seen, revision);
      }
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Gap) throw error;
      if (error instanceof DatastoreError && error.code !== "UNAVAILABLE") throw error;
    } finally {
      connection.abort();
    }
    await pause(wait, signal);
    wait = Math.min(wait * 2, RETRY.most);
  }
}

/** The lines of a stream; ends when the stream does, when it is silent for too long, or when `signal` aborts. */
async function* messages(stream: ReadableStream<Uint8Array>, signal: AbortSignal): AsyncGenerator<WatchMessage> {
  const reader = stream.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  const cancel = () => void reader.cancel().catch(() => {});
  signal.addEventListener("abort", cancel);
  try {
    while (!signal.aborted) {
      const silence = setTimeout(cancel, SILENCE);
      const { done, value } = await reader.read().finally(() => clearTimeout(silence));
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const lines = rest.split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) if (line.trim() !== "") yield JSON.parse(line) as WatchMessage;
    }
  } finally {
    signal.removeEventListener("abort", cancel);
    cancel();
  }
}
