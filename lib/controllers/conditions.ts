/** A condition of a status (metav1.Condition). */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime?: string;
  readonly observedGeneration?: number;
}

/**
 * The conditions with this one in the place of the one of its type, or at the end; undefined when it is there already. `now` is in milliseconds
 * since 1970. As upstream does it, the time is that of any change, not only of the status.
 */
export function withCondition(
  conditions: readonly Condition[] | undefined,
  wanted: Omit<Condition, "lastTransitionTime" | "observedGeneration">,
  now: number,
): Condition[] | undefined {
  const known = conditions ?? [];
  const at = known.findIndex(({ type }) => type === wanted.type);
  const found = known[at];
  const { status, reason, message } = wanted;
  if (found?.status === status && found.reason === reason && found.message === message) return undefined;
  const lastTransitionTime = new Date(now).toISOString().replace(/\.\d+/, "");
  const condition: Condition = { ...wanted, lastTransitionTime };
  return at < 0 ? [...known, condition] : known.with(at, condition);
}
