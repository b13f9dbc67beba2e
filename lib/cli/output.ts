/**
 * JSON as upstream prints it: two spaces, a newline at the end. Integers held as bigint are printed in full, because a
 * block's sequence number does not fit a double.
 */
export function toJson(value: unknown): string {
  return `${print(value, "")}\n`;
}

function print(value: unknown, indent: string): string {
  if (typeof value === "bigint") return value.toString();
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  const deeper = `${indent}  `;
  if (Array.isArray(value)) {
    if (value.length === 0) return "[]";
    return `[\n${value.map((item) => deeper + print(item, deeper)).join(",\n")}\n${indent}]`;
  }
  const fields = Object.entries(value).filter(([, field]) => field !== undefined && typeof field !== "function");
  if (fields.length === 0) return "{}";
  const lines = fields.map(([key, field]) => `${deeper}${JSON.stringify(key)}: ${print(field, deeper)}`);
  return `{\n${lines.join(",\n")}\n${indent}}`;
}

/**
 * YAML as sigs.k8s.io/yaml prints it: keys sorted, lists not indented, no line folding; text that YAML 1.1 would read as a
 * timestamp or a boolean is quoted, because Go's reader is such a one.
 */
export async function toYaml(value: unknown): Promise<string> {
  const { stringify } = await import("yaml");
  return stringify(value, {
    version: "1.1",
    sortMapEntries: true,
    indentSeq: false,
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
}
