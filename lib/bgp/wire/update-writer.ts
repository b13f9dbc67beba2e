/** UPDATEs as they are sent: attributes that have been encoded once, and as many prefixes behind them as a message holds. */
import { ATTRIBUTE, FLAG, OPTIONAL_NON_TRANSITIVE } from "./attribute-types.ts";
import type { EncodedAttributes } from "./encode-attributes.ts";
import { HEADER_LENGTH, MAX_EXTENDED_LENGTH, MAX_LENGTH, MESSAGE, writeHeader } from "./message.ts";
import { MOST_BYTES, putPrefix } from "./nlri.ts";
import type { Family, Negotiated, Nlri } from "./types.ts";

/** What {@link encodeUpdates} sends: attributes and the prefixes that have them, or prefixes that are withdrawn. */
export type Prefixes =
  | { readonly attributes: EncodedAttributes; readonly reached: Nlri }
  | { readonly withdrawn: Nlri };

/** Where prefixes begin that are withdrawn by RFC 4271's own field. */
const WITHDRAWN_AT = HEADER_LENGTH + 2;

const NO_BYTES = new Uint8Array(0);

type Form = "idle" | "classic" | "reach" | "withdrawn" | "unreach";

/**
 * Packs prefixes into messages of up to 4096 bytes, or 65535 with RFC 8654. `emit` gets each whole message, in memory of its own, as soon as
 * it is full, and the last with `flush`.
 *
 * ```ts
 * if (writer.reach(encoded)) for (const p of prefixes) writer.add(p.length, p.w0, p.w1, p.w2, p.w3);
 * writer.flush();
 * ```
 */
export class UpdateWriter {
  readonly #limit: number;
  readonly #negotiated: Pick<Negotiated, "addPathSend" | "extendedNextHop">;
  readonly #emit: (message: Uint8Array) => void;
  readonly #bytes: Uint8Array;
  #form: Form = "idle";
  #family: Family = 4;
  #addPath = false;
  /** Attributes that follow MP_REACH_NLRI. */
  #after: Uint8Array = NO_BYTES;
  /** Where MP_REACH_NLRI's or MP_UNREACH_NLRI's value begins. */
  #value = 0;
  /** Where prefixes begin, where the next one goes, and where they have to end. */
  #start = 0;
  #at = 0;
  #end = 0;

  constructor(
    negotiated: Pick<Negotiated, "extendedMessages" | "addPathSend" | "extendedNextHop">,
    emit: (message: Uint8Array) => void,
  ) {
    this.#limit = negotiated.extendedMessages ? MAX_EXTENDED_LENGTH : MAX_LENGTH;
    this.#negotiated = negotiated;
    this.#emit = emit;
    this.#bytes = new Uint8Array(this.#limit + MOST_BYTES);
    writeHeader(this.#bytes, 0, MESSAGE.UPDATE);
  }

  /**
   * Prefixes from now on have these attributes. False: the attributes leave no room for a prefix in a message of this session, and prefixes
   * must not be added; RFC 8654 5 has them withdrawn instead.
   */
  reach(attributes: EncodedAttributes): boolean {
    this.flush();
    const { family, bytes, nextHop } = attributes;
    const into = this.#bytes;
    this.#begin(family);
    // No prefixes withdrawn, and room for the length of the attributes.
    into[WITHDRAWN_AT - 2] = 0;
    into[WITHDRAWN_AT - 1] = 0;
    let at = WITHDRAWN_AT + 2;
    if (nextHop === undefined) {
      if (at + bytes.length + MOST_BYTES > this.#limit) return false;
      put16(into, at - 2, bytes.length);
      into.set(bytes, at);
      this.#form = "classic";
      this.#start = at + bytes.length;
      this.#end = this.#limit;
    } else {
      at = this.#attributeHead(at, ATTRIBUTE.MP_REACH_NLRI, family);
      if (at + 2 + nextHop.length + bytes.length + MOST_BYTES > this.#limit) return false;
      into[at++] = nextHop.length;
      into.set(nextHop, at);
      at += nextHop.length;
      into[at++] = 0;
      this.#form = "reach";
      this.#after = bytes;
      this.#start = at;
      this.#end = this.#limit - bytes.length;
    }
    this.#at = this.#start;
    return true;
  }

  /** Prefixes from now on are withdrawn. */
  withdraw(family: Family): void {
    this.flush();
    this.#begin(family);
    // As BIRD and FRR do: where IPv4 may come with RFC 8950, it also goes by the attribute.
    if (family === 4 && !this.#negotiated.extendedNextHop) {
      this.#form = "withdrawn";
      this.#start = WITHDRAWN_AT;
      // Behind them there is the length of no attributes.
      this.#end = this.#limit - 2;
    } else {
      this.#bytes[WITHDRAWN_AT - 2] = 0;
      this.#bytes[WITHDRAWN_AT - 1] = 0;
      this.#form = "unreach";
      this.#start = this.#attributeHead(WITHDRAWN_AT + 2, ATTRIBUTE.MP_UNREACH_NLRI, family);
      this.#end = this.#limit;
    }
    this.#at = this.#start;
  }

  /** One prefix: words as `eachPrefix` gives them. `pathId` counts only where the session has it (RFC 7911). */
  add(length: number, w0: number, w1: number, w2: number, w3: number, pathId = 0): void {
    const size = (this.#addPath ? 5 : 1) + ((length + 7) >>> 3);
    if (this.#at + size > this.#end) this.#full();
    this.#at = putPrefix(this.#bytes, this.#at, this.#family, this.#addPath, length, w0, w1, w2, w3, pathId);
  }

  /** Prefixes that are packed already, as many as there are; family and add-path must be those of this session. */
  addPacked(nlri: Nlri): void {
    if (nlri.family !== this.#family || nlri.addPath !== this.#addPath) {
      throw new RangeError("prefixes packed for another family or with other path identifiers than this session has");
    }
    const { bytes } = nlri;
    const before = this.#addPath ? 5 : 1;
    let from = 0;
    let to = 0;
    while (to < bytes.length) {
      const next = to + before + ((bytes[to + before - 1]! + 7) >>> 3);
      if (this.#at + next - from > this.#end) {
        this.#append(bytes, from, to);
        this.#full();
        from = to;
      }
      to = next;
    }
    this.#append(bytes, from, to);
  }

  /** Emits what has been begun. Afterwards `reach` or `withdraw` comes first again. */
  flush(): void {
    if (this.#form !== "idle" && this.#at > this.#start) this.#send();
    this.#form = "idle";
    this.#end = 0;
  }

  #append(bytes: Uint8Array, from: number, to: number): void {
    if (from === to) return;
    this.#bytes.set(bytes.subarray(from, to), this.#at);
    this.#at += to - from;
  }

  #begin(family: Family): void {
    this.#family = family;
    this.#addPath = this.#negotiated.addPathSend.includes(family);
  }

  /** Flags, type, room for two bytes of length, AFI and SAFI. Always of extended length: how long it gets is not known yet. */
  #attributeHead(at: number, type: number, family: Family): number {
    const into = this.#bytes;
    into[at] = OPTIONAL_NON_TRANSITIVE | FLAG.EXTENDED_LENGTH;
    into[at + 1] = type;
    this.#value = at + 4;
    put16(into, at + 4, family === 4 ? 1 : 2);
    into[at + 6] = 1;
    return at + 7;
  }

  #full(): void {
    if (this.#form === "idle") throw new RangeError("a prefix before it was said what of it");
    this.#send();
    this.#at = this.#start;
  }

  #send(): void {
    const into = this.#bytes;
    let end = this.#at;
    if (this.#form === "withdrawn") {
      put16(into, HEADER_LENGTH, end - WITHDRAWN_AT);
      put16(into, end, 0);
      end += 2;
    } else if (this.#form !== "classic") {
      put16(into, this.#value - 2, end - this.#value);
      if (this.#form === "reach") {
        into.set(this.#after, end);
        end += this.#after.length;
      }
      put16(into, WITHDRAWN_AT, end - WITHDRAWN_AT - 2);
    }
    put16(into, 16, end);
    this.#emit(into.slice(0, end));
  }
}

/** Whole messages for prefixes that are packed already. Throws a RangeError where the attributes leave no room for a prefix. */
export function encodeUpdates(
  prefixes: Prefixes,
  negotiated: Pick<Negotiated, "extendedMessages" | "addPathSend" | "extendedNextHop">,
): Uint8Array[] {
  const messages: Uint8Array[] = [];
  const writer = new UpdateWriter(negotiated, (message) => messages.push(message));
  if ("withdrawn" in prefixes) {
    writer.withdraw(prefixes.withdrawn.family);
    writer.addPacked(prefixes.withdrawn);
  } else {
    if (!writer.reach(prefixes.attributes)) throw new RangeError("attributes that leave no room for a prefix");
    writer.addPacked(prefixes.reached);
  }
  writer.flush();
  return messages;
}

/** The end of a family's table (RFC 4724 2): an UPDATE of nothing, or of nothing but MP_UNREACH_NLRI. */
export function encodeEndOfRib(family: Family): Uint8Array {
  const message = new Uint8Array(family === 4 ? HEADER_LENGTH + 4 : HEADER_LENGTH + 10);
  writeHeader(message, message.length, MESSAGE.UPDATE);
  if (family === 6) {
    message.set([0, 6, OPTIONAL_NON_TRANSITIVE, ATTRIBUTE.MP_UNREACH_NLRI, 3, 0, 2, 1], HEADER_LENGTH + 2);
  }
  return message;
}

function put16(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 8;
  into[at + 1] = value;
}
