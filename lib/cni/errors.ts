/**
 * The codes of the error object. 0 to 99 are the specification's ("Section 5: Error"); 100 and up are a plugin's own.
 * `internal` (999) is what libcni's plugin skeleton gives an error that carries no code.
 */
export const errorCode = {
  incompatibleVersion: 1,
  unsupportedField: 2,
  unknownContainer: 3,
  invalidEnvironment: 4,
  ioFailure: 5,
  decodingFailure: 6,
  invalidConfiguration: 7,
  tryAgainLater: 11,
  notAvailable: 50,
  limitedConnectivity: 51,
  /** A command-line flag is wrong, or the `-t` test failed; upstream's plugin uses 100 for both. */
  usage: 100,
  /** The datastore cannot be used and waiting will not help: refused credentials, a corrupt or full store. */
  datastore: 101,
  /** No address could be assigned. */
  addresses: 102,
  /** The pod's interface could not be made, repaired or removed. */
  network: 103,
  /** What CHECK found missing or different. */
  check: 104,
  /** GC removed what it could, and this is what it could not. */
  garbage: 105,
  /** The interface, its host side, or the address belongs to somebody else. */
  taken: 106,
  /** An annotation of the pod or its namespace cannot be read, or asks for what is not allowed. */
  annotation: 107,
  internal: 999,
} as const;

export type ErrorCode = (typeof errorCode)[keyof typeof errorCode];

/**
 * An error for the runtime. `message` characterises it and names the key, variable or object at fault; `details` says
 * more, and what would help. Neither ever holds a secret or a stack trace.
 */
export class CniError extends Error {
  override readonly name = "CniError";
  constructor(
    /** One of {@link errorCode}, or whatever code an executed plugin answered with. */
    readonly code: number,
    message: string,
    readonly details: string = "",
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The error object as printed on stdout, indented as libcni prints it. */
export function formatError(error: CniError, cniVersion: string): string {
  const object: Record<string, unknown> = { cniVersion, code: error.code, msg: error.message };
  if (error.details) object.details = error.details;
  return `${JSON.stringify(object, undefined, 4)}\n`;
}
