import type { Compare, Range, Stored, StoreEvent, Write } from "../store.ts";
import { GatewayError } from "./errors.ts";

/**
 * The messages of etcd's v3 API as its JSON gateway takes and gives them (etcdserverpb/rpc.proto): bytes in base64, 64-bit numbers as
 * strings, and fields that are zero, false or empty left out.
 */

export interface KeyValueMessage {
  readonly key?: string;
  readonly value?: string;
  readonly create_revision?: string;
  readonly mod_revision?: string;
}

export interface RangeMessage {
  readonly kvs?: readonly KeyValueMessage[];
  readonly more?: boolean;
}

interface HeaderMessage {
  readonly cluster_id?: string;
  readonly revision?: string;
}

export interface TxnMessage {
  readonly header?: HeaderMessage;
  readonly succeeded?: boolean;
  readonly responses?: readonly {
    readonly response_range?: RangeMessage;
    readonly response_delete_range?: { readonly prev_kvs?: readonly KeyValueMessage[] };
  }[];
}

export interface WatchMessage {
  readonly result?: {
    readonly header?: HeaderMessage;
    readonly created?: boolean;
    readonly canceled?: boolean;
    readonly compact_revision?: string;
    readonly cancel_reason?: string;
    readonly events?: readonly {
      readonly type?: string;
      readonly kv?: KeyValueMessage;
      readonly prev_kv?: KeyValueMessage;
    }[];
  };
  readonly error?: { readonly message?: string; readonly grpc_code?: number; readonly http_code?: number };
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const text = (encoded: string | undefined): string => (encoded ? Buffer.from(encoded, "base64").toString() : "");

/** A revision, which etcd counts from 1. */
export function revisionOf(number: string | undefined): number {
  const revision = Number(number);
  if (Number.isSafeInteger(revision) && revision > 0) return revision;
  throw new GatewayError(200, undefined, "an answer without a usable revision");
}

export function rangeFields(range: Range): { key: string; range_end?: string } {
  return "key" in range ? { key: base64(range.key) } : { key: base64(range.start), range_end: base64(range.end) };
}

export function compareMessage({ key, modRevision }: Compare): object {
  return modRevision === "any"
    ? { key: base64(key), target: "MOD", result: "GREATER", mod_revision: "0" }
    : { key: base64(key), target: "MOD", result: "EQUAL", mod_revision: String(modRevision) };
}

export function writeMessage({ key, value }: Write): object {
  return value === undefined
    ? { request_delete_range: { key: base64(key), prev_kv: true } }
    : { request_put: { key: base64(key), value: base64(value) } };
}

export function storedOf(message: KeyValueMessage): Stored {
  return {
    key: text(message.key),
    value: text(message.value),
    modRevision: revisionOf(message.mod_revision),
    createRevision: revisionOf(message.create_revision),
  };
}

export function eventsOf(message: NonNullable<WatchMessage["result"]>): StoreEvent[] {
  return (message.events ?? []).map(({ type, kv = {}, prev_kv: before }) => {
    const previous = before && storedOf(before);
    if (type !== "DELETE") return { type: "put", stored: storedOf(kv), previous };
    return { type: "delete", key: text(kv.key), revision: revisionOf(kv.mod_revision), previous };
  });
}
