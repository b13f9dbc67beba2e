/** How many columns of a terminal a text takes. */
export function displayWidth(text: string): number {
  return Bun.stringWidth(text);
}

/**
 * Text for one line of a terminal: tabs become four spaces, and control and direction-changing characters become U+FFFD,
 * because names come from a datastore that others write.
 */
export function printable(text: string): string {
  return text
    .toWellFormed()
    .replaceAll("\t", "    ")
    .replace(/[\u0000-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, "\ufffd");
}
