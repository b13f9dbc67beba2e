/** The edge between a rule program and the kernel; nftables/ and iptables/ are two of it, testing.ts holds a third that interprets. */
import type { Program } from "./program.ts";

/** The desired state of both IP versions. */
export interface Programs {
  readonly v4: Program;
  /** Absent: IPv6 is not to be touched. */
  readonly v6?: Program;
}

export interface Applied {
  /** What was sent to the kernel: 0 when it had nothing to change. */
  readonly commands: number;
  /** Whether the kernel was compared with the programs as a whole. */
  readonly compared: boolean;
  /** What somebody else had changed and this apply put right, in words: `chain filter-cali-FORWARD was gone`. */
  readonly repaired: readonly string[];
}

/** What stands in the kernel, for metrics. */
export interface DataplaneCounts {
  readonly chains: number;
  readonly rules: number;
  readonly sets: number;
  readonly maps: number;
}

/**
 * Makes the kernel of the network namespace the process is in hold what the programs say. The first apply compares with what it finds, takes it
 * over, and changes only the difference; later ones change what the programs' changes name.
 */
export interface Dataplane {
  readonly name: "nftables" | "iptables-nft" | "iptables-legacy" | "fake";
  /**
   * One round. Whoever calls it waits for the last one first. Packets never meet a state in which what must be denied is let through. On
   * failure it throws a DataplaneError after what could be done was done, keeps what is left to do for the next call, and
   * compares with the kernel then.
   */
  apply(): Promise<Applied>;
  /** The next apply compares the kernel with the programs as a whole. */
  recheck(): void;
  /**
   * Calls back when somebody else changed, or may have changed, what is ours; the next apply will look. Events, not a timer, where the kernel
   * has them.
   */
  onDrift(callback: (what: string) => void): void;
  readonly counts: DataplaneCounts;
  /** Removes everything of ours from the kernel, and nothing else: for a change of dataplane. */
  remove(): Promise<void>;
  /** Stops watching. The kernel goes on enforcing. */
  close(): Promise<void>;
}

export type DataplaneErrorCode =
  /** The tool (nft, iptables-restore, ipset) is not there, or too old. */
  | "DATAPLANE_TOOL_MISSING"
  /** The kernel or the tool refused what was asked; the message says what. */
  | "DATAPLANE_REFUSED"
  /** A set is full: MaxIpsetSize. */
  | "DATAPLANE_SET_FULL"
  | "DATAPLANE_UNREADABLE";

/** What went wrong between the program and the kernel; names object, cause and remedy. */
export class DataplaneError extends Error {
  readonly code: DataplaneErrorCode;
  constructor(code: DataplaneErrorCode, message: string, options?: ErrorOptions) {
    super(`${code}: ${message}`, options);
    this.name = "DataplaneError";
    this.code = code;
  }
}
