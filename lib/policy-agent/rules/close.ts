/** What becomes of rules that look into a set which has not all its members, so that nothing is let through that must be denied. */
import type { SetId } from "../calc/index.ts";
import type { Rule } from "./ir.ts";

/**
 * A rule that denies what is in the set denies whatever the set says; one that does anything else with what is **not** in the set is left out.
 * A rule that allows what is in the set stays: for members that are missing it is closed already. Undefined: no rule had to change.
 */
export function closeRules(rules: readonly Rule[], isIncomplete: (set: SetId) => boolean): readonly Rule[] | undefined {
  let changed = false;
  const closed = rules.flatMap((rule) => {
    const denies = rule.action.do === "drop" || rule.action.do === "reject";
    const doubtful = rule.match.filter(
      (match) =>
        (match.is === "set" || match.is === "port-set") && (match.not !== true) === denies && isIncomplete(match.set),
    );
    if (doubtful.length === 0) return [rule];
    changed = true;
    return denies ? [{ ...rule, match: rule.match.filter((match) => !doubtful.includes(match)) }] : [];
  });
  return changed ? closed : undefined;
}
