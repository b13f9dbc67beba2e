/** The process does not answer, or says that it cannot. */
export class ControlError extends Error {
  /** `BGP_NOT_RUNNING`: nobody answers at the socket, or not to the end. `BGP_FORBIDDEN`: this user may not ask. `BGP_REFUSED`: it cannot say, and why. */
  readonly code: "BGP_NOT_RUNNING" | "BGP_FORBIDDEN" | "BGP_REFUSED";
  /** Without the code. */
  readonly words: string;
  constructor(code: ControlError["code"], words: string, options?: ErrorOptions) {
    super(`${code}: ${words}`, options);
    this.name = "ControlError";
    this.code = code;
    this.words = words;
  }
}
