import { KubernetesError } from "../../kubernetes/index.ts";
import { DatastoreError, type DatastoreErrorCode } from "../errors.ts";

const CODES: Readonly<Record<KubernetesError["code"], DatastoreErrorCode>> = {
  CONFIG: "CONFIG",
  CONNECTION: "UNAVAILABLE",
  UNAUTHORIZED: "UNAUTHORIZED",
  FORBIDDEN: "UNAUTHORIZED",
  NOT_FOUND: "NOT_FOUND",
  CONFLICT: "CONFLICT",
  ALREADY_EXISTS: "EXISTS",
  INVALID: "INVALID",
  GONE: "UNAVAILABLE",
  TOO_MANY_REQUESTS: "UNAVAILABLE",
  SERVER: "UNAVAILABLE",
};

/** Fields of a patch that name the object it is for: when they are refused, it is another object by now. */
const GUARDS: readonly (string | undefined)[] = ["metadata.uid", "metadata.resourceVersion"];

/** What an API server's answer means to a caller of the Client. Errors of this folder pass as they are. */
export function asDatastoreError(error: unknown): unknown {
  if (!(error instanceof KubernetesError)) return error;
  const causes = error.details?.causes ?? [];
  if (error.code === "INVALID" && causes.length > 0 && causes.every(({ field }) => GUARDS.includes(field)))
    return new DatastoreError("CONFLICT", error.message, { cause: error });
  if (error.resourceMissing) return new DatastoreError("CONFIG", missing(error), { cause: error, kindMissing: true });
  // etcd's words; the API server passes them on as an internal error.
  if (error.code === "SERVER" && error.message.includes("database space exceeded"))
    return new DatastoreError("FULL", error.message, { cause: error });
  return new DatastoreError(CODES[error.code], error.message, { cause: error });
}

function missing({ message }: KubernetesError): string {
  const group = message.includes("crd.projectcalico.org")
    ? "v1"
    : message.includes("projectcalico.org")
      ? "v3"
      : undefined;
  return group
    ? `${message} ('calico crds --group ${group}' prints it, for 'kubectl apply --server-side -f -')`
    : message;
}

/** What reading an object threw, as INVALID: one object that nobody thought of must not hide the others. */
export function asUnreadable(error: unknown, key: string): DatastoreError {
  if (error instanceof DatastoreError) return error;
  const problem = error instanceof Error ? error.message : String(error);
  return new DatastoreError("INVALID", `${key}: cannot be read: ${problem}`, { cause: error });
}

/** Does something, and says of its errors what they mean to a caller of the Client. */
export async function translated<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw asDatastoreError(error);
  }
}
