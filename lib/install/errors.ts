export type InstallErrorCode =
  /** A variable or an option says what cannot be. */
  | "SETTINGS"
  /** The network configuration, once its placeholders are filled in, is none. */
  | "CONFIGURATION"
  /** The file that would be replaced is another network's. */
  | "FOREIGN"
  /** The network configuration names an executable or a file that is not there. */
  | "INCOMPLETE"
  /** A folder or a file of the node cannot be read or written. */
  | "FILES"
  /** The API server gives no token, or does not take the one that it gave. */
  | "TOKEN";

/** What stands in the way of an installation; the message says what would help, and holds no secret. */
export class InstallError extends Error {
  override readonly name = "InstallError";
  constructor(
    readonly code: InstallErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
