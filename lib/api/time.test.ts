import { expect, test } from "vitest";
import { isGoTime } from "./time.ts";

test.each(["2026-01-31T12:00:00Z", "1970-01-01T00:00:00Z", "2024-02-29T23:59:59Z"])(
  "%s is a time as Go prints it",
  (text) => {
    expect(isGoTime(text)).toBe(true);
  },
);

test.each([
  "",
  "2026-01-31T12:00:00",
  "2026-01-31 12:00:00Z",
  "2026-01-31T12:00:00.5Z",
  "2026-01-31T12:00:00+00:00",
  "2026-02-30T12:00:00Z",
  "2026-01-31T24:00:00Z",
  "2026-01-31t12:00:00z",
  "Jan 31 2026 12:00:00",
  "xxxxxxxxxxxxxxxxxxxx",
])("%j is another text, or a time in another form", (text) => {
  expect(isGoTime(text)).toBe(false);
});
