import type { IPAMBlock } from "../../api/ipamblock.ts";
import type { IPAMHandle } from "../../api/ipamhandle.ts";

/** How many handles are remembered: more than a node has pods. */
const HANDLES = 4096;

/**
 * Blocks and handles as this process read or wrote them last. Any of it may be out of date, which the compare-and-swap of the
 * next write finds; so it may be forgotten at any time, too.
 */
export class Known {
  readonly #blocks = new Map<string, IPAMBlock>();
  readonly #handles = new Map<string, IPAMHandle>();

  /** A copy, to decide in. */
  block(cidr: string): IPAMBlock | undefined {
    const block = this.#blocks.get(cidr);
    return block && structuredClone(block);
  }

  keepBlock(block: IPAMBlock): void {
    this.#blocks.set(block.spec.cidr, block);
  }

  dropBlock(cidr: string): void {
    this.#blocks.delete(cidr);
  }

  dropBlocks(): void {
    this.#blocks.clear();
  }

  handle(id: string): IPAMHandle | undefined {
    return this.#handles.get(id);
  }

  keepHandle(handle: IPAMHandle): void {
    this.#handles.delete(handle.spec.handleID);
    this.#handles.set(handle.spec.handleID, handle);
    for (const oldest of this.#handles.keys()) {
      if (this.#handles.size <= HANDLES) break;
      this.#handles.delete(oldest);
    }
  }

  dropHandle(id: string): void {
    this.#handles.delete(id);
  }
}
