import { errnoName } from "../sys/index.ts";

/** The kernel refused a request. */
export class NetlinkError extends Error {
  override readonly name = "NetlinkError";
  /** The errno's name, e.g. "EEXIST". */
  readonly code: string;
  constructor(
    /** The errno as a positive number. */
    readonly errno: number,
    /** What was attempted, on which object: "add the route 10.0.0.0/26 dev 7". */
    readonly attempt: string,
    /** The kernel's own explanation (its extended acknowledgement), when it gave one. */
    readonly explanation?: string,
  ) {
    const code = errnoName(errno);
    super(`${attempt}: ${code}${explanation ? ` (${explanation})` : ""}`);
    this.code = code;
  }
}

/** Bytes that are not what netlink messages are made of. The only error that the codec throws on its input. */
export class NetlinkParseError extends Error {
  override readonly name = "NetlinkParseError";
}
