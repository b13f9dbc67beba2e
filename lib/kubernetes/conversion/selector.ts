import { isLabelKey } from "../../api/formats.ts";
import type { Field } from "./field.ts";

/** Every pod's endpoint has it; host endpoints and network sets have not. */
export const IS_POD = "projectcalico.org/orchestrator == 'k8s'";

/** The selector of pods that a Kubernetes label selector matches; an absent or empty one matches all. What it cannot say is reported. */
export function podSelector(selector: Field): string {
  return [IS_POD, ...terms(selector)].join(" && ");
}

/** The same for namespaces: "" when it is absent, all() when it is empty. */
export function namespaceSelector(selector: Field): string {
  if (!selector.isObject()) return "";
  const found = terms(selector);
  return found.length === 0 ? "all()" : found.join(" && ");
}

function terms(selector: Field): string[] {
  if (!selector.isObject()) return [];
  const found: string[] = [];
  for (const [key, value] of selector.get("matchLabels").texts()) {
    const field = selector.get("matchLabels").get(key);
    if (checkKey(key, field) && checkValue(value, field)) found.push(`${key} == '${value}'`);
  }
  for (const expression of selector.get("matchExpressions").items()) {
    const term = expressionTerm(expression);
    if (term !== undefined) found.push(term);
  }
  return found;
}

/** Upstream drops operators that it does not know, and makes [] the empty value; both would match what nobody asked for. */
function expressionTerm(expression: Field): string | undefined {
  const key = expression.get("key").text();
  if (!checkKey(key, expression.get("key"))) return undefined;
  const operator = expression.get("operator").text();
  switch (operator) {
    case "In":
    case "NotIn": {
      const values = expression.get("values").items();
      if (values.length === 0) return expression.get("values").report(`must not be empty for the operator ${operator}`);
      const texts = values.map((value) => value.text()).filter((text, i) => checkValue(text, values[i]!));
      return `${key} ${operator === "In" ? "in" : "not in"} { '${texts.join("', '")}' }`;
    }
    case "Exists":
      return `has(${key})`;
    case "DoesNotExist":
      return `! has(${key})`;
    default:
      return expression.get("operator").report("must be In, NotIn, Exists or DoesNotExist");
  }
}

function checkKey(key: string, field: Field): boolean {
  if (isLabelKey(key)) return true;
  field.report("must be the key of a label");
  return false;
}

/** No label has a quote in its value, and a selector has no way to write it. */
function checkValue(value: string, field: Field): boolean {
  if (!value.includes("'")) return true;
  field.report("must be the value of a label, without quotes");
  return false;
}
