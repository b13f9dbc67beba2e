import type { Notification } from "./types.ts";

const NOTHING = new Uint8Array(0);

/** Bytes that end the session. The only error that the codec throws on what it reads; `notification` is what to tell the other. */
export class WireError extends Error {
  override readonly name = "WireError";
  constructor(
    /** RFC 4271 4.5; see `ERROR`. */
    readonly code: number,
    readonly subcode: number,
    /** What is wrong, in words. */
    message: string,
    /** What RFC 4271 6 asks to be sent along. */
    readonly data: Uint8Array = NOTHING,
  ) {
    super(message);
  }

  get notification(): Notification {
    return { code: this.code, subcode: this.subcode, data: this.data };
  }
}
