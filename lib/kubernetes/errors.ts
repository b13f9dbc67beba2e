export type KubernetesErrorCode =
  /** The kubeconfig, the in-cluster files or a credential program are wrong: the message names file and field. */
  | "CONFIG"
  /** Cannot be reached, did not answer in time, broke off, or its certificate is not to be trusted. */
  | "CONNECTION"
  /** 401: the API server does not know who this is; the credentials were read again and tried once more. */
  | "UNAUTHORIZED"
  /** 403: it knows, and says no. */
  | "FORBIDDEN"
  /** 404: no such object, or, see {@link KubernetesError.resourceMissing}, no such resource. */
  | "NOT_FOUND"
  /** 409: the object changed since it was read, or is another one than the preconditions say. */
  | "CONFLICT"
  /** 409 with the reason AlreadyExists. */
  | "ALREADY_EXISTS"
  /** 400, 405, 406, 413, 415, 422: the request or the object in it is wrong; `details.causes` names the fields. */
  | "INVALID"
  /** 410: the revision or the continue token is no longer known. */
  | "GONE"
  /** 429, also after waiting as told. */
  | "TOO_MANY_REQUESTS"
  /** 5xx, or an answer that is not one of a Kubernetes API server. */
  | "SERVER";

/** `meta/v1.StatusDetails`, as far as it is used. */
export interface StatusDetails {
  readonly name?: string;
  readonly group?: string;
  readonly kind?: string;
  readonly uid?: string;
  readonly causes?: readonly StatusCause[];
  readonly retryAfterSeconds?: number;
}

export interface StatusCause {
  /** `FieldValueInvalid`, `ResourceVersionTooLarge`… */
  readonly reason?: string;
  readonly message?: string;
  /** `spec.cidr` */
  readonly field?: string;
}

export interface KubernetesErrorOptions {
  readonly status?: number | undefined;
  readonly reason?: string | undefined;
  readonly details?: StatusDetails | undefined;
  readonly doubtful?: boolean | undefined;
  readonly cause?: unknown;
}

/**
 * The one error of this folder. `message` says where (the server), what (the verb and the object), what happened and what
 * would help; it never holds a token, a key or a password.
 */
export class KubernetesError extends Error {
  override readonly name = "KubernetesError";
  /** The HTTP status, when there was an answer. */
  readonly status: number | undefined;
  /** The Status object's `reason`: `NotFound`, `Invalid`, `Expired`… */
  readonly reason: string | undefined;
  readonly details: StatusDetails | undefined;
  /** It was a write, and it may or may not have been carried out. */
  readonly doubtful: boolean;

  constructor(
    readonly code: KubernetesErrorCode,
    message: string,
    options: KubernetesErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.status = options.status;
    this.reason = options.reason;
    this.details = options.details;
    this.doubtful = options.doubtful ?? false;
  }

  /** NOT_FOUND because the API server does not serve such a resource at all: its CRD is not installed. */
  get resourceMissing(): boolean {
    return this.code === "NOT_FOUND" && !this.details?.name;
  }
}
