import { type AgentConfig, PARAMETER_NAMES, type ParameterName, parameterOf } from "./parameters.ts";

/** The parameters whose values differ, by name. */
export function changedParameters(before: AgentConfig, after: AgentConfig): ParameterName[] {
  return PARAMETER_NAMES.filter(
    (name) => before[name] !== after[name] && key(before[name]) !== key(after[name]),
  ).sort();
}

/**
 * The parameters whose change takes effect only in a new process, by name; empty when the agent can go on. Upstream's agent exits with the
 * status 129 for it to be started afresh. Those that the table calls `live` are for the agent to apply, and on those that it ignores nothing depends.
 */
export function needsRestart(before: AgentConfig, after: AgentConfig): ParameterName[] {
  return changedParameters(before, after).filter((name) => !parameterOf(name).live && !parameterOf(name).ignored);
}

/** Equal for equal values. */
function key(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => {
    if (inner instanceof RegExp) return String(inner);
    const isRecord = typeof inner === "object" && inner !== null && !Array.isArray(inner);
    return isRecord ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1))) : inner;
  }) as string;
}
