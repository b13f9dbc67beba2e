/**
 * Types of @kubernetes/client-node as they lie in JSON: that package holds dates as `Date`, and puts an underscore before
 * names that TypeScript's older parsers did not take (`_from`). Types only.
 */
export type Json<T> = T extends Date
  ? string
  : T extends readonly (infer Item)[]
    ? Json<Item>[]
    : T extends object
      ? { [Name in keyof T as Name extends `_${infer Rest}` ? Rest : Name]: Json<T[Name]> }
      : T;
