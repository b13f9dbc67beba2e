import type { Kind } from "../api/kind.ts";
import type { Ref, Resource } from "../api/meta.ts";
import { type Client, DatastoreError, type DeleteOptions, type Operation } from "../datastore/index.ts";
import { type Logger, silentLogger } from "../telemetry/index.ts";
import { IpamError } from "./errors.ts";
import type { IpamOptions } from "./types.ts";

/** What every effect needs. */
export interface Context {
  readonly client: Client;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  now(): number;
  /** Where the sequence numbers of a new block begin: greater than any that an earlier block of the same CIDR had. */
  seed(): bigint;
  random(): number;
  sleep(milliseconds: number): Promise<void>;
}

export function createContext(client: Client, options: IpamOptions): Context {
  const now = options.clock ?? Date.now;
  return {
    client,
    log: options.log ?? silentLogger,
    now,
    seed: () => BigInt(Math.floor(now())) * 1_000_000n + (process.hrtime.bigint() % 1_000_000n),
    random: options.random ?? Math.random,
    sleep: options.sleep ?? ((milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds))),
  };
}

/** How often something is decided anew before giving up; upstream's number. */
export const RETRIES = 100;

/** Whether an error only says that somebody else was quicker. */
export function isRace(error: unknown): error is DatastoreError {
  return (
    error instanceof DatastoreError &&
    (error.code === "CONFLICT" || error.code === "EXISTS" || error.code === "NOT_FOUND")
  );
}

/** Whether an error says that what is stored cannot be read: the object is then passed over where that is safe. */
export function isUnreadable(error: unknown): error is DatastoreError {
  return error instanceof DatastoreError && error.code === "INVALID";
}

/** Waits a random while that grows with the attempts, so that those who compete do not meet again. The first retry is at once. */
export async function backOff(ctx: Context, attempt: number): Promise<void> {
  if (attempt > 0) await ctx.sleep(ctx.random() * Math.min(100, 2 ** Math.min(attempt, 7)));
}

/** Does something again as long as it throws because somebody else was quicker. `what` completes "could not …". */
export async function retrying<T>(ctx: Context, what: string, attempt: (number: number) => Promise<T>): Promise<T> {
  for (let number = 0; ; number++) {
    try {
      return await attempt(number);
    } catch (error) {
      if (!isRace(error)) throw error;
      if (number + 1 >= RETRIES) throw tooManyConflicts(what, error);
      await backOff(ctx, number);
    }
  }
}

export function tooManyConflicts(what: string, cause: unknown): IpamError {
  return new IpamError(
    "IPAM_CONFLICT",
    `could not ${what}: others changed the same objects ${RETRIES} times in a row; try again`,
    { cause },
  );
}

/** A kind as batches take it. */
const plain = <R extends Resource>(kind: Kind<R>): Kind => kind as unknown as Kind;

export function createOp<R extends Resource>(kind: Kind<R>, resource: R): Operation {
  return { op: "create", kind: plain(kind), resource };
}

export function updateOp<R extends Resource>(kind: Kind<R>, resource: R): Operation {
  return { op: "update", kind: plain(kind), resource };
}

/** The deletion of exactly what was read. */
export function deleteOp<R extends Resource>(ctx: Context, kind: Kind<R>, ref: Ref, read: R): Operation {
  return { op: "delete", kind: plain(kind), ref, ...asRead(ctx, read) };
}

/** The uid guards deletions only where the revision alone cannot; elsewhere it would cost a read. */
export function asRead(ctx: Context, read: Resource): DeleteOptions {
  const { resourceVersion, uid } = read.metadata;
  return {
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
    ...(ctx.client.capabilities.softDelete && uid !== undefined ? { uid } : {}),
  };
}

/** Thrown when operations were carried out one by one and one of them failed. */
export class PartialCommit extends Error {
  override readonly name = "PartialCommit";
  constructor(
    /** What the operations before the failed one answered; a deletion answers nothing. */
    readonly done: readonly (Resource | undefined)[],
    override readonly cause: unknown,
  ) {
    super("a batch was carried out in part");
  }
}

/**
 * Carries out operations: in one commit where the datastore can, else in order. Throws the datastore's error when
 * nothing was written, and PartialCommit when the first `done` operations were.
 */
export async function commit(ctx: Context, operations: readonly Operation[]): Promise<void> {
  if (operations.length === 0) return;
  if (ctx.client.capabilities.atomicBatch) return ctx.client.commit(operations);
  const done: (Resource | undefined)[] = [];
  for (const operation of operations) {
    try {
      done.push(await carryOut(ctx.client, operation));
    } catch (error) {
      throw done.length === 0 ? error : new PartialCommit(done, error);
    }
  }
}

/** Carries out one operation. A deletion answers nothing, which saves reading what is deleted. */
export async function carryOut(client: Client, operation: Operation): Promise<Resource | undefined> {
  switch (operation.op) {
    case "create":
      return client.create(operation.kind, operation.resource);
    case "update":
      return client.update(operation.kind, operation.resource);
    case "delete":
      await client.commit([operation]);
      return undefined;
  }
}

/** Deletes exactly what was read. */
export function deleteRead<R extends Resource>(ctx: Context, kind: Kind<R>, ref: Ref, read: R): Promise<void> {
  return ctx.client.commit([deleteOp(ctx, kind, ref, read)]);
}
