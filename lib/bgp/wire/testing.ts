/** For tests of whoever stands on the codec: a naive decoder to compare with, values to try, and the fuzz that conformance runs at length. */
export { anyAttributes, anyNotification, anyOpen, anyPrefixes, type TestPrefix } from "./testing/arbitraries.ts";
export { corpus } from "./testing/corpus.ts";
export { type FuzzOptions, type FuzzReport, fuzzMessages } from "./testing/fuzz.ts";
export { hex, toHex } from "./testing/hex.ts";
export { mutate, Random } from "./testing/mutate.ts";
export { type ReferencePart, type ReferenceUpdate, referencePrefixes, referenceUpdate } from "./testing/reference.ts";
export { body, GOOD, MANDATORY, NLRI, REACH_V6, SESSION, UNREACH_V6 } from "./testing/update.ts";
