import type { NodeErrorCode } from "./types.ts";

/** Start-up cannot go on: what is wrong, and what would help. */
export class NodeError extends Error {
  override readonly name = "NodeError";
  constructor(
    readonly code: NodeErrorCode,
    message: string,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}
