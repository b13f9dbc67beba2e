import type { Kind } from "../../lib/api/kind.ts";
import { ALL_KINDS, findKind, KINDS, kindNames } from "../../lib/api/registry.ts";
import { CliError, didYouMean } from "../../lib/cli/index.ts";

/** The kind that a person named, by its name, plural or an alias. */
export function kindNamed(name: string): Kind {
  const kind = findKind(name);
  if (kind) return kind;
  const near = didYouMean(name, ALL_KINDS.flatMap(kindNames));
  throw new CliError("UNKNOWN_KIND", `resource type '${name}' is not supported${near || `; there is ${kindList()}`}`);
}

/** All kinds, as one types them. */
export function kindList(): string {
  return ALL_KINDS.map((kind) => kindNames(kind)[0]).join(", ");
}

/** For the help: each kind with its further names. */
export function kindHelp(): string {
  const own = KINDS.map(helpOf).join("\n");
  const others = ALL_KINDS.filter(({ verbatim }) => verbatim).map(helpOf);
  return `${own}\n\nKinds of Kubernetes (each also with its group, as networkpolicies.networking.k8s.io):\n${others.join("\n")}`;
}

function helpOf(kind: Kind): string {
  const [name, ...rest] = kindNames(kind);
  const others = rest.filter((other) => other !== kind.plural && !other.includes("."));
  return `  ${name}${others.length === 0 ? "" : ` (${others.join(", ")})`}`;
}
