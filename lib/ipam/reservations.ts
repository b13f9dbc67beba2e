import type { IPReservation } from "../api/ipreservation.ts";
import { type Cidr, cidrSize, hostCidr, tryParseAddress, tryParseCidr } from "../ip/index.ts";

/** From `first` to `last`, both included. */
interface Span {
  readonly first: bigint;
  readonly last: bigint;
}

/**
 * The addresses that must not be assigned automatically, as sorted spans that neither overlap nor touch: reservations
 * may nest and repeat, and counting must count every address once.
 */
export class Reservations {
  readonly #spans: Readonly<Record<4 | 6, readonly Span[]>>;

  constructor(cidrs: readonly Cidr[], base?: Reservations) {
    const spans: Record<4 | 6, Span[]> = { 4: [], 6: [] };
    if (base) for (const version of [4, 6] as const) spans[version].push(...base.#spans[version]);
    for (const cidr of cidrs) spans[cidr.version].push(spanOf(cidr));
    for (const version of [4, 6] as const) if (spans[version].length > 1) spans[version] = merge(spans[version]);
    this.#spans = spans;
  }

  /** These and further networks. */
  plus(cidrs: readonly Cidr[]): Reservations {
    return new Reservations(cidrs, this);
  }

  covers(version: 4 | 6, value: bigint): boolean {
    return this.#spans[version].some((span) => span.first <= value && value <= span.last);
  }

  overlaps(cidr: Cidr): boolean {
    const spans = this.#spans[cidr.version];
    if (spans.length === 0) return false;
    const { first, last } = spanOf(cidr);
    return spans.some((span) => span.first <= last && first <= span.last);
  }

  /** The last address of the span that covers all of `cidr`; undefined when some of it is not reserved. */
  coverEnd(cidr: Cidr): bigint | undefined {
    const { first, last } = spanOf(cidr);
    return this.#spans[cidr.version].find((span) => span.first <= first && last <= span.last)?.last;
  }

  /** How many addresses of `cidr` are reserved. */
  count(cidr: Cidr): bigint {
    const { first, last } = spanOf(cidr);
    let count = 0n;
    for (const span of this.#spans[cidr.version]) {
      const from = larger(span.first, first);
      const to = -larger(-span.last, -last);
      if (from <= to) count += to - from + 1n;
    }
    return count;
  }
}

/** No reservation. */
export const noReservations = new Reservations([]);

/** All reservations together. Text that is no address and no CIDR is passed over, as upstream does. */
export function readReservations(items: readonly IPReservation[]): Reservations {
  if (items.length === 0) return noReservations;
  const cidrs: Cidr[] = [];
  for (const item of items) {
    for (const text of item.spec.reservedCIDRs ?? []) {
      const trimmed = text.trim();
      const address = tryParseAddress(trimmed);
      const cidr = address ? hostCidr(address) : tryParseCidr(trimmed);
      if (cidr) cidrs.push(cidr);
    }
  }
  return new Reservations(cidrs);
}

function spanOf(cidr: Cidr): Span {
  return { first: cidr.base, last: cidr.base + cidrSize(cidr) - 1n };
}

function merge(spans: readonly Span[]): Span[] {
  const merged: Span[] = [];
  for (const span of [...spans].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const before = merged.at(-1);
    if (before && span.first <= before.last + 1n) {
      merged[merged.length - 1] = { first: before.first, last: larger(span.last, before.last) };
    } else {
      merged.push(span);
    }
  }
  return merged;
}

/** Math.max takes no bigints. */
function larger(a: bigint, b: bigint): bigint {
  if (a > b) return a;
  return b;
}
