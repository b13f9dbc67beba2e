/** One watch's stream, passed on as a {@link WatchFault} says. */
import type { ServerResponse } from "node:http";
import type { WatchFault } from "./proxy.ts";

interface Held {
  readonly line: string;
  /** What must stay in order: the object's UID; undefined for a bookmark, which nothing passes. */
  readonly object: string | undefined;
  readonly since: number;
}

interface Line {
  readonly type?: string;
  readonly object?: {
    readonly metadata?: { readonly uid?: string; readonly name?: string; readonly namespace?: string };
  };
}

const TICK = 5;
const PATIENCE = 50;

export class WatchSpoiler {
  readonly #out: ServerResponse;
  readonly #fault: WatchFault;
  readonly #random: () => number;
  readonly #held: Held[] = [];
  readonly #timer: ReturnType<typeof setInterval>;
  #passed = 0;
  #sourceEnded = false;
  #closed = false;

  constructor(source: ReadableStream<Uint8Array>, out: ServerResponse, fault: WatchFault, random: () => number) {
    this.#out = out;
    this.#fault = fault;
    this.#random = random;
    this.#timer = setInterval(() => this.#pump(), TICK);
    void this.#read(source);
  }

  /** Passes on all that is held back, then half a line, then breaks the connection. */
  cut(): void {
    const all = this.#held.splice(0).map(({ line }) => `${line}\n`);
    this.#break(`${all.join("")}{"type":"MODIFIED","object":{"kind":"`);
  }

  /** Forgets what is held back. */
  close(): void {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  async #read(source: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    try {
      for await (const chunk of source) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (line !== "") this.#take(line);
        this.#pump();
      }
    } catch {
      // The server went away, as servers do here: so does this connection.
    }
    this.#sourceEnded = true;
    this.#pump();
  }

  #take(line: string): void {
    const { type, object } = JSON.parse(line) as Line;
    const { uid, name, namespace } = object?.metadata ?? {};
    const bookmark = type !== "ADDED" && type !== "MODIFIED" && type !== "DELETED";
    this.#held.push({
      line,
      object: bookmark ? undefined : (uid ?? `${namespace}/${name}`),
      since: performance.now(),
    });
  }

  #pump(): void {
    const { delay = 0, reorder = 0, hold = false } = this.#fault;
    if (hold || this.#closed) return;
    const now = performance.now();
    const due = this.#held.filter(({ since }) => now - since >= delay).length;
    const waited = this.#held.length > 0 && now - this.#held[0]!.since >= Math.max(delay, PATIENCE);
    if (reorder < 2) this.#pass(this.#held.splice(0, due));
    else if (this.#held.length >= reorder || waited || this.#sourceEnded)
      this.#pass(this.#shuffled(this.#held.splice(0, Math.max(reorder, due))));
    if (this.#sourceEnded && this.#held.length === 0 && !this.#closed) {
      this.close();
      this.#out.end();
    }
  }

  #pass(batch: readonly Held[]): void {
    for (const { line } of batch) {
      if (this.#closed) return;
      if (this.#fault.cutAfter !== undefined && this.#passed >= this.#fault.cutAfter) {
        // Nothing from here on was passed on, and the client resumes before it.
        this.#break(line.slice(0, line.length >> 1));
        return;
      }
      this.#out.write(`${line}\n`);
      this.#passed++;
    }
  }

  /** Swaps neighbours as long as they are of different objects; bookmarks stay where they are. */
  #shuffled(batch: Held[]): Held[] {
    // A cut after a shuffle would lose what an earlier revision's event was exchanged with: no client could know.
    if (this.#fault.cutAfter !== undefined) return batch;
    for (let round = 0; round < batch.length; round++) {
      for (let i = 1; i < batch.length; i++) {
        const [before, after] = [batch[i - 1]!, batch[i]!];
        if (before.object === undefined || after.object === undefined || before.object === after.object) continue;
        if (this.#random() < 0.5) [batch[i - 1], batch[i]] = [after, before];
      }
    }
    return batch;
  }

  #break(last: string): void {
    if (this.#closed) return;
    this.close();
    this.#out.write(last);
    // At once it would take the last text with it, on its way or in the client's own buffers.
    setTimeout(() => this.#out.destroy(), PATIENCE);
  }
}
