/**
 * A second door, for tests: random clusters and flows from a seed, as inputs of the calculation. Names, labels, addresses and ports come from
 * small pools, so that selectors match, networks overlap and orders tie. Whoever compares something real with the oracle gives the
 * endpoints it has: {@link GenerateOptions.workloads}.
 */
export { type GeneratedCase, type GenerateOptions, generateCase, type WorkloadPlace } from "./generate.ts";
export { ruleMatches } from "./match.ts";
export { Random } from "./random.ts";
