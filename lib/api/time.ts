/**
 * Whether a text is a time as Go's metav1.Time prints it, 2026-01-31T12:00:00Z. Nearly every stored time is, and asking this first
 * spares a plugin the regular expressions for the other forms of RFC 3339.
 */
export function isGoTime(text: string): boolean {
  if (text.length !== 20) return false;
  const date = new Date(text);
  return !Number.isNaN(date.getTime()) && date.toISOString() === `${text.slice(0, 19)}.000Z`;
}
