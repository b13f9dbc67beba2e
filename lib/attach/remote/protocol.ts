/**
 * Attachments through the node's agent: what the plugin and the agent say to each other on this node (docs/decisions/0012).
 *
 *   plugin → attach-fd.sock   one datagram: the cookie, with CNI_NETNS open as a descriptor; the kernel adds who sent it
 *   plugin → attach.sock      one line: a Request that names the cookie
 *   agent  → plugin           one line: `declined` or `taken`; after `taken` any number of `remove`, each of which is answered with a
 *                             Removed, and at last `done` or `failed`
 *
 * Lines are JSON in UTF-8. An agent that has taken a request answers it, or is dead: a connection that is lost then says that nobody is at
 * work on it any more.
 */
import type { Result } from "../../cni/index.ts";
import type { Level } from "../../telemetry/index.ts";
import type { DeleteOutcome, DeletePlan, VethErrorCode } from "../../veth/index.ts";

/** Whoever speaks another one declines, or is declined. */
export const PROTOCOL_VERSION = 1;

/** Where the two sockets are. */
export interface Sockets {
  readonly stream: string;
  readonly descriptors: string;
}

/** The sockets in the folder of the agent's sockets and locks. */
export const socketsIn = (folder: string): Sockets => ({
  stream: `${folder}/attach.sock`,
  descriptors: `${folder}/attach-fd.sock`,
});

/** In bytes. A request holds a network configuration, with the result of an ADD at most; an answer also what was logged. */
export const LARGEST_REQUEST = 1024 * 1024;
export const LARGEST_ANSWER = 4 * 1024 * 1024;

/** A cookie is 16 random bytes in hexadecimal digits. */
export const COOKIE_LENGTH = 32;

export interface Request {
  readonly version: number;
  readonly cookie: string;
  /** The plugin's own network namespace: its inode, which names it on this machine. */
  readonly namespace: number;
  /** Of the plugin's environment, what it reads. */
  readonly env: Readonly<Record<string, string>>;
  /** The network configuration as the runtime gave it. */
  readonly stdin: string;
}

/** What was logged: level, message, fields. The plugin writes it where its configuration says. */
export type LogLine = readonly [Exclude<Level, "none">, string, Readonly<Record<string, string | number | boolean>>];

export type Answer =
  /** Nothing was done. */
  | { readonly type: "declined"; readonly why: string }
  | { readonly type: "taken" }
  /** The plugin is to remove an interface: it may wait for the kernel, the agent may not. `inPod`: by way of CNI_NETNS as well. */
  | { readonly type: "remove"; readonly plan: Omit<DeletePlan, "netns" | "hostNetns">; readonly inPod: boolean }
  | { readonly type: "done"; readonly log: readonly LogLine[]; readonly result?: Result }
  /** Without a code it is an error that nobody made on purpose. */
  | {
      readonly type: "failed";
      readonly log: readonly LogLine[];
      readonly code?: number;
      readonly message: string;
      readonly details?: string;
    };

export type Removed = { readonly outcome: DeleteOutcome } | { readonly message: string; readonly code?: VethErrorCode };
