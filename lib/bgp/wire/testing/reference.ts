/**
 * A naive decoder of valid UPDATEs on sessions with four-octet AS numbers: text and bigints, one object a prefix, nothing shared with the codec. It
 * is the oracle of the fast one.
 */
import type { Family } from "../types.ts";

/** Prefixes that share attributes. */
export interface ReferencePart {
  readonly family: Family;
  /** `10.0.0.0` as hexadecimal digits, a slash, the length, and `#` with the path identifier where there is one. */
  readonly prefixes: readonly string[];
}

export interface ReferenceUpdate {
  readonly withdrawn: readonly ReferencePart[];
  readonly reached: readonly (ReferencePart & { readonly nextHop: string })[];
  /** By type: flags without extended length, and the value in hexadecimal digits. MP_REACH_NLRI and MP_UNREACH_NLRI are not among them. */
  readonly attributes: ReadonlyMap<number, { readonly flags: number; readonly value: string }>;
}

/** `addPath` names the families whose prefixes have path identifiers. */
export function referenceUpdate(body: Uint8Array, addPath: readonly Family[]): ReferenceUpdate {
  const digits = hex(body);
  let at = 0;
  const take = (bytes: number) => {
    if ((at + bytes) * 2 > digits.length) throw new Error("the reference decoder is for valid messages");
    const part = digits.slice(at * 2, (at + bytes) * 2);
    at += bytes;
    return part;
  };
  const number = (bytes: number) => Number.parseInt(take(bytes) || "0", 16);

  const withdrawn: ReferencePart[] = [];
  const reached: (ReferencePart & { nextHop: string })[] = [];
  const attributes = new Map<number, { flags: number; value: string }>();
  const classicWithdrawn = take(number(2));
  if (classicWithdrawn) withdrawn.push(part(4, classicWithdrawn, addPath));
  const end = number(2) + at;
  let more: (ReferencePart & { nextHop: string }) | undefined;
  while (at < end) {
    const flags = number(1);
    const type = number(1);
    const value = take(number(flags & 0x10 ? 2 : 1));
    if (type === 14) {
      const family = value.startsWith("0001") ? 4 : 6;
      const hop = Number.parseInt(value.slice(6, 8), 16) * 2;
      more = { ...part(family, value.slice(8 + hop + 2), addPath), nextHop: value.slice(8, 8 + hop) };
    } else if (type === 15) {
      withdrawn.push(part(value.startsWith("0001") ? 4 : 6, value.slice(6), addPath));
    } else {
      attributes.set(type, { flags: flags & ~0x10, value });
    }
  }
  const nlri = digits.slice(at * 2);
  if (nlri) reached.push({ ...part(4, nlri, addPath), nextHop: attributes.get(3)!.value });
  if (more) reached.push(more);
  return { withdrawn: withdrawn.filter((p) => p.prefixes.length > 0), reached, attributes };
}

/** The prefixes of an NLRI field. */
export function referencePrefixes(family: Family, bytes: Uint8Array, addPath: boolean): string[] {
  return [...part(family, hex(bytes), addPath ? [family] : []).prefixes];
}

function part(family: Family, digits: string, addPath: readonly Family[]): ReferencePart {
  const prefixes: string[] = [];
  const width = family === 4 ? 32 : 128;
  for (let at = 0; at < digits.length; ) {
    let suffix = "";
    if (addPath.includes(family)) {
      suffix = `#${Number.parseInt(digits.slice(at, at + 8), 16)}`;
      at += 8;
    }
    const length = Number.parseInt(digits.slice(at, at + 2), 16);
    const size = Math.ceil(length / 8) * 2;
    const given = digits.slice(at + 2, at + 2 + size).padEnd(width / 4, "0");
    const bits = BigInt(`0x${given}`).toString(2).padStart(width, "0").slice(0, length).padEnd(width, "0");
    prefixes.push(
      `${BigInt(`0b${bits}`)
        .toString(16)
        .padStart(width / 4, "0")}/${length}${suffix}`,
    );
    at += 2 + size;
  }
  return { family, prefixes };
}

function hex(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
