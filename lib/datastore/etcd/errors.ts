import { DatastoreError, type DatastoreErrorCode } from "../errors.ts";

/** gRPC's numbers of what went wrong, which the gateway passes on. */
const RESOURCE_EXHAUSTED = 8;
const PERMISSION_DENIED = 7;
const UNAUTHENTICATED = 16;
const UNAVAILABLE = 14;
const DEADLINE_EXCEEDED = 4;

/** An answer that is an error, as the gateway gave it. */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  constructor(
    readonly status: number,
    /** gRPC's code, where the gateway told it. */
    readonly code: number | undefined,
    message: string,
  ) {
    super(message);
  }

  /** The token is unknown, has expired, or is older than the last change of users and roles. */
  get staleToken(): boolean {
    return (
      this.code === UNAUTHENTICATED || /invalid auth token|revision (of|in) .*(auth|header).* is old/.test(this.message)
    );
  }

  /** This member cannot serve now; another one may. */
  get unavailable(): boolean {
    return this.code === UNAVAILABLE || this.code === DEADLINE_EXCEEDED || this.status >= 500;
  }

  /** The revision asked for is no longer, or not yet, known. */
  get compacted(): boolean {
    return /required revision has been compacted|required revision is a future revision/.test(this.message);
  }
}

const DOUBT = "; the write may or may not have been carried out";

/** The DatastoreError for whatever a call threw. `changes`: the call was a write, and may have reached a member. */
export function etcdError(name: string, error: unknown, changes = false): DatastoreError {
  if (error instanceof DatastoreError) return error;
  if (error instanceof GatewayError) {
    const [code, remedy] = meaning(error);
    return new DatastoreError(code, `${name}: ${error.message}${changes && error.unavailable ? DOUBT : ""}${remedy}`, {
      cause: error,
    });
  }
  // The answer did not have the shape of one.
  if (error instanceof TypeError && !errorCode(error))
    return new DatastoreError("UNAVAILABLE", `${name}: the answer is not one of etcd's, version 3.4 or later`, {
      cause: error,
    });
  const message = error instanceof Error ? error.message : String(error);
  if (/certificate|CERT_|self.signed|TLS|SSL/i.test(`${message} ${errorCode(error)}`))
    return new DatastoreError(
      "UNAVAILABLE",
      `${name}: TLS failed (${message}): check the CA, certificate and key files and the names in the server's certificate`,
      {
        cause: error,
      },
    );
  const refused = /refused|ConnectionRefused|FailedToOpenSocket/i.test(`${message} ${errorCode(error)}`);
  const doubt = changes && !refused ? DOUBT : "";
  return new DatastoreError(
    "UNAVAILABLE",
    `${name}: cannot be reached (${message})${doubt}: check that etcd runs there and that the network lets this node through`,
    { cause: error },
  );
}

function meaning(error: GatewayError): readonly [DatastoreErrorCode, string] {
  if (error.code === RESOURCE_EXHAUSTED || /database space exceeded/.test(error.message))
    return ["FULL", ": compact and defragment etcd or raise its quota, then disarm the alarm"];
  if (
    error.code === PERMISSION_DENIED ||
    error.code === UNAUTHENTICATED ||
    error.status === 401 ||
    error.status === 403 ||
    /authentication failed|permission denied|user name is empty|invalid auth token/.test(error.message)
  )
    return ["UNAUTHORIZED", ": check the user name, the password and the user's roles"];
  return ["UNAVAILABLE", ""];
}

function errorCode(error: unknown): string {
  const code = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : "";
}
