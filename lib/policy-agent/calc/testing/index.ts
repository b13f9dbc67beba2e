/** For tests: a dataplane of maps that checks what it is told, ways to tell states, random worlds, and short words for resources. */
export {
  difference,
  EXPANDERS,
  fromScratch,
  type History,
  play,
  STRATEGIES,
  type Strategy,
  walks,
} from "./histories.ts";
export { Mirror, type Packet, type Verdict } from "./mirror.ts";
export { anyInput, packets } from "./random.ts";
export * from "./resources.ts";
export * from "./started.ts";
export { STATES } from "./states.ts";
