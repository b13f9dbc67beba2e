export type DatastoreErrorCode =
  /** The object changed, or was deleted and made again, since it was read: read it again and decide anew. */
  | "CONFLICT"
  | "EXISTS"
  | "NOT_FOUND"
  /** Cannot be reached, or did not answer in time. Trying later may help. */
  | "UNAVAILABLE"
  /** It answered that these credentials may not do this. */
  | "UNAUTHORIZED"
  /** It is full: no room on the disk, or its quota is used up. */
  | "FULL"
  /** What is stored, or the file itself, is not what it should be. Never repaired or recreated silently. */
  | "CORRUPT"
  /** The resource that was given, or the one that is stored, is not a valid one of its kind. */
  | "INVALID"
  /** This datastore does not let anybody do that to objects of the kind, whatever they hold. */
  | "UNSUPPORTED"
  /** The configuration of the datastore is wrong. */
  | "CONFIG";

/** The one error of every datastore. `message` names the datastore or the object, and what would help. */
export class DatastoreError extends Error {
  override readonly name = "DatastoreError";
  /** The datastore does not have the kind at all: its CustomResourceDefinition is not installed. The code is CONFIG. */
  readonly kindMissing: boolean;
  constructor(
    readonly code: DatastoreErrorCode,
    message: string,
    options: { cause?: unknown; kindMissing?: boolean } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.kindMissing = options.kindMissing ?? false;
  }
}
