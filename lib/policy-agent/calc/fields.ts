/** Reading resources that may hold anything: what has the wrong type is as if it were not there. */

export type Fields = Readonly<Record<string, unknown>>;

const EMPTY: Fields = {};

export const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);

export const fieldsOf = (value: unknown): Fields => (isFields(value) ? value : EMPTY);

export const textOf = (value: unknown): string => (typeof value === "string" ? value : "");

export const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

export const textsOf = (value: unknown): string[] => listOf(value).filter((one) => typeof one === "string");

/** A map of texts, as labels and annotations are. */
export function labelsOf(value: unknown): Record<string, string> {
  const labels: Record<string, string> = {};
  for (const [name, text] of Object.entries(fieldsOf(value))) if (typeof text === "string") labels[name] = text;
  return labels;
}
