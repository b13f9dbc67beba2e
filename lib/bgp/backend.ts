import type { ControlSource } from "./control/index.ts";
import type { NodeBgp } from "./model/index.ts";

/** What runs a node's BGP: our own speaker, or a real BIRD. */
export interface Backend extends ControlSource {
  /** From now on it shall be so. Sessions whose own parameters did not change stay up. Resolves when it is under way. */
  configure(node: NodeBgp): Promise<void>;
  /**
   * Graceful: tells the peers why, and they forget this node's routes. Otherwise they keep them for the next process (RFC 4724). The kernel's
   * routes stay either way.
   */
  close(how: { readonly graceful: boolean; readonly text?: string }): Promise<void>;
}
