/**
 * A Mesos label, which may be any Unicode text, as a label that selectors can name. Upstream's rule, in its order: a
 * slash becomes a dot, every other run of unsuitable characters a dash, every run of dots and dashes with a dot in it one
 * dot; dots and dashes at the ends go.
 */
export function sanitizeMesosLabel(text: string): string {
  return text
    .replaceAll("/", ".")
    .replace(/[^-_.a-zA-Z0-9]+/gu, "-")
    .replace(/[.-]*\.[.-]*/g, ".")
    .replace(/^[.-]+/, "")
    .replace(/[.-]+$/, "");
}
