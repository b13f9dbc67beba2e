import type { ObjectMeta } from "../../api/meta.ts";
import type { Field } from "./field.ts";
import { convertUid } from "./uid.ts";

/** When the object was made: RFC 3339 text, none without. */
export function creationTimestamp(metadata: Field): Pick<ObjectMeta, "creationTimestamp"> {
  const text = metadata.get("creationTimestamp").text();
  return text === "" ? {} : { creationTimestamp: text };
}

/** The revision of the object. */
export function resourceVersion(metadata: Field): Pick<ObjectMeta, "resourceVersion"> {
  const text = metadata.get("resourceVersion").text();
  return text === "" ? {} : { resourceVersion: text };
}

/** The uid that an object made of this one has. None without one, as an object that was not read from an API server has; else reported. */
export function derivedUid(metadata: Field): Pick<ObjectMeta, "uid"> {
  const field = metadata.get("uid");
  const text = field.text();
  if (text === "") return {};
  const uid = convertUid(text);
  if (uid !== undefined) return { uid };
  field.report("must be a UUID; the object made of this one has no uid");
  return {};
}
