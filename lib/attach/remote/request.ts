import { CniError, type Invocation, parseEnvironment, parseJsonObject, parseNetworkConfig } from "../../cni/index.ts";
import { COOKIE_LENGTH, PROTOCOL_VERSION, type Request } from "./protocol.ts";

/** A line as a request, or what is wrong with it. */
export function parseRequest(line: string): Request | string {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return "the request is not JSON";
  }
  if (!isRecord(value)) return "the request is no object";
  const { version, cookie, namespace, env, stdin } = value;
  // Before anything else: what else another version says is its own affair.
  if (version !== PROTOCOL_VERSION) return `this is version ${PROTOCOL_VERSION} of the protocol`;
  if (typeof cookie !== "string" || cookie.length !== COOKIE_LENGTH) return "the request has no cookie";
  if (typeof namespace !== "number") return "the request does not say where the plugin runs";
  if (typeof stdin !== "string") return "the request has no network configuration";
  if (!isRecord(env)) return "the request has no environment";
  const texts: Record<string, string> = {};
  for (const [name, text] of Object.entries(env)) {
    if (typeof text !== "string") return "the request has an environment of other things than texts";
    texts[name] = text;
  }
  return { version, cookie, namespace, env: texts, stdin };
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The call that the plugin was called with, or what is wrong with it: the plugin has found it good. */
export function invocationOf({ env, stdin }: Request): Invocation | string {
  try {
    const environment = parseEnvironment(env);
    return { environment, config: parseNetworkConfig(parseJsonObject(stdin)), stdin, env };
  } catch (error) {
    if (error instanceof CniError) return error.message;
    throw error;
  }
}
