import { type Call, CliError } from "../../../lib/cli/index.ts";
import { DatastoreError } from "../../../lib/datastore/index.ts";
import { IpamError } from "../../../lib/ipam/index.ts";
import { type Job, ResourceError } from "../manage.ts";
import { namespaceOf, type Target } from "../targets.ts";

/** What came of a command on several resources. */
export interface Results<T> {
  readonly total: number;
  /** Set when all resources are of one kind. */
  readonly singleKind?: string;
  readonly done: readonly T[];
  /** Messages for the user, each with the place in the file where there is one. */
  readonly failures: readonly string[];
}

export interface RunOptions {
  readonly allNamespaces?: boolean;
  /** Failures that count as success. */
  readonly skip?: ResourceError["code"];
}

/**
 * Does something with each target in turn. One that fails does not keep the others from being tried, as upstream; a
 * datastore that cannot be used ends it at once.
 */
export async function forEach<T>(
  call: Call,
  targets: readonly Target[],
  options: RunOptions,
  work: (job: Job) => Promise<T>,
): Promise<Results<T | undefined>> {
  const done: (T | undefined)[] = [];
  const failures: string[] = [];
  for (const target of targets) {
    try {
      const namespace = namespaceOf(target, {
        namespace: call.args.text("namespace"),
        all: options.allNamespaces ?? false,
      });
      done.push(await work({ ...target, namespace }));
    } catch (error) {
      if (error instanceof ResourceError && error.code === options.skip) {
        done.push(undefined);
        continue;
      }
      failures.push(`${target.where === undefined ? "" : `${target.where}: `}${messageOf(error)}`);
    }
  }
  const kinds = new Set(targets.map(({ kind }) => kind.kind));
  const [single] = kinds;
  return {
    total: targets.length,
    ...(kinds.size === 1 && single !== undefined ? { singleKind: single } : {}),
    done,
    failures,
  };
}

/** The message of what went wrong with one resource; anything that is not about the resource goes on. */
function messageOf(error: unknown): string {
  if (error instanceof ResourceError || error instanceof CliError) return error.message;
  if (error instanceof DatastoreError && error.code === "INVALID") return error.message;
  if (error instanceof IpamError) return error.message;
  throw error;
}
