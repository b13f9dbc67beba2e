import type { Socket } from "bun";
import type { DeleteOutcome, DeletePlan } from "../../veth/index.ts";
import { VethError } from "../../veth/index.ts";
import { type Answer, LARGEST_REQUEST, type Removed } from "./protocol.ts";

/** How long a plugin may take to remove an interface, in milliseconds: the kernel can take seconds over one. */
const REMOVAL_MS = 30_000;

/** The plugin has gone, does not answer, or says what nobody asked: it can no longer help. */
export class PluginLost extends Error {
  override readonly name = "PluginLost";
}

/** One plugin's connection, as lines. */
export class Connection {
  readonly #socket: Socket<Connection | undefined>;
  readonly #onRequest: (line: string, connection: Connection) => void;
  #received: Uint8Array[] = [];
  #receivedLength = 0;
  #asked = false;
  #unsent: Uint8Array = new Uint8Array();
  #ending = false;
  #closed = false;
  #removal: PromiseWithResolvers<Removed> | undefined;

  constructor(socket: Socket<Connection | undefined>, onRequest: (line: string, connection: Connection) => void) {
    this.#socket = socket;
    this.#onRequest = onRequest;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Whether the kernel took it, or will: false when the plugin has gone. */
  send(answer: Answer): boolean {
    if (this.#closed) return false;
    const bytes = new TextEncoder().encode(`${JSON.stringify(answer)}\n`);
    if (this.#unsent.length > 0) {
      this.#unsent = Buffer.concat([this.#unsent, bytes]);
      return true;
    }
    const sent = this.#socket.write(bytes);
    if (sent < 0) return false;
    this.#unsent = bytes.subarray(sent);
    return true;
  }

  /** The last word; whether it was sent, as by {@link send}. */
  end(answer: Answer): boolean {
    const sent = this.send(answer);
    this.#ending = true;
    if (this.#unsent.length === 0) this.#socket.end();
    return sent;
  }

  /** Has the plugin remove an interface. Throws {@link PluginLost} when it does not, and what its removing threw. */
  async remove({ netns, hostNetns: _, ...plan }: DeletePlan, patience = REMOVAL_MS): Promise<DeleteOutcome> {
    if (!this.send({ type: "remove", plan, inPod: netns !== undefined && netns !== "" })) {
      throw new PluginLost("the plugin has gone");
    }
    this.#removal = Promise.withResolvers();
    const late = setTimeout(() => this.#loseRemoval("the plugin does not answer"), patience);
    let removed: Removed;
    try {
      removed = await this.#removal.promise;
    } finally {
      clearTimeout(late);
      this.#removal = undefined;
    }
    if ("outcome" in removed) return removed.outcome;
    throw removed.code ? new VethError(removed.code, removed.message) : new Error(removed.message);
  }

  onData(bytes: Uint8Array): void {
    if (this.#ending) return;
    this.#received.push(bytes.slice());
    this.#receivedLength += bytes.length;
    if (this.#receivedLength > LARGEST_REQUEST) {
      if (!this.#asked) this.end({ type: "declined", why: "the request is too long" });
      this.#received = [];
      this.#receivedLength = 0;
      this.#loseRemoval("the plugin's answer is too long");
      return;
    }
    if (!bytes.includes(0x0a)) return;
    const all = Buffer.concat(this.#received);
    const end = all.indexOf(0x0a);
    this.#received = [all.subarray(end + 1)];
    this.#receivedLength = all.length - end - 1;
    const line = all.toString("utf8", 0, end);
    if (!this.#asked) {
      this.#asked = true;
      this.#onRequest(line, this);
    } else {
      this.#onRemoved(line);
    }
  }

  onDrain(): void {
    if (this.#unsent.length === 0) return;
    const sent = this.#socket.write(this.#unsent);
    if (sent > 0) this.#unsent = this.#unsent.subarray(sent);
    if (this.#ending && this.#unsent.length === 0) this.#socket.end();
  }

  onClose(): void {
    this.#closed = true;
    this.#loseRemoval("the plugin has gone");
  }

  #onRemoved(line: string): void {
    try {
      const removed = JSON.parse(line) as Removed | null;
      const isOne =
        removed !== null && (("outcome" in removed && Array.isArray(removed.outcome?.notes)) || "message" in removed);
      if (isOne) this.#removal?.resolve(removed);
      else this.#loseRemoval("the plugin's answer is none");
    } catch {
      this.#loseRemoval("the plugin's answer is not JSON");
    }
  }

  #loseRemoval(why: string): void {
    this.#removal?.reject(new PluginLost(why));
  }
}
