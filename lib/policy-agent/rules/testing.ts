/**
 * The test door of the rule program: one behaviour suite that every dataplane passes, the test bed it runs in, and a fake that passes it without root.
 *
 * A dataplane of the kernel is run by a process of its own inside the router's network namespace (testing/driver.ts), so that it may be
 * asynchronous and may be killed; the test file says only where it is:
 *
 *     // nftables/dataplane.test.ts
 *     describeDataplane(kernelSubject({ name: "nftables", module: import.meta.resolve("./driven.ts") }));
 *     // nftables/driven.ts, which must not import vitest
 *     export function open(programs: Programs, options: unknown): Dataplane { return openNftables({ programs, … }); }
 *
 * The test process itself stays where it is: it sends and catches raw frames at the ends of the router's interfaces.
 */
export { describeDataplane } from "./dataplane.suite.ts";
export { fakeDataplane, type Kernel as FakeKernel, makeKernel } from "./testing/fake.ts";
export { fakeSubject } from "./testing/fake-subject.ts";
export { type KernelSubjectOptions, kernelSubject } from "./testing/kernel-subject.ts";
export type {
  Agent,
  Edits,
  OpenDataplane,
  Packet,
  Place,
  Sighting,
  SuiteSubject,
  Tamper,
  Testbed,
} from "./testing/testbed.ts";
