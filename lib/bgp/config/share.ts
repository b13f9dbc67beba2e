/**
 * `next`, with everything in it that equals its counterpart in `previous` replaced by that: so that a reader tells by `===` what changed.
 * Values are as JSON has them. Items of lists are counterparts when they are called alike, by name, cidr or prefix, or else
 * stand at the same place.
 */
export function share<T>(previous: T | undefined, next: T): T {
  if (Object.is(previous, next) || previous === undefined) return next;
  // Nearly everything is as before, and that is told much faster at once than field by field.
  if (Bun.deepEquals(previous, next)) return previous;
  if (Array.isArray(next)) return (Array.isArray(previous) ? shareItems(previous, next) : next) as T;
  if (!isObject(next) || !isObject(previous) || Array.isArray(previous)) return next;
  const shared = Object.create(Object.getPrototypeOf(next)) as Record<string, unknown>;
  const names = Object.keys(next);
  let isSame = names.length === Object.keys(previous).length;
  for (const name of names) {
    const before = Object.hasOwn(previous, name) ? previous[name] : undefined;
    const value = share(before, next[name]);
    Object.defineProperty(shared, name, { value, enumerable: true, writable: true, configurable: true });
    isSame &&= Object.is(value, before) && Object.hasOwn(previous, name);
  }
  return (isSame ? previous : shared) as T;
}

function shareItems(previous: readonly unknown[], next: readonly unknown[]): readonly unknown[] {
  const before = new Map<unknown, unknown>();
  for (const [i, item] of previous.entries()) before.set(nameOf(item) ?? i, item);
  const shared = next.map((item, i) => share(before.get(nameOf(item) ?? i), item));
  const isSame = shared.length === previous.length && shared.every((item, i) => Object.is(item, previous[i]));
  return isSame ? previous : shared;
}

function nameOf(item: unknown): unknown {
  return isObject(item) ? (item.name ?? item.cidr ?? item.prefix) : undefined;
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
