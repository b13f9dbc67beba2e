import type { AllocationAttributes, IPAMBlockSpec } from "../api/ipamblock.ts";
import { type Address, addressAt, type Cidr, cidrSize, formatAddress, parseCidr } from "../ip/index.ts";
import type { Reservations } from "./reservations.ts";
import type { Attributes } from "./types.ts";

/**
 * Decisions on the value of one block. The functions change the spec they are given: it is the caller's own copy, which
 * it writes with the revision it was read at, or throws away. Ordinals count addresses from the start of the block.
 *
 * `unallocated` is a queue: addresses are taken from its front and come back at its end, so the one that has been free
 * the longest is assigned first. A released address stays in `allocations`, pointing at an attribute that has only
 * `releasedAt`, until its cooldown has passed; {@link collectCooled} alone puts it back into the queue.
 */

/** Addresses that Windows nodes set aside in their blocks: they do not make a block used. */
const WINDOWS_RESERVED = "windows-reserved-ipam-handle";

/** The part before a carriage return: handles written by an old migration carry one (projectcalico/cni-plugin#821). */
export function cleanHandle(handle: string): string {
  const end = handle.indexOf("\r");
  return end < 0 ? handle : handle.slice(0, end);
}

/** RFC 3339 in whole seconds, as Go's metav1.Time is written. */
export function timestamp(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}

/** The first address of a block. */
export function baseOf(cidr: Cidr): Address {
  return { version: cidr.version, value: cidr.base };
}

/** The address at an ordinal, canonical text. */
export function addressText(cidr: Cidr, ordinal: number): string {
  return formatAddress(addressAt(baseOf(cidr), ordinal));
}

/** What an allocated ordinal points at; undefined when it is free, or points nowhere because the block is corrupt. */
export function attributesAt(spec: IPAMBlockSpec, ordinal: number): AllocationAttributes | undefined {
  const index = spec.allocations[ordinal];
  return index === null || index === undefined ? undefined : spec.attributes[index];
}

/** Whether an ordinal is allocated, cooling down included. */
export function isAllocated(spec: IPAMBlockSpec, ordinal: number): boolean {
  const index = spec.allocations[ordinal];
  return index !== null && index !== undefined;
}

/** The sequence number at which an ordinal was assigned; 0 in blocks written before there were any. */
export function sequenceOf(spec: IPAMBlockSpec, ordinal: number): bigint {
  return spec.sequenceNumberForAllocation[String(ordinal)] ?? 0n;
}

/** The ordinals that a handle holds, ascending. Those that cool down belong to nobody any more. */
export function ordinalsOfHandle(spec: IPAMBlockSpec, handle: string): number[] {
  const ordinals: number[] = [];
  const { allocations, attributes } = spec;
  // No function is called for a free address: what a plugin calls 34 times starts the compiler's threads.
  for (let ordinal = 0; ordinal < allocations.length; ordinal++) {
    const index = allocations[ordinal];
    if (index === null || index === undefined) continue;
    const id = attributes[index]?.handle_id;
    if (id !== undefined && cleanHandle(id) === handle) ordinals.push(ordinal);
  }
  return ordinals;
}

/** How many addresses can still be assigned automatically. */
export function freeCount(spec: IPAMBlockSpec, cidr: Cidr, reservations: Reservations): number {
  const partly = reservations.overlaps(cidr);
  let free = 0;
  for (const ordinal of spec.unallocated) {
    if (isUsable(spec, ordinal) && !(partly && reservations.covers(cidr.version, cidr.base + BigInt(ordinal)))) free++;
  }
  return free;
}

/** Whether an ordinal that is listed as free really is. */
function isUsable(spec: IPAMBlockSpec, ordinal: number): boolean {
  return ordinal < spec.allocations.length && !isAllocated(spec, ordinal);
}

/** Whether nothing in the block is in use or cools down. */
export function isEmpty(spec: IPAMBlockSpec): boolean {
  for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
    const index = spec.allocations[ordinal];
    if (index === null || index === undefined) continue;
    if (spec.attributes[index]?.handle_id?.toLowerCase() !== WINDOWS_RESERVED) return false;
  }
  return true;
}

/**
 * Takes up to `count` free addresses from the front of the queue, skipping reserved ones, and answers their ordinals.
 * Each remembers the sequence number the block has before it is written, as upstream's do.
 */
export function allocate(
  spec: IPAMBlockSpec,
  cidr: Cidr,
  count: number,
  handle: string | undefined,
  attributes: Attributes,
  reservations: Reservations,
): number[] {
  const taken: number[] = [];
  const partly = reservations.overlaps(cidr);
  const rest: number[] = [];
  for (const ordinal of spec.unallocated) {
    const usable =
      taken.length < count &&
      isUsable(spec, ordinal) &&
      !taken.includes(ordinal) &&
      !(partly && reservations.covers(cidr.version, cidr.base + BigInt(ordinal)));
    if (usable) taken.push(ordinal);
    else rest.push(ordinal);
  }
  if (taken.length === 0) return taken;
  const index = attributeIndex(spec, handle, attributes);
  for (const ordinal of taken) {
    spec.allocations[ordinal] = index;
    spec.sequenceNumberForAllocation[String(ordinal)] = spec.sequenceNumber;
  }
  spec.unallocated = rest;
  return taken;
}

/** Undoes {@link allocate} in a value that is not written yet: the addresses are first in the queue again. */
export function putBack(spec: IPAMBlockSpec, ordinals: readonly number[]): void {
  if (ordinals.length === 0) return;
  for (const ordinal of ordinals) {
    spec.allocations[ordinal] = null;
    delete spec.sequenceNumberForAllocation[String(ordinal)];
  }
  spec.unallocated = [...ordinals, ...spec.unallocated];
  dropUnused(spec, new Set(spec.allocations.filter((index) => index !== null)));
}

/** Takes one given address; false when it is allocated or cools down. */
export function allocateOrdinal(
  spec: IPAMBlockSpec,
  ordinal: number,
  handle: string | undefined,
  attributes: Attributes,
): boolean {
  if (isAllocated(spec, ordinal)) return false;
  spec.allocations[ordinal] = attributeIndex(spec, handle, attributes);
  spec.sequenceNumberForAllocation[String(ordinal)] = spec.sequenceNumber;
  spec.unallocated = spec.unallocated.filter((free) => free !== ordinal);
  return true;
}

/** Detaches allocated addresses from their handles; they cool down, or are free at once when there is no cooldown. */
export function release(spec: IPAMBlockSpec, ordinals: readonly number[], cooldownSeconds: number, now: number): void {
  if (ordinals.length === 0) return;
  const index = spec.attributes.push({ releasedAt: timestamp(now) }) - 1;
  for (const ordinal of ordinals) {
    spec.allocations[ordinal] = index;
    spec.sequenceNumberForAllocation[String(ordinal)] = spec.sequenceNumber;
  }
  collectCooled(spec, cooldownSeconds, now);
}

/**
 * Puts addresses whose cooldown has passed at the end of the queue, and drops attributes that nothing points at.
 * To be called whenever a block is read. Answers whether anything changed.
 */
export function collectCooled(spec: IPAMBlockSpec, cooldownSeconds: number, now: number): boolean {
  const limit = now - cooldownSeconds * 1000;
  let changed = false;
  const used = new Set<number>();
  for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
    const index = spec.allocations[ordinal];
    if (index === null || index === undefined) continue;
    const releasedAt = spec.attributes[index]?.releasedAt;
    // Go's time of an unset field, and whatever else cannot be read, is long ago.
    if (releasedAt !== undefined && !(Date.parse(releasedAt) > limit)) {
      spec.allocations[ordinal] = null;
      spec.unallocated.push(ordinal);
      delete spec.sequenceNumberForAllocation[String(ordinal)];
      changed = true;
    } else {
      used.add(index);
    }
  }
  return dropUnused(spec, used) || changed;
}

/** What contradicts itself in a block; empty when it is sound. One sentence each. */
export function blockProblems(spec: IPAMBlockSpec): string[] {
  const problems: string[] = [];
  const size = Number(cidrSize(parseCidr(spec.cidr)));
  if (spec.allocations.length !== size)
    problems.push(`has ${spec.allocations.length} allocations for ${size} addresses`);
  const referenced = new Set<number>();
  for (const [ordinal, index] of spec.allocations.entries()) {
    if (index === null) continue;
    referenced.add(index);
    if (spec.attributes[index] === undefined)
      problems.push(`allocation ${ordinal} points at attribute ${index}, which does not exist`);
  }
  for (const index of spec.attributes.keys()) {
    if (!referenced.has(index)) problems.push(`attribute ${index} belongs to no allocation`);
  }
  const seen = new Set<number>();
  for (const ordinal of spec.unallocated) {
    if (ordinal < 0 || ordinal >= size)
      problems.push(`ordinal ${ordinal} is listed as free but lies outside the block`);
    else if (seen.has(ordinal)) problems.push(`ordinal ${ordinal} is listed as free more than once`);
    else if (isAllocated(spec, ordinal)) problems.push(`ordinal ${ordinal} is allocated and listed as free`);
    seen.add(ordinal);
  }
  for (let ordinal = 0; ordinal < size; ordinal++) {
    if (!isAllocated(spec, ordinal) && !seen.has(ordinal))
      problems.push(`ordinal ${ordinal} is neither allocated nor listed as free`);
  }
  return problems;
}

/**
 * Makes a block sound without taking an address from anybody: what is allocated stays allocated, what is not becomes
 * free. An allocation that points at no attribute gets an empty one, so that it can be released by address.
 */
export function mendBlock(spec: IPAMBlockSpec): void {
  const size = Number(cidrSize(parseCidr(spec.cidr)));
  while (spec.allocations.length < size) spec.allocations.push(null);
  let missing: number | undefined;
  for (const [ordinal, index] of spec.allocations.entries()) {
    if (index === null || spec.attributes[index] !== undefined) continue;
    missing ??= spec.attributes.push({}) - 1;
    spec.allocations[ordinal] = missing;
  }
  const free = new Set<number>();
  for (const ordinal of spec.unallocated) {
    if (ordinal >= 0 && ordinal < size && !isAllocated(spec, ordinal)) free.add(ordinal);
  }
  for (let ordinal = 0; ordinal < size; ordinal++) {
    if (!isAllocated(spec, ordinal)) free.add(ordinal);
  }
  spec.unallocated = [...free];
  dropUnused(spec, new Set(spec.allocations.filter((index) => index !== null)));
}

/** Equal attributes are stored once: answers the index of an equal entry, or of a new one. */
function attributeIndex(spec: IPAMBlockSpec, handle: string | undefined, attributes: Attributes): number {
  for (let index = 0; index < spec.attributes.length; index++) {
    const entry = spec.attributes[index]!;
    if (
      entry.handle_id === handle &&
      entry.releasedAt === undefined &&
      isNone(entry.alternateOwnerAttrs) &&
      sameAttributes(entry.secondary ?? {}, attributes)
    )
      return index;
  }
  return (
    spec.attributes.push({
      ...(handle === undefined ? {} : { handle_id: handle }),
      ...(isNone(attributes) ? {} : { secondary: { ...attributes } }),
    }) - 1
  );
}

function isNone(attributes: Attributes | undefined): boolean {
  return attributes === undefined || Object.keys(attributes).length === 0;
}

function sameAttributes(a: Attributes, b: Attributes): boolean {
  const keys = Object.keys(a);
  for (const key of keys) if (a[key] !== b[key]) return false;
  return keys.length === Object.keys(b).length;
}

/** Removes the attributes outside `used` and renumbers those that follow. */
function dropUnused(spec: IPAMBlockSpec, used: ReadonlySet<number>): boolean {
  const kept: AllocationAttributes[] = [];
  const moved = new Map<number, number>();
  for (let index = 0; index < spec.attributes.length; index++) {
    if (used.has(index)) moved.set(index, kept.push(spec.attributes[index]!) - 1);
  }
  if (kept.length === spec.attributes.length) return false;
  // An index without an entry is kept as it is, beyond the end, so that the corruption stays visible.
  const beyond = spec.attributes.length;
  for (let ordinal = 0; ordinal < spec.allocations.length; ordinal++) {
    const index = spec.allocations[ordinal]!;
    if (index !== null) spec.allocations[ordinal] = moved.get(index) ?? beyond + index;
  }
  spec.attributes = kept;
  return true;
}
