export type BirdErrorCode =
  /** The model has something that BIRD's language has no words for. */
  | "BIRD_UNSAYABLE"
  /** BIRD's parser, or the running BIRD, refused a configuration; the old one is still in force. */
  | "BIRD_REFUSED"
  /** The executable cannot be started, or ended. */
  | "BIRD_NOT_RUNNING"
  /** The control socket cannot be reached, closed, or did not answer in time. */
  | "BIRD_CONTROL";

/** What went wrong with BIRD, and what to do about it. */
export class BirdError extends Error {
  override readonly name = "BirdError";
  constructor(
    readonly code: BirdErrorCode,
    message: string,
    /** `BIRD_REFUSED`: where, and which resource the lines there are of. */
    readonly where?: { readonly file: string; readonly line: number; readonly resource?: string },
    options?: ErrorOptions,
  ) {
    super(`${code}: ${message}`, options);
  }
}
