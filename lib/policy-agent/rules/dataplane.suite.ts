/** What every dataplane does: see rules/dataplane.ts. Packets are real ones; the kernel's text is compared only with itself. */
import { describe, it } from "vitest";
import { describeActions } from "./testing/suite-actions.ts";
import { describeApply, describeFailure } from "./testing/suite-apply.ts";
import { describeDispatch } from "./testing/suite-dispatch.ts";
import { describeHooks } from "./testing/suite-hooks.ts";
import { describeMatches } from "./testing/suite-matches.ts";
import { describeOthers } from "./testing/suite-others.ts";
import { describeSets } from "./testing/suite-sets.ts";
import { describeTakeover } from "./testing/suite-takeover.ts";
import type { SuiteSubject } from "./testing/testbed.ts";

/** Runs the whole specification against one dataplane; skipped with the reason where it cannot run. */
export function describeDataplane(subject: SuiteSubject): void {
  const name = `${subject.name} does what a dataplane promises`;
  if (subject.missing !== undefined) {
    describe.skip(`${name} [skipped: ${subject.missing}]`, () => it.skip("nothing", () => {}));
    return;
  }
  const group = (title: string, body: () => void): void => {
    const reason = subject.without?.[title];
    if (reason === undefined) describe(title, body);
    else describe.skip(`${title} [skipped: ${reason}]`, body);
  };
  describe(name, () => {
    group("apply", () => describeApply(subject));
    group("takeover", () => describeTakeover(subject));
    group("others", () => describeOthers(subject));
    group("dispatch", () => describeDispatch(subject));
    group("hooks", () => describeHooks(subject));
    group("failure", () => describeFailure(subject));
    describeSets(subject, group);
    group("matches", () => describeMatches(subject));
    group("actions", () => describeActions(subject));
  });
}
