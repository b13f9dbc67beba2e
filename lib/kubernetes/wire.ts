/** Names that the generated types cannot spell as JSON does. */
interface Renamed {
  _continue: "continue";
  _default: "default";
  _enum: "enum";
  _from: "from";
  _int: "int";
}
type JsonName<K> = K extends keyof Renamed ? Renamed[K] : K;

/**
 * A type of `@kubernetes/client-node` as its JSON is: those types describe objects after that library's decoding, where times
 * are Dates and `from` is called `_from`. Import them as types only: `Wire<V1NetworkPolicy>`.
 */
export type Wire<T> = T extends Date
  ? string
  : T extends readonly (infer E)[]
    ? Wire<E>[]
    : T extends object
      ? { [K in keyof T as JsonName<K>]: Wire<T[K]> }
      : T;

/** `metadata` as JSON, as far as this folder looks at it. */
export interface ObjectMeta {
  name?: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  [field: string]: unknown;
}

/** What every object that comes from an API server has. */
export interface KubernetesObject {
  apiVersion?: string;
  kind?: string;
  metadata?: ObjectMeta;
}

/** `meta/v1.Status` */
export interface Status {
  readonly kind: "Status";
  readonly apiVersion?: string;
  readonly status?: "Success" | "Failure";
  readonly message?: string;
  readonly reason?: string;
  readonly details?: import("./errors.ts").StatusDetails;
  readonly code?: number;
}
