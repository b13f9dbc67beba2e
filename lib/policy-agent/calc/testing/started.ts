import { createHash } from "node:crypto";
import { createCalc } from "../calculation.ts";
import type { Input } from "../inputs.ts";
import type { Message, ParsedRule } from "../messages.ts";
import { Mirror } from "./mirror.ts";
import { NODE, networkPolicy, workload } from "./resources.ts";

/** The end of a set's id. */
export const hash = (text: string) => createHash("sha224").update(text).digest("base64url");
/** The id of the set of a selector, by its canonical text. */
export const selectorSetId = (canonical: string) => `s:${hash(`s:${canonical}`)}`;

/** A calculation that is in sync, and what it says. */
export function start(inputs: readonly Input[] = []) {
  const problems: string[] = [];
  const calc = createCalc({ nodeName: NODE, onProblem: (what, why) => problems.push(`${what}: ${why}`) });
  const mirror = new Mirror();
  calc.inSync();
  const tell = (...more: Input[]): Message[] => {
    for (const input of more) calc.update(input);
    const said: Message[] = [];
    calc.flush((message) => {
      mirror.apply(message);
      said.push(message);
    });
    return said;
  };
  const first = tell(...inputs);
  return { calc, mirror, problems, tell, first };
}

/** The spec of anything. */
export type Fields = Readonly<Record<string, unknown>>;

/** A workload of this node, and one of another. */
export const pod = workload(
  "blue",
  "web",
  ["10.0.0.1"],
  { app: "web" },
  { ports: [{ name: "http", protocol: "TCP", port: 80 }] },
);
export const other = workload("green", "db", ["10.0.0.2"], { app: "db" }, { node: "other" });
/** What kind of messages. */
export const types = (messages: readonly Message[]) => messages.map(({ type }) => type);

/** The rules of a policy for the pod: its ingress rules as they are enforced. */
export function ingressOf(spec: Fields) {
  const { mirror, problems } = start([pod, other, networkPolicy("blue", "p", spec)]);
  const found = [...mirror.policies.values()][0];
  return { rules: found?.ingress ?? [], egress: found?.egress ?? [], mirror, problems };
}

/** The first of these rules; undefined: it matches nothing. */
export const oneRule = (given: object): ParsedRule | undefined => ingressOf({ ingress: [given] }).rules[0];
