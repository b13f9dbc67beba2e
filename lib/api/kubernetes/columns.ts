import type { LabelSelector } from "./checks.ts";

const NONE = "<none>";

/** `a=1,b=2`, as kubectl prints labels. */
export function labelsText(labels: Readonly<Record<string, unknown>> | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? NONE : pairs.sort().join(",");
}

/** `a=1,b in (x,y),!c`, as kubectl prints selectors. */
export function selectorText(selector: LabelSelector | undefined): string {
  const { matchLabels, matchExpressions = [] } = selector ?? {};
  const labels = matchLabels && Object.keys(matchLabels).length > 0 ? [labelsText(matchLabels)] : [];
  const terms = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === "Exists") return key;
    if (operator === "DoesNotExist") return `!${key}`;
    return `${key} ${operator === "In" ? "in" : "notin"} (${values.join(",")})`;
  });
  return listText([...labels, ...terms]);
}

/** `a,b`; `<none>` of an empty list. */
export function listText(items: readonly unknown[]): string {
  return items.length === 0 ? NONE : items.join(",");
}
