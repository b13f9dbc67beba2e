export type RoutesErrorCode =
  /** The kernel's routes could not be listed: they keep changing, or memory or privileges lack. The cause says what. */
  "ROUTES_UNREADABLE";

/** What went wrong between the wanted routes and the kernel's. */
export class RoutesError extends Error {
  override readonly name = "RoutesError";
  constructor(
    readonly code: RoutesErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(`${code}: ${message}`, options);
  }
}
