import fc from "fast-check";
import { createCalc } from "../calculation.ts";
import type { Input } from "../inputs.ts";
import { Mirror } from "./mirror.ts";
import { keyOf, NODE, removal } from "./resources.ts";

/** One after the other: the inputs that lead from nothing to each state, and from each to the next. */
export type History = readonly (readonly Input[])[];

/** What leads from one state to another: what is gone goes first. */
export function difference(from: readonly Input[], to: readonly Input[]): Input[] {
  const wanted = new Map(to.map((input) => [keyOf(input), JSON.stringify(input)]));
  const had = new Map(from.map((input) => [keyOf(input), JSON.stringify(input)]));
  return [
    ...from.filter((input) => !wanted.has(keyOf(input))).map(removal),
    ...to.filter((input) => had.get(keyOf(input)) !== wanted.get(keyOf(input))),
  ];
}

/** Ways to tell a list of states that all end in the last one. */
export const EXPANDERS: Readonly<Record<string, (states: History) => Input[][]>> = {
  plain: (states) => steps(states),
  reverse: (states) => steps(states).map((step) => step.toReversed()),
  duplicate: (states) => steps(states).map((step) => step.flatMap((input) => [input, input])),
  "said again": (states) => states.map((state, i) => [...steps(states)[i]!, ...state]),
  interleave: (states) =>
    steps(states).map((step) => {
      const half = Math.ceil(step.length / 2);
      return step.slice(0, half).flatMap((input, i) => (step[half + i] ? [input, step[half + i]!] : [input]));
    }),
  squash: (states) => [steps(states).flat()],
  "removed and said again": (states) => {
    const last = states.at(-1) ?? [];
    return [...steps(states), last.flatMap((input) => [removal(input), input])];
  },
  "torn down and built again": (states) => {
    const last = states.at(-1) ?? [];
    return [...steps(states), last.map(removal), [...last], last.toReversed().map(removal), last.toReversed()];
  },
};

const steps = (states: History): Input[][] => states.map((state, i) => difference(states[i - 1] ?? [], state));

/** When to flush. */
export const STRATEGIES = [
  "after each input",
  "after each step",
  "at the end",
  "new workloads first",
  "in steps",
] as const;
export type Strategy = (typeof STRATEGIES)[number];

/** Plays inputs to a calculation, and what it says to a mirror. */
export function play(history: readonly (readonly Input[])[], strategy: Strategy, inSyncAfter = 0): Mirror {
  const calc = createCalc({ nodeName: NODE });
  const mirror = new Mirror();
  const flush = () => {
    if (strategy === "new workloads first") {
      for (const first of calc.newWorkloads) calc.flush(mirror.apply, { first });
    }
    calc.flush(mirror.apply);
    mirror.checkOverlaps();
  };
  if (inSyncAfter === 0) calc.inSync();
  for (const [i, step] of history.entries()) {
    if (i + 1 === inSyncAfter) calc.inSync();
    if (strategy === "in steps") {
      // Inputs that come during a flush count after it.
      const flushing = calc.flushing(mirror.apply);
      for (const input of step) {
        calc.update(input);
        flushing.next();
      }
      for (const _ of flushing);
      continue;
    }
    for (const input of step) {
      calc.update(input);
      if (strategy === "after each input") flush();
    }
    if (strategy === "after each step" || strategy === "new workloads first") flush();
  }
  calc.inSync();
  flush();
  if (calc.isDirty) throw new Error("something is left to be said after a flush");
  calc.flush((message) => {
    throw new Error(`said without a reason: ${JSON.stringify(message)}`);
  });
  return mirror;
}

/** A calculation that was told one state at once. */
export const fromScratch = (state: readonly Input[]): Mirror => play([state], "at the end");

/** A random walk through states: each input there or not, or with another value under the same key. */
export const walks = (inputs: fc.Arbitrary<Input>, maxStates = 4): fc.Arbitrary<Input[][]> =>
  fc.array(
    fc
      .array(inputs, { maxLength: 16 })
      .map((list) => [...new Map(list.map((input) => [keyOf(input), input])).values()]),
    { minLength: 1, maxLength: maxStates },
  );
