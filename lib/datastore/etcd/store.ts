import type { EtcdConfig } from "../config.ts";
import { DatastoreError } from "../errors.ts";
import type { Compare, KeyValueStore, Range, ReadResult, Stored, StoreEvent, TransactResult, Write } from "../store.ts";
import { etcdError, GatewayError } from "./errors.ts";
import { type Tls, Transport } from "./transport.ts";
import { watchRange } from "./watch.ts";
import {
  compareMessage,
  type RangeMessage,
  rangeFields,
  revisionOf,
  storedOf,
  type TxnMessage,
  writeMessage,
} from "./wire.ts";

/**
 * etcd v3 through the JSON gateway that every member serves beside gRPC: loading gRPC would cost a plugin 25 ms, a request here
 * costs one HTTP round trip. What the gateway does not have: log-in by the common name of a client certificate (user name and
 * password work), and one stream for several watches (each is a connection of its own).
 */

/** etcd's default limit on the operations of one transaction (`--max-txn-ops`). */
const MAX_OPERATIONS = 128;
/** Keys a page of a range; the values of this many blocks stay well below a gateway's message limit. */
const PAGE = 500;
const TIMEOUT = 5000;

/** Prepares a client; the first operation connects. Reads the certificate files. */
export async function openEtcd(config: EtcdConfig): Promise<KeyValueStore> {
  const endpoints = config.discoverySrv
    ? await (await import("./discovery.ts")).discoverEndpoints(config.discoverySrv)
    : config.endpoints;
  if (endpoints.length === 0) throw new DatastoreError("CONFIG", "etcd: no endpoint is given");
  const { username, password } = config;
  const tls = await readTls(config);
  return new EtcdStore(
    new Transport({
      endpoints,
      timeout: config.timeout ?? TIMEOUT,
      ...(tls ? { tls } : {}),
      ...(username && password ? { credentials: { username, password } } : {}),
    }),
  );
}

export class EtcdStore implements KeyValueStore {
  readonly name: string;
  readonly #transport: Transport;
  readonly #closed = new AbortController();

  constructor(transport: Transport) {
    this.#transport = transport;
    this.name = transport.name;
  }

  async read(ranges: readonly Range[]): Promise<ReadResult> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#guard(false, () => this.#readAt(ranges));
      } catch (error) {
        // The revision that later pages were pinned to was compacted meanwhile.
        if (
          attempt === 3 ||
          !(error instanceof DatastoreError && error.cause instanceof GatewayError && error.cause.compacted)
        )
          throw error;
      }
    }
  }

  async transact(compares: readonly Compare[], writes: readonly Write[]): Promise<TransactResult> {
    if (compares.length > MAX_OPERATIONS || writes.length > MAX_OPERATIONS)
      throw new DatastoreError(
        "INVALID",
        `${this.name}: a batch of ${writes.length} writes: etcd takes ${MAX_OPERATIONS} at once`,
      );
    const body = {
      compare: compares.map(compareMessage),
      success: writes.map(writeMessage),
      failure: compares.map(({ key }) => ({ request_range: rangeFields({ key }) })),
    };
    return this.#guard(true, async () => {
      const answer = (await this.#transport.call("/v3/kv/txn", body, true)) as TxnMessage;
      const revision = revisionOf(answer.header?.revision);
      const first = (i: number) => {
        const response = answer.responses?.[i];
        const found = (response?.response_range?.kvs ?? response?.response_delete_range?.prev_kvs)?.[0];
        return found && storedOf(found);
      };
      return answer.succeeded
        ? { succeeded: true, revision, previous: writes.map((_, i) => first(i)) }
        : { succeeded: false, revision, current: compares.map((_, i) => first(i)) };
    });
  }

  watch(range: Range, from: number, signal: AbortSignal): AsyncIterable<readonly StoreEvent[]> {
    return watchRange(this.#transport, range, from, AbortSignal.any([signal, this.#closed.signal]));
  }

  async close(): Promise<void> {
    this.#closed.abort();
  }

  async #readAt(ranges: readonly Range[]): Promise<ReadResult> {
    const results: Stored[][] = [];
    let revision: number | undefined;
    for (let start = 0; start === 0 || start < ranges.length; start += MAX_OPERATIONS) {
      const chunk = ranges.slice(start, start + MAX_OPERATIONS);
      const at = revision === undefined ? {} : { revision: String(revision) };
      const answer = (await this.#transport.call(
        "/v3/kv/txn",
        { success: chunk.map((range) => ({ request_range: { ...rangeFields(range), limit: String(PAGE), ...at } })) },
        false,
      )) as TxnMessage;
      revision ??= revisionOf(answer.header?.revision);
      for (const [i, range] of chunk.entries())
        results.push(await this.#rest(range, answer.responses?.[i]?.response_range ?? {}, revision));
    }
    return { revision: revision!, results };
  }

  /** The first page of a range and those after it, all of one revision. */
  async #rest(range: Range, page: RangeMessage, revision: number): Promise<Stored[]> {
    const found = (page.kvs ?? []).map(storedOf);
    let { more } = page;
    while (more && "end" in range && found.length > 0) {
      const next = { start: `${found.at(-1)!.key}\0`, end: range.end };
      const answer = (await this.#transport.call(
        "/v3/kv/range",
        { ...rangeFields(next), limit: String(PAGE), revision: String(revision) },
        false,
      )) as RangeMessage;
      const kvs = answer.kvs ?? [];
      if (kvs.length === 0) break;
      for (const kv of kvs) found.push(storedOf(kv));
      more = answer.more;
    }
    return found;
  }

  async #guard<T>(changes: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#closed.signal.aborted) throw new DatastoreError("UNAVAILABLE", `${this.name}: the client is closed`);
    try {
      return await work();
    } catch (error) {
      throw etcdError(this.name, error, changes);
    }
  }
}

async function readTls(config: EtcdConfig): Promise<Tls | undefined> {
  const [ca, cert, key] = await Promise.all([
    config.caCert ?? readPem(config.caCertFile, "CA certificates"),
    config.cert ?? readPem(config.certFile, "client certificate"),
    config.key ?? readPem(config.keyFile, "client key"),
  ]);
  if (!ca && !cert && !key) return undefined;
  return { ...(ca ? { ca } : {}), ...(cert ? { cert } : {}), ...(key ? { key } : {}) };
}

async function readPem(file: string | undefined, what: string): Promise<string | undefined> {
  if (!file) return undefined;
  try {
    return await Bun.file(file).text();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new DatastoreError("CONFIG", `etcd: the ${what} cannot be read from ${file} (${why})`, { cause });
  }
}
