import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DatastoreError } from "../errors.ts";
import { type Change, compacted, Follower } from "./follower.ts";

const REVISION = { revision: "1" };

/** What who takes these changes knows afterwards: the text of each object, and which cannot be read. Fails on a change that cannot be. */
function known(before: ReadonlyMap<string, string>, changes: readonly Change[]) {
  const texts = new Map(before);
  const unreadable = new Set<string>();
  for (const change of changes) {
    if (change.type === "synced") continue;
    const { key } = change;
    if (change.type === "invalid") unreadable.add(key);
    else {
      expect(texts.has(key), `${change.type} ${key}`).toBe(change.type !== "added");
      if (change.type === "deleted") texts.delete(key);
      else texts.set(key, change.text);
      unreadable.delete(key);
    }
  }
  return { texts, unreadable };
}

const objects = fc.constantFrom("a", "b", "c", "d");
const steps = fc.array(fc.tuple(objects, fc.constantFrom("put", "put", "delete", "invalid", "synced")), {
  maxLength: 60,
});

/** Changes as a watch tells them to who knows `before`. */
function changesOf(before: ReadonlyMap<string, string>, history: readonly (readonly [string, string])[]): Change[] {
  const texts = new Map(before);
  return history.flatMap(([key, what], at): Change[] => {
    if (what === "synced") return [{ type: "synced", ...REVISION }];
    if (what === "invalid")
      return [{ type: "invalid", key, error: new DatastoreError("INVALID", "not one"), ...REVISION }];
    const text = texts.get(key);
    if (what === "delete") {
      texts.delete(key);
      return text === undefined ? [] : [{ type: "deleted", key, text, ...REVISION }];
    }
    texts.set(key, String(at));
    return [{ type: text === undefined ? "added" : "modified", key, text: String(at), ...REVISION }];
  });
}

describe("changes that nobody took yet", () => {
  const given = fc.tuple(fc.uniqueArray(objects), steps).map(([keys, history]) => {
    const before = new Map(keys.map((key) => [key, "before"]));
    return { before, changes: changesOf(before, history) };
  });

  test("come to the same, in fewer: three an object at most, and one that says it is all", () => {
    fc.assert(
      fc.property(given, ({ before, changes }) => {
        const few = compacted(changes);
        expect(known(before, few)).toEqual(known(before, changes));
        expect(few.length).toBeLessThanOrEqual(3 * 4 + 1);
        expect(few.filter(({ type }) => type === "synced")).toHaveLength(
          changes.some(({ type }) => type === "synced") ? 1 : 0,
        );
      }),
    );
  });

  test("keep their sum when more come", () => {
    fc.assert(
      fc.property(given, fc.nat(60), ({ before, changes }, at) => {
        const twice = compacted([...compacted(changes.slice(0, at)), ...changes.slice(at)]);
        expect(known(before, twice)).toEqual(known(before, changes));
      }),
    );
  });

  test("still tell that an object was replaced by another of its name", () => {
    const changes: Change[] = [
      { type: "deleted", key: "a", text: "one", ...REVISION },
      { type: "added", key: "a", text: "two", ...REVISION },
      { type: "modified", key: "a", text: "three", ...REVISION },
    ];
    expect(compacted(changes)).toEqual([changes[0], { ...changes[1], text: "three" }]);
  });
});

test("who was told of many objects at once does not keep as many changes of one later", async () => {
  const follower = new Follower(() => {});
  for (let i = 0; i < 10_000; i++) follower.put({ type: "added", key: `n${i}`, text: "", ...REVISION });
  expect(await follower.take()).toHaveLength(10_000);
  for (let i = 0; i < 5_000; i++) follower.put({ type: "modified", key: "n0", text: String(i), ...REVISION });
  const taken = (await follower.take())!;
  expect(taken.length).toBeLessThanOrEqual(1_000);
  expect(taken.at(-1)).toMatchObject({ key: "n0", text: "4999" });
});
