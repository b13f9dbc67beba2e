import type { Kind } from "../../lib/api/kind.ts";
import { findKind, KINDS, kindNames } from "../../lib/api/registry.ts";
import { CliError, didYouMean } from "../../lib/cli/index.ts";

/** The kind that a person named, by its name, plural or an alias. */
export function kindNamed(name: string): Kind {
  const kind = findKind(name);
  if (kind) return kind;
  const near = didYouMean(name, KINDS.flatMap(kindNames));
  throw new CliError("UNKNOWN_KIND", `resource type '${name}' is not supported${near || `; there is ${kindList()}`}`);
}

/** All kinds, as one types them. */
export function kindList(): string {
  return KINDS.map((kind) => kind.kind.toLowerCase()).join(", ");
}

/** For the help: each kind with its further names. */
export function kindHelp(): string {
  return KINDS.map((kind) => {
    const others = kindNames(kind).filter((name) => name !== kind.kind.toLowerCase() && name !== kind.plural);
    return `  ${kind.kind.toLowerCase()}${others.length === 0 ? "" : ` (${others.join(", ")})`}`;
  }).join("\n");
}
