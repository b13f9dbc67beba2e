/** What could not be used, in words; each sentence once, in the order of their discovery. */
export class Problems {
  readonly #said = new Set<string>();

  /** `BGPPeer tor: spec.nodeSelector "a ==": is no selector; the peering is on no node`. */
  add(resource: string, what: string): void {
    this.#said.add(`${resource}: ${what}`);
  }

  get all(): readonly string[] {
    return [...this.#said];
  }
}

/** A value in a message: as JSON, cut short. */
export function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}

/** Orders text as Go does: by bytes, which for the text of names and addresses (ASCII) is by UTF-16 units. */
export const byText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Resources in the order of their names, so that the same resources give the same answer. */
export function byName<R extends { readonly metadata: { readonly name: string; readonly namespace?: string } }>(
  resources: Iterable<R> | undefined,
): R[] {
  return [...(resources ?? [])].sort(
    (a, b) =>
      byText(a.metadata.namespace ?? "", b.metadata.namespace ?? "") || byText(a.metadata.name, b.metadata.name),
  );
}
