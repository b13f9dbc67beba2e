/** Every case, by what it is about. */
import { HOSTS } from "./hosts.ts";
import { KUBERNETES } from "./kubernetes.ts";
import { ORDER } from "./order.ts";
import type { PolicyCase } from "./resources.ts";
import { RULES } from "./rules.ts";
import { SELECTION } from "./selection.ts";

export type { PolicyCase } from "./resources.ts";

export const CASES: Readonly<Record<string, readonly PolicyCase[]>> = {
  "who is meant": SELECTION,
  "what a rule says of a packet": RULES,
  "which rule decides": ORDER,
  "Kubernetes' kinds": KUBERNETES,
  "the host": HOSTS,
};
