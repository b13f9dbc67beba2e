/**
 * Policies in the order of one endpoint, as chains to jump to. Neighbours that are chosen by the same selector come to every endpoint
 * together, so they share a chain of their own: an endpoint then has one jump for all of them (felix/rules/endpoints.go, PolicyGroup).
 */
import { isStaged, type PolicyId } from "../calc/index.ts";
import { jump, RETURN, type RenderContext, rule, someMarked, unmarked } from "./context.ts";
import type { Rule } from "./ir.ts";
import { groupChain, type PolicyDirection, policyChain } from "./names.ts";

/** A chain that several endpoints may jump to. */
export type Target =
  | { readonly kind: "policy"; readonly chain: string; readonly direction: PolicyDirection; readonly id: PolicyId }
  | { readonly kind: "profile"; readonly chain: string; readonly direction: PolicyDirection; readonly name: string }
  /** Of at least two policies. */
  | { readonly kind: "group"; readonly chain: string; readonly members: readonly Target[] };

/** Staged policies are left out. `selectorOf` is undefined for a policy that is not known: it stays alone. */
export function policyTargets(
  context: RenderContext,
  direction: PolicyDirection,
  ids: readonly PolicyId[],
  selectorOf: (id: PolicyId) => string | undefined,
): Target[] {
  const groups: { selector: string | undefined; ids: PolicyId[] }[] = [];
  for (const id of ids) {
    if (isStaged(id.kind)) continue;
    const selector = selectorOf(id);
    const last = groups.at(-1);
    if (last && selector !== undefined && last.selector === selector) last.ids.push(id);
    else groups.push({ selector, ids: [id] });
  }
  return groups.map(({ selector, ids }): Target => {
    const members = ids.map(
      (id): Target => ({
        kind: "policy",
        chain: policyChain(direction, id, context.config.maxChainNameLength),
        direction,
        id,
      }),
    );
    if (members.length === 1) return members[0]!;
    return { kind: "group", chain: groupChain(direction, selector!, ids), members };
  });
}

/** How many jumps come between two looks at whether there is a verdict. */
const STRIDE = 5;

/** Jumps to one policy after the other until one gives a verdict. */
export function groupRules(context: RenderContext, members: readonly Target[]): Rule[] {
  const verdict = (context.marks.accept | context.marks.pass) >>> 0;
  const rules: Rule[] = [];
  members.forEach((member, i) => {
    const fresh = i % STRIDE === 0;
    if (fresh && i > 0) rules.push(rule([someMarked(verdict)], RETURN, "Return on verdict"));
    rules.push(rule(fresh ? [] : [unmarked(verdict)], jump(member.chain)));
  });
  return rules;
}
