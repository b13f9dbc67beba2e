import fc from "fast-check";
import { expect, test } from "vitest";
import { convertUid } from "./uid.ts";

test("is what upstream makes of the same uid", () => {
  expect(convertUid("30316465-6365-4463-ad63-3564622d3638")).toBe("0c8c26a6-c6a6-44c6-adc6-ac2646b46c1c");
});

test("is its own inverse and keeps version and variant", () => {
  fc.assert(
    fc.property(fc.uuid(), (uid) => {
      const converted = convertUid(uid)!;
      expect(converted[14]).toBe(uid[14]);
      expect(converted[19]).toBe(uid[19]);
      expect(convertUid(converted)).toBe(uid);
    }),
  );
});

test("other spellings of a UUID are the same uid", () => {
  const plain = "30316465-6365-4463-ad63-3564622d3638";
  for (const uid of [
    plain.toUpperCase(),
    plain.replaceAll("-", ""),
    `{${plain}}`,
    `urn:uuid:${plain}`,
    `URN:UUID:${plain}`,
  ]) {
    expect(convertUid(uid)).toBe(convertUid(plain));
  }
});

test.each([
  "",
  "not-a-uid",
  "3031646563654463ad633564622d363",
  "{30316465-6365-4463-ad63-3564622d3638",
  "30316465-6365-4463-ad63-3564622d3638}",
])("%j is no uid", (uid) => expect(convertUid(uid)).toBeUndefined());
