/** A failure that the person at the keyboard can do something about: the message is all they need. */
export class CliError extends Error {
  override readonly name: string = "CliError";
  constructor(
    readonly code: string,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The command line itself is wrong; the message is followed by where to read how it should be. */
export class UsageError extends CliError {
  override readonly name = "UsageError";
  constructor(message: string) {
    super("USAGE", message);
  }
}

/**
 * What is shown for an error. Coded errors (ours, the datastore's, the system's) are messages for people. Anything else
 * is a defect of the program, is said to be one, and shows its stack only on request.
 */
export function failureText(error: unknown, options: { readonly stack: boolean }): string {
  if (!(error instanceof Error)) return `internal error: ${String(error)}`;
  const stack = options.stack && error.stack ? `\n${error.stack}` : "";
  if (typeof (error as { code?: unknown }).code === "string") return `${error.message}${stack}`;
  return options.stack
    ? `internal error: ${error.message}${stack}`
    : `internal error: ${error.message} (run again with --log-level=debug for details, and please report it)`;
}
