export type ExplainErrorCode =
  /** There is no endpoint of that name. */
  | "EXPLAIN_NOT_FOUND"
  /** Several endpoints have that name. */
  | "EXPLAIN_AMBIGUOUS"
  /** The endpoint has no address, or none of the IP version. */
  | "EXPLAIN_NO_ADDRESS";

/** Why a question cannot be answered; the message says what to ask instead. */
export class ExplainError extends Error {
  readonly code: ExplainErrorCode;
  constructor(code: ExplainErrorCode, message: string) {
    super(message);
    this.name = "ExplainError";
    this.code = code;
  }
}
